"""Record of a multi-echo gradient-echo acquisition: grid, echo times and field strength."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple

LONGEST_ECHO_TIME_S = 0.5
SHORTEST_ECHO_TIME_S = 1e-4
STRONGEST_FIELD_T = 30.0


@dataclass(frozen=True)
class Acquisition:
    """A 3D multi-echo spoiled gradient-echo acquisition.

    Attributes:
        grid: the image grid (x is the readout, y and z are phase-encoded).
        echo_times_s: strictly increasing echo times, in seconds.
        field_strength_t: main field in tesla.
        repetition_time_s: time between excitations in seconds (0 where unknown).
        flip_angle_deg: excitation flip angle in degrees (0 where unknown).

    Raises:
        InputError: echo times that are not increasing, not positive or look like milliseconds,
            or a field that is not positive.
    """

    grid: Grid
    echo_times_s: tuple[float, ...]
    field_strength_t: float
    repetition_time_s: float = 0.0
    flip_angle_deg: float = 0.0

    def __post_init__(self) -> None:
        check_echo_times(self.echo_times_s)
        check_field_strength(self.field_strength_t)

    @property
    def n_echoes(self) -> int:
        """Number of echoes."""
        return len(self.echo_times_s)

    @property
    def voxel_size_mm(self) -> Triple:
        """Edge lengths of a voxel along x, y, z in mm."""
        return self.grid.voxel_size_mm

    @property
    def b0_direction(self) -> Triple:
        """Unit vector of the main field along the array axes."""
        return self.grid.b0_direction


def check_echo_times(echo_times_s: tuple[float, ...]) -> None:
    """Check that echo times can be those of one multi-echo train, in seconds.

    Raises:
        InputError: empty, non-finite, not strictly increasing, or outside 0.1 ms to 0.5 s.
    """
    shown = " ".join(f"{t:g}" for t in echo_times_s)
    if not echo_times_s or not all(math.isfinite(t) for t in echo_times_s):
        raise InputError(f"echo times: expected finite values in seconds, found '{shown}'")
    if max(echo_times_s) > LONGEST_ECHO_TIME_S:
        raise InputError(
            f"echo times: expected seconds below {LONGEST_ECHO_TIME_S}, found '{shown}' "
            "(milliseconds? divide by 1000)"
        )
    if min(echo_times_s) < SHORTEST_ECHO_TIME_S:
        raise InputError(
            f"echo times: expected seconds above {SHORTEST_ECHO_TIME_S}, found '{shown}'"
        )
    if any(later <= earlier for earlier, later in pairwise(echo_times_s)):
        raise InputError(f"echo times: expected strictly increasing seconds, found '{shown}'")


def check_field_strength(field_strength_t: float) -> None:
    """Check that the main field can be a value in tesla.

    Raises:
        InputError: not finite, not positive, or 30 T and more, such as gauss or hertz.
    """
    if not (math.isfinite(field_strength_t) and 0 < field_strength_t < STRONGEST_FIELD_T):
        raise InputError(
            f"field strength: expected a value in tesla, such as 3, found {field_strength_t:.10g}"
        )
