"""Edges of the tissue that susceptibility may have in common, from what the echoes show."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.smooth import gaussian_mm, gaussian_within

MAGNITUDE_SD_MM, R2STAR_SD_MM = 1.0, 1.2
"""Smoothing before the gradient: without it, noise and ringing have more edges than tissue."""

R2STAR_WEIGHT = 1.6
"""Of a gradient of R2* against one of the magnitude, each relative to its median."""

EDGE_SHARE = 0.4
SMALLEST = 1e-12


def tissue_edges(
    late_magnitude: Tensor, r2star_per_s: Tensor | None, inside: Tensor, *, voxel_size_mm: Triple
) -> Tensor:
    """The 40 % of the voxels along each axis where magnitude and R2* are steepest together.

    Iron darkens late echoes and raises R2*. The magnitude tells edges best where they are sharp,
    but has those of water, T1 and coils as well, which need not be edges of susceptibility.

    Args:
        late_magnitude: (x, y, z), of late echoes: early ones show water and T1 more.
        r2star_per_s: (x, y, z), decay rate inside; None where it is not known.
        inside: bool (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        bool (3, x, y, z), between a voxel and the next along each axis.
    """
    slope = Gradient(voxel_size_mm)
    strength = _over_median(
        slope(gaussian_mm(late_magnitude, MAGNITUDE_SD_MM, voxel_size_mm)), inside
    )
    if r2star_per_s is not None:
        rate = gaussian_within(r2star_per_s, inside, R2STAR_SD_MM, voxel_size_mm)
        of_rate = _over_median(slope(rate), inside).mul_(R2STAR_WEIGHT)
        strength = torch.hypot(strength, of_rate)
    return torch.stack([_steepest(along, inside) for along in strength])


def _over_median(slopes: Tensor, inside: Tensor) -> Tensor:
    """Absolute slopes (3, x, y, z), each over its median inside."""
    slopes = slopes.abs()
    for along in slopes:
        along /= along[inside].median().clamp_min(SMALLEST)
    return slopes


def _steepest(strength: Tensor, inside: Tensor) -> Tensor:
    """The ``EDGE_SHARE`` of the voxels inside with the greatest strength, bool (x, y, z)."""
    values = strength[inside]
    rank = max(round(values.numel() * (1 - EDGE_SHARE)), 1)
    return (strength > values.kthvalue(rank).values) & inside
