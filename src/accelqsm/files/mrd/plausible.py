"""Values of a header that cannot be in the unit they should be in."""

from __future__ import annotations

import warnings
from pathlib import Path

from accelqsm.acquisition import LARGEST_VOXEL_MM, SMALLEST_VOXEL_MM
from accelqsm.errors import InputError, InputWarning
from accelqsm.grid import Shape, Triple
from accelqsm.units import GAMMA_BAR_HZ_PER_T

WEAKEST_FIELD_T, STRONGEST_FIELD_T = 0.05, 25.0
SAME_FIELD, NEAR_FIELD, LIKE_FIELD = 1e-3, 0.01, 0.1
"""Of two statements of the field: the same, near enough to take the frequency without a word,
and near enough to take it at all (a 3 T scanner runs at 2.89 to 3.0 T)."""

SHORTEST_LAST_ECHO_MS, LONGEST_ECHO_MS = 0.5, 500.0
LARGEST_FIELD_OF_VIEW_MM = 1500.0
LARGEST_MATRIX = 4096
COARSE_MATRIX = 32
"""Samples along an axis from which on voxels of 20 mm are implausible: a calibration has fewer."""

HEAD_MM, HEAD_MATRIX, ANIMAL_FIELD_T = 60.0, 64, 4.0
"""A scan of this many samples and a clinical field is hardly of something smaller than this."""

_UNITS_OF_FIELD = ((1e-3, "millitesla"), (1e-4, "gauss"), (1e3, "kilotesla"))
_UNITS_OF_FREQUENCY = ((1e6, "MHz"), (1e3, "kHz"), (1e9, "GHz"))


def field_strength_t(path: Path, *, tesla: float, larmor_hz: float) -> float:
    """The main field, of a field strength and a resonance frequency that may be 0 for unknown.

    The frequency is what the scanner ran at; the field strength is often nominal. Where they are
    the same to a thousandth, the field strength stands.

    Raises:
        InputError: neither, values out of range, or two that contradict each other.

    Warns:
        InputWarning: a frequency out of range beside a field strength in range, or one that
            differs from it by more than a hundredth and less than a tenth.
    """
    from_frequency = larmor_hz / GAMMA_BAR_HZ_PER_T
    if not tesla and not larmor_hz:
        raise InputError(f"{path}: expected a field strength or resonance frequency, found none")
    if tesla and not WEAKEST_FIELD_T <= tesla <= STRONGEST_FIELD_T:
        raise InputError(
            f"{path}: systemFieldStrength_T: expected tesla, such as 3, found {tesla:.10g}"
            + _in_unit(tesla, _UNITS_OF_FIELD)
        )
    plausible = WEAKEST_FIELD_T <= from_frequency <= STRONGEST_FIELD_T
    message = (
        f"{path}: H1resonanceFrequency_Hz: expected hertz, such as 127732434, found "
        f"{larmor_hz:.10g}{_in_unit(larmor_hz / GAMMA_BAR_HZ_PER_T, _UNITS_OF_FREQUENCY)}"
    )
    if not tesla and not plausible:
        raise InputError(message)
    if not tesla:
        return from_frequency
    if not larmor_hz:
        return tesla
    if not plausible:
        _warn(f"{message}; the field strength of {tesla:g} T is taken")
        return tesla
    return _of_two(path, tesla, from_frequency, larmor_hz)


def _of_two(path: Path, tesla: float, from_frequency: float, larmor_hz: float) -> float:
    """The field of two statements in range."""
    apart = abs(from_frequency / tesla - 1)
    both = (
        f"{path}: systemFieldStrength_T {tesla:g} and H1resonanceFrequency_Hz {larmor_hz:.10g} "
        f"({from_frequency:.5g} T)"
    )
    if apart > LIKE_FIELD:
        raise InputError(f"{both}: expected the same field, found two")
    if apart > NEAR_FIELD:
        _warn(f"{both} differ by {100 * apart:.1f} %; the frequency is taken")
    return tesla if apart <= SAME_FIELD else from_frequency


def check_echo_times(path: Path, echo_times_ms: tuple[float, ...], repetition_ms: float) -> None:
    """Refuse echo times that cannot be in ms.

    Raises:
        InputError: the last below 0.5 ms (seconds) or above 500 ms (microseconds).

    Warns:
        InputWarning: echo times beyond the repetition time, where that can be in ms.
    """
    shown = " ".join(f"{t:g}" for t in echo_times_ms)
    last = max(echo_times_ms)
    if not SHORTEST_LAST_ECHO_MS <= last <= LONGEST_ECHO_MS:
        unit = "seconds" if last < SHORTEST_LAST_ECHO_MS else "microseconds"
        raise InputError(f"{path}: sequenceParameters.TE: expected ms, found '{shown}' ({unit}?)")
    if 1 <= repetition_ms < last:
        _warn(
            f"{path}: sequenceParameters.TE: expected ms within the repetition time of "
            f"{repetition_ms:g} ms, found '{shown}'"
        )


def check_space(path: Path, name: str, matrix: Shape, fov_mm: Triple, field_t: float) -> None:
    """Refuse a field of view that cannot be in mm.

    Raises:
        InputError: voxels below 0.01 mm or above 20 mm, or a matrix or field of view that no
            scanner has.

    Warns:
        InputWarning: a fine image of less than 60 mm in a clinical field, which may be cm.
    """
    sizes = [mm / n for mm, n in zip(fov_mm, matrix, strict=True)]
    shown = " x ".join(f"{mm:g}" for mm in fov_mm)
    many = " x ".join(map(str, matrix))
    if max(matrix) > LARGEST_MATRIX:
        raise InputError(
            f"{path}: {name}.matrixSize: expected at most {LARGEST_MATRIX} samples along an axis, "
            f"found {many}"
        )
    if min(sizes) < SMALLEST_VOXEL_MM:
        raise InputError(
            f"{path}: {name}.fieldOfView_mm: expected mm, found {shown} for {many} samples, "
            f"voxels of {min(sizes):.3g} mm (metres or centimetres?)"
        )
    coarse = [mm for mm, n in zip(sizes, matrix, strict=True) if n >= COARSE_MATRIX]
    if max(coarse, default=0.0) > LARGEST_VOXEL_MM or max(fov_mm) > LARGEST_FIELD_OF_VIEW_MM:
        raise InputError(
            f"{path}: {name}.fieldOfView_mm: expected mm, found {shown} for {many} samples, "
            f"voxels of {max(sizes):.3g} mm (micrometres, or a slab for each slice?)"
        )
    if max(fov_mm) < HEAD_MM and max(matrix) >= HEAD_MATRIX and field_t < ANIMAL_FIELD_T:
        _warn(
            f"{path}: {name}.fieldOfView_mm: {shown} mm is smaller than a head; if these are "
            "centimetres, the map is wrong"
        )


def _in_unit(value: float, units: tuple[tuple[float, str], ...]) -> str:
    """The unit in which a value of tesla would be plausible, as a question."""
    for factor, unit in units:
        if 0.2 <= value * factor <= STRONGEST_FIELD_T:
            return f" ({unit}?)"
    return ""


def _warn(message: str) -> None:
    warnings.warn(InputWarning(message), stacklevel=4)
