"""Down-weighting of voxels whose field differs from all neighbours: wrap errors and flow."""

from __future__ import annotations

import torch
from torch import Tensor

LARGEST_STEP_PPM = 0.2
"""Above the steps between neighbours at veins and iron, below a wrap (0.5 ppm or more at 3 T)."""


def spike_weight(field_ppm: Tensor, mask: Tensor) -> Tensor:
    """Data weight against spikes, 1 / max(1, h / 0.2 ppm)^2, with h the height of a voxel's spike.

    Along each axis, the height is the distance of a voxel's field from the range of its two
    neighbours. h is the median over the three axes: zero in a sheet, the step across a vessel,
    and the whole error of a voxel with a wrap error, even next to a second one.

    Spikes of a first pass are no neighbours in a second pass: in a corner of three wrong voxels,
    the middle one would be hidden by the others.

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
    """Median over the three axes of the height above or below both neighbours, (x, y, z)."""
    heights = []
    for axis in range(3):
        before, after = (values.roll(step, axis) for step in (1, -1))
        has_before, has_after = (neighbours.roll(step, axis) for step in (1, -1))
        # At the edge the one neighbour counts twice; a voxel without neighbours has height zero.
        before, after = (
            torch.where(has_before, before, torch.where(has_after, after, values)),
            torch.where(has_after, after, torch.where(has_before, before, values)),
        )
        between = values.clamp(torch.minimum(before, after), torch.maximum(before, after))
        heights.append((values - between).abs())
    x, y, z = heights
    return torch.maximum(torch.minimum(x, y), torch.minimum(torch.maximum(x, y), z))
