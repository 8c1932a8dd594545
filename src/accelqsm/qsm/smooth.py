"""Gaussian smoothing of a volume, on any device."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from accelqsm.grid import Triple

CUT_SD = 4.0
"""Standard deviations at which the Gaussian kernel is truncated."""


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
