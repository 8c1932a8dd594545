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
from accelqsm.training.settings import TrainingSettings
from accelqsm.training.volumes.volumes import Volumes

CALIBRATIONS = (
    (24, 24), (16, 16), (20, 20), (32, 16), (40, 24), (48, 32), (64, 40),
    (16, 12), (12, 10), (10, 8),
)  # fmt: skip
"""Fully sampled centres that patterns are drawn with; the first is that of validation."""
THICKEST = 2.5
"""Largest ratio of voxel sizes along z and y for which patterns are drawn; the smallest is 1."""
ELLIPTICAL = 0.5
"""Fraction of the patterns without the corners of k-space."""
LARGEST_CALIBRATION = 0.5
"""Largest fraction of the samples in the fully sampled centre of a pattern."""
OWN_PATTERNS = 0.5
"""Fraction of the slabs of all echoes whose echoes have patterns of their own."""
VALIDATION_NOISE = TrainingSettings().noise
"""Least and most noise of validation, which is the same for all settings of a run."""
MOTION_FRACTION = 0.2
"""Fraction of the pairs with head motion during the scan."""
LARGEST_SHIFT_VOXELS = 0.4
"""Largest shift of the head along y and z in voxels."""
VALIDATION = 2_000_000
"""First seed of validation patterns and noise."""
FIXED = 4_000_000
"""First seed of fixed training patterns."""

