"""Signed distance from the smoothed surface of a label, for its interpolation."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.nuclei.volume import Volume, crop_to_nonzero

Depth = npt.NDArray[np.float64]

REACH_MM = 4.0
"""Distances from the surface are clipped to this."""

SMOOTHING_EDGES = 0.6
"""Standard deviation of the smoothing of voxel steps, in shortest voxel edges."""

LEAST_EDGES = 0.1
"""Least distance of voxel centres from the smoothed surface, in shortest voxel edges."""

PADDING = 3


def depth_mm(inside: Volume) -> Volume:
    """Signed distance of voxel centres from the surface of a label, negative outside.

    The surface is half-way between the voxel centres inside and outside, in any direction. It is
    smoothed, with every voxel centre kept on its side, because steps of voxels would cause random
    gains and losses of voxels on another grid. The smoothing 2 G d - G (G d), with G a Gaussian,
    preserves flat and evenly curved surfaces; G alone would shrink the label.

    Args:
        inside: above one half in the label (x, y, z).

    Returns:
        float32, mm, -4 to 4, cropped around the label; -4 beyond.

    Source: Whitaker 2000, IEEE Volume Visualization and Graphics Symposium, 23-32 (a surface that
    is smoothed while every voxel stays on its side).
    """
    here = Volume(inside.values > 0.5, inside.grid)
    if not here.values.any():
        return Volume(np.full(here.grid.shape, -REACH_MM, dtype=np.float32), here.grid)
    near = crop_to_nonzero(here, margin_mm=REACH_MM)
    sizes_mm = np.asarray(near.grid.voxel_size_mm)
    # Padded for a label that reaches the edge of its volume.
    label = np.pad(near.values, PADDING)
    stepped = np.where(label, _to_surface_mm(label, sizes_mm), -_to_surface_mm(~label, sizes_mm))
    smooth = _smooth(np.clip(stepped, -REACH_MM, REACH_MM), sizes_mm)
    least_mm = LEAST_EDGES * sizes_mm.min()
    depth = np.where(label, np.maximum(smooth, least_mm), np.minimum(smooth, -least_mm))
    unpadded = (slice(PADDING, -PADDING),) * 3
    return Volume(np.clip(depth[unpadded], -REACH_MM, REACH_MM).astype(np.float32), near.grid)


def _to_surface_mm(region: npt.NDArray[np.bool_], sizes_mm: Depth) -> Depth:
    """Distance of a region's voxels from its surface, half a step before the nearest voxel outside.

    A step is the distance to the neighbour in that direction; 0 outside the region.
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
