"""Conversion of stored phase images to radians.

One row of ``UNITS`` per convention; ``phase_unit`` says how one is chosen.

| Range | Values | Zero phase | Who |
|---|---|---|---|
| -pi..pi | fractions | 0 | most converters |
| 0..2 pi | fractions | 0 | some converters |
| -4096..4096 | whole, any step | 0 | Siemens, rescaled: pi per 4096 |
| 0..4095 | whole, any step | the middle | Siemens, as stored |
| -1000 pi..1000 pi | any | 0 | GE and Philips: milliradians |
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from accelqsm.errors import InputError
from accelqsm.files.megre.phase_unit import (
    REACH,
    TAU,
    Angles,
    PhaseUnit,
    full_range,
    range_of,
    wraps,
)
from accelqsm.files.megre.sidecar import PhaseUnits
from accelqsm.files.nifti import Image, check_finite

LEAST_FRACTION_OF_TURN = 0.1
"""Range in turns below which phase without ``Units`` may have any unit."""
RADIANS = PhaseUnit("-pi..pi", -math.pi, math.pi, 0.0, "fractions")
TURN = PhaseUnit("0..2 pi", 0.0, TAU, 0.0, "fractions")
UNITS = (
    RADIANS,
    TURN,
    PhaseUnit("-4096..4096", -4096, 4096, 0.0, "whole"),
    PhaseUnit("0..4095", 0, 4095, 2047.5, "whole"),
    PhaseUnit("milliradians", -1000 * math.pi, 1000 * math.pi, 0.0),
)
LEAST_SHARE_WITHOUT_WRAP = 0.25
"""Of a given range: what uses less and does not wrap may be in any unit."""
UNWRAPPED = (
    "a field map or unwrapped phase has none: give the scanner's own phase of each echo instead"
)
NORMALISED = ((-1.0, 1.0), (0.0, 1.0), (-0.5, 0.5))
"""Ranges of normalised phase (turns, half turns or others), which is not in radians."""


def phase_rad(images: Sequence[Image], unit: PhaseUnit | None = None) -> list[Angles]:
    """Phase in radians of the echoes of one scan; without a unit, ``phase_unit`` determines it.

    Raises:
        InputError: as ``phase_unit``.
    """
    known = phase_unit(images) if unit is None else unit
    return [known.radians(image) for image in images]


def phase_unit(images: Sequence[Image], *, units: PhaseUnits | None = None) -> PhaseUnit:
    """Determine the common phase unit of the echoes of one scan from their range.

    The first of these that holds, of the values with slope and intercept applied or as stored:

    1. the values reach both ends of a row of ``UNITS``;
    2. they are floats, and as stored reach both ends of a row: the slope does not apply to them;
    3. the values are within -pi..pi and use a tenth of it, or within 0..2 pi and go beyond pi;
    4. as stored they reach both ends of a row: a slope applied twice, or one that does not apply;
    5. they are floats, and as stored rule 3 holds;
    6. the sidecar says "arbitrary", the range is symmetric or starts at 0, and its ends are
       neighbours in space, as at wraps: the range is one turn.

    With "rad" in the sidecar only radians are possible, of any range; with "arbitrary" only where
    they reach both ends. Without "rad", the ranges -1..1, 0..1 and -0.5..0.5 are not radians.

    Args:
        images: 3D, one per echo.
        units: ``Units`` of the sidecar.

    Returns:
        The unit, which says whether it applies to the values as stored.

    Raises:
        InputError: non-finite values, constant phase, or a range that fits no rule.

    Source: Units as of BIDS, Gorgolewski et al. 2016, Sci Data 3:160044,
    doi 10.1038/sdata.2016.44.
    """
    check_varying(images)
    unit = next(_candidates(images, units), None)
    if unit is not None:
        return unit
    echoes = [_numbers(image) for image in images]
    low, high = range_of(echoes)
    if units == "rad":
        expected = 'radians, as Units "rad" says'
    else:
        expected = "phase in radians (-pi..pi or 0..2 pi), milliradians, 0..4095 or -4096..4096"
    advice = "(--phase-range LOW HIGH settles it)"
    if len(images) == 1:
        advice = "(convert it to radians; the unit of a single image cannot be told)"
    if not wraps(echoes) and high - low > TAU:
        advice = f"without a wrap, as {UNWRAPPED}"
    raise InputError(f"{images[0].path}: expected {expected}, found {low:g}..{high:g} {advice}")


def check_single(image: Image) -> None:
    """Refuse a single phase image without a wrap: a smooth map of any unit may look like it.

    Noise around a head wraps too, so that what a scanner writes passes.

    Raises:
        InputError: with the range found.
    """
    echoes = [_numbers(image)]
    if not wraps(echoes):
        low, high = range_of(echoes)
        raise InputError(
            f'{image.path}: expected a phase that wraps, or Units "rad" in its sidecar, found '
            f"{low:.4g}..{high:.4g} without a wrap, as {UNWRAPPED}"
        )


def given_unit(images: Sequence[Image], low: float, high: float) -> PhaseUnit:
    """Phase unit in which ``low`` is -pi and ``high`` is pi, slope and intercept applied.

    Raises:
        InputError: no range, or images that are not finite, constant, go beyond it, use less
            than 2 % of it, or do not show that it is one turn: what wraps reaches both ends, and
            what does not wrap may be a field map, unless its unit is known.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"--phase-range: expected LOW below HIGH, found {low:g} {high:g}")
    check_varying(images)
    unit = PhaseUnit(f"{low:g}..{high:g}, as given", low, high, (low + high) / 2)
    echoes = [_numbers(image) for image in images]
    lowest, highest = range_of(echoes)
    unused = highest - lowest < REACH * (high - low)
    for image, echo in zip(images, echoes, strict=True):
        if unused or not unit.fits([echo]):
            raise InputError(
                f"{image.path}: expected phase of the range {low:g}..{high:g} (--phase-range), "
                f"found {echo.min():g}..{echo.max():g}"
            )
    if len(images) == 1 and not any(_is_row(unit, row) for row in UNITS):
        raise InputError(
            f"{images[0].path}: expected radians or another known unit of a single phase image, "
            f"found --phase-range {low:g} {high:g}, which may be a field map's as well; convert "
            "phase to radians"
        )
    shown = f"{images[0].path}: expected phase of the range {low:g}..{high:g} (--phase-range)"
    found = f"found {lowest:g}..{highest:g}"
    if wraps(echoes):
        if not unit.reached(echoes):
            raise InputError(f"{shown}, {found}, where it wraps")
    elif highest - lowest < LEAST_SHARE_WITHOUT_WRAP * (high - low) or not any(
        _is_row(unit, row) and row.fits(echoes) for row in UNITS
    ):
        raise InputError(f"{shown}, {found} without a wrap, as {UNWRAPPED}")
    return unit


