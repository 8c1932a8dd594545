"""Description of a multi-echo scan from file names and sidecars: echo times, main field."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from accelqsm.acquisition import check_echo_times, check_field_strength
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.megre.bids import EchoFiles, find_megre
from accelqsm.files.megre.meaning import check_is_phase, check_part, is_difference
from accelqsm.files.megre.order import Parts, echo_times_s, in_order, same_value, shown_times
from accelqsm.files.megre.sidecar import (
    PhaseUnits,
    Sidecar,
    check_unfiltered,
    echo_times_of_difference_s,
    read_sidecar,
    sidecar_b0_direction,
    sidecar_field_strength_t,
    sidecar_larmor_field_t,
    sidecar_phase_units,
)
from accelqsm.grid import Triple, unit_vector

SAME_TIME = 0.02
"""Relative difference from a sidecar beyond which a given value contradicts it."""
SAME_FIELD = 0.1
OTHERS = {"--real", "--imaginary", "--complex"}
Value = TypeVar("Value")


@dataclass(frozen=True)
class ScanDescription:
    """Files of a scan in the order of their echoes, and how they were acquired.

    Attributes:
        files: magnitude and phase, real and imaginary part, or complex numbers.
        echo_times_s: one per echo, in seconds.
        field_strength_t: main field in tesla.
        b0_direction: unit vector along the array axes; None for scanner +z.
        phase_units: ``Units`` of the phase in a sidecar, if given.
        phase_range: values that are -pi and pi, if given.
        difference: the phase is that of the second echo less that of the first.
    """

    files: EchoFiles
    echo_times_s: tuple[float, ...]
    field_strength_t: float
    b0_direction: Triple | None = None
    phase_units: PhaseUnits | None = None
    phase_range: tuple[float, float] | None = None
    difference: bool = False


def find_files(
    magnitude: Sequence[Path],
    phase: Sequence[Path],
    megre: Path | None = None,
    *,
    real: Sequence[Path] = (),
    imaginary: Sequence[Path] = (),
    complex_numbers: Sequence[Path] = (),
) -> EchoFiles:
    """Files of a scan, given one by one or as a BIDS folder or prefix (``find_megre``).

    Raises:
        InputError: neither or both given, or as ``find_megre``.
    """
    named: dict[str, Sequence[Path] | Path | None] = {
        "--magnitude": magnitude,
        "--phase": phase,
        "--real": real,
        "--imaginary": imaginary,
        "--complex": complex_numbers,
        "--megre": megre,
    }
    given = [name for name, value in named.items() if value]
    if megre is not None and given == ["--megre"]:
        return find_megre(megre)
    if given in (["--magnitude", "--phase"], ["--real", "--imaginary"], ["--complex"]):
        return EchoFiles(*map(tuple, (magnitude, phase, real, imaginary, complex_numbers)))
    others = "--real and --imaginary, or --complex, or " if set(given) & OTHERS else ""
    raise InputError(
        f"expected --magnitude and --phase, or {others}--megre, found "
        f"{' and '.join(given) or 'none of them'}"
    )


def describe_scan(
    files: EchoFiles,
    *,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
    b0_direction: Sequence[float] | None = None,
    phase_range: tuple[float, float] | None = None,
) -> ScanDescription:
    """Sort a scan's files by echo, and read from their JSON sidecars what is not given.

    Files are ordered as ``in_order`` says. A single phase image with ``EchoTime1`` and
    ``EchoTime2``, or of the suffix ``phasediff``, is the phase difference of these echoes.

    Args:
        files: magnitude and phase files.
        echo_times_s: in seconds, increasing; wins over sidecars that cannot be used.
        field_strength_t: in tesla; wins over sidecars that cannot be used.
        b0_direction: along the array axes; wins over ``B0_dir``.
        phase_range: values that are -pi and pi; wins over ``Units``.

    Raises:
        InputError: missing echo times or field strength, sidecars that contradict each other or
            cannot be used, or phase that a sidecar marks as filtered.
    """
    parts = _read_sidecars(files, any_unit=phase_range is not None)
    phase = parts.get("phase", [])
    difference = len(phase) == 1 and is_difference(phase[0])
    parts = in_order(parts, times_given=bool(echo_times_s))
    if difference:
        _check_difference(parts)
    every = [sidecar for sidecars in parts.values() for sidecar in sidecars]
    times_s = _times_s(parts, echo_times_s, difference=difference)
    field_t, direction = field_strength_t, b0_direction
    units: PhaseUnits | None = None
    if field_t is None:
        field_t = field_of_sidecars(every)
    else:
        check_field(every, field_t)
    if not times_s or field_t is None:
        raise _missing_metadata(
            every[-1 if difference else 0],
            times=not times_s,
            field=field_t is None,
            key="EchoTime1 and EchoTime2" if difference else "EchoTime",
        )
    if direction is None:
        direction = common_value(every, "B0_dir", sidecar_b0_direction)
    if phase_range is None:
        units = common_value(phase, "Units", sidecar_phase_units)
    return ScanDescription(
        EchoFiles.of_parts({part: [s.image for s in of] for part, of in parts.items()}),
        tuple(float(t) for t in times_s),
        field_t,
        None if direction is None else unit_vector(direction),
        units,
        phase_range,
        difference,
    )


def field_of_sidecars(every: Sequence[Sidecar]) -> float | None:
    """Main field in tesla as sidecars say, or by the frequency of hydrogen in it."""
    field_t = common_value(every, "MagneticFieldStrength", sidecar_field_strength_t)
    if field_t is not None:
        return field_t
    field_t = common_value(every, "ImagingFrequency", sidecar_larmor_field_t)
    if field_t is not None:
        message = (
            f"{every[0].image}: no MagneticFieldStrength; {field_t:g} T is taken, by "
            "ImagingFrequency of hydrogen (--b0-tesla says otherwise)"
        )
        warnings.warn(InputWarning(message), stacklevel=3)
    return field_t


def _read_sidecars(files: EchoFiles, *, any_unit: bool) -> Parts:
    """Sidecars of every file, which must not say that it is something else."""
    parts = {part: [read_sidecar(path) for path in paths] for part, paths in files.parts.items()}
    for part, sidecars in parts.items():
        check_part(part, sidecars)
    for sidecar in (s for part, of in parts.items() if part != "mag" for s in of):
        check_is_phase(sidecar, any_unit=any_unit)
        check_unfiltered(sidecar)
    for sidecar in parts.get("phase", []):
        if len(parts["phase"]) > 1 and is_difference(sidecar):
            raise InputError(
                f"{sidecar.image}: expected one phase difference alone, or the phase of every "
                f"echo, found a phase difference among {len(parts['phase'])} files"
            )
    return parts


def _check_difference(parts: Parts) -> None:
    """Refuse a magnitude of another echo than the two of a phase difference."""
    times_s = echo_times_of_difference_s(parts["phase"][0])
    for sidecar in parts["mag"] if times_s else []:
        found = sidecar.number("EchoTime")
        if found is not None and not any(same_value(found, t) for t in times_s or ()):
            raise InputError(
                f"{sidecar.sources['EchoTime']}: expected EchoTime {shown_times(times_s or ())} "
                f"as of the phase difference, found {found:g}"
            )


def _times_s(
    parts: Parts, given: Sequence[float] | None, *, difference: bool
) -> tuple[float, ...] | None:
    """Echo times in seconds: as given, else of the sidecars; None where nobody says.

    Raises:
        InputError: usable times of the sidecars that contradict those that were given.
    """
    if not given:
        if difference:
            return echo_times_of_difference_s(parts["phase"][0])
        return echo_times_s(parts)
    times_s = tuple(given)
    check_echo_times(times_s)
    try:
        told = echo_times_of_difference_s(parts["phase"][0]) if difference else echo_times_s(parts)
    except InputError:
        return times_s
    if told and len(told) == len(times_s):
        for ours, theirs in zip(times_s, told, strict=True):
            if abs(ours - theirs) > SAME_TIME * theirs:
                first = next(iter(parts.values()))[0]
                raise InputError(
                    f"{first.image}: expected the EchoTime {shown_times(told)} of its sidecars, "
                    f"found --echo-times-s {shown_times(times_s)}; correct one of them"
                )
    return times_s


def check_field(sidecars: Sequence[Sidecar], given_t: float) -> None:
    """Refuse a field strength that a sidecar contradicts, if that one is usable."""
    check_field_strength(given_t)
    for sidecar in sidecars:
        try:
            told = sidecar_field_strength_t(sidecar)
        except InputError:
            continue
        if told is not None and abs(given_t - told) > SAME_FIELD * told:
            raise InputError(
                f"{sidecar.sources['MagneticFieldStrength']}: expected MagneticFieldStrength "
                f"{given_t:g} as --b0-tesla, found {told:g}; correct one of them"
            )


def common_value(
    sidecars: Sequence[Sidecar], key: str, read: Callable[[Sidecar], Value | None]
) -> Value | None:
    """Value of a field, which must agree between all sidecars that have it."""
    first: Sidecar | None = None
    agreed: Value | None = None
    for sidecar in sidecars:
        value = read(sidecar)
        if value is None:
            continue
        if first is None:
            first, agreed = sidecar, value
        elif not same_value(value, agreed):
            raise InputError(
                f"{sidecar.sources[key]}: expected {key} {agreed} as in "
                f"{first.sources[key].name}, found {value}"
            )
    return agreed


def _missing_metadata(sidecar: Sidecar, *, times: bool, field: bool, key: str) -> InputError:
    options = [o for o, missing in (("--echo-times-s", times), ("--b0-tesla", field)) if missing]
    fields = [f for f, missing in ((key, times), ("MagneticFieldStrength", field)) if missing]
    return InputError(
        f"{sidecar.image}: expected {' and '.join(options)}, or {' and '.join(fields)} in a JSON "
        f"sidecar, found {sidecar.found}"
    )
