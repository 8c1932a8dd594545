"""Gaussian smoothing of a volume, on any device."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from accelqsm.grid import Triple

CUT_SD = 4.0
"""Standard deviations at which the Gaussian kernel is truncated."""

SMALLEST = 1e-12


def gaussian(volume: Tensor, sd_voxels: Triple) -> Tensor:
    """Smooth with a Gaussian along each axis, with the edge voxels replicated outside the volume.

    Args:
        volume: real (x, y, z).
        sd_voxels: standard deviation along each axis in voxels; 0 leaves an axis as it is.
    """
    for axis, sd in enumerate(sd_voxels):
        reach = int(CUT_SD * sd + 0.5)
        if reach == 0:
            continue
        weights = [math.exp(-0.5 * (offset / sd) ** 2) for offset in range(-reach, reach + 1)]
        sides = [0] * 6
        sides[2 * (2 - axis)] = sides[2 * (2 - axis) + 1] = reach
        longer = functional.pad(volume[None, None], sides, mode="replicate")[0, 0]
        size = volume.shape[axis]
        total = sum(weights)
        volume = volume.new_zeros(volume.shape)
        for start, weight in enumerate(weights):
            volume.add_(longer.narrow(axis, start, size), alpha=weight / total)
    return volume


def gaussian_mm(volume: Tensor, sd_mm: float, voxel_size_mm: Triple) -> Tensor:
    """Smooth a volume (x, y, z) with a Gaussian of one standard deviation in mm."""
    x, y, z = (sd_mm / size_mm for size_mm in voxel_size_mm)
    return gaussian(volume, (x, y, z))


def gaussian_within(volume: Tensor, inside: Tensor, sd_mm: float, voxel_size_mm: Triple) -> Tensor:
    """Smooth what is inside alone: means over voxels inside, weighted by a Gaussian.

    Args:
        volume: real (x, y, z).
        inside: bool (x, y, z), or how much each voxel counts.
        sd_mm: standard deviation in mm.
        voxel_size_mm: edge lengths of a voxel in mm.
    """
    known = inside.to(volume)
    smooth = gaussian_mm(volume * known, sd_mm, voxel_size_mm)
    smooth /= gaussian_mm(known, sd_mm, voxel_size_mm).clamp_min(SMALLEST)
    return smooth
