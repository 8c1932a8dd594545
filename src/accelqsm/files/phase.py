"""Phase as scanners store it, in radians."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.files.nifti import Image, check_finite

TOLERANCE_RAD = 0.02
LEAST_SPAN = 0.5
"""A scan of a head fills its phase range; less than half of it means another unit."""


def phase_rad(image: Image) -> npt.NDArray[np.float32]:
    """Phase in radians of an image whose unit is found from its range.

    Rules, in this order: within -pi..pi, or 0..2 pi: radians. Whole numbers within -4096..4095
    that reach below zero: pi per 4096 (Siemens). Whole numbers within 0..4095: -pi at 0 and pi at
    4095. In each case at least half of the range must be used, so that a unit is never guessed
    from a corner of it. A floating-point image with a slope whose stored values (but not the
    scaled ones) obey the first rule carries a slope that does not belong to it; it is ignored.

    Raises:
        InputError: non-finite values, constant phase, or a range that fits no rule.
    """
    check_finite(image.values, image.path)
    candidates = [np.asarray(image.values, dtype=np.float32)]
    if np.issubdtype(image.stored.dtype, np.floating):
        candidates.append(np.asarray(image.stored, dtype=np.float32))
    for values in candidates:
        radians = _to_radians(values)
        if radians is not None:
            return radians
    low, high = float(candidates[0].min()), float(candidates[0].max())
    raise InputError(
        f"{image.path}: expected phase in radians (-pi..pi), 0..4095 or -4096..4095, "
        f"found {low:g}..{high:g}"
    )


def _to_radians(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32] | None:
    low, high = float(values.min()), float(values.max())
    span = high - low
    if low >= -math.pi - TOLERANCE_RAD and high <= math.pi + TOLERANCE_RAD:
        return values if span > 2 * math.pi * LEAST_SPAN else None
    if low >= -TOLERANCE_RAD and high <= 2 * math.pi + TOLERANCE_RAD:
        return np.where(values > math.pi, values - np.float32(2 * math.pi), values)
    whole = bool(np.all(values == np.round(values)))
    if whole and low >= 0 and high <= 4095 and span > 4095 * LEAST_SPAN:
        return values * np.float32(2 * math.pi / 4095) - np.float32(math.pi)
    if whole and -4096 <= low < 0 and high <= 4096 and span > 8192 * LEAST_SPAN:
        return values * np.float32(math.pi / 4096)
    return None
