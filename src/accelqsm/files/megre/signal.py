"""Complex images of the echoes, from the parts that files hold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.megre.bids import COMPLEX
from accelqsm.files.megre.description import ScanDescription
from accelqsm.files.megre.order import echo_numbers
from accelqsm.files.megre.padding import without_padding
from accelqsm.files.megre.phase import check_single, given_unit, phase_rad, phase_unit
from accelqsm.files.nifti import Image

PART_NAMES = {
    "mag": "magnitude",
    "phase": "phase",
    "real": "real part",
    "imag": "imaginary part",
    COMPLEX: "complex numbers",
}
Signal = npt.NDArray[np.complex64]
CLEARLY_NOISE, FEWEST_PAIRS = 0.1, 100
"""Turns by which phase differs more between neighbours in air (0.25) than in tissue."""
HIGHEST_RISE = 1.2
"""Of the mean magnitude from one echo to the next, which decay lets fall."""
IMPOSSIBLE_RISE, IMPOSSIBLE_FALL = 10.0, 1000.0
"""Of the same: noise is about a hundredth of the signal, so that no echo falls further."""
BRIGHTEST = 1e6
"""Of the 99.9th percentile of a magnitude: a voxel above was damaged."""


def check_count(part: str, path: Path, found: int, n_echoes: int, *, difference: bool) -> None:
    """Check that a part has one image per echo time, or those of a phase difference.

    Raises:
        InputError: another number of images.
    """
    allowed: tuple[int, ...] = (n_echoes,)
    said = f"{n_echoes} {PART_NAMES[part]} echoes (one per echo time)"
    if difference and part == "phase":
        allowed, said = (1,), "1 phase difference"
    elif difference:
        allowed, said = (1, 2), "1 or 2 magnitudes of a phase difference"
    if found not in allowed:
        raise InputError(f"{path}: expected {said}, found {found}")


def check_kinds(parts: Mapping[str, list[Image]]) -> None:
    """Refuse complex numbers in place of one part, and the reverse."""
    for part, echoes in parts.items():
        for echo in echoes:
            found = np.iscomplexobj(echo.values)
            if found and part != COMPLEX:
                raise InputError(
                    f"{echo.path}: expected {PART_NAMES[part]}, found complex "
                    "numbers; --complex FILE ... alone reads them"
                )
            if part == COMPLEX and not found:
                raise InputError(
                    f"{echo.path}: expected complex numbers, or part-mag and part-phase in the "
                    f"names, found {echo.values.dtype}"
                )


def polar_echoes(
    magnitudes: list[Image], phases: list[Image], scan: ScanDescription
) -> tuple[Signal, str]:
    """Complex (echo, x, y, z) from magnitude and phase, and the unit of the phase in words."""
    for echo in magnitudes:
        if echo.values.min() < 0:
            raise InputError(
                f"{echo.path}: expected a magnitude >= 0, found {float(echo.values.min()):g}"
            )
    _check_not_swapped(magnitudes[0], phases[0])
    phases, padding = without_padding(phases)
    unit = (
        phase_unit(phases, units=scan.phase_units)
        if scan.phase_range is None
        else given_unit(phases, *scan.phase_range)
    )
    if len(phases) == 1 and not (scan.difference or scan.phase_range or scan.phase_units == "rad"):
        check_single(phases[0])
    check_distinct_phases([echo.values for echo in phases], [echo.path for echo in phases])
    angles = phase_rad(phases, unit)
    lengths = [np.asarray(echo.values, dtype=np.float32) for echo in magnitudes]
    paths = [echo.path for echo in magnitudes]
    if scan.difference:
        lengths, paths = [lengths[0], lengths[-1]], [paths[0], paths[-1]]
        angles = [np.zeros_like(angles[0]), angles[0]]
        padding = None if padding is None else padding * 2
    if padding is not None:
        lengths = [np.where(place, 0, m) for m, place in zip(lengths, padding, strict=True)]
    images = as_complex(np.stack(lengths), np.stack(angles))
    check_magnitudes(images, paths)
    return images, unit.name + (", slope ignored" if unit.stored else "")


def _check_not_swapped(magnitude: Image, phase: Image) -> None:
    """Refuse a magnitude that is noise where the phase is low, as phase is where there is air.

    Raises:
        InputError: magnitude and phase in each other's place, neither negative.
    """
    lengths, turns = (np.asarray(i.values, dtype=np.float32) for i in (magnitude, phase))
    if turns.min() < 0 or lengths.max() == 0 or turns.max() == 0:
        return
    as_given, as_swapped = (
        _noise_in_the_dark(bright, other / other.max())
        for bright, other in ((lengths, turns), (turns, lengths))
    )
    if as_swapped > CLEARLY_NOISE and as_given < as_swapped / 2:
        raise InputError(
            f"{magnitude.path}: expected a magnitude, found one that is noise where "
            f"{phase.path.name} is low, as phase is in air: are the two swapped?"
        )


def _noise_in_the_dark(bright: npt.NDArray[Any], turns: npt.NDArray[Any]) -> float:
    """By how many turns neighbours differ more in the darkest tenth than in the brightest."""
    least = np.minimum(bright[1:], bright[:-1])
    steps = turns[1:] - turns[:-1]
    steps = np.abs(steps - np.round(steps))[least > 0]
    least = least[least > 0]
    if least.size < FEWEST_PAIRS:
        return 0.0
    low, high = np.quantile(least, (0.1, 0.9))
    return float(steps[least <= low].mean() - steps[least >= high].mean())


def complex_echoes(parts: Mapping[str, list[Image]]) -> Signal:
    """Complex64 (echo, x, y, z), from complex numbers or from real and imaginary part.

    Raises:
        InputError: a part of one sign only, as an offset or a magnitude has, or zero echoes.
    """
    if COMPLEX in parts:
        firsts = seconds = parts[COMPLEX]
        halves = [
            [echo.values.real for echo in firsts],
            [echo.values.imag for echo in firsts],
        ]
    else:
        firsts, seconds = parts["real"], parts["imag"]
        halves = [[echo.values for echo in firsts], [echo.values for echo in seconds]]
    for name, echoes, half in zip(("real", "imaginary"), (firsts, seconds), halves, strict=True):
        low, high = min(float(v.min()) for v in half), max(float(v.max()) for v in half)
        if low >= 0 or high <= 0:
            raise InputError(
                f"{echoes[0].path}: expected {name} parts of both signs, found {low:g}..{high:g}"
            )
    real, imaginary = (np.stack(half).astype(np.float32) for half in halves)
    images: Signal = real + np.complex64(1j) * imaginary
    check_magnitudes(images, [echo.path for echo in firsts])
    return images


def as_complex(magnitude: npt.NDArray[np.float32], phase_rad: npt.NDArray[np.float32]) -> Signal:
    """Complex numbers of magnitude and phase, of any one shape."""
    images = np.empty(magnitude.shape, dtype=np.complex64)
    images.real, images.imag = magnitude * np.cos(phase_rad), magnitude * np.sin(phase_rad)
    return images


def check_magnitudes(images: Signal, paths: Sequence[Path]) -> None:
    """Refuse an echo without signal, and warn of echoes that grow.

    Args:
        images: complex (echo, x, y, z).
        paths: one name for each echo.

    Raises:
        InputError: an echo that is zero everywhere, or of another scale than the one before; a
            voxel that is far above all others; or echoes whose numbers and times disagree and
            whose magnitude does not say that the times are right.

    Warns:
        InputWarning: a magnitude that rises with the echo time, as echoes out of order do.
    """
    means = [float(np.abs(image).mean(dtype=np.float64)) for image in images]
    for mean, path in zip(means, paths, strict=True):
        if mean == 0:
            raise InputError(f"{path}: expected a magnitude, found 0 everywhere")
    check_like(means, [str(path) for path in paths], "a mean magnitude")
    for image, path in zip(images, paths, strict=True):
        _check_brightest(np.abs(image), path)
    rises = [n for n, (earlier, later) in enumerate(pairwise(means), start=2) if later > earlier]
    numbers = echo_numbers(paths) if len(set(paths)) == len(paths) else None
    if numbers and numbers != sorted(numbers):
        shown = " ".join(f"{number:g}" for number in numbers)
        first = next(n for n, (one, other) in enumerate(pairwise(numbers)) if one > other)
        said = f"{paths[first]}: expected echo numbers that rise with EchoTime, found {shown}"
        if rises:
            raise InputError(f"{said}, and a magnitude that does not fall in that order")
        warnings.warn(InputWarning(f"{said}; the echoes are in the order of time"), stacklevel=2)
    for n, (earlier, later) in enumerate(pairwise(means), start=2):
        if later > HIGHEST_RISE * earlier:
            warnings.warn(
                InputWarning(
                    f"{paths[n - 1]}: the magnitude of echo {n} is {later / earlier:.2f} times "
                    f"that of echo {n - 1}, where decay lets it fall: are the echoes in order?"
                ),
                stacklevel=2,
            )
            return


def check_like(sizes: Sequence[float], names: Sequence[str], what: str) -> None:
    """Refuse echoes of another scale than the one before, such as one in another unit.

    Args:
        sizes: of each echo, positive.
        names: of each, for the message.
        what: is compared.

    Raises:
        InputError: a size that no decay explains.
    """
    for n, (earlier, later) in enumerate(pairwise(sizes), start=2):
        if later > IMPOSSIBLE_RISE * earlier or earlier > IMPOSSIBLE_FALL * later:
            raise InputError(
                f"{names[n - 1]}: expected {what} of echo {n} like that of echo {n - 1} "
                f"({earlier:.3g}), found {later:.3g}"
            )


def _check_brightest(magnitude: npt.NDArray[np.float32], path: Path) -> None:
    """Refuse an image with a voxel that is far above all others, as flipped bits make it."""
    largest, usual = float(magnitude.max()), float(np.percentile(magnitude, 99.9))
    if largest > BRIGHTEST * usual > 0:
        raise InputError(
            f"{path}: expected one range of magnitudes, found {largest:.3g} in a voxel where the "
            f"99.9th percentile is {usual:.3g}"
        )


def tells_decay(images: Signal) -> bool:
    """Whether the magnitude (echo, x, y, z) differs between echoes, so that R2* is known."""
    first = np.abs(images[0])
    return len(images) == 1 or not all(
        np.allclose(np.abs(image), first, rtol=1e-5, atol=0.0) for image in images[1:]
    )


def check_distinct_phases(phases: Sequence[npt.NDArray[Any]], paths: Sequence[Path]) -> None:
    """Refuse two echoes with the same phase.

    Raises:
        InputError: naming both files.
    """
    for (one, first), (other, second) in pairwise(zip(phases, paths, strict=True)):
        if one.shape == other.shape and np.array_equal(one, other):
            raise InputError(
                f"{second}: expected another phase than that of {first.name}, found the same values"
            )
