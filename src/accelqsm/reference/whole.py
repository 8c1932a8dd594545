"""Reference regions without segmentation: the whole brain, or none."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from accelqsm.grid import Triple
from accelqsm.morphology import Mask


def brain(mask: Mask, r2star_per_s: npt.NDArray[Any] | None, *, voxel_size_mm: Triple) -> Mask:
    """Whole brain mask as reference region."""
    return mask


def none(mask: Mask, r2star_per_s: npt.NDArray[Any] | None, *, voxel_size_mm: Triple) -> None:
    """No reference region: the map is not shifted."""
    return
