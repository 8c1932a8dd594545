"""Phase units of stored images, and detection of a range that is one turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelqsm.files.nifti import Image

TOLERANCE_RAD = 0.02
REACH = 0.02
"""Fraction of a turn by which the echoes together may miss either end of a range: noise around
a head and wraps in it reach both ends."""
LEAST_WRAP_FRACTION = 0.03
"""Fraction of the neighbours of voxels in the top tenth of the range that are in its bottom
tenth: 0.06 and more for wrapped phase (real and simulated heads, noise), 0 without wraps."""
LEAST_TENTH = 0.01
"""Fraction of the non-zero voxels in the top tenth, so that outliers do not define the range."""

LEAST_WRAPS = 5e-4
"""Share of the neighbours that differ by more than half the range, below which there is neither a
wrap nor noise around the head, as in a field map and in unwrapped phase."""

Angles = npt.NDArray[np.float32]
TAU = 2 * math.pi


@dataclass(frozen=True)
class PhaseUnit:
    """A phase unit in which ``low``..``high`` is one turn.

    Attributes:
        name: for messages and the record of a run.
        low, high: ends of the range, one turn apart.
        zero: value of zero phase.
        values: "whole", "fractions" or "any" numbers.
        stored: use the values as stored, without slope and intercept.
    """

    name: str
    low: float
    high: float
    zero: float
    values: str = "any"
    stored: bool = False

    def fits(self, echoes: Sequence[Angles]) -> bool:
        """Whether all echoes are within the range and are numbers of this kind."""
        low, high = range_of(echoes)
        slack = (self.high - self.low) * TOLERANCE_RAD / TAU
        if low < self.low - slack or high > self.high + slack:
            return False
        return self.values == "any" or are_whole(echoes) == (self.values == "whole")

    def reached(self, echoes: Sequence[Angles]) -> bool:
        """Whether the echoes fit and together come near both ends of the range."""
        low, high = range_of(echoes)
        slack = (self.high - self.low) * REACH
        return self.fits(echoes) and low <= self.low + slack and high >= self.high - slack

    def radians(self, image: Image) -> Angles:
        """Phase of an image in radians, within one turn around zero phase (float32, its shape)."""
        given = np.asarray(image.stored if self.stored else image.values, dtype=np.float32)
        angle = (given - np.float32(self.zero)) * np.float32(TAU / (self.high - self.low))
        if self.zero == self.low:
            angle = np.where(angle > math.pi, angle - np.float32(TAU), angle)
        return angle


def full_range(echoes: Sequence[Angles]) -> PhaseUnit | None:
    """Unit in which the range of the echoes is one turn, or None if this is not evident.

    The range must be symmetric or start at zero, within 2 %, and voxels of its top and bottom
    tenth must be neighbours, which occurs only at wraps (and in noise).
    """
    low, high = range_of(echoes)
    step = _smallest_step(echoes) if are_whole(echoes) else 0.0
    period = high - low + step
    symmetric = abs(low + high) <= REACH * period
    from_zero = 0 <= low <= REACH * period
    if not (symmetric or from_zero) or _wrap_fraction(echoes, low, high) < LEAST_WRAP_FRACTION:
        return None
    name = f"{low:g}..{high:g}, the whole circle"
    return PhaseUnit(name, low, low + period, 0.0 if symmetric else low + period / 2)


def _wrap_fraction(echoes: Sequence[Angles], low: float, high: float) -> float:
    """Fraction of the neighbours of voxels in the top tenth that are in the bottom tenth.

    Zeros do not count as bottom, as a masked image is zero around the head.
    """
    tenth = (high - low) / 10
    pairs = neighbours = in_top = in_head = 0
    for echo in echoes:
        top, bottom = echo > high - tenth, (echo < low + tenth) & (echo != 0)
        in_top, in_head = in_top + int(top.sum()), in_head + int((echo != 0).sum())
        for axis in range(echo.ndim):
            t, b = np.moveaxis(top, axis, 0), np.moveaxis(bottom, axis, 0)
            neighbours += int(t[1:].sum() + t[:-1].sum())
            pairs += int((t[1:] & b[:-1]).sum() + (t[:-1] & b[1:]).sum())
    return pairs / max(neighbours, 1) if in_top > LEAST_TENTH * in_head else 0.0


def wraps(echoes: Sequence[Angles]) -> bool:
    """Whether neighbours jump by more than half the range, as wraps and noise do.

    Zeros do not count: they are what a masked image has around the head.
    """
    low, high = range_of(echoes)
    jumps = pairs = 0
    for echo in echoes:
        for axis in range(echo.ndim):
            one = np.moveaxis(echo, axis, 0)
            both = (one[1:] != 0) & (one[:-1] != 0)
            jumps += int(((np.abs(one[1:] - one[:-1]) > (high - low) / 2) & both).sum())
            pairs += int(both.sum())
    return jumps > LEAST_WRAPS * max(pairs, 1)


def range_of(echoes: Sequence[Angles]) -> tuple[float, float]:
    """Smallest and largest value of all echoes."""
    return min(float(e.min()) for e in echoes), max(float(e.max()) for e in echoes)


def are_whole(echoes: Sequence[Angles]) -> bool:
    """Whether all values of all echoes are whole numbers."""
    return all(bool(np.all(echo == np.round(echo))) for echo in echoes)


def _smallest_step(echoes: Sequence[Angles]) -> float:
    return float(min(np.diff(np.unique(echo)).min(initial=np.inf) for echo in echoes))
