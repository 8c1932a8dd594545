"""Phase as scanners store it, in radians."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.files.nifti import Image, check_finite

TOLERANCE_RAD = 0.02
LEAST_SPAN_OF_RADIANS = 0.1
LEAST_SPAN_OF_INTEGERS = 0.5
"""Shares of the full range that the echoes together must use: a head fills it, and a unit must
not be guessed from a corner of it."""

Angles = npt.NDArray[np.float32]


def phase_rad(images: Sequence[Image]) -> list[Angles]:
    """Phase in radians of the echoes of one scan, whose common unit is found from their range.

    Rules, in this order: within -pi..pi, or 0..2 pi: radians. Whole numbers within -4096..4095
    that reach below zero: pi per 4096 (Siemens). Whole numbers within 0..4095: -pi at 0 and pi at
    4095. Floating-point images with a slope whose stored values (but not the scaled ones) obey
    the first rule carry a slope that does not belong to them; it is ignored.

    Raises:
        InputError: non-finite values, constant phase, or a range that fits no rule.
    """
    for image in images:
        check_finite(image.values, image.path)
    scaled = [np.asarray(image.values, dtype=np.float32) for image in images]
    radians = _to_radians(scaled)
    if radians is None and all(np.issubdtype(i.stored.dtype, np.floating) for i in images):
        radians = _to_radians([np.asarray(image.stored, dtype=np.float32) for image in images])
    if radians is None:
        low, high = _range(scaled)
        raise InputError(
            f"{images[0].path}: expected phase in radians (-pi..pi), 0..4095 or -4096..4095, "
            f"found {low:g}..{high:g}"
        )
    return radians


def _range(echoes: list[Angles]) -> tuple[float, float]:
    return min(float(e.min()) for e in echoes), max(float(e.max()) for e in echoes)


def _to_radians(echoes: list[Angles]) -> list[Angles] | None:
    low, high = _range(echoes)
    span, pi = high - low, math.pi
    if low >= -TOLERANCE_RAD and high <= 2 * pi + TOLERANCE_RAD and high > pi + TOLERANCE_RAD:
        return [np.where(e > pi, e - np.float32(2 * pi), e) for e in echoes]
    if low >= -pi - TOLERANCE_RAD and high <= pi + TOLERANCE_RAD:
        return echoes if span > 2 * pi * LEAST_SPAN_OF_RADIANS else None
    if not all(bool(np.all(e == np.round(e))) for e in echoes):
        return None
    if low >= 0 and high <= 4095 and span > 4095 * LEAST_SPAN_OF_INTEGERS:
        return [e * np.float32(2 * pi / 4095) - np.float32(pi) for e in echoes]
    if -4096 <= low < 0 and high <= 4096 and span > 8192 * LEAST_SPAN_OF_INTEGERS:
        return [e * np.float32(pi / 4096) for e in echoes]
    return None
