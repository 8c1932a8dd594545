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
from accelqsm.recon.sense import unit_maps
from accelqsm.training.volumes import Volumes

TRAINING_ACCELERATIONS = (3.0, 5.0)
CALIBRATIONS = ((24, 24), (16, 16), (20, 20), (32, 16), (40, 24), (48, 32), (64, 40))
THICKEST = 2.5
"""Voxel along z over that along y that a pattern is drawn for, from 1 on."""
ELLIPTICAL = 0.5
"""Share of the patterns that leave the corners of k-space out."""
LARGEST_CALIBRATION = 0.5
"""Share of a pattern's samples that its fully sampled centre may take."""
QUIETEST, LOUDEST = 0.002, 0.03
"""Noise per real component, in units of the 99.9 percentile of the volume's magnitude."""
MOVED = 0.2
"""Share of the pairs in which some samples were measured after the head had moved."""
FARTHEST = 0.4
"""Voxels along y and z that it moves at most."""
VALIDATION = 2_000_000
"""First seed of validation patterns and noise."""

Complex = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Pair:
    """Slabs of some volumes of one head, measured with one pattern.

    Attributes:
        measured: complex64 (batch, x, ky, kz), or (channel, batch, x, ky, kz) with maps; noisy,
            zero where nothing was measured.
        sampled: bool (ky, kz).
        truth: complex64 (batch, x, y, z), without added noise; mean magnitude 1.
        echo_times_s: of each item.
        maps: estimated sensitivities (channel, batch, x, y, z), weaker in air; None for one
            channel.
    """

    measured: Tensor
    sampled: Tensor
    truth: Tensor
    echo_times_s: tuple[float, ...]
    maps: Tensor | None = None

    def items(self, chosen: slice) -> Pair:
        """Some of the items."""
        if self.maps is None:
            measured, maps = self.measured[chosen], None
        else:
            measured, maps = self.measured[:, chosen], self.maps[:, chosen]
        return Pair(measured, self.sampled, self.truth[chosen], self.echo_times_s[chosen], maps)


def training_pair(
    heads: Sequence[Volumes], *, readouts: int, seed: int, step: int, items: int = 2
) -> Pair:
    """The pair of one training step: the same seed and step give the same bytes.

    Head, volumes, readout positions, flips, conjugation, smooth phase, noise, acceleration,
    pattern and a small movement are drawn anew. Scaling is not drawn: the network is positively
    homogeneous and the loss relative.

    Args:
        heads: fully sampled volumes.
        readouts: readout positions of a slab; the (ky, kz) plane is always whole.
        seed: of the training run.
        step: number of the step.
        items: volumes of a pair.
    """
    rng = np.random.default_rng([seed, 11, step])
    head = heads[int(rng.integers(len(heads)))]
    slabs = []
    for _ in range(items):
        volume = int(rng.integers(len(head.images)))
        slabs.append(_augmented(_slab(head, volume, _somewhere(head, readouts, rng)), rng))
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
    return _measured(slabs, sampled, rng, moved=rng.random() < MOVED)


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
        count, n_x, n_y, n_z = head.images.shape
        start = max(0, n_x // 2 - readouts)
        chosen = [(number + index) % count, (number + index + count // 2) % count]
        slabs = [_slab(head, volume, slice(start, start + readouts)) for volume in chosen]
        seed = VALIDATION + number + 1000 * index
        sampled = poisson_disk(
            (n_y, n_z), acceleration=acceleration, calibration=CALIBRATIONS[0], seed=seed
        )
        rng = np.random.default_rng([VALIDATION, number + 1000 * index])
        yield _measured(slabs, sampled, rng, moved=False)


@dataclass(frozen=True)
class _Slab:
    """Part of a volume (x, y, z), with its coil's true and estimated maps if it has one."""

    image: Complex
    echo_time_s: float
    true: Complex | None
    estimated: Complex | None


def _somewhere(head: Volumes, readouts: int, rng: np.random.Generator) -> slice:
    """Readout positions that meet the head: the middle nine tenths of the volume."""
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


def _augmented(slab: _Slab, rng: np.random.Generator) -> _Slab:
    """Flip, conjugate, and turn the phase by a random smooth amount."""
    axes = tuple(axis for axis in (-3, -2, -1) if rng.random() < 0.5)
    conjugated = rng.random() < 0.5

    def turned(values: Complex | None) -> Complex | None:
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
    image = turned(slab.image) * np.exp(1j * phase)
    return _Slab(
        np.asarray(image, np.complex64),
        slab.echo_time_s,
        turned(slab.true),
        turned(slab.estimated),
    )


def _noise_sd(rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(math.log(QUIETEST), math.log(LOUDEST))))


def _measured(
    slabs: Sequence[_Slab], sampled: Tensor, rng: np.random.Generator, *, moved: bool
) -> Pair:
    """Add noise, drop what the pattern leaves out and scale to a mean magnitude of 1."""
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
        if moved:
            spectrum = spectrum * _movement(sampled, rng)
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


def _movement(sampled: Tensor, rng: np.random.Generator) -> Tensor:
    """Phases of the samples that were measured after a shift, 1 for the others; (ky, kz).

    The shift begins at some distance from the centre, as the centre is measured in one go.
    """
    shift = rng.uniform(-FARTHEST, FARTHEST, 2)
    y, z = (torch.arange(n) / n - (n // 2) / n for n in sampled.shape)
    angle = 2 * math.pi * (shift[0] * y[:, None] + shift[1] * z)
    later = torch.from_numpy(rng.random(sampled.shape) < rng.uniform(0.05, 0.5))
    later &= (y[:, None] ** 2 + z**2).sqrt() > 0.15
    return torch.polar(torch.ones_like(angle), angle * later)