Complex = npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Pair:
    """Under-sampled slabs of some volumes of one head, with their ground truth.

    Attributes:
        measured: complex64 (batch, x, ky, kz), or (channel, batch, x, ky, kz) with maps; noisy,
            zero where not sampled.
        sampled: bool (ky, kz), or (batch, 1, ky, kz) for a pattern of each item.
        truth: complex64 (batch, x, y, z), without added noise; mean magnitude 1, of the first
            item where the items are echoes of one scan.
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
        sampled = self.sampled if self.sampled.ndim == 2 else self.sampled[chosen]
        return Pair(measured, sampled, self.truth[chosen], self.echo_times_s[chosen], maps)


def training_pairs(
    heads: Sequence[Volumes], *, step: int, settings: TrainingSettings
) -> tuple[Pair, ...]:
    """Random pairs of a training step, reproducible from seed and step.

    Head, volumes, readout positions, flips, conjugation, smooth phase, noise, acceleration,
    pattern and a small motion are random. Scaling is not: the network is positively homogeneous
    and the loss relative.

    Args:
        heads: fully sampled volumes.
        step: number of the step.
        settings: seed, size of the slabs (the (ky, kz) plane is always whole) and their number,
            accelerations, patterns and noise.

    Returns:
        One pair with all slabs, or, of heads whose volumes are the echoes of one scan, a pair for
        each slab, with two or more of its echoes.
    """
    if heads[0].echoes_of_one_scan:
        rng = np.random.default_rng([settings.seed, 17, step])
        return tuple(_echoes_pair(heads, rng, settings) for _ in range(settings.items))
    rng = np.random.default_rng([settings.seed, 11, step])
    head = heads[int(rng.integers(len(heads)))]
    slabs = []
    for _ in range(settings.items):
        volume = int(rng.integers(len(head.images)))
        x = _random_readouts(head, settings.readouts, rng)
        slabs.append(_augment([_slab(head, volume, x)], rng)[0])
    plane = slabs[0].image.shape[-2:]
    sampled = _draw_pattern(plane, rng, settings)
    motion = rng.random() < MOTION_FRACTION
    parts = []
    for slab in slabs:
        phase = _motion_phase(plane, rng) if motion else None
        parts.append(_received(slab, rng, settings.noise, phase))
    return (_pair(parts, sampled, [part.level for part in parts]),)


def _echoes_pair(
    heads: Sequence[Volumes], rng: np.random.Generator, settings: TrainingSettings
) -> Pair:
    """A slab of two or more evenly spaced echoes of one scan, with one pattern or one for each.

    Motion, where there is any, comes between the same samples of all echoes.
    """
    head = heads[int(rng.integers(len(heads)))]
    n_echoes = int(rng.integers(2, len(head.images) + 1))
    spacing = int(rng.integers(1, (len(head.images) - 1) // (n_echoes - 1) + 1))
    first = int(rng.integers(len(head.images) - (n_echoes - 1) * spacing))
    echoes = range(first, first + n_echoes * spacing, spacing)
    x = _random_readouts(head, settings.readouts, rng)
    coil = None if head.coils is None else int(rng.integers(len(head.coils.true)))
    slabs = _augment([_slab(head, echo, x, coil) for echo in echoes], rng)
    plane = slabs[0].image.shape[-2:]
    acceleration = float(rng.choice(settings.accelerations))
    own = rng.random() < OWN_PATTERNS
    patterns = [
        _pattern(plane, acceleration, rng, fixed=settings.fixed_patterns, echo=echo)
        for echo in range(n_echoes if own else 1)
    ]
    phase = _motion_phase(plane, rng) if rng.random() < MOTION_FRACTION else None
    noise_sd = _noise_sd(rng, settings.noise)
    parts = [_received(slab, rng, (noise_sd, noise_sd), phase) for slab in slabs]
    sampled = torch.stack(patterns)[:, None] if own else patterns[0]
    return _pair(parts, sampled, [parts[0].level] * n_echoes)


def full_pair(
    head: Volumes, rng: np.random.Generator, *, readouts: int, noise: tuple[float, float]
) -> Pair:
    """Draw a noisy slab of all echoes of a scan, seen by one of its coils and sampled everywhere.

    Args:
        head: the echoes of one scan, with coils.
        rng: of readout positions, coil, flips, conjugation, smooth phase and noise.
        readouts: readout positions of the slab.
        noise: least and most noise, as in ``TrainingSettings``.
    """
    assert head.coils is not None
    x = _random_readouts(head, readouts, rng)
    coil = int(rng.integers(len(head.coils.true)))
    slabs = _augment([_slab(head, echo, x, coil) for echo in range(len(head.images))], rng)
    noise_sd = _noise_sd(rng, noise)
    parts = [_received(slab, rng, (noise_sd, noise_sd)) for slab in slabs]
    everywhere = torch.ones(slabs[0].image.shape[-2:], dtype=torch.bool)
    return _pair(parts, everywhere, [parts[0].level] * len(parts))


def _draw_pattern(
    plane: Sequence[int], rng: np.random.Generator, settings: TrainingSettings
) -> Tensor:
    """Draw an acceleration, and a pattern."""
    acceleration = float(rng.choice(settings.accelerations))
    return _pattern(plane, acceleration, rng, fixed=settings.fixed_patterns)


def _pattern(
    plane: Sequence[int],
    acceleration: float,
    rng: np.random.Generator,
    *,
    fixed: bool,
    echo: int = 0,
) -> Tensor:
    """Draw a pattern, or give the one of a plane, acceleration and echo."""
    if fixed:
        return poisson_disk(
            (plane[0], plane[1]),
            acceleration=acceleration,
            calibration=_centres(plane, acceleration)[0],
            seed=FIXED + echo,
        )
    centres = _centres(plane, acceleration)
    return poisson_disk(
        (plane[0], plane[1]),
        acceleration=acceleration,
        calibration=centres[rng.integers(len(centres))],
        seed=int(rng.integers(2**31)),
        ellipse=rng.random() < ELLIPTICAL,
        voxel_size_mm=(1.0, float(rng.uniform(1, THICKEST))),
    )


def _centres(plane: Sequence[int], acceleration: float) -> list[tuple[int, int]]:
    """Fully sampled centres that leave samples for the rest of the plane."""
    largest = LARGEST_CALIBRATION * plane[0] * plane[1] / acceleration
    return [c for c in CALIBRATIONS if c[0] * c[1] <= largest] or [(0, 0)]


def validation_pairs(
    heads: Sequence[Volumes], *, readouts: int, acceleration: float, pairs_per_head: int = 1
) -> Iterator[Pair]:
    """Iterate over fixed validation pairs of every head, next to the centre of the readout.

    Args:
        heads: fully sampled volumes, two or more of each head; all of them are in a pair where they
            are the echoes of one scan.
        readouts: readout positions of a slab.
        acceleration: acceleration of the patterns.
        pairs_per_head: pairs of each head; half the number of volumes uses each volume once.
    """
    for number, index in np.ndindex(len(heads), pairs_per_head):
        head = heads[number]
        count, n_x, n_y, n_z = head.images.shape
        start = max(0, n_x // 2 - readouts)
        x = slice(start, start + readouts)
        seed = VALIDATION + number + 1000 * index
        sampled = poisson_disk(
            (n_y, n_z), acceleration=acceleration, calibration=CALIBRATIONS[0], seed=seed
        )
        rng = np.random.default_rng([VALIDATION, number + 1000 * index])
        if head.echoes_of_one_scan:
            noise_sd = _noise_sd(rng, VALIDATION_NOISE)
            slabs = [_slab(head, echo, x, index) for echo in range(count)]
            parts = [_received(slab, rng, (noise_sd, noise_sd)) for slab in slabs]
            yield _pair(parts, sampled, [parts[0].level] * count)
            continue
        chosen = [(number + index) % count, (number + index + count // 2) % count]
        parts = [_received(_slab(head, v, x), rng, VALIDATION_NOISE) for v in chosen]
        yield _pair(parts, sampled, [part.level for part in parts])


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


def _slab(head: Volumes, volume: int, x: slice, coil: int | None = None) -> _Slab:
    """Slab of a volume, seen by the coil of the volume or by another one."""
    image, echo_time_s = np.array(head.images[volume, x]), head.contrasts[volume].echo_time_s
    if head.coils is None:
        return _Slab(image, echo_time_s, None, None)
    chosen = (volume if coil is None else coil) % len(head.coils.true)
    true, estimated = (np.array(m[chosen][:, x]) for m in (head.coils.true, head.coils.estimated))
    return _Slab(image, echo_time_s, true, estimated)


def _augment(slabs: Sequence[_Slab], rng: np.random.Generator) -> list[_Slab]:
    """Random flips, conjugation and smooth phase, the same for all slabs.

    Of several echoes, the phase evolves with echo time by another smooth phase.
    """
    axes = tuple(axis for axis in (-3, -2, -1) if rng.random() < 0.5)
    conjugated = rng.random() < 0.5

    def flip(values: Complex | None) -> Complex | None:
        if values is None:
            return None
        # Copied: of one readout position, a flipped view counts as contiguous, yet runs backwards.
        flipped = np.flip(values, axes).copy()
        return flipped.conj() if conjugated else flipped

    shape = slabs[0].image.shape
    phase = _smooth_phase(shape, rng)
    evolution = _smooth_phase(shape, rng) if len(slabs) > 1 else np.zeros_like(phase)
    last_s = slabs[-1].echo_time_s
    return [
        _Slab(
            np.asarray(
                flip(slab.image) * np.exp(1j * (phase + slab.echo_time_s / last_s * evolution)),
                np.complex64,
            ),
            slab.echo_time_s,
            flip(slab.true),
            flip(slab.estimated),
        )
        for slab in slabs
    ]


def _smooth_phase(shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Random polynomial of second order over a slab, in rad."""
    lines = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    x, y, z = np.meshgrid(*lines, indexing="ij", sparse=True)
    linear, square = rng.normal(0, 2.0, 3), rng.normal(0, 0.8, 6)
    terms = (x * x, y * y, z * z, x * y, y * z, z * x)
    phase = rng.uniform(0, 2 * math.pi) + linear[0] * x + linear[1] * y + linear[2] * z
    return np.asarray(phase + sum(c * term for c, term in zip(square, terms, strict=True)))


