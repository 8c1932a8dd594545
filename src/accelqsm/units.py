"""Physical constants, and the only unit conversions in the code base."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch

    Number = TypeVar("Number", float, torch.Tensor, npt.NDArray[np.float64])
else:
    Number = TypeVar("Number")

FieldUnit = Literal["hz", "ppm"]
FIELD_UNITS: tuple[FieldUnit, ...] = ("hz", "ppm")
"""Of fields in files."""

GAMMA_BAR_HZ_PER_T = 42.577478e6
"""Gyromagnetic ratio of the proton over 2 pi (CODATA 2018)."""

PPB_PER_PPM = 1000.0

LARGEST_EXPONENT = 126
"""Of a power of two that single precision holds, and its inverse."""


def gain_to_one(largest: float) -> float:
    """Power of two that brings a largest value into 0.5 to 1, or 1 for none and for infinity.

    A power of two changes no digit: results are those of any other gain, but for squares that
    would be too small or too large for single precision.
    """
    if not 0 < largest < math.inf:
        return 1.0
    exponent = -math.frexp(largest)[1]
    return math.ldexp(1.0, max(-LARGEST_EXPONENT, min(exponent, LARGEST_EXPONENT)))


def larmor_hz_per_ppm(field_strength_t: float) -> float:
    """Frequency offset in Hz per ppm of ``field_strength_t`` (tesla): 127.73 at 3 T."""
    return GAMMA_BAR_HZ_PER_T * field_strength_t * 1e-6


def ppm_to_hz(field_ppm: Number, field_strength_t: float) -> Number:
    """Frequency offset in Hz of a field offset in ppm of ``field_strength_t`` (tesla)."""
    return field_ppm * larmor_hz_per_ppm(field_strength_t)


def hz_to_ppm(field_hz: Number, field_strength_t: float) -> Number:
    """Field offset in ppm of ``field_strength_t`` (tesla) of a frequency offset in Hz."""
    return field_hz / larmor_hz_per_ppm(field_strength_t)
