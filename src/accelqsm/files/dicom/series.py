"""Sorting of the slices of series into stacks, one for each part and echo."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from accelqsm.files.dicom.header.parts import PARTS
from accelqsm.files.dicom.header.records import DicomFile, Frame, Header

FILTERED = frozenset({"SWI", "SWAN", "SWIP", "MNIP", "MINIP", "FILTERED", "HPF"})
PROJECTED = frozenset({"MIP", "MPR", "PROJECTION IMAGE", "AVERAGE", "MEAN", "SUBTRACTION", "CSA"})
SAME_DIRECTION = 1e-3
SAME_PLACE_MM = 0.02
UNEVEN = 0.02
"""Share of the distance between slices by which distances may differ."""

Key = tuple[str, float]
"""Part, and echo time in seconds."""


@dataclass(frozen=True)
class Stack:
    """The slices of one part of one echo.

    Attributes:
        part: "mag", "phase", "real" or "imag".
        echo_time_s: 0 where unknown.
        frames: file of each slice, and its place in the file.
        places_mm: distances of the slices along their normal, in order.
    """

    part: str
    echo_time_s: float
    frames: tuple[tuple[Path, int], ...]
    places_mm: tuple[float, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that hold its slices."""
        return tuple(dict.fromkeys(path for path, _ in self.frames))

    @property
    def key(self) -> Key:
        """Part and echo time."""
        return self.part, self.echo_time_s

    @property
    def problem(self) -> str:
        """Empty, or which slice is missing."""
        steps = np.diff(self.places_mm)
        if len(steps) == 0:
            return "a single slice"
        step = float(np.median(steps))
        off = np.abs(steps / step - 1) if step > 0 else np.zeros(1)
        if off.max() <= UNEVEN:
            return ""
        missing = round(float(np.sum(np.round(steps / step) - 1)))
        return f"{missing} slice(s) missing" if missing > 0 else "slices at uneven distances"


