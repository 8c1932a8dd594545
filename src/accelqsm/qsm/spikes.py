"""Voxels whose field stands out of all their neighbours: wrap errors, and vessels with flow."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_STEP_PPM = 0.2
"""Veins and iron leave smaller steps between neighbours; a turn is 0.5 ppm or more at 3 T."""


def spike_weight(field_ppm: Tensor, mask: Tensor) -> Tensor:
    """1 / max(1, h / 0.2 ppm)^2, with h the height of a voxel over its surroundings.

    Along each axis, a voxel stands above or below both its neighbours by some height, or by
    zero. h is the middle one of the three: zero in a sheet, the step of a vessel across it, and
    the whole error where a voxel is a turn wrong, be it beside another one.

    Voxels that stand out are no neighbours in a second look: in a corner of three wrong voxels,
    the one in the middle would hide behind the others.

    Args:
        field_ppm: (x, y, z) in ppm.
        mask: bool (x, y, z); voxels outside are no neighbours.

    Returns:
        (x, y, z), 1 nearly everywhere; zero outside the mask.
    """
    values = torch.where(mask, field_ppm, 0)
    height = _height(values, mask)
    height = torch.maximum(height, _height(values, mask & (height <= LARGEST_STEP_PPM)))
    return torch.where(mask, 1 / (height / LARGEST_STEP_PPM).clamp_min(1).square(), 0)


def _height(values: Tensor, neighbours: Tensor) -> Tensor:
    """The middle one of the heights along the three axes, (x, y, z)."""
    heights = []
    for axis in range(3):
        before, after = (values.roll(step, axis) for step in (1, -1))
        has_before, has_after = (neighbours.roll(step, axis) for step in (1, -1))
        # At the edge the one neighbour stands for both; a voxel without any tells nothing.
        before, after = (
            torch.where(has_before, before, torch.where(has_after, after, values)),
            torch.where(has_after, after, torch.where(has_before, before, values)),
        )
        between = values.clamp(torch.minimum(before, after), torch.maximum(before, after))
        heights.append((values - between).abs())
    x, y, z = heights
    return torch.maximum(torch.minimum(x, y), torch.minimum(torch.maximum(x, y), z))
