"""Background field removal by vSHARP: the field of sources outside the mask is harmonic in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Shape, Triple
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.background.settings import VsharpSettings
from accelqsm.qsm.volume import Box, box_of, voxels_within
from accelqsm.runtime.progress import staged

DEFAULT = VsharpSettings()
LEAST_FRACTION = 0.02
"""Volume fraction in the ball below which a voxel does not count, so that the mask is not eroded
by a whole voxel for a sliver of the ball."""

SUBVOXELS = 5
"""Sub-voxel points per axis at which the ball is evaluated, for partial volume at its edge."""

MOST_POINTS = 500
"""Along an axis of a ball: one of very many voxels needs fewer in each."""


@staged("Background field: vSHARP")
def vsharp(
    field_ppm: Tensor,
    mask: Tensor,
    data_weight: Tensor | None = None,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple | None = None,
    settings: VsharpSettings = DEFAULT,
) -> LocalField:
    """Local field by vSHARP: spherical mean values with a radius that varies with the depth.

    g = f - S_r * f is free of any field that is harmonic in the ball; each voxel takes the
    largest radius r whose ball lies inside the mask. The local field is g deconvolved with the
    largest ball: F^-1 [F g / (1 - F S_R)], zero where |1 - F S_R| < threshold.

    Args:
        field_ppm: (x, y, z), unwrapped, in ppm of the main field.
        mask: bool (x, y, z), where ``field_ppm`` is measured.
        data_weight, b0_direction: not used; part of the signature of every background removal.
        voxel_size_mm: edge lengths of a voxel in mm.
        settings: radii of the balls, and spectral truncation of the deconvolution.

    Returns:
        The local field in ppm, and the eroded mask.

    Raises:
        InputError: radii below half a voxel, an empty mask, or one that no ball fits into.

    Source: Wu et al. 2012, Magn Reson Med 67:137, doi 10.1002/mrm.23000.
    """
    radii_mm = sorted(settings.radii_mm, reverse=True)
    if not radii_mm or radii_mm[-1] < max(voxel_size_mm) / 2:
        raise InputError(
            f"vSHARP radii: expected at least half a voxel ({max(voxel_size_mm) / 2:g} mm), "
            f"found {radii_mm}"
        )
    # A ball wider than the mask fits nowhere in it, and its kernel may exceed any memory.
    sizes = box_of(mask, margin_voxels=(0, 0, 0)).shape
    widest_mm = min(n * size for n, size in zip(sizes, voxel_size_mm, strict=True)) / 2
    smallest_mm = radii_mm[-1]
    radii_mm = [radius for radius in radii_mm if radius <= widest_mm + max(voxel_size_mm)]
    if not radii_mm:
        raise InputError(f"mask: expected room for a ball of {smallest_mm:g} mm, found none")
    box = box_of(mask, margin_voxels=_reach(radii_mm[0], voxel_size_mm))
    inside = box.frame(mask.to(field_ppm.dtype))
    field_spectrum = torch.fft.rfftn(box.frame(torch.where(mask, field_ppm, 0)))
    mask_spectrum = torch.fft.rfftn(inside)
    filtered = torch.zeros_like(inside)
    left = torch.zeros_like(inside, dtype=torch.bool)
    for radius_mm in radii_mm:
        weights = ball_weights(radius_mm, voxel_size_mm)
        ball = _spectrum(weights, box, inside)
        whole = 1 - float(weights[weights > 0].min()) / 2
        fits = (torch.fft.irfftn(mask_spectrum * ball, s=box.padded) > whole) & ~left
        harmonic_free = torch.fft.irfftn(field_spectrum * (1 - ball), s=box.padded)
        filtered = torch.where(fits, harmonic_free, filtered)
        left |= fits
    if not bool(left.any()):
        raise InputError(f"mask: expected room for a ball of {radii_mm[-1]:g} mm, found none")
    largest = 1 - _spectrum(ball_weights(radii_mm[0], voxel_size_mm), box, inside)
    inverse = torch.where(largest.abs() < settings.threshold, 0, 1 / largest)
    local = torch.fft.irfftn(torch.fft.rfftn(filtered) * inverse, s=box.padded) * left
    return LocalField(box.unframe(local, field_ppm.shape), box.unframe(left, field_ppm.shape))


def ball_weights(radius_mm: float, voxel_size_mm: Triple) -> npt.NDArray[np.float64]:
    """Weights of the voxels for the mean over a ball, exact for harmonic fields of degree 3.

    Each voxel has the weight w of its volume fraction in the ball. These alone have unequal second
    moments where voxels are anisotropic, and would leave part of the field's curvature behind; the
    weights w (a + b x^2 + c y^2 + d z^2) have the second moments of the ball, r^2 / 5.

    Args:
        radius_mm: radius of the ball in mm.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        (x, y, z) of odd sizes, centred, of sum 1.
    """
    axes = [
        np.arange(-n, n + 1) * size
        for n, size in zip(_reach(radius_mm, voxel_size_mm), voxel_size_mm, strict=True)
    ]
    n_within = max(1, min(SUBVOXELS, MOST_POINTS // max(len(axis) for axis in axes)))
    within = (np.arange(n_within) + 0.5) / n_within - 0.5
    fine = [
        (axis[:, None] + within * size).ravel() ** 2
        for axis, size in zip(axes, voxel_size_mm, strict=True)
    ]
    ball = fine[0][:, None, None] + fine[1][:, None] + fine[2] <= radius_mm**2
    blocks = [side for axis in axes for side in (len(axis), n_within)]
    fraction = ball.reshape(blocks).mean((1, 3, 5))
    fraction[fraction < LEAST_FRACTION] = 0
    squares = np.broadcast_arrays(axes[0][:, None, None] ** 2, axes[1][:, None] ** 2, axes[2] ** 2)
    terms = np.stack([np.ones_like(fraction), *squares])
    moments = np.einsum("ixyz,jxyz,xyz->ij", terms, terms, fraction)
    correction = np.linalg.lstsq(moments, np.array([1.0, *[radius_mm**2 / 5] * 3]), rcond=None)[0]
    return np.asarray(fraction * np.einsum("i,ixyz->xyz", correction, terms))


def _reach(radius_mm: float, voxel_size_mm: Triple) -> Shape:
    """Half-width of a ball in voxels along each axis."""
    return voxels_within(radius_mm, voxel_size_mm)


def _spectrum(weights: npt.NDArray[np.float64], box: Box, like: Tensor) -> Tensor:
    """Real half spectrum of a symmetric kernel centred on voxel 0 of the periodic box."""
    kernel = like.new_zeros(box.padded)
    x, y, z = weights.shape
    kernel[:x, :y, :z] = torch.from_numpy(weights).to(like)
    kernel = kernel.roll((-(x // 2), -(y // 2), -(z // 2)), (0, 1, 2))
    spectrum: Tensor = torch.fft.rfftn(kernel).real
    return spectrum
