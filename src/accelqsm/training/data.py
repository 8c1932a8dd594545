"""Fully sampled in, pairs out: under-sampled noisy slabs and what they should become."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.recon.sampling import poisson_disk
from accelqsm.training.volumes import Volumes

TRAINING_ACCELERATIONS = (3.0, 5.0)
CALIBRATIONS = ((24, 24), (16, 16), (20, 20), (32, 16), (40, 24), (48, 32), (48, 32))
LARGEST_CALIBRATION = 0.5
"""Share of a pattern's samples that its fully sampled centre may take."""
QUIETEST, LOUDEST = 0.002, 0.03
"""Noise per real component, in units of the 99.9 percentile of the volume's magnitude."""
ITEMS = 2
VALIDATION = 2_000_000
"""First seed of validation patterns and noise."""


@dataclass(frozen=True)
class Pair:
    """Slabs of ``ITEMS`` volumes of one head, measured with one pattern.

    Attributes:
        measured: complex64 (batch, x, ky, kz), noisy, zero where nothing was measured.
        sampled: bool (ky, kz).
        truth: complex64 (batch, x, y, z), without noise; mean magnitude 1.
        echo_times_s: of each item.
    """

    measured: Tensor
    sampled: Tensor
    truth: Tensor
    echo_times_s: tuple[float, ...]


def training_pair(heads: Sequence[Volumes], *, readouts: int, seed: int, step: int) -> Pair:
    """The pair of one training step: the same seed and step give the same bytes.

    Head, volumes, readout positions, flips, conjugation, smooth phase, noise, acceleration and
    pattern are drawn anew. Scaling is not drawn: the network is positively homogeneous and the
    loss relative.

    Args:
        heads: fully sampled volumes.
        readouts: readout positions of a slab; the (ky, kz) plane is always whole.
        seed: of the training run.
        step: number of the step.
    """
    rng = np.random.default_rng([seed, 11, step])
    head = heads[int(rng.integers(len(heads)))]
    slabs, echo_times_s = [], []
    for _ in range(ITEMS):
        volume = int(rng.integers(len(head.images)))
        slabs.append(_augmented(_slab(head.images[volume], readouts, rng), rng))
        echo_times_s.append(head.contrasts[volume].echo_time_s)
    truth = torch.from_numpy(np.ascontiguousarray(np.stack(slabs)))
    noise_sd = torch.tensor([_noise_sd(rng) for _ in range(ITEMS)])
    plane = (truth.shape[-2], truth.shape[-1])
    acceleration = float(rng.choice(TRAINING_ACCELERATIONS))
    largest = LARGEST_CALIBRATION * plane[0] * plane[1] / acceleration
    centres = [c for c in CALIBRATIONS if c[0] * c[1] <= largest] or [(0, 0)]
    sampled = poisson_disk(
        plane,
        acceleration=acceleration,
        calibration=centres[rng.integers(len(centres))],
        seed=int(rng.integers(2**31)),
    )
    return _measured(truth, sampled, noise_sd, tuple(echo_times_s), seed=int(rng.integers(2**31)))


def validation_pairs(
    heads: Sequence[Volumes], *, readouts: int, acceleration: float, pairs_per_head: int = 1
) -> Iterator[Pair]:
    """The same pairs at each call: volumes of every head, beside the middle of the readout.

    Args:
        heads: fully sampled volumes, two or more of each head.
        readouts: readout positions of a slab.
        acceleration: of the patterns.
        pairs_per_head: half the number of volumes uses each volume once.
    """
    for number, index in np.ndindex(len(heads), pairs_per_head):
        head = heads[number]
        count, n_x = head.images.shape[:2]
        start = max(0, n_x // 2 - readouts)
        chosen = [(number + index) % count, (number + index + count // 2) % count]
        truth = torch.from_numpy(np.array(head.images[chosen, start : start + readouts]))
        seed = VALIDATION + number + 1000 * index
        sampled = poisson_disk(
            (truth.shape[-2], truth.shape[-1]),
            acceleration=acceleration,
            calibration=CALIBRATIONS[0],
            seed=seed,
        )
        rng = np.random.default_rng([VALIDATION, number + 1000 * index])
        noise_sd = torch.tensor([_noise_sd(rng) for _ in range(ITEMS)])
        echo_times_s = tuple(head.contrasts[volume].echo_time_s for volume in chosen)
        yield _measured(truth, sampled, noise_sd, echo_times_s, seed=seed)


def _slab(
    volume: npt.NDArray[np.complex64], readouts: int, rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Readout positions that meet the head: the middle nine tenths of the volume."""
    margin = len(volume) // 20
    start = int(rng.integers(margin, max(margin, len(volume) - readouts - margin) + 1))
    return np.array(volume[start : start + readouts])


def _augmented(
    slab: npt.NDArray[np.complex64], rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Flip, conjugate, and turn the phase by a random smooth amount."""
    for axis in range(3):
        if rng.random() < 0.5:
            slab = np.flip(slab, axis)
    if rng.random() < 0.5:
        slab = slab.conj()
    lines = [np.linspace(-1, 1, n, dtype=np.float32) for n in slab.shape]
    x, y, z = np.meshgrid(*lines, indexing="ij", sparse=True)
    linear, square = rng.normal(0, 2.0, 3), rng.normal(0, 0.8, 6)
    terms = (x * x, y * y, z * z, x * y, y * z, z * x)
    phase = rng.uniform(0, 2 * math.pi) + linear[0] * x + linear[1] * y + linear[2] * z
    phase = phase + sum(c * term for c, term in zip(square, terms, strict=True))
    return np.asarray(slab * np.exp(1j * phase), dtype=np.complex64)


def _noise_sd(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(math.log(QUIETEST), math.log(LOUDEST))))


def _measured(
    truth: Tensor,
    sampled: Tensor,
    noise_sd: Tensor,
    echo_times_s: tuple[float, ...],
    *,
    seed: int,
) -> Pair:
    """Add noise, drop what the pattern leaves out and scale to a mean magnitude of 1."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((*truth.shape, 2), generator=generator)
    spectrum = fft(truth, PHASE_ENCODES)
    spectrum += torch.view_as_complex(noise) * noise_sd[:, None, None, None]
    level = truth.abs().mean(dim=(1, 2, 3), keepdim=True).clamp_min(1e-4)
    return Pair(spectrum * sampled / level, sampled, truth / level, echo_times_s)
