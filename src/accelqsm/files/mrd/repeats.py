"""Whether lines of one echo and position are averages, or echoes that were never numbered."""

from __future__ import annotations

import cmath
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.lines import Lines
from accelqsm.files.mrd.readouts import ReadoutGrid, images_of

POSITIONS = 24
"""Repeated positions that are compared: those nearest to the zero frequency, for signal, and
those farthest from it, for noise."""

LEAST_DIFFERENCE = 1e-3
LARGEST_DIFFERENCE, LARGEST_DIFFERENCE_OF_AVERAGES = 3e-3, 5e-2
"""Shares of energy by which repeats may differ before a word, and before they are refused: where
no counter tells them apart, and where idx.average does. Echoes 1.5 ms apart of a well-shimmed
head differ by 4e-3, motion by a millimetre makes 1e-2 to 3e-2."""

LARGEST_PHASE_RAD = 0.5
SIGNIFICANT = 4.0


@dataclass(frozen=True)
class _Repeats:
    """Lines that repeat others, (pair, sample): the first of each position, and a later one."""

    first: npt.NDArray[np.complex128]
    later: npt.NDArray[np.complex128]
    turn: npt.NDArray[np.int64]

    def differences(self, factors: dict[int, complex]) -> npt.NDArray[np.float64]:
        """Mean energy of later - factor first, of each pair."""
        factor = np.array([factors.get(int(turn), 1.0) for turn in self.turn])
        change = self.later - factor[:, None] * self.first
        energy: npt.NDArray[np.float64] = np.mean(np.abs(change) ** 2, axis=1)
        return energy

    def factors(self) -> dict[int, complex]:
        """Least-squares factor of each turn: what decays or drifts as a whole."""
        found = {}
        for turn in np.unique(self.turn):
            one, other = (part[self.turn == turn] for part in (self.first, self.later))
            found[int(turn)] = complex(np.vdot(one, other) / max(np.vdot(one, one).real, 1e-300))
        return found


def check_repeats(
    path: Path, survey: Lines, places: npt.NDArray[np.int64], grid: ReadoutGrid
) -> None:
    """Refuse to average what is no repetition.

    Of two averages, the second is the first times a factor, plus noise; the difference has the
    same energy everywhere in k-space. Where the field has evolved in between, as between echoes,
    the difference is larger near the zero frequency.

    Args:
        path: named in errors.
        survey: lines, and what their heads say.
        places: of each image line, negative elsewhere.
        grid: that readouts are transformed on.

    Raises:
        InputError: repeats that differ by more than noise.

    Warns:
        InputWarning: repeats that differ a little, or by a phase.
    """
    image = np.flatnonzero(places >= 0)
    contrast = survey.heads["idx"]["contrast"][image].astype(np.int64)
    keys = contrast * (int(places.max()) + 1) + places[image]
    counts = np.unique(keys, return_counts=True)[1]
    if counts.max(initial=1) == 1:
        return
    averages = survey.heads["idx"]["average"][image].astype(np.int64)
    told_apart = len(np.unique(np.stack([keys, averages]), axis=1).T) == len(keys)
    near, far = (_repeats(path, survey, image, keys, grid, outer=outer) for outer in (False, True))
    factors = near.factors()
    centre, noise = near.differences(factors), far.differences(factors)
    signal = float(np.mean(np.abs(near.later) ** 2))
    if not signal:
        return
    difference = float(centre.mean() - noise.mean()) / signal
    spread = float(noise.mean()) / signal / np.sqrt(near.first.size)
    phase = max(abs(cmath.phase(factor)) for factor in factors.values())
    found = f"{path}: lines of the same (ky, kz) position and contrast differ "
    most = LARGEST_DIFFERENCE_OF_AVERAGES if told_apart else LARGEST_DIFFERENCE
    if difference > max(most, SIGNIFICANT * spread):
        raise InputError(
            f"{found}by {100 * difference:.2g} % of their energy beyond noise, where averages are "
            "expected: echoes or repetitions whose counter (idx.contrast, idx.repetition) was "
            "never set?"
        )
    if difference > max(LEAST_DIFFERENCE, SIGNIFICANT * spread):
        _warn(f"{found}by {100 * difference:.2g} % of their energy beyond noise; they are averaged")
    elif phase > LARGEST_PHASE_RAD:
        _warn(f"{found}by a phase of {phase:.2g} rad; they are averaged")


def _repeats(
    path: Path,
    survey: Lines,
    image: npt.NDArray[np.int64],
    keys: npt.NDArray[np.int64],
    grid: ReadoutGrid,
    *,
    outer: bool,
) -> _Repeats:
    """Repeated lines near the zero frequency, or far from it."""
    _, first, inverse, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    repeated = np.flatnonzero(counts > 1)
    _, ny, nz = survey.encoding.image
    at = image[first[repeated]]
    distance = np.hypot(survey.ky[at] - ny // 2, survey.kz[at] - nz // 2)
    order = np.argsort(-distance if outer else distance, kind="stable")
    chosen = np.flatnonzero(np.isin(inverse, repeated[order[:POSITIONS]]))
    lines = survey.data[image[chosen]]
    n_channels = int(lines["head"]["active_channels"][0])
    flat = images_of(path, lines, n_channels, grid).reshape(len(chosen), -1)
    # Squares of small samples would be zero in single precision.
    samples = flat.astype(np.complex128)
    pairs = [
        (rows[0], row, turn)
        for key in np.unique(inverse[chosen])
        for rows in [np.flatnonzero(inverse[chosen] == key)]
        for turn, row in enumerate(rows[1:], start=1)
    ]
    one, other, turn = (np.array(column) for column in zip(*pairs, strict=True))
    return _Repeats(samples[one], samples[other], turn)


def _warn(message: str) -> None:
    warnings.warn(InputWarning(message), stacklevel=4)
