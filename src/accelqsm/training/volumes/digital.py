"""Training volumes of digital heads: one echo each with random contrasts, or those of a scan."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm import __version__
from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.grid import Grid, Shape, Triple, centred_grid
from accelqsm.runtime.progress import track
from accelqsm.simulate.coils import head_coil
from accelqsm.simulate.heads.head import Head, digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal
from accelqsm.training.processes import in_processes
from accelqsm.training.volumes.coils import drawn_coils
from accelqsm.training.volumes.lesions import add_spots, draw_spots
from accelqsm.training.volumes.volumes import (
    FIELD_STRENGTH_T,
    PEAK_QUANTILE,
    Contrast,
    Kind,
    Volumes,
    is_cached,
    load_volumes,
    save_volumes,
)

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
COILS = 2
FIRST_ECHO_S, LAST_ECHO_S = (2.5e-3, 6e-3), 40e-3
SPACING_S = (0.4, 1.0)
"""Range of the first echo time, the latest time of the last, and the range of their spacing in
units of the largest that fits."""

Plane = tuple[Shape, Triple]
"""Shape and voxel size of a grid."""

ECHOES = 13
"""Tells the random numbers of the echoes of one scan from those of other volumes of a head."""
HEAD_BYTES = 3 * 10**9
"""Memory reserved for a process that simulates a head (2.2 GB measured, eight echoes of a coil)."""


def simulate_volumes(*, seed: int, n_volumes: int, all_channels: bool = False) -> Volumes:
    """Simulate noise-free volumes of one head.

    The head is computed with voxels of half the size along y and z and k-space is cropped, for
    realistic Gibbs ringing and dephasing. Grid, age, lesions, two flip angles, echo times, and
    the coil and channel of every volume are random.

    Args:
        seed: seed of the anatomy and all other random values.
        n_volumes: number of contrasts of the head.
        all_channels: combined images with sensitivities of all channels, compressed to
            ``VIRTUAL_CHANNELS``, instead of the image of one channel.
    """
    rng = np.random.default_rng([seed, 7])
    grid, head = draw_head(seed, rng)
    spots = draw_spots(head.grid, rng)
    images, contrasts = [], []
    for n_echoes in (n_volumes - n_volumes // 2, n_volumes // 2):
        if n_echoes == 0:
            continue
        acquisition = _draw_acquisition(grid, n_echoes, rng)
        echoes = transverse_signal(head, acquisition, seed=seed)
        for echo, echo_time_s in zip(echoes, acquisition.echo_times_s, strict=True):
            contrast = _draw_contrast(acquisition, echo_time_s, rng, one_channel=not all_channels)
            echo = add_spots(echo, head.grid, spots, echo_time_s=echo_time_s)
            images.append(_of_peak_one(_acquired(echo, head.grid, contrast, grid.shape, rng)))
            contrasts.append(contrast)
    coils = (
        drawn_coils([image[None] for image in images[:COILS]], grid, rng) if all_channels else None
    )
    return Volumes(np.stack(images), tuple(contrasts), coils)


def simulate_echoes(*, seed: int, n_echoes: int, plane: Plane | None = None) -> Volumes:
    """Simulate the noise-free echoes of one scan, with sensitivities of all channels.

    As ``simulate_volumes``, but with one flip angle and texture for all echoes, which are evenly
    spaced: the first at 2.5 to 6 ms, the last within 40 ms.

    Args:
        seed: seed of the anatomy and all other random values.
        n_echoes: number of echoes, two or more.
        plane: shape and voxel size of the images, instead of drawing them from ``GRIDS``.
    """
    rng = np.random.default_rng([seed, ECHOES])
    grid, head = draw_head(seed, rng, plane)
    spots = draw_spots(head.grid, rng)
    acquisition = _draw_acquisition(grid, 1, rng)
    first_s = float(rng.uniform(*FIRST_ECHO_S))
    spacing_s = float(rng.uniform(*SPACING_S)) * (LAST_ECHO_S - first_s) / (n_echoes - 1)
    times_s = tuple(first_s + spacing_s * echo for echo in range(n_echoes))
    acquisition = replace(acquisition, echo_times_s=times_s)
    contrast = _draw_contrast(acquisition, first_s, rng, one_channel=False)
    texture = int(rng.integers(2**31))
    images = []
    for echo, time_s in zip(transverse_signal(head, acquisition, seed=seed), times_s, strict=True):
        echo = add_spots(echo, head.grid, spots, echo_time_s=time_s)
        same = np.random.default_rng(texture)
        images.append(_acquired(echo, head.grid, contrast, grid.shape, same))
    echoes = np.asarray(np.stack(images) / _peak(images[0]), np.complex64)
    return Volumes(
        echoes,
        tuple(replace(contrast, echo_time_s=time_s) for time_s in times_s),
        drawn_coils([echoes] * COILS, grid, rng),
        echoes_of_one_scan=True,
    )


def draw_head(seed: int, rng: np.random.Generator, plane: Plane | None = None) -> tuple[Grid, Head]:
    """Draw the grid of the acquisition, and a head on a grid of half its voxels along y and z.

    Args:
        seed: of the anatomy.
        rng: of grid, position and age.
        plane: shape and voxel size of the grid, instead of those drawn.
    """
    drawn = GRIDS[rng.integers(len(GRIDS))]
    shape, voxel_size_mm = plane or drawn
    x, y, z = np.asarray(HEAD_CENTRE_MM) + rng.uniform(-6, 6, 3)
    grid = centred_grid(shape, voxel_size_mm, centre_mm=(x, y, z))
    fine = grid.refined(REFINEMENT)
    return grid, digital_head(fine, seed=seed, age_years=float(rng.uniform(18, 75)))


def cached_volumes(
    folder: Path, seeds: range, kind: Kind, plane: Plane | None = None
) -> list[Volumes]:
    """Volumes of many heads, simulated once and then read as memory maps.

    Heads are simulated in parallel processes that import the main module: a script needs a guard
    ``if __name__ == "__main__":``.

    Args:
        folder: where they are kept.
        seeds: of the heads.
        kind: what their volumes are.
        plane: shape and voxel size of echoes of one scan, instead of drawing them.

    Raises:
        InputError: a folder with volumes of another kind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        seed for seed in seeds if not is_cached(folder / f"head-{seed}", _head_source(seed, plane))
    ]
    simulate = partial(_simulate_into, folder, kind, plane)
    for _ in track(
        in_processes(simulate, missing, each_bytes=HEAD_BYTES), "simulating heads", len(missing)
    ):
        pass
    loaded = [load_volumes(folder / f"head-{seed}") for seed in seeds]
    for seed, head in zip(seeds, loaded, strict=True):
        if head.kind != kind:
            raise InputError(f"{folder / f'head-{seed}.json'}: expected {kind}, found {head.kind}")
    return loaded


