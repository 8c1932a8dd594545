"""Grouping of series into scans, with the reason if a scan cannot be mapped."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from accelqsm.acquisition import check_echo_times
from accelqsm.errors import InputError
from accelqsm.files.dicom.series import SAME_PLACE_MM, Key, Series, Stack

SAME_SCAN_S = 60.0
"""Parts of one acquisition are stored with the same time; this is less than a repeat takes."""
CORRECTED = ("DIS3D", "DIS2D")
T1W = re.compile(
    r"(?<![a-z0-9])t1(?![0-9])(?!.?(map|rho))|mp-?rage|bravo|spgr|tfl3d", re.IGNORECASE
)
NOT_T1W = re.compile(r"mp2rage|flair|t1.?(map|rho)", re.IGNORECASE)


@dataclass
class Scan:
    """One acquisition, with its series.

    Attributes:
        series: that it is made of.
        stacks: by part and echo time.
        problem: empty, or why it is left.
        contrast: "MEGRE" or "T1w", or what it is in words.
    """

    series: list[Series]
    stacks: dict[Key, Stack] = field(default_factory=dict)
    problem: str = ""
    contrast: str = ""

    @property
    def echo_times_s(self) -> tuple[float, ...]:
        """Echo times of all parts, in order."""
        return tuple(sorted({time for _, time in self.stacks}))

    @property
    def correction(self) -> str:
        """Correction for gradient nonlinearity, as images name it; empty without."""
        return _correction(self.series[0])

    def times_of(self, part: str) -> tuple[float, ...]:
        """Echo times of one part."""
        return tuple(sorted(time for of, time in self.stacks if of == part))


def group_scans(series: Sequence[Series]) -> list[Scan]:
    """Group series of the same study, protocol and orientation into scans.

    A part or echo that is there already begins another scan, a repeat. Among scans that lack it,
    a series joins the one whose time of acquisition is nearest.
    """
    left = [Scan([one], _by_key(one), one.problem) for one in series if one.problem]
    groups: dict[tuple[object, ...], list[Scan]] = defaultdict(list)
    for one in series:
        if one.problem:
            continue
        scans = groups[_common_to(one)]
        free = [scan for scan in scans if _fits(scan, one)]
        if free:
            chosen = min(free, key=lambda scan: _distance(scan, one))
            chosen.series.append(one)
            chosen.stacks |= _by_key(one)
        else:
            scans.append(Scan([one], _by_key(one)))
    for scan in (found := [scan for scans in groups.values() for scan in scans]):
        _judge(scan)
    return sorted([*left, *found], key=lambda scan: scan.series[0].header.number)


def _by_key(series: Series) -> dict[Key, Stack]:
    return {stack.key: stack for stack in series.stacks}


def _common_to(series: Series) -> tuple[object, ...]:
    """Key that all series of one acquisition have in common."""
    return (
        series.header.study,
        series.header.protocol,
        tuple(np.round(series.orientation, 2) + 0.0),
        _correction(series),
    )


def _correction(series: Series) -> str:
    return next((word for word in CORRECTED if word in series.image_type), "")


def _fits(scan: Scan, series: Series) -> bool:
    if scan.stacks.keys() & _by_key(series).keys():
        return False
    return _apart_s(scan, series) <= SAME_SCAN_S


def _distance(scan: Scan, series: Series) -> tuple[float, int]:
    return _apart_s(scan, series), abs(scan.series[0].header.number - series.header.number)


def _apart_s(scan: Scan, series: Series) -> float:
    one, other = scan.series[0].acquired_s, series.acquired_s
    return 0.0 if one is None or other is None else abs(one - other)


def _judge(scan: Scan) -> None:
    """Determine the contrast of a scan, and the problem if it cannot be imported."""
    header = scan.series[0].header
    parts = {part for part, _ in scan.stacks}
    several = len(scan.echo_times_s) > 1
    if header.inversion or not several:
        name = header.protocol
        t1w = header.inversion or T1W.search(name)
        if header.three_d and t1w and parts == {"mag"} and not NOT_T1W.search(name):
            scan.contrast = "T1w"
            scan.problem = "several echoes of a T1w image" if several else _geometry(scan)
            return
    scan.contrast = "MEGRE" if several else "GRE"
    scan.problem = _parts(scan, parts) or _geometry(scan) or _times(scan)


def _parts(scan: Scan, parts: set[str]) -> str:
    """Problem of the parts: magnitude and phase, or real and imaginary, of several echoes."""
    count = len(scan.echo_times_s)
    polar, cartesian = {"mag", "phase"} <= parts, {"real", "imag"} <= parts
    if scan.series[0].header.inversion:
        return "inversion recovery, neither T1w nor a multi-echo gradient echo"
    if parts == {"mag"}:
        others = [f"a {other}" for one in scan.series for other in one.others]
        return f"magnitude of {count} echo(es), {' and '.join(['no phase', *others])}"
    if count < 2:
        return "one echo: susceptibility mapping takes several"
    if not polar and not cartesian:
        return f"{' and '.join(sorted(parts))} alone, expected magnitude and phase"
    for part in sorted(parts):
        found = len(scan.times_of(part))
        if found == count:
            continue
        if part == "phase" and found == 1 and count == 2:
            return "phase of 1 of 2 echoes: a phase difference (field map)"
        return f"{part} of {found} of {count} echoes"
    return ""


def _geometry(scan: Scan) -> str:
    """Problem of the geometry: missing slices, or different positions between stacks."""
    stacks = list(scan.stacks.values())
    shapes = {series.header.shape for series in scan.series}
    promised = max(series.header.slices for series in scan.series)
    if len(shapes) > 1:
        return f"series of different sizes ({', '.join(f'{r} x {c}' for r, c in sorted(shapes))})"
    most = max(len(stack.places_mm) for stack in stacks)
    for stack in stacks:
        of = f"{stack.part} at {1000 * stack.echo_time_s:g} ms"
        if len(stack.places_mm) < max(most, promised):
            return f"{of} has {len(stack.places_mm)} of {max(most, promised)} slices"
        if stack.problem:
            return f"{of}: {stack.problem}"
        apart = np.subtract(stack.places_mm, stacks[0].places_mm)
        if np.abs(apart).max() > SAME_PLACE_MM:
            return f"{of}: slices in other places than those of {stacks[0].part}"
    return ""


def _times(scan: Scan) -> str:
    try:
        check_echo_times(scan.echo_times_s)
    except InputError as error:
        return str(error)
    return ""
