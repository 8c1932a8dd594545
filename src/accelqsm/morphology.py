"""Distances inside and outside a mask, and a mask without its edge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.grid import Triple

Mask = npt.NDArray[np.bool_]


def distance_mm(mask: Mask, voxel_size_mm: Triple) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel outside ``mask`` from it; zero inside."""
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=voxel_size_mm))


def depth_mm(mask: Mask, voxel_size_mm: Triple) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel of ``mask`` from the nearest one outside; infinite without one.

    What lies beyond the volume counts as mask, so that a crop keeps its sides.
    """
    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=voxel_size_mm))


def erode_mask(mask: Mask, distance_mm: float, *, voxel_size_mm: Triple) -> Mask:
    """Voxels whose centre is further than ``distance_mm`` from the nearest one outside the mask.

    The distance is between centres: 2 mm takes a voxel of 1.5 mm off, and one of 2 mm.
    """
    return np.asarray(depth_mm(mask, voxel_size_mm) > distance_mm)
