"""Reference region of zero susceptibility by its name."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.morphology import Mask
from accelqsm.reference.registry import REFERENCES


def reference_region(
    kind: str, mask: Mask, r2star_per_s: npt.NDArray[Any] | None, *, voxel_size_mm: Triple
) -> Mask | None:
    """Reference region of zero susceptibility, by the name of a row of ``REFERENCES``.

    Args:
        kind: name of the reference.
        mask: bool (x, y, z), the brain.
        r2star_per_s: (x, y, z) in 1/s, where the reference needs it.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        bool (x, y, z), or None for no shift.

    Raises:
        InputError: an unknown reference, R2* that is needed and absent, or no such region.
    """
    row = REFERENCES[kind]
    if row.needs_r2star and r2star_per_s is None:
        raise InputError(f"reference {kind}: expected two echoes or more for R2*, found one")
    region: Mask | None = row.load()(mask, r2star_per_s, voxel_size_mm=voxel_size_mm)
    return region
