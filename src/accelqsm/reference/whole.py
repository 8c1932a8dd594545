"""Reference regions that need no search."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from accelqsm.grid import Triple
from accelqsm.morphology import Mask


def brain(mask: Mask, r2star_per_s: npt.NDArray[Any] | None, *, voxel_size_mm: Triple) -> Mask:
    """The whole mask."""
    return mask


def none(mask: Mask, r2star_per_s: npt.NDArray[Any] | None, *, voxel_size_mm: Triple) -> None:
    """No region: the zero of the map stays as it is."""
    return
