"""Complex images of the echoes, from the parts that files hold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.megre.bids import COMPLEX
from accelqsm.files.megre.description import ScanDescription
from accelqsm.files.megre.order import echo_numbers
from accelqsm.files.megre.padding import without_padding
from accelqsm.files.megre.phase import given_unit, phase_rad, phase_unit
from accelqsm.files.nifti import Image

PART_NAMES = {
    "mag": "magnitude",
    "phase": "phase",
    "real": "real part",
    "imag": "imaginary part",
    COMPLEX: "complex numbers",
}
HIGHEST_RISE = 1.2
"""Of the mean magnitude from one echo to the next, which decay lets fall."""


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
) -> tuple[Tensor, str]:
    """Complex (echo, x, y, z) from magnitude and phase, and the unit of the phase in words."""
    for echo in magnitudes:
        if echo.values.min() < 0:
            raise InputError(
                f"{echo.path}: expected a magnitude >= 0, found {float(echo.values.min()):g}"
            )
    phases, padding = without_padding(phases)
    unit = (
        phase_unit(phases, units=scan.phase_units)
        if scan.phase_range is None
        else given_unit(phases, *scan.phase_range)
    )
    check_distinct_phases([echo.values for echo in phases], [echo.path for echo in phases])
    angles = [as_tensor(angle) for angle in phase_rad(phases, unit)]
    lengths = [as_tensor(echo.values) for echo in magnitudes]
    paths = [echo.path for echo in magnitudes]
    if scan.difference:
        lengths, paths = [lengths[0], lengths[-1]], [paths[0], paths[-1]]
        angles = [torch.zeros_like(angles[0]), angles[0]]
        padding = None if padding is None else padding * 2
    if padding is not None:
        outside = [torch.from_numpy(place) for place in padding]
        lengths = [one.masked_fill(place, 0) for one, place in zip(lengths, outside, strict=True)]
    images = torch.stack([torch.polar(m, p) for m, p in zip(lengths, angles, strict=True)])
    check_magnitudes(images, paths)
    return images, unit.name + (", slope ignored" if unit.stored else "")


def complex_echoes(parts: Mapping[str, list[Image]]) -> Tensor:
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
    images = torch.stack(
        [torch.complex(as_tensor(re), as_tensor(im)) for re, im in zip(*halves, strict=True)]
    )
    check_magnitudes(images, [echo.path for echo in firsts])
    return images


def as_tensor(values: npt.NDArray[Any]) -> Tensor:
    """Values as float32."""
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))


def check_magnitudes(images: Tensor, paths: Sequence[Path]) -> None:
    """Refuse an echo without signal, and warn of echoes that grow.

    Args:
        images: complex (echo, x, y, z).
        paths: one name for each echo.

    Raises:
        InputError: an echo that is zero everywhere, or echoes whose numbers and times disagree
            and whose magnitude does not say that the times are right.

    Warns:
        InputWarning: a magnitude that rises with the echo time, as echoes out of order do.
    """
    means = [float(image.abs().double().mean()) for image in images]
    for mean, path in zip(means, paths, strict=True):
        if mean == 0:
            raise InputError(f"{path}: expected a magnitude, found 0 everywhere")
    rises = [n for n, (earlier, later) in enumerate(pairwise(means), start=2) if later > earlier]
    numbers = echo_numbers(paths) if len(set(paths)) == len(paths) else None
    if numbers and numbers != sorted(numbers):
        shown = " ".join(f"{number:g}" for number in numbers)
        said = f"{paths[0]}: expected echo numbers that rise with EchoTime, found {shown}"
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


def tells_decay(images: Tensor) -> bool:
    """Whether the magnitude (echo, x, y, z) differs between echoes, so that R2* is known."""
    first = images[0].abs()
    return len(images) == 1 or not all(
        torch.allclose(image.abs(), first, rtol=1e-5, atol=0.0) for image in images[1:]
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