def _simulate_into(folder: Path, kind: Kind, plane: Plane | None, seed: int) -> None:
    if kind.echoes_of_one_scan:
        volumes = simulate_echoes(seed=seed, n_echoes=kind.n_volumes, plane=plane)
    else:
        volumes = simulate_volumes(
            seed=seed, n_volumes=kind.n_volumes, all_channels=kind.all_channels
        )
    save_volumes(folder / f"head-{seed}", volumes, _head_source(seed, plane))


def _head_source(seed: int, plane: Plane | None) -> dict[str, object]:
    drawn = {} if plane is None else {"plane": [list(part) for part in plane]}
    return {"seed": seed, "accelqsm": __version__, **drawn}


def _draw_acquisition(grid: Grid, n_echoes: int, rng: np.random.Generator) -> Acquisition:
    """Draw a flip angle of 4 to 24 degrees, and stratified echo times of 3 to 35 ms."""
    parts = (np.arange(n_echoes) + rng.uniform(0.05, 0.95, n_echoes)) / n_echoes
    return Acquisition(
        grid,
        tuple(float(t) for t in 3e-3 + 32e-3 * parts),
        FIELD_STRENGTH_T,
        repetition_time_s=float(rng.uniform(38e-3, 50e-3)),
        flip_angle_deg=float(rng.uniform(4, 24)),
    )


def _draw_contrast(
    acquisition: Acquisition, echo_time_s: float, rng: np.random.Generator, *, one_channel: bool
) -> Contrast:
    n_channels = int(rng.integers(4, 33))
    return Contrast(
        echo_time_s=echo_time_s,
        repetition_time_s=acquisition.repetition_time_s,
        flip_angle_deg=acquisition.flip_angle_deg,
        n_channels=n_channels,
        channel=int(rng.integers(n_channels)) if one_channel else None,
        texture=float(rng.uniform(0, 0.15)),
    )


def _acquired(
    echo: Tensor, grid: Grid, contrast: Contrast, shape: Shape, rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Image of one echo on the acquired grid, of one channel if the contrast names one."""
    fine = (1 + contrast.texture * _texture(grid.shape, rng)) * echo
    if contrast.channel is not None:
        coil = head_coil(grid, n_channels=contrast.n_channels, seed=int(rng.integers(2**31)))
        fine = coil[contrast.channel] * fine
    hybrid = acquire(fine, shape)
    return np.asarray(ifft(hybrid, PHASE_ENCODES).numpy(), np.complex64)


def _of_peak_one(image: npt.NDArray[np.complex64]) -> npt.NDArray[np.complex64]:
    return np.asarray(image / _peak(image), dtype=np.complex64)


def _peak(image: npt.NDArray[np.complex64]) -> np.floating[Any]:
    """The magnitude that nearly all voxels are below."""
    peak: np.floating[Any] = np.quantile(np.abs(image), PEAK_QUANTILE)
    return peak


def _texture(shape: Shape, rng: np.random.Generator) -> Tensor:
    """Random texture of unit variance, a few fine voxels wide."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, rng.uniform(0.6, 2.0))
    return torch.from_numpy(smooth / smooth.std())
