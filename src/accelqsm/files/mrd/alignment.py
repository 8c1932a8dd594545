"""Readouts of alternating direction: mirrored or off their centre, as the samples themselves tell.

A reversed line that is not turned shows the object mirrored; one whose centre is counted from the
other end has a phase that winds once along the readout.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.fourier import PHASE_ENCODES, centred_slice, ifft
from accelqsm.kspace import calibration_box, sample_index
from accelqsm.runtime.arrays import as_tensor

CENTRE = 12
"""Samples along ky and kz of the images that are compared."""

SIMILAR, LEAST_GAIN, LARGEST_REST = 0.8, 0.002, 0.5
"""A magnitude is mirrored if mirroring makes it correlate by more than the first with echo 1, by
the second better than as it is, and leaves less than the third of what it lacked of 1."""

COHERENT = 0.8


def align_readouts(
    path: Path,
    samples: npt.NDArray[np.complex64],
    *,
    sampled: Tensor,
    flagged: Sequence[float],
    echo_times_s: Sequence[float],
    n_readout: int,
    ambiguous: int,
) -> None:
    """Turn echoes that are mirrored, and centre those that were reversed, in place.

    Args:
        path: named in errors and warnings.
        samples: hybrid space, complex (channel, echo, x, sample).
        sampled: bool (y, z), or (echo, y, z).
        flagged: the share of the lines of each echo that are flagged as reversed.
        echo_times_s: of each echo.
        n_readout: samples of a readout, oversampling included.
        ambiguous: by how many samples the centre of reversed lines differs where it is counted
            from the other end. Writers do either, and the samples decide.

    Raises:
        InputError: mirrored echoes that are not every other one.

    Warns:
        InputWarning: echoes that were turned, or centred by other than that.
    """
    if len(echo_times_s) < 2 or samples.shape[2] < 2:
        return
    try:
        images = _coarse_images(samples, sampled)
    except InputError:
        return
    turned = _turn(path, samples, images, flagged)
    # Turned despite the flag, it was turned twice: either way its centre has to be found.
    moved = [echo for echo, share in enumerate(flagged) if share == 1.0 or echo in turned]
    others = [echo for echo, share in enumerate(flagged) if share == 0.0 and echo not in turned]
    if moved and 0 in others:
        step = _step(images, moved, others, echo_times_s, n_readout)
        _move(samples, moved, step, n_readout)
        if step and abs(step) != ambiguous and not turned:
            names = " ".join(str(echo + 1) for echo in moved)
            message = (
                f"{path}: echo {names}: the zero frequency of reversed readouts was found "
                f"{abs(step)} samples from where center_sample says, and moved there"
            )
            warnings.warn(InputWarning(message), stacklevel=3)


def _coarse_images(samples: npt.NDArray[np.complex64], sampled: Tensor) -> list[Tensor]:
    """Images of few voxels along y and z of every echo, complex (channel, x, y, z)."""
    patterns = sampled.expand(samples.shape[1], *sampled.shape[-2:])
    box = calibration_box(patterns.all(0))
    few = tuple(
        slice(side.start + part.start, side.start + part.stop)
        for side in box
        for part in [centred_slice(side.stop - side.start, min(side.stop - side.start, CENTRE))]
    )
    columns = [sample_index(pattern)[few].flatten().numpy() for pattern in patterns]
    shape = (few[0].stop - few[0].start, few[1].stop - few[1].start)
    images = []
    for echo in range(samples.shape[1]):
        centre = as_tensor(samples[:, echo][..., columns[echo]])
        scale = centre.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
        images.append(ifft((centre / scale).reshape(*centre.shape[:-1], *shape), PHASE_ENCODES))
    return images


def _turn(
    path: Path,
    samples: npt.NDArray[np.complex64],
    images: list[Tensor],
    flagged: Sequence[float],
) -> list[int]:
    """Turn the mirrored echoes of samples and images, and tell which."""
    first = images[0].abs()
    pairs = [
        (_correlation(image.abs(), first), _correlation(_mirrored(image.abs()), first))
        for image in images
    ]
    found = [
        echo
        for echo, (as_it_is, mirrored) in enumerate(pairs)
        if mirrored > max(SIMILAR, as_it_is + LEAST_GAIN)
        and 1 - mirrored < LARGEST_REST * (1 - as_it_is)
    ]
    if not found:
        return []
    names = " ".join(str(echo + 1) for echo in found)
    likeness = " and ".join(f"{np.mean([pairs[e][n] for e in found]):.2f}" for n in (1, 0))
    message = (
        f"{path}: echo {names}: mirrored along the readout (its magnitude correlates {likeness} "
        "with echo 1, mirrored and as it is)"
    )
    if found != list(range(1, len(images), 2)):
        raise InputError(f"{message}; expected every other echo or none")
    flag = "despite" if all(flagged[echo] == 1.0 for echo in found) else "without"
    warnings.warn(
        InputWarning(f"{message}: readouts of alternating direction {flag} the flag "
                     "ACQ_IS_REVERSE; they were turned"),
        stacklevel=4,
    )  # fmt: skip
    for echo in found:
        for channel in samples:
            channel[echo] = _mirrored(torch.from_numpy(np.array(channel[echo])), -2).numpy()
        images[echo] = _mirrored(images[echo])
    return found


def _step(
    images: list[Tensor],
    moved: list[int],
    others: list[int],
    echo_times_s: Sequence[float],
    n_readout: int,
) -> int:
    """Samples from the zero frequency of reversed echoes to that of the others; 0 if unknown."""

    def shift(echo: int) -> float:
        return _shift(images[echo], images[0]) * n_readout / math.tau

    elapsed = [t - echo_times_s[0] for t in echo_times_s]
    # What the field adds along the readout grows with echo time in either direction.
    slopes = [shift(echo) / elapsed[echo] for echo in others if echo]
    slope = float(np.median(slopes)) if slopes else 0.0
    step = float(np.median([shift(echo) - slope * elapsed[echo] for echo in moved]))
    return round(step) if math.isfinite(step) else 0


def _move(samples: npt.NDArray[np.complex64], moved: list[int], step: int, n_readout: int) -> None:
    """Move the zero frequency of some echoes by whole samples, in place."""
    if not step:
        return
    x = np.arange(samples.shape[2]) - samples.shape[2] // 2
    phase = np.exp(-1j * math.tau * step * x / n_readout).astype(np.complex64)
    for channel in samples:
        channel[moved] *= phase[:, None]


def _shift(image: Tensor, first: Tensor) -> float:
    """Increment along x of the phase between two images in radians; NaN where there is no one."""
    product = (image * first.conj()).sum(0)
    pairs = product[1:] * product[:-1].conj()
    total, size = pairs.sum(), pairs.abs().sum()
    return float(total.angle()) if total.abs() > COHERENT * size else math.nan


def _mirrored(values: Tensor, axis: int = -3) -> Tensor:
    """Turned about the zero of the axis, n // 2."""
    n = values.shape[axis]
    index = (2 * (n // 2) - torch.arange(n)) % n
    return values.index_select(axis, index)


def _correlation(one: Tensor, other: Tensor) -> float:
    """Pearson's r of all values."""
    a, b = (values.double().flatten() for values in (one, other))
    a, b = a - a.mean(), b - b.mean()
    size = float(a.norm() * b.norm())
    return float(a @ b) / size if size else 0.0