def _noise_sd(rng: np.random.Generator, noise: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(math.log(noise[0]), math.log(noise[1]))))


@dataclass(frozen=True)
class _Received:
    """Noisy k-space of a slab on the full plane, its combined image, and maps of a coil."""

    spectrum: Tensor
    image: Tensor
    echo_time_s: float
    maps: Tensor | None

    @property
    def level(self) -> Tensor:
        """Mean magnitude."""
        return self.image.abs().mean().clamp_min(1e-4)


def _received(
    slab: _Slab,
    rng: np.random.Generator,
    noise: tuple[float, float],
    motion_phase: Tensor | None = None,
) -> _Received:
    """Transform, move and add noise."""
    image = torch.from_numpy(slab.image)
    received, maps = image, None
    if slab.true is not None and slab.estimated is not None:
        maps = torch.from_numpy(slab.estimated)
        received = torch.from_numpy(slab.true) * image
        image = (unit_maps(maps).conj() * received).sum(0)
    spectrum = fft(received, PHASE_ENCODES)
    if motion_phase is not None:
        spectrum = spectrum * motion_phase
    drawn = rng.standard_normal((*received.shape, 2), dtype=np.float32)
    spectrum += torch.view_as_complex(torch.from_numpy(drawn)) * _noise_sd(rng, noise)
    return _Received(spectrum, image, slab.echo_time_s, maps)


def _pair(parts: Sequence[_Received], sampled: Tensor, levels: Sequence[Tensor]) -> Pair:
    """Under-sample, and scale so that each level becomes 1."""
    patterns = sampled[:, 0] if sampled.ndim > 2 else sampled.expand(len(parts), -1, -1)
    measured = [
        part.spectrum * pattern / level
        for part, pattern, level in zip(parts, patterns, levels, strict=True)
    ]
    maps = [part.maps for part in parts if part.maps is not None]
    return Pair(
        torch.stack(measured, dim=1 if maps else 0),
        sampled,
        torch.stack([part.image / level for part, level in zip(parts, levels, strict=True)]),
        tuple(part.echo_time_s for part in parts),
        torch.stack(maps, dim=1) if maps else None,
    )


def _motion_phase(plane: Sequence[int], rng: np.random.Generator) -> Tensor:
    """Phase factor (ky, kz) of a shift of the head for random samples, 1 for the others.

    Samples near the centre are unaffected, as these are acquired within a short time.
    """
    shift = rng.uniform(-LARGEST_SHIFT_VOXELS, LARGEST_SHIFT_VOXELS, 2)
    y, z = (torch.arange(n) / n - (n // 2) / n for n in plane)
    angle = 2 * math.pi * (shift[0] * y[:, None] + shift[1] * z)
    later = torch.from_numpy(rng.random(tuple(plane)) < rng.uniform(0.05, 0.5))
    later &= (y[:, None] ** 2 + z**2).sqrt() > 0.15
    return torch.polar(torch.ones_like(angle), angle * later)
