"""Random cerebral veins in template space."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.simulate.heads.lattice import Lattice, lattice_shape

LOWER_MM: Triple = (-76.0, -110.0, -58.0)
UPPER_MM: Triple = (76.0, 78.0, 88.0)
SPACING_MM = 1.0
FARTHEST_MM = 8.0
N_CORTICAL = 130
N_MEDULLARY = 70
BRAIN_CENTRE_MM: Triple = (0.0, -18.0, 12.0)
BRAIN_SEMI_AXES_MM: Triple = (66.0, 84.0, 64.0)
STEP_MM = 3.0

SINUSES: tuple[tuple[float, tuple[Triple, ...]], ...] = (
    (3.4, ((0, 60, 40), (0, 30, 68), (0, -10, 80), (0, -50, 76), (0, -85, 42), (0, -106, 2))),
    (2.2, ((0, -40, 6), (0, -62, 6), (0, -84, -2), (0, -104, -4))),
    (3.2, ((0, -104, -4), (30, -94, -18), (54, -68, -30), (60, -50, -42))),
    (2.8, ((0, -104, -4), (-30, -94, -18), (-54, -68, -30), (-60, -50, -42))),
    (1.1, ((3, 10, 8), (2, -8, 16), (2, -30, 14), (0, -40, 6))),
    (1.1, ((-3, 10, 8), (-2, -8, 16), (-2, -30, 14), (0, -40, 6))),
    (0.9, ((16, -2, -20), (18, -18, -14), (12, -32, -4), (0, -40, 6))),
    (0.9, ((-16, -2, -20), (-18, -18, -14), (-12, -32, -4), (0, -40, 6))),
)

Array = npt.NDArray[np.float64]
Piece = tuple[Array, Array, float]


def draw_veins(*, seed: int) -> Lattice:
    """Draw veins and dural sinuses: maps of signed distance and radius in mm, at 1 mm."""
    rng = np.random.default_rng([seed, 2])
    pieces = [
        (np.asarray(a, dtype=float), np.asarray(b, dtype=float), radius)
        for radius, path in SINUSES
        for a, b in pairwise(path)
    ]
    for _ in range(N_CORTICAL):
        pieces += _cortical_vein(rng)
    for _ in range(N_MEDULLARY):
        pieces += _medullary_vein(rng)
    shape = lattice_shape(LOWER_MM, UPPER_MM, SPACING_MM)
    distance = np.full(shape, FARTHEST_MM, dtype=np.float32)
    radius = np.zeros(shape, dtype=np.float32)
    for piece in pieces:
        _draw(distance, radius, piece)
    return Lattice(torch.from_numpy(np.stack([distance, radius])), LOWER_MM, SPACING_MM)


def vein_fraction(distance_mm: Tensor, radius_mm: Tensor, *, width_mm: float) -> Tensor:
    """Blood volume fraction in voxels of ``width_mm``, volume-preserving for thin veins."""
    thick = (0.5 - distance_mm / width_mm).clamp(0, 1)
    from_axis = (2 * radius_mm * distance_mm + radius_mm**2).clamp_min(0).sqrt()
    fraction = (torch.pi * radius_mm**2 / width_mm**2).clamp_max(1)
    # A cone of this height over a base of radius width_mm has the cross-section of the vein.
    thin = fraction * 3 / torch.pi * (1 - from_axis / width_mm).clamp_min(0)
    return torch.where(2 * radius_mm < width_mm, thin, thick)


def _cortical_vein(rng: np.random.Generator) -> list[Piece]:
    """A cortical vein from the surface of the brain towards its centre."""
    outward = rng.standard_normal(3)
    outward[2] = abs(outward[2]) - 0.4
    outward /= np.linalg.norm(outward)
    start = np.asarray(BRAIN_CENTRE_MM) + outward * BRAIN_SEMI_AXES_MM
    return _walk(rng, start, -outward, radius_mm=rng.uniform(0.5, 0.95), n_steps=8)


def _medullary_vein(rng: np.random.Generator) -> list[Piece]:
    """A medullary vein from the wall of a lateral ventricle into white matter."""
    side = rng.choice([-1.0, 1.0])
    start = np.array([side * rng.uniform(12, 20), rng.uniform(-45, 28), rng.uniform(14, 26)])
    heading = np.array([side * rng.uniform(0.4, 1), rng.normal(0, 0.4), rng.uniform(0, 0.8)])
    return _walk(rng, start, heading, radius_mm=rng.uniform(0.3, 0.55), n_steps=7)


def _walk(
    rng: np.random.Generator, start: Array, heading: Array, *, radius_mm: float, n_steps: int
) -> list[Piece]:
    """Random path of decreasing radius that may branch once."""
    pieces: list[Piece] = []
    fork = rng.integers(2, n_steps)
    for step in range(n_steps):
        heading = heading / np.linalg.norm(heading) + rng.normal(0, 0.28, 3)
        end = start + STEP_MM * heading / np.linalg.norm(heading)
        pieces.append((start, end, radius_mm))
        start, radius_mm = end, radius_mm * 0.93
        if step == fork and n_steps > 5:
            aside = heading + rng.normal(0, 0.7, 3)
            pieces += _walk(rng, start, aside, radius_mm=radius_mm * 0.8, n_steps=4)
    return pieces


def _draw(
    distance_mm: npt.NDArray[np.float32], radius_mm: npt.NDArray[np.float32], piece: Piece
) -> None:
    """Update the maps of distance and radius near one straight segment of vein, in place."""
    start, end, radius = piece
    reach = np.sqrt(radius**2 + 2 * radius * FARTHEST_MM) + SPACING_MM
    lower = np.floor((np.minimum(start, end) - reach - LOWER_MM) / SPACING_MM).astype(int)
    upper = np.ceil((np.maximum(start, end) + reach - LOWER_MM) / SPACING_MM).astype(int)
    lower, upper = np.maximum(lower, 0), np.minimum(upper + 1, distance_mm.shape)
    if (upper <= lower).any():
        return
    box = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    lines = [
        np.arange(a, b) * SPACING_MM + o for a, b, o in zip(lower, upper, LOWER_MM, strict=True)
    ]
    offset = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1) - start
    axis = end - start
    along = np.clip(offset @ axis / (axis @ axis), 0, 1)
    squared = ((offset - along[..., None] * axis) ** 2).sum(-1)
    # (d^2 - r^2) / 2r approximates the distance near the wall and, unlike d, is smooth at the axis,
    # so that trilinear interpolation preserves thin veins; 0.25 corrects its mean bias of d^2.
    level = (squared - radius**2 - 0.25 * SPACING_MM**2) / (2 * radius)
    nearer = level < distance_mm[box]
    distance_mm[box][nearer] = level[nearer]
    radius_mm[box][nearer] = radius