def _is_row(unit: PhaseUnit, row: PhaseUnit) -> bool:
    """Whether a given range is that of a known convention, or half a turn away from it."""
    slack = REACH * (row.high - row.low)
    return abs(unit.low - row.low) < slack and abs(unit.high - row.high) < slack


def check_varying(images: Sequence[Image]) -> None:
    """Check that echoes are finite and not constant (the first may be a constant reference).

    Raises:
        InputError: naming the echo's file.
    """
    for image in images:
        check_finite(image.values, image.path)
    for image in images[1:] or images:
        if image.values.min() == image.values.max():
            raise InputError(
                f"{image.path}: expected phase that varies, found {float(image.values.min()):g} "
                "everywhere"
            )


def _candidates(images: Sequence[Image], units: PhaseUnits | None) -> Iterator[PhaseUnit]:
    """Units that the images may have, in order of preference."""
    rows = (RADIANS, TURN) if units == "rad" else UNITS
    values = [_numbers(image) for image in images]
    stored = [np.asarray(image.stored, dtype=np.float32) for image in images]
    are_floats = all(np.issubdtype(image.stored.dtype, np.floating) for image in images)
    yield from (unit for unit in rows if unit.reached(values))
    as_stored = [dataclasses.replace(unit, stored=True) for unit in rows]
    if are_floats:
        yield from (unit for unit in as_stored if unit.reached(stored))
    if units != "arbitrary":
        yield from (unit for unit in (RADIANS, TURN) if _are_radians(unit, values, units))
    yield from (unit for unit in as_stored if unit.reached(stored))
    if units != "arbitrary" and are_floats:
        yield from (unit for unit in as_stored[:2] if _are_radians(unit, stored, units))
    if units == "arbitrary" and (full := full_range(values)):
        yield full


def _are_radians(unit: PhaseUnit, echoes: Sequence[Angles], units: PhaseUnits | None) -> bool:
    """Whether values that do not reach both ends of a range are still radians."""
    low, high = range_of(echoes)
    if not unit.fits(echoes) or (unit is not RADIANS and high <= math.pi):
        return False
    if units == "rad":
        return True
    near = [
        math.isclose(low, a, abs_tol=2e-3) and math.isclose(high, b, abs_tol=2e-3)
        for a, b in NORMALISED
    ]
    return high - low > TAU * LEAST_FRACTION_OF_TURN and not any(near)


def _numbers(image: Image) -> Angles:
    return np.asarray(image.values, dtype=np.float32)
