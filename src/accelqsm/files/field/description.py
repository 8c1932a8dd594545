"""Description of a field from arguments and sidecars: its unit and the main field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.megre.description import check_field, common_value, field_of_sidecars
from accelqsm.files.megre.sidecar import (
    Sidecar,
    read_sidecar,
    sidecar_b0_direction,
    sidecar_echo_times_s,
)
from accelqsm.grid import Triple, unit_vector
from accelqsm.units import FIELD_UNITS, FieldUnit

SPELLED = {"hz": "Hz", "ppm": "ppm"}
"""As sidecars spell them."""


@dataclass(frozen=True)
class FieldDescription:
    """How a field was measured.

    Attributes:
        unit: of the field and its standard deviation.
        field_strength_t: main field in tesla.
        b0_direction: unit vector along the array axes; None for scanner +z.
        echo_times_s: of the magnitudes in seconds; empty where not known.
    """

    unit: FieldUnit
    field_strength_t: float
    b0_direction: Triple | None
    echo_times_s: tuple[float, ...] = ()


def describe_field(
    fields: Sequence[Path],
    magnitudes: Sequence[Path],
    *,
    field_unit: str | None = None,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
    b0_direction: Sequence[float] | None = None,
) -> FieldDescription:
    """Read from JSON sidecars what is not given.

    Args:
        fields: the field and, if given, its standard deviation, in one unit; none for images in
            memory.
        magnitudes: of every echo.
        field_unit: "hz" or "ppm"; by default ``Units``.
        echo_times_s: of the magnitudes; by default ``EchoTime``.
        field_strength_t: in tesla; by default ``MagneticFieldStrength``.
        b0_direction: along the array axes; by default ``B0_dir``.

    Raises:
        InputError: a unit or field strength that nobody says, or that sidecars contradict.
    """
    own = [read_sidecar(path) for path in fields]
    others = [read_sidecar(path) for path in magnitudes]
    every = [*own, *others]
    direction: Sequence[float] | None = b0_direction
    if direction is None:
        direction = common_value(every, "B0_dir", sidecar_b0_direction)
    return FieldDescription(
        _unit(own, field_unit),
        _strength_t(every, field_strength_t),
        None if direction is None else unit_vector(direction),
        tuple(echo_times_s or ()) or _times_s(others),
    )


def sidecar_field_unit(sidecar: Sidecar) -> FieldUnit | None:
    """``Units`` of a field; None where absent.

    Raises:
        InputError: neither "Hz" nor "ppm".
    """
    value = sidecar.fields.get("Units")
    if value is None:
        return None
    for unit in FIELD_UNITS:
        if str(value).lower() == unit:
            return unit
    raise InputError(
        f'{sidecar.sources["Units"]}: Units: expected "Hz" or "ppm" of a field, found '
        f"{json.dumps(value)}"
    )


def _unit(own: Sequence[Sidecar], given: str | None) -> FieldUnit:
    told: FieldUnit | None = common_value(own, "Units", sidecar_field_unit)
    if given is None:
        if told is not None:
            return told
        name, found = (own[0].image, own[0].found) if own else ("field", "neither")
        raise InputError(
            f"{name}: expected --field-unit hz or ppm, or Units in a JSON sidecar, found {found}"
        )
    for unit in FIELD_UNITS:
        if unit == given:
            if told not in (None, unit):
                raise InputError(
                    f"{own[0].image}: expected Units {SPELLED[unit]} as --field-unit, found "
                    f"{SPELLED[str(told)]} in its sidecar; correct one of them"
                )
            return unit
    raise InputError(f"--field-unit: expected hz or ppm, found '{given}'")


def _strength_t(every: Sequence[Sidecar], given_t: float | None) -> float:
    if given_t is not None:
        check_field(every, given_t)
        return given_t
    told_t = field_of_sidecars(every) if every else None
    if told_t is None:
        name, found = (every[0].image, every[0].found) if every else ("field", "neither")
        raise InputError(
            f"{name}: expected --b0-tesla, or MagneticFieldStrength in a JSON sidecar (fields are "
            f"kept in Hz, of any unit), found {found}"
        )
    return told_t


def _times_s(sidecars: Sequence[Sidecar]) -> tuple[float, ...]:
    """Echo times of every magnitude in seconds, or none where a sidecar lacks them."""
    times_s = [sidecar_echo_times_s(sidecar) for sidecar in sidecars]
    if any(times is None for times in times_s):
        return ()
    return tuple(time for times in times_s for time in times or ())
