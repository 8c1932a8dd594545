"""Training pairs: under-sampled noisy slabs and their fully sampled images."""

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
from accelqsm.recon.sense import unit_maps
from accelqsm.training.volumes import Volumes

TRAINING_ACCELERATIONS = (3.0, 5.0)
CALIBRATIONS = ((24, 24), (16, 16), (20, 20), (32, 16), (40, 24), (48, 32), (64, 40))
THICKEST = 2.5
"""Largest ratio of voxel sizes along z and y for which patterns are drawn; the smallest is 1."""
ELLIPTICAL = 0.5
"""Fraction of the patterns without the corners of k-space."""
LARGEST_CALIBRATION = 0.5
"""Largest fraction of the samples in the fully sampled centre of a pattern."""
QUIETEST, LOUDEST = 0.002, 0.03
"""Noise per real component, in units of the 99.9 percentile of the volume's magnitude."""
MOTION_FRACTION = 0.2
"""Fraction of the pairs with head motion during the scan."""
LARGEST_SHIFT_VOXELS = 0.4
"""Largest shift of the head along y and z in voxels."""
VALIDATION = 2_000_000
"""First seed of validation patterns and noise."""

Complex = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Pair:
    """Under-sampled slabs of some volumes of one head, with their ground truth.

    Attributes:
        measured: complex64 (batch, x, ky, kz), or (channel, batch, x, ky, kz) with maps; noisy,
            zero where not sampled.
        sampled: bool (ky, kz).
        truth: complex64 (batch, x, y, z), without added noise; mean magnitude 1.
        echo_times_s: echo time of each item.
        maps: estimated sensitivities (channel, batch, x, y, z), weaker in air; None for one
            channel.
    """

    measured: Tensor
    sampled: Tensor
    truth: Tensor
    echo_times_s: tuple[float, ...]
    maps: Tensor | None = None

    def items(self, chosen: slice) -> Pair:
        """Select items of the batch."""
        if self.maps is None:
            measured, maps = self.measured[chosen], None
        else:
            measured, maps = self.measured[:, chosen], self.maps[:, chosen]
        return Pair(measured, self.sampled, self.truth[chosen], self.echo_times_s[chosen], maps)


def training_pair(
    heads: Sequence[Volumes], *, readouts: int, seed: int, step: int, items: int = 2
) -> Pair:
    """Random pair of a training step, reproducible from seed and step.

    Head, volumes, readout positions, flips, conjugation, smooth phase, noise, acceleration,
    pattern and a small motion are random. Scaling is not: the network is positively homogeneous
    and the loss relative.

    Args:
        heads: fully sampled volumes.
        readouts: readout positions of a slab; the (ky, kz) plane is always whole.
        seed: seed of the training run.
        step: number of the step.
        items: number of volumes in the pair.
    """
    rng = np.random.default_rng([seed, 11, step])
    head = heads[int(rng.integers(len(heads)))]
    slabs = []
    for _ in range(items):
        volume = int(rng.integers(len(head.images)))
        slabs.append(_augment(_slab(head, volume, _random_readouts(head, readouts, rng)), rng))
    plane = slabs[0].image.shape[-2:]
    acceleration = float(rng.choice(TRAINING_ACCELERATIONS))
    largest = LARGEST_CALIBRATION * plane[0] * plane[1] / acceleration
    centres = [c for c in CALIBRATIONS if c[0] * c[1] <= largest] or [(0, 0)]
    sampled = poisson_disk(
        plane,
        acceleration=acceleration,
        calibration=centres[rng.integers(len(centres))],
        seed=int(rng.integers(2**31)),
        ellipse=rng.random() < ELLIPTICAL,
        voxel_size_mm=(1.0, float(rng.uniform(1, THICKEST))),
    )
    return _measure(slabs, sampled, rng, motion=rng.random() < MOTION_FRACTION)


