"""Poisson disks with a given density."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.recon.patterns.drawn import pattern_regions
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.recon.sampling import accept, adjust_count, disc_of

RADII = np.geomspace(0.5, 16.0, 16)
"""Radii, in positions of the axis with the largest field of view, whose densities are measured."""
SCALES = 0.25, 4.0
"""Range of the factor of all radii by which the count is met."""
TRIALS = 16
SMOOTH = 1.5
"""Standard deviation of the Gaussian that smooths the density, in positions: what single positions
have learned beyond it is noise to a spacing."""

Floats = npt.NDArray[np.float64]


def spaced_pattern(density: Tensor, settings: PatternSettings, *, seed: int) -> Tensor:
    """Poisson disk of a given density, with exactly the samples of its acceleration.

    The radius at each position is that at which a Poisson disk of one radius has the density;
    all radii are then scaled to come closest to the count, and the rest of the difference is
    removed where the density is lowest, or added where it is highest.

    Args:
        density: probability of each position, (ky, kz).
        settings: plane, acceleration, centre, corners and voxels.
        seed: the same seed gives the same pattern.

    Returns:
        bool (ky, kz).
    """
    rng = np.random.default_rng(seed)
    centre, allowed = (mask.numpy() for mask in pattern_regions(settings))
    free = allowed & ~centre
    smooth = _smoothed(density.numpy().astype(np.float64), free)
    order = rng.permutation(np.argwhere(free))
    jitter = rng.uniform(-0.5, 0.5, (*settings.shape, 2))
    disc = disc_of(settings.shape, settings.voxel_size_mm)
    radius = _radius(smooth, disc, rng)
    wanted = settings.n_samples - int(centre.sum())
    low, high = SCALES
    best = np.zeros_like(centre)
    for _ in range(TRIALS):
        scale = float(np.sqrt(low * high))
        found = accept(order, jitter, scale * radius, disc)
        if abs(int(found.sum()) - wanted) < abs(int(best.sum()) - wanted):
            best = found
        low, high = (scale, high) if found.sum() > wanted else (low, scale)
    # Farthest is what is least dense.
    far = np.where(centre, 0.0, 1 + smooth.max() - smooth)
    return torch.from_numpy(adjust_count(best | centre, allowed, far, settings.n_samples, rng))


def _smoothed(density: Floats, free: npt.NDArray[np.bool_]) -> Floats:
    """Mean over free neighbours."""
    weights = ndimage.gaussian_filter(free.astype(np.float64), SMOOTH, mode="constant")
    sums = ndimage.gaussian_filter(density * free, SMOOTH, mode="constant")
    return np.asarray(np.where(free, sums / np.maximum(weights, 1e-9), 1.0))


def _radius(density: Floats, disc: tuple[float, float], rng: np.random.Generator) -> Floats:
    """Radius whose Poisson disk has the density of each position."""
    n_y, n_z = density.shape
    every = np.argwhere(np.ones(density.shape, np.bool_))
    jitter = rng.uniform(-0.5, 0.5, (n_y, n_z, 2))
    order = rng.permutation(every)
    measured = [
        accept(order, jitter, np.full(density.shape, radius), disc).mean() for radius in RADII
    ]
    # Interpolated in logarithms, in which the density is nearly a line: -2 log r.
    logs = np.interp(np.log(np.maximum(density, 1e-6)), np.log(measured[::-1]), np.log(RADII[::-1]))
    return np.asarray(np.exp(logs))