@dataclass(frozen=True)
class Series:
    """A series, or one repetition of it.

    Attributes:
        header: of its first file.
        stacks: by part and echo time.
        orientation: row and column direction; empty where there is none.
        image_type: words of its images.
        acquired_s: when; None where unknown.
        others: images besides, in words.
        problem: empty, or why it cannot be used.
    """

    header: Header
    stacks: tuple[Stack, ...]
    orientation: tuple[float, ...]
    image_type: frozenset[str]
    acquired_s: float | None
    others: tuple[str, ...]
    problem: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that it holds, in the order of ``PARTS``."""
        found = {stack.part for stack in self.stacks}
        return tuple(part for part in PARTS if part in found)

    @property
    def echo_times_s(self) -> tuple[float, ...]:
        """Echo times that it holds, in order."""
        return tuple(sorted({stack.echo_time_s for stack in self.stacks}))


def group_series(files: Iterable[DicomFile]) -> list[Series]:
    """Sort MR images into series and repetitions, in the order of their numbers and times."""
    of_series: dict[str, dict[str, DicomFile]] = defaultdict(dict)
    for file in files:
        if file.header is not None and (file.frames or file.problem.startswith("truncated")):
            of_series[file.header.series].setdefault(file.instance or str(file.path), file)
    found = [one for held in of_series.values() for one in _series(list(held.values()))]
    return sorted(found, key=lambda one: (one.header.number, one.acquired_s or 0.0))


def _series(files: Sequence[DicomFile]) -> list[Series]:
    """Split a series into its repetitions."""
    header = files[0].header
    assert header is not None
    frames = [frame for file in files for frame in file.frames]
    times = [frame.acquired_s for frame in frames if frame.acquired_s is not None]
    orientation = next((f.orientation for f in frames if f.orientation), ())
    words = frozenset(word for frame in frames for word in frame.image_type)
    problem = _problem(files, frames, words, orientation)
    usable = [f for f in frames if f.part in PARTS and f.orientation and f.position]
    repetitions: list[tuple[Stack, ...]] = [()]
    if not problem and not usable:
        problem = "no position or orientation of its slices"
    if not problem:
        repetitions = _repetitions(usable, orientation)
        problem = "" if repetitions else "several images of each slice (channels or repetitions)"
    return [
        Series(
            header,
            stacks,
            tuple(orientation),
            words,
            min(times) if times else None,
            tuple(sorted({frame.part for frame in frames} - set(PARTS))),
            problem,
        )
        for stacks in repetitions or [()]
    ]


def _problem(
    files: Sequence[DicomFile],
    frames: Sequence[Frame],
    words: frozenset[str],
    orientation: Sequence[float],
) -> str:
    """Reason why the images of a series cannot be used as stacks of a gradient echo."""
    header = files[0].header
    assert header is not None
    damaged = [file for file in files if file.problem]
    first = frames[0] if frames else None
    others = {frame.part for frame in frames}
    if damaged:
        return f"{damaged[0].path.name}: {damaged[0].problem}"
    if first is None or not orientation:
        return "no position or orientation of its slices"
    if "LOCALIZER" in words or not all(_parallel(frame, orientation) for frame in frames):
        return "localiser: slices of several orientations"
    if header.gradient is False:
        return "no gradient echo"
    if header.echo_planar:
        return "echo-planar images"
    if filtered := sorted(FILTERED & words):
        return f"susceptibility-weighted or filtered ({', '.join(filtered)})"
    derived = "SECONDARY" in words and not header.manufacturer.upper().startswith("GE")
    if derived or ("DERIVED" in words and PROJECTED & words):
        return f"derived images ({' '.join(first.image_type)})"
    if not others & set(PARTS):
        return f"{' and '.join(sorted(others))}"
    return ""


def _parallel(frame: Frame, orientation: Sequence[float]) -> bool:
    found = frame.orientation
    return found is not None and bool(
        np.allclose(found[:6], orientation[:6], rtol=0, atol=SAME_DIRECTION)
    )


def _repetitions(frames: Sequence[Frame], orientation: Sequence[float]) -> list[tuple[Stack, ...]]:
    """Stacks of every repetition; none if several images of a slice cannot be distinguished."""
    normal = np.cross(orientation[:3], orientation[3:6])
    if _unique(frames, normal):
        return [_stacks(frames, normal)]
    for which in (0, 1):  # acquisition number, then position in time
        groups: dict[float, list[Frame]] = defaultdict(list)
        for frame in frames:
            groups[frame.acquisition[which]].append(frame)
        whole = len({len(group) for group in groups.values()}) == 1
        one_file = any(len({f.path for f in g}) < len(g) for g in groups.values())
        if whole and not one_file and all(_unique(group, normal) for group in groups.values()):
            return [_stacks(groups[name], normal) for name in sorted(groups)]
    return []


def _unique(frames: Sequence[Frame], normal: np.ndarray) -> bool:
    """Whether no slice has two images of the same part and echo."""
    seen = Counter((_key(frame), round(_place(frame, normal) / SAME_PLACE_MM)) for frame in frames)
    return max(seen.values()) == 1


def _stacks(frames: Sequence[Frame], normal: np.ndarray) -> tuple[Stack, ...]:
    grouped: dict[Key, list[Frame]] = defaultdict(list)
    for frame in frames:
        grouped[_key(frame)].append(frame)
    return tuple(
        Stack(
            *key,
            tuple((frame.path, frame.index) for frame in grouped[key]),
            tuple(sorted(_place(frame, normal) for frame in grouped[key])),
        )
        for key in sorted(grouped, key=lambda key: (PARTS.index(key[0]), key[1]))
    )


def _key(frame: Frame) -> Key:
    return frame.part, round(frame.echo_time_s or 0.0, 6)


def _place(frame: Frame, normal: np.ndarray) -> float:
    """Distance of a slice along the normal, in mm."""
    return float(np.dot(frame.position or (0, 0, 0), normal))
