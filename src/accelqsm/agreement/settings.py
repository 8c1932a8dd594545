"""Settings of comparisons and sample-size planning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from accelqsm.errors import InputError
from accelqsm.options.setting import Settings, setting

EVERY_REGION = "*"
LARGEST = 1e9
"""Of named numbers: no time or margin is above."""


def named_numbers(words: Iterable[str], what: str, *, default: str = "") -> dict[str, float]:
    """Parse ``NAME=NUMBER`` arguments; a bare number has the name ``default``.

    Raises:
        InputError: an argument of another form, or a duplicate name.
    """
    numbers: dict[str, float] = {}
    for word in words:
        name, equals, text = word.rpartition("=")
        if not equals:
            name = default
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not name or not 0 < number <= LARGEST:
            form = "NAME=NUMBER" + (" or NUMBER" if default else "")
            raise InputError(f"{what}: expected {form} with a number above 0, found '{word}'")
        if name in numbers:
            raise InputError(f"{what}: expected '{name}' once, found it twice")
        numbers[name] = number
    return numbers


def _scan_times(words: Sequence[str]) -> dict[str, float]:
    return named_numbers(words, "--scan-time")


def _repeats(words: Sequence[str]) -> dict[str, str]:
    repeats: dict[str, str] = {}
    for word in words:
        name, equals, of = word.partition("=")
        if not (name and equals and of):
            raise InputError(f"--repeat: expected NAME=PROTOCOL, found '{word}'")
        if name in repeats:
            raise InputError(f"--repeat: expected '{name}' once, found it twice")
        repeats[name] = of
    return repeats


def _differences(words: Sequence[str]) -> dict[str, float]:
    return named_numbers(words, "--detect-ppb", default=EVERY_REGION)


def _half_widths(words: Sequence[str]) -> dict[str, float]:
    return named_numbers(words, "--limits-ppb", default=EVERY_REGION)


def _margins(words: Sequence[str]) -> dict[str, float]:
    return named_numbers(words, "--margin-ppb", default=EVERY_REGION)


@dataclass(frozen=True)
class LevelSettings(Settings):
    """Settings that comparisons and plans share: margins in ppb, confidence and power."""

    margin_ppb: Mapping[str, float] = setting(
        {},
        above=0,
        most=1e6,
        words=_margins,
        metavar="[REGION=]PPB",
        help="half-width of a region, or of all, in ppb in its place; may be repeated",
    )
    confidence: float = setting(
        0.95, above=0, below=1, help="level of all intervals; 1 less it is that of each test"
    )
    power: float = setting(
        0.8, above=0, below=1, help="probability to reach the goal for which subjects are counted"
    )


@dataclass(frozen=True)
class EquivalenceSettings(LevelSettings):
    """Settings of the equivalence test: margin, confidence and power."""

    margin_percent: float = setting(
        5.0,
        above=0,
        most=100,
        unit="%",
        help="half-width of the equivalence region, of the reference mean",
    )


DEFAULTS = EquivalenceSettings()


@dataclass(frozen=True)
class CompareSettings(EquivalenceSettings):
    """Settings of a comparison."""

    reference: str = setting(
        "", metavar="PROTOCOL", help="the protocol that the others are compared with"
    )
    published: str = setting(
        "",
        metavar="STUDY",
        former=("beside",),
        help="a published study whose numbers are added to the tables: zhou2025",
    )
    repeat: Mapping[str, str] = setting(
        {},
        words=_repeats,
        metavar="NAME=PROTOCOL",
        help="a protocol NAME of the table is a repeated scan of PROTOCOL; may be given again; a "
        "column run or session says so as well",
    )
    highlight: str = setting(
        "", metavar="SUBJECT", help="a subject whose values are ringed in the figures"
    )
    scan_time_s: Mapping[str, float] = setting(
        {},
        above=0,
        most=LARGEST,
        unit="s",
        flag="scan-time",
        words=_scan_times,
        metavar="PROTOCOL=SECONDS",
        help="of a protocol, to say what a faster one saves; may be repeated; by default that of "
        "the published study",
    )


@dataclass(frozen=True)
class PlanSettings(LevelSettings):
    """Settings of a plan: what it is to reach, and what it assumes besides its pilot."""

    margin_percent: float | None = setting(
        None,
        above=0,
        most=100,
        unit="%",
        help="half-width of the equivalence region, of the reference mean; by default the margin "
        "of the pilot, or 5",
    )
    detect_ppb: Mapping[str, float] = setting(
        {},
        above=0,
        most=1e6,
        words=_differences,
        metavar="[REGION=]PPB",
        help="smallest difference that a paired t test is to find; may be repeated",
    )
    limits_ppb: Mapping[str, float] = setting(
        {},
        above=0,
        most=1e6,
        words=_half_widths,
        metavar="[REGION=]PPB",
        help="wanted half-width of the interval of each limit of agreement; may be repeated",
    )
    scans: int | None = setting(
        None,
        least=1,
        most=1000,
        help="scans of each subject under each protocol, whose mean is compared; by default as in "
        "the pilot",
    )
    rescan_sd_ppb: float | None = setting(
        None,
        above=0,
        most=1e6,
        unit="ppb",
        metavar="PPB",
        help="SD of repeated scans of a subject, for --scans; by default that of a pilot with "
        "repeats",
    )
