"""How deep in a label a place lies: what makes a label of whole voxels smooth enough to move."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.nuclei.volume import Volume, cropped

Depth = npt.NDArray[np.float64]

REACH_MM = 4.0
"""Beyond it, distances from a label's surface are not told apart."""

SMOOTHING_EDGES = 0.6
"""Standard deviation that takes the steps of voxels out of a surface, in their shortest edge."""

LEAST_EDGES = 0.1
"""No voxel's centre comes nearer to the smooth surface, in the voxels' shortest edge."""

ROOM = 3


def depth_mm(inside: Volume) -> Volume:
    """How deep in a label each voxel's centre lies, negative outside, on the part near the label.

    The surface runs half-way between the centres inside and those outside, in any direction. Then
    the voxels' steps are smoothed off it, as far as every centre stays on its side: steps that are
    propagated along gain and lose voxels by chance where they meet another grid. Smooth =
    2 G d - G (G d), with G a Gaussian, leaves what is flat or evenly curved where it is; G alone
    would shrink it.

    Args:
        inside: above one half in the label (x, y, z).

    Returns:
        float32, mm, -4 to 4; beyond its grid, -4 is meant.

    Source: Whitaker 2000, IEEE Volume Visualization and Graphics Symposium, 23-32 (a surface that
    is smoothed while every voxel stays on its side).
    """
    here = Volume(inside.values > 0.5, inside.grid)
    if not here.values.any():
        return Volume(np.full(here.grid.shape, -REACH_MM, dtype=np.float32), here.grid)
    near = cropped(here, margin_mm=REACH_MM)
    sizes_mm = np.asarray(near.grid.voxel_size_mm)
    # More voxels all around, for a label that reaches the edge of its volume.
    label = np.pad(near.values, ROOM)
    stepped = np.where(label, _to_surface_mm(label, sizes_mm), -_to_surface_mm(~label, sizes_mm))
    smooth = _smooth(np.clip(stepped, -REACH_MM, REACH_MM), sizes_mm)
    least_mm = LEAST_EDGES * sizes_mm.min()
    depth = np.where(label, np.maximum(smooth, least_mm), np.minimum(smooth, -least_mm))
    own = (slice(ROOM, -ROOM),) * 3
    return Volume(np.clip(depth[own], -REACH_MM, REACH_MM).astype(np.float32), near.grid)


def _to_surface_mm(region: npt.NDArray[np.bool_], sizes_mm: Depth) -> Depth:
    """Distance of a region's voxels from its surface, half a step before the nearest one beyond.

    A step is the way to a neighbour in that direction, whatever the voxel's shape; 0 beyond.
    """
    distance, nearest = ndimage.distance_transform_edt(
        region, sampling=sizes_mm, return_indices=True
    )
    steps = np.abs(nearest - np.indices(region.shape)).max(0)
    return np.asarray(distance * (1 - 0.5 / np.maximum(steps, 1)))


def _smooth(values: Depth, sizes_mm: Depth) -> Depth:
    width = SMOOTHING_EDGES * sizes_mm.min() / sizes_mm
    once = ndimage.gaussian_filter(values, width)
    return np.asarray(2 * once - ndimage.gaussian_filter(once, width))