def validation_pairs(
    heads: Sequence[Volumes], *, readouts: int, acceleration: float, pairs_per_head: int = 1
) -> Iterator[Pair]:
    """Iterate over fixed validation pairs of every head, next to the centre of the readout.

    Args:
        heads: fully sampled volumes, two or more of each head.
        readouts: readout positions of a slab.
        acceleration: acceleration of the patterns.
        pairs_per_head: pairs of each head; half the number of volumes uses each volume once.
    """
    for number, index in np.ndindex(len(heads), pairs_per_head):
        head = heads[number]
        count, n_x, n_y, n_z = head.images.shape
        start = max(0, n_x // 2 - readouts)
        chosen = [(number + index) % count, (number + index + count // 2) % count]
        slabs = [_slab(head, volume, slice(start, start + readouts)) for volume in chosen]
        seed = VALIDATION + number + 1000 * index
        sampled = poisson_disk(
            (n_y, n_z), acceleration=acceleration, calibration=CALIBRATIONS[0], seed=seed
        )
        rng = np.random.default_rng([VALIDATION, number + 1000 * index])
        yield _measure(slabs, sampled, rng, motion=False)


@dataclass(frozen=True)
class _Slab:
    """Slab of a volume (x, y, z), with true and estimated sensitivities if there is a coil."""

    image: Complex
    echo_time_s: float
    true: Complex | None
    estimated: Complex | None


def _random_readouts(head: Volumes, readouts: int, rng: np.random.Generator) -> slice:
    """Random readout positions within the central nine tenths of the volume."""
    n_x = head.images.shape[1]
    margin = n_x // 20
    start = int(rng.integers(margin, max(margin, n_x - readouts - margin) + 1))
    return slice(start, start + readouts)


def _slab(head: Volumes, volume: int, x: slice) -> _Slab:
    image, echo_time_s = np.array(head.images[volume, x]), head.contrasts[volume].echo_time_s
    if head.coils is None:
        return _Slab(image, echo_time_s, None, None)
    coil = volume % len(head.coils.true)
    true, estimated = (np.array(m[coil][:, x]) for m in (head.coils.true, head.coils.estimated))
    return _Slab(image, echo_time_s, true, estimated)


def _augment(slab: _Slab, rng: np.random.Generator) -> _Slab:
    """Random flips, conjugation and smooth phase."""
    axes = tuple(axis for axis in (-3, -2, -1) if rng.random() < 0.5)
    conjugated = rng.random() < 0.5

    def flip(values: Complex | None) -> Complex | None:
        if values is None:
            return None
        flipped = np.flip(values, axes)
        return flipped.conj() if conjugated else flipped

    lines = [np.linspace(-1, 1, n, dtype=np.float32) for n in slab.image.shape]
    x, y, z = np.meshgrid(*lines, indexing="ij", sparse=True)
    linear, square = rng.normal(0, 2.0, 3), rng.normal(0, 0.8, 6)
    terms = (x * x, y * y, z * z, x * y, y * z, z * x)
    phase = rng.uniform(0, 2 * math.pi) + linear[0] * x + linear[1] * y + linear[2] * z
    phase = phase + sum(c * term for c, term in zip(square, terms, strict=True))
    image = flip(slab.image) * np.exp(1j * phase)
    return _Slab(
        np.asarray(image, np.complex64),
        slab.echo_time_s,
        flip(slab.true),
        flip(slab.estimated),
    )


def _noise_sd(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(math.log(QUIETEST), math.log(LOUDEST))))


def _measure(
    slabs: Sequence[_Slab], sampled: Tensor, rng: np.random.Generator, *, motion: bool
) -> Pair:
    """Add noise, under-sample and scale to a mean magnitude of 1."""
    truth, measured, maps = [], [], []
    for slab in slabs:
        image = torch.from_numpy(np.ascontiguousarray(slab.image))
        received = image
        if slab.true is not None and slab.estimated is not None:
            estimated = torch.from_numpy(np.ascontiguousarray(slab.estimated))
            received = torch.from_numpy(np.ascontiguousarray(slab.true)) * image
            image = (unit_maps(estimated).conj() * received).sum(0)
            maps.append(estimated)
        spectrum = fft(received, PHASE_ENCODES)
        if motion:
            spectrum = spectrum * _motion_phase(sampled, rng)
        noise = rng.standard_normal((*received.shape, 2), dtype=np.float32)
        spectrum += torch.view_as_complex(torch.from_numpy(noise)) * _noise_sd(rng)
        level = image.abs().mean().clamp_min(1e-4)
        truth.append(image / level)
        measured.append(spectrum * sampled / level)
    axis = 1 if maps else 0
    return Pair(
        torch.stack(measured, dim=axis),
        sampled,
        torch.stack(truth),
        tuple(slab.echo_time_s for slab in slabs),
        torch.stack(maps, dim=1) if maps else None,
    )


def _motion_phase(sampled: Tensor, rng: np.random.Generator) -> Tensor:
    """Phase factor (ky, kz) of a shift of the head for random samples, 1 for the others.

    Samples near the centre are unaffected, as these are acquired within a short time.
    """
    shift = rng.uniform(-LARGEST_SHIFT_VOXELS, LARGEST_SHIFT_VOXELS, 2)
    y, z = (torch.arange(n) / n - (n // 2) / n for n in sampled.shape)
    angle = 2 * math.pi * (shift[0] * y[:, None] + shift[1] * z)
    later = torch.from_numpy(rng.random(sampled.shape) < rng.uniform(0.05, 0.5))
    later &= (y[:, None] ** 2 + z**2).sqrt() > 0.15
    return torch.polar(torch.ones_like(angle), angle * later)
