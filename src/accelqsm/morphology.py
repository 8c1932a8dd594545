"""Distance maps and erosion of binary masks, in mm."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.grid import Triple

Mask = npt.NDArray[np.bool_]


def distance_mm(mask: Mask, voxel_size_mm: Triple) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel outside ``mask`` from the nearest voxel in it; zero inside."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=voxel_size_mm))


def depth_mm(mask: Mask, voxel_size_mm: Triple) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel of ``mask`` from the nearest one outside; infinite without one.

    What lies beyond the volume counts as mask, so that a crop keeps its sides.
    """
    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=voxel_size_mm))


def erode_mask(mask: Mask, distance_mm: float, *, voxel_size_mm: Triple) -> Mask:
    """Erode a mask: keep voxels further than ``distance_mm`` from the nearest one outside.

    The distance is between voxel centres: 2 mm removes one layer of voxels of 1.5 mm or of 2 mm.
    """
    return np.asarray(depth_mm(mask, voxel_size_mm) > distance_mm)
