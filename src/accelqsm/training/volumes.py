"""Fully sampled volumes of digital heads: one channel, one echo, a contrast drawn at random."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.grid import Grid, Shape, Triple, centred_grid
from accelqsm.progress import track
from accelqsm.simulate.coils import head_coil
from accelqsm.simulate.head import digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal

FIRST_TRAINING_SEED = 1000
FIRST_VALIDATION_SEED = 2000
"""Seeds below ``FIRST_TRAINING_SEED`` are for demonstrations, tests and reports alone."""

GRIDS: tuple[tuple[Shape, Triple], ...] = (
    ((108, 132, 76), (1.6, 1.6, 2.0)),
    ((96, 120, 64), (1.8, 1.8, 2.3)),
    ((124, 152, 72), (1.4, 1.4, 2.0)),
    ((112, 112, 80), (1.55, 1.9, 1.9)),
    ((144, 176, 60), (1.2, 1.2, 2.4)),
    ((84, 264, 76), (2.0, 0.8, 2.0)),
    ((76, 224, 84), (2.2, 1.0, 1.9)),
)
REFINEMENT = (1, 2, 2)
HEAD_CENTRE_MM: Triple = (0.0, -17.0, 4.0)
FIELD_STRENGTH_T = 3.0
PEAK_QUANTILE = 0.999


@dataclass(frozen=True)
class Contrast:
    """How one volume was drawn."""

    echo_time_s: float
    repetition_time_s: float
    flip_angle_deg: float
    n_channels: int
    channel: int
    texture: float


@dataclass(frozen=True)
class Volumes:
    """Volumes of one head, each with a 99.9 percentile magnitude of 1, without noise.

    Attributes:
        images: complex64 (volume, x, y, z); an array or a memory map.
        contrasts: how each of them was drawn.
    """

    images: npt.NDArray[np.complex64]
    contrasts: tuple[Contrast, ...]


def simulate_volumes(*, seed: int, n_volumes: int) -> Volumes:
    """Volumes of one head as a scanner would see them without noise.

    The head is laid out with voxels of half the size along y and z and k-space is cropped, so
    that edges ring and voxels dephase as in a scan. Grid, age, two flip angles, echo times, and
    the coil and channel of every volume are drawn from the seed.

    Args:
        seed: draws the person and the rest.
        n_volumes: how many contrasts of that person.
    """
    rng = np.random.default_rng([seed, 7])
    shape, voxel_size_mm = GRIDS[rng.integers(len(GRIDS))]
    x, y, z = np.asarray(HEAD_CENTRE_MM) + rng.uniform(-6, 6, 3)
    grid = centred_grid(shape, voxel_size_mm, centre_mm=(x, y, z))
    head = digital_head(grid.refined(REFINEMENT), seed=seed, age_years=float(rng.uniform(18, 75)))
    images, contrasts = [], []
    for n_echoes in (n_volumes - n_volumes // 2, n_volumes // 2):
        if n_echoes == 0:
            continue
        acquisition = _draw_acquisition(grid, n_echoes, rng)
        echoes = transverse_signal(head, acquisition, seed=seed)
        for echo, echo_time_s in zip(echoes, acquisition.echo_times_s, strict=True):
            contrast = _draw_contrast(acquisition, echo_time_s, rng)
            images.append(_volume(echo, head.grid, contrast, shape, rng))
            contrasts.append(contrast)
    return Volumes(np.stack(images), tuple(contrasts))


def cached_volumes(folder: Path, *, seeds: range, n_volumes: int) -> list[Volumes]:
    """The volumes of many heads, simulated once and then read as memory maps.

    Raises:
        InputError: a folder that holds another number of volumes per head.
    """
    folder.mkdir(parents=True, exist_ok=True)
    heads = []
    for seed in track(seeds, "simulating heads", len(seeds)):
        images, contrasts = folder / f"head-{seed}.npy", folder / f"head-{seed}.json"
        if not contrasts.exists():
            volumes = simulate_volumes(seed=seed, n_volumes=n_volumes)
            with open(folder / f"head-{seed}.part", "wb") as file:
                np.save(file, volumes.images)
            os.replace(folder / f"head-{seed}.part", images)
            contrasts.write_text(json.dumps([asdict(c) for c in volumes.contrasts], indent=1))
        records = tuple(Contrast(**record) for record in json.loads(contrasts.read_text()))
        if len(records) != n_volumes:
            raise InputError(
                f"{contrasts}: expected {n_volumes} volumes of the head, found {len(records)}"
            )
        heads.append(Volumes(np.load(images, mmap_mode="r"), records))
    return heads


def _draw_acquisition(grid: Grid, n_echoes: int, rng: np.random.Generator) -> Acquisition:
    """Flip angle 4 to 24 degrees, echo times between 3 and 35 ms, one in each equal part."""
    parts = (np.arange(n_echoes) + rng.uniform(0.05, 0.95, n_echoes)) / n_echoes
    return Acquisition(
        grid,
        tuple(float(t) for t in 3e-3 + 32e-3 * parts),
        FIELD_STRENGTH_T,
        repetition_time_s=float(rng.uniform(38e-3, 50e-3)),
        flip_angle_deg=float(rng.uniform(4, 24)),
    )


def _draw_contrast(
    acquisition: Acquisition, echo_time_s: float, rng: np.random.Generator
) -> Contrast:
    n_channels = int(rng.integers(4, 33))
    return Contrast(
        echo_time_s=echo_time_s,
        repetition_time_s=acquisition.repetition_time_s,
        flip_angle_deg=acquisition.flip_angle_deg,
        n_channels=n_channels,
        channel=int(rng.integers(n_channels)),
        texture=float(rng.uniform(0, 0.15)),
    )


def _volume(
    echo: Tensor, grid: Grid, contrast: Contrast, shape: Shape, rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """One echo as one channel receives it, on the acquired grid."""
    coil = head_coil(grid, n_channels=contrast.n_channels, seed=int(rng.integers(2**31)))
    detail = 1 + contrast.texture * _texture(grid.shape, rng)
    hybrid = acquire(coil[contrast.channel] * detail * echo, shape)
    image = ifft(hybrid, PHASE_ENCODES).numpy()
    peak = np.quantile(np.abs(image), PEAK_QUANTILE)
    return np.asarray(image / peak, dtype=np.complex64)


def _texture(shape: Shape, rng: np.random.Generator) -> Tensor:
    """Random detail of unit variance, a few fine voxels wide, which digital tissue lacks."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, rng.uniform(0.6, 2.0))
    return torch.from_numpy(smooth / smooth.std())
