"""Description of a multi-echo scan from file names and sidecars: echo times, main field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from accelqsm.errors import InputError
from accelqsm.files.megre.bids import EchoFiles, bids_name, find_megre
from accelqsm.files.megre.sidecar import (
    PhaseUnits,
    Sidecar,
    check_unfiltered,
    read_sidecar,
    sidecar_b0_direction,
    sidecar_echo_times_s,
    sidecar_field_strength_t,
    sidecar_phase_units,
)
from accelqsm.grid import Triple, unit_vector

SAME_VALUE = 1e-3
"""Relative tolerance at which values of two sidecars agree."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class ScanDescription:
    """Files of a scan in the order of their echoes, and how they were acquired.

    Attributes:
        files: magnitude and phase.
        echo_times_s: one per echo, in seconds.
        field_strength_t: main field in tesla.
        b0_direction: unit vector along the array axes; None for scanner +z.
        phase_units: ``Units`` of the phase in a sidecar, if given.
        phase_range: values that are -pi and pi, if given.
    """

    files: EchoFiles
    echo_times_s: tuple[float, ...]
    field_strength_t: float
    b0_direction: Triple | None = None
    phase_units: PhaseUnits | None = None
    phase_range: tuple[float, float] | None = None


def find_files(
    magnitude: Sequence[Path], phase: Sequence[Path], megre: Path | None = None
) -> EchoFiles:
    """Files of a scan, given one by one or as a BIDS folder or prefix (``find_megre``).

    Raises:
        InputError: neither or both given, or as ``find_megre``.
    """
    if megre is not None and not (magnitude or phase):
        return find_megre(megre)
    if megre is None and magnitude and phase:
        return EchoFiles(tuple(magnitude), tuple(phase))
    named = {"--magnitude": magnitude, "--phase": phase, "--megre": megre}
    given = " and ".join(name for name, value in named.items() if value) or "none of them"
    raise InputError(f"expected --magnitude and --phase, or --megre, found {given}")


def describe_scan(
    files: EchoFiles,
    *,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
    b0_direction: Sequence[float] | None = None,
    phase_range: tuple[float, float] | None = None,
) -> ScanDescription:
    """Sort a scan's files by echo, and read from their JSON sidecars what is not given.

    Files are ordered by ``EchoTime``, else by the echo number in their names, else left as given;
    where only magnitude or only phase can be ordered, the other follows.

    Args:
        files: magnitude and phase files.
        echo_times_s: in seconds, increasing; wins over the sidecars.
        field_strength_t: in tesla; wins over the sidecars.
        b0_direction: along the array axes; wins over ``B0_dir``.
        phase_range: values that are -pi and pi; wins over ``Units``.

    Raises:
        InputError: missing echo times or field strength, sidecars that contradict each other or
            cannot be used, or phase that a sidecar marks as filtered.
    """
    magnitude = [read_sidecar(path) for path in files.magnitude]
    phase = [read_sidecar(path) for path in files.phase]
    for part, sidecars in (("mag", magnitude), ("phase", phase)):
        _check_part(part, sidecars)
    for sidecar in phase:
        check_unfiltered(sidecar)
    magnitude, phase = _sort_by_echo(magnitude, phase)
    both = [*magnitude, *phase]
    times_s = echo_times_s or _sidecar_times_s(magnitude, phase)
    field_t, direction = field_strength_t, b0_direction
    units: PhaseUnits | None = None
    if field_t is None:
        field_t = _common_value(both, "MagneticFieldStrength", sidecar_field_strength_t)
    if not times_s or field_t is None:
        raise _missing_metadata(magnitude[0], times=not times_s, field=field_t is None)
    if direction is None:
        direction = _common_value(both, "B0_dir", sidecar_b0_direction)
    if phase_range is None:
        units = _common_value(phase, "Units", sidecar_phase_units)
    return ScanDescription(
        EchoFiles(tuple(s.image for s in magnitude), tuple(s.image for s in phase)),
        tuple(float(t) for t in times_s),
        field_t,
        None if direction is None else unit_vector(direction),
        units,
        phase_range,
    )


def _check_part(part: str, sidecars: Sequence[Sidecar]) -> None:
    """Check that no file name has the label of the other part."""
    for sidecar in sidecars:
        label = bids_name(sidecar.image).label("part")
        if label not in (part, None):
            raise InputError(f"{sidecar.image}: expected part-{part}, found part-{label}")


def _sort_by_echo(
    magnitude: list[Sidecar], phase: list[Sidecar]
) -> tuple[list[Sidecar], list[Sidecar]]:
    """Sort both lists by echo."""
    by_magnitude, by_phase = _order(magnitude), _order(phase)
    if len(magnitude) == len(phase):
        by_magnitude, by_phase = by_magnitude or by_phase, by_phase or by_magnitude
    return (
        [magnitude[n] for n in by_magnitude or range(len(magnitude))],
        [phase[n] for n in by_phase or range(len(phase))],
    )


def _order(sidecars: Sequence[Sidecar]) -> list[int] | None:
    """Positions of the files by echo time or number; None where neither is known of all."""
    times = [sidecar.number("EchoTime") for sidecar in sidecars]
    echoes = [bids_name(sidecar.image).echo for sidecar in sidecars]
    for keys in (times, echoes):
        known = [key for key in keys if key is not None]
        if len(known) == len(sidecars):
            return sorted(range(len(known)), key=known.__getitem__)
    return None


def _sidecar_times_s(
    magnitude: Sequence[Sidecar], phase: Sequence[Sidecar]
) -> tuple[float, ...] | None:
    """Echo times of the scan in seconds, if every file of magnitude or of phase has them."""
    if len(magnitude) == len(phase):
        for one, other in zip(magnitude, phase, strict=True):
            _check_same_times(one, other)
    for sidecars in (magnitude, phase):
        times = [sidecar_echo_times_s(sidecar) for sidecar in sidecars]
        if all(times):
            return tuple(t for of_file in times if of_file for t in of_file)
    return None


def _check_same_times(magnitude: Sidecar, phase: Sidecar) -> None:
    """Check that magnitude and phase have the same echo time."""
    expected, found = sidecar_echo_times_s(magnitude), sidecar_echo_times_s(phase)
    if expected and found and not _same(expected, found):
        raise InputError(
            f"{phase.sources['EchoTime']}: expected EchoTime {_format_times(expected)} as of the "
            f"magnitude, found {_format_times(found)}"
        )


def _common_value(
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
        elif not _same(value, agreed):
            raise InputError(
                f"{sidecar.sources[key]}: expected {key} {agreed} as in "
                f"{first.sources[key].name}, found {value}"
            )
    return agreed


def _same(one: object, other: object) -> bool:
    if isinstance(one, str) or isinstance(other, str):
        return one == other
    a, b = np.atleast_1d(one), np.atleast_1d(other)  # type: ignore[call-overload]
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=SAME_VALUE, atol=1e-9))


def _missing_metadata(sidecar: Sidecar, *, times: bool, field: bool) -> InputError:
    options = [o for o, missing in (("--echo-times-s", times), ("--b0-tesla", field)) if missing]
    fields = [
        f for f, missing in (("EchoTime", times), ("MagneticFieldStrength", field)) if missing
    ]
    return InputError(
        f"{sidecar.image}: expected {' and '.join(options)}, or {' and '.join(fields)} in a JSON "
        f"sidecar, found {sidecar.found}"
    )


def _format_times(times_s: Sequence[float]) -> str:
    return " ".join(f"{t:g}" for t in times_s)
