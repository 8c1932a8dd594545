"""Cerebrospinal fluid of the lateral ventricles as reference region."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.morphology import Mask, erode_mask

FLUID_R2STAR_PER_S = 5.0
MIDDLE_MM = 30.0
EDGE_MM = 1.5
LEAST_FLUID_ML = 0.3


def csf(mask: Mask, r2star_per_s: npt.NDArray[Any], *, voxel_size_mm: Triple) -> Mask:
    """Ventricular fluid: low R2* near the middle of the brain mask, eroded at its edge.

    Args:
        mask: bool (x, y, z), the brain.
        r2star_per_s: (x, y, z) in 1/s.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: less than 0.3 ml of fluid, too little for a reference.

    Source: after Liu et al. 2018, Magn Reson Med 79:2795, doi 10.1002/mrm.26946 (MEDI+0).
    """
    positions_mm = np.argwhere(mask) * np.asarray(voxel_size_mm, dtype=np.float32)
    positions_mm = positions_mm.astype(np.float32)
    near = np.zeros_like(mask)
    near[mask] = np.linalg.norm(positions_mm - positions_mm.mean(0), axis=1) < MIDDLE_MM
    slow = near & (r2star_per_s < FLUID_R2STAR_PER_S)
    core = erode_mask(slow, EDGE_MM, voxel_size_mm=voxel_size_mm)
    volume_ml = float(core.sum()) * float(np.prod(voxel_size_mm)) / 1000
    if volume_ml < LEAST_FLUID_ML:
        raise InputError(
            f"reference csf: expected {LEAST_FLUID_ML} ml or more of R2* below "
            f"{FLUID_R2STAR_PER_S:g} per s near the middle of the brain, found {volume_ml:.2f} ml"
        )
    return core
