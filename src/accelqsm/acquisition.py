"""Record of a multi-echo gradient-echo acquisition: grid, echo times and field strength."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple

LONGEST_ECHO_TIME_S = 0.5
SHORTEST_ECHO_TIME_S = 1e-4
SHORTEST_SPACING_S = 1e-5
WEAKEST_FIELD_T = 0.01
STRONGEST_FIELD_T = 30.0
MOST_ECHOES = 64
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 0.01, 20.0
SMALLEST_VIEW_MM, LARGEST_VIEW_MM = 2.0, 1000.0
"""Of the longest side: a mouse's brain and less, a whole body and more."""


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
        InputError: empty, non-finite, not strictly increasing, outside 0.1 ms to 0.5 s, less than
            10 us apart, or more than 64.
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
    if len(echo_times_s) > MOST_ECHOES:
        raise InputError(
            f"echo times: expected at most {MOST_ECHOES} echoes, found {len(echo_times_s)}"
        )
    if any(later <= earlier for earlier, later in pairwise(echo_times_s)):
        raise InputError(f"echo times: expected strictly increasing seconds, found '{shown}'")
    spacing_s = min((later - earlier for earlier, later in pairwise(echo_times_s)), default=1.0)
    if spacing_s < SHORTEST_SPACING_S:
        raise InputError(
            f"echo times: expected at least {SHORTEST_SPACING_S:g} s between them, found "
            f"{spacing_s:.2g} s"
        )


def check_field_strength(field_strength_t: float) -> None:
    """Check that the main field can be a value in tesla.

    Raises:
        InputError: not finite, below 0.01 T, or 30 T and more, such as gauss or hertz.
    """
    plausible = WEAKEST_FIELD_T <= field_strength_t < STRONGEST_FIELD_T
    if not (math.isfinite(field_strength_t) and plausible):
        raise InputError(
            f"field strength: expected a value in tesla, such as 3, found {field_strength_t:.10g}"
        )


def check_voxels(grid: Grid, *, note: str = "") -> None:
    """Refuse voxel sizes that no scanner has, such as metres as mm; every reader of grids asks.

    Args:
        grid: of an image.
        note: what else may explain it, for the message.

    Raises:
        InputError: voxels outside 0.01 to 20 mm.
    """
    sizes = grid.voxel_size_mm
    if not all(SMALLEST_VOXEL_MM <= size <= LARGEST_VOXEL_MM for size in sizes):
        shown = " x ".join(f"{size:.4g}" for size in sizes)
        raise InputError(
            f"voxel size: expected {SMALLEST_VOXEL_MM:g} to {LARGEST_VOXEL_MM:g} mm, found {shown} "
            f"mm{f' ({note})' if note else ''}"
        )


def check_grid(grid: Grid, *, note: str = "") -> None:
    """Refuse a grid of an acquisition as ``check_voxels``, or of a field of view of no scanner.

    Raises:
        InputError: voxels outside 0.01 to 20 mm, or a longest side outside 2 to 1000 mm.
    """
    check_voxels(grid, note=note)
    view = max(size * n for size, n in zip(grid.voxel_size_mm, grid.shape, strict=True))
    if not SMALLEST_VIEW_MM <= view <= LARGEST_VIEW_MM:
        raise InputError(
            f"field of view: expected {SMALLEST_VIEW_MM:g} to {LARGEST_VIEW_MM:g} mm along its "
            f"longest side, found {view:.4g} mm{f' ({note})' if note else ''}"
        )
