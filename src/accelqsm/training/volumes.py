"""Fully sampled training volumes of digital heads, one echo each, with random contrasts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from accelqsm.files.atomic import whole_file, write_text
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft, ifft
from accelqsm.grid import Grid, Shape, Triple, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import compress_maps
from accelqsm.recon.espirit import espirit
from accelqsm.recon.sense import unit_maps
from accelqsm.runtime.progress import track
from accelqsm.simulate.coils import head_coil
from accelqsm.simulate.heads.head import Head, digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal
from accelqsm.training.lesions import add_spots, draw_spots
from accelqsm.training.processes import in_processes

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
COILS = 2
FIRST_ECHO_S, LAST_ECHO_S = (2.5e-3, 6e-3), 40e-3
SPACING_S = (0.4, 1.0)
"""Range of the first echo time, the latest time of the last, and the range of their spacing in
units of the largest that fits."""

Plane = tuple[Shape, Triple]
"""Shape and voxel size of a grid."""

ECHOES = 13
"""Tells the random numbers of the echoes of one scan from those of other volumes of a head."""
VIRTUAL_CHANNELS = 8
CENTRES = ((10, 8), (12, 10), (16, 16), (24, 24), (32, 24), (48, 32))
CENTRE_NOISE = (0.001, 0.02)
HEAD_BYTES = 3 * 10**9
"""Memory reserved for a process that simulates a head (2.2 GB measured, eight echoes of a coil)."""


@dataclass(frozen=True)
class Contrast:
    """Acquisition parameters of a volume; ``channel`` is None for all channels."""

    echo_time_s: float
    repetition_time_s: float
    flip_angle_deg: float
    n_channels: int
    channel: int | None
    texture: float


@dataclass(frozen=True)
class Coils:
    """Receive sensitivities of several coils, complex64 (coil, channel, x, y, z).

    Attributes:
        true: true sensitivities, sum |C_c|^2 = 1; noise is independent and equal in all channels.
        estimated: ESPIRiT sensitivities from a noisy fully sampled centre, weaker in air, as used
            in a reconstruction.
    """

    true: npt.NDArray[np.complex64]
    estimated: npt.NDArray[np.complex64]


@dataclass(frozen=True)
class Kind:
    """What the volumes of a head are.

    Attributes:
        n_volumes: number of volumes; at most so many where a scan has fewer echoes.
        all_channels: combined images with sensitivities of all channels, compressed to
            ``VIRTUAL_CHANNELS``, instead of the image of one channel each.
        echoes_of_one_scan: the echoes of one acquisition, in their order.
    """

    n_volumes: int
    all_channels: bool = False
    echoes_of_one_scan: bool = False

    def __str__(self) -> str:
        what = "all channels" if self.all_channels else "one channel each"
        return f"{self.n_volumes} volumes of {what}" + (
            ", the echoes of one scan" if self.echoes_of_one_scan else ""
        )


@dataclass(frozen=True)
class Volumes:
    """Volumes of one head, each with a 99.9 percentile magnitude of 1.

    Attributes:
        images: complex64 (volume, x, y, z); an array or a memory map.
        contrasts: acquisition parameters of each volume.
        coils: volume v is received by coil ``v % len(coils.true)``; None where each image is of a
            single channel.
        echoes_of_one_scan: the volumes are the echoes of one acquisition in their order, the first
            of them of magnitude 1, received by any of the coils.
    """

    images: npt.NDArray[np.complex64]
    contrasts: tuple[Contrast, ...]
    coils: Coils | None = None
    echoes_of_one_scan: bool = False

    @property
    def kind(self) -> Kind:
        """What the volumes are."""
        return Kind(len(self.images), self.coils is not None, self.echoes_of_one_scan)

    def __reduce__(self) -> tuple[Callable[..., Volumes], tuple[object, ...]]:
        """Pickle as file names where possible, so that another process maps the files itself."""
        name = getattr(self.images, "filename", None)
        if name is not None:
            return load_volumes, (Path(name).with_suffix(""),)
        return Volumes, (self.images, self.contrasts, self.coils, self.echoes_of_one_scan)


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
    coils = _coils([image[None] for image in images[:COILS]], grid, rng) if all_channels else None
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
        _coils([echoes] * COILS, grid, rng),
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


def save_volumes(stem: Path, volumes: Volumes, source: Mapping[str, object]) -> None:
    """Write ``<stem>.npy``, the coils' maps if any, and last ``<stem>.json``.

    Args:
        stem: path without its ending.
        volumes: the volumes.
        source: what they come from, as JSON has it, by which they are known again.
    """
    record = Path(f"{stem}.json")
    record.unlink(missing_ok=True)
    arrays = {"": volumes.images}
    if volumes.coils is not None:
        arrays |= {"-true": volumes.coils.true, "-estimated": volumes.coils.estimated}
    files = {suffix: Path(f"{stem}{suffix}.npy") for suffix in arrays}
    for suffix, path in files.items():
        with whole_file(path) as temporary:
            np.save(temporary, arrays[suffix])
    table = {
        "source": dict(source),
        "bytes": {path.name: path.stat().st_size for path in files.values()},
        "contrasts": [asdict(contrast) for contrast in volumes.contrasts],
        "echoes_of_one_scan": volumes.echoes_of_one_scan,
    }
    write_text(record, json.dumps(table, indent=1))


def cached_source(stem: Path) -> dict[str, object] | None:
    """What volumes on disk come from; None if they are not there, or not whole."""
    try:
        record = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
        whole = {stem.parent / name: size for name, size in record["bytes"].items()}
        if any(path.stat().st_size != size for path, size in whole.items()):
            return None
        return dict(record["source"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def is_cached(stem: Path, source: Mapping[str, object]) -> bool:
    """Whether volumes of that source are on disk, and whole."""
    return cached_source(stem) == dict(source)


def load_volumes(stem: Path) -> Volumes:
    """Read volumes as written by ``save_volumes``, as memory maps."""
    record = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))
    contrasts = tuple(Contrast(**contrast) for contrast in record["contrasts"])
    images = np.load(f"{stem}.npy", mmap_mode="r")
    if f"{stem.name}-true.npy" not in record["bytes"]:
        return Volumes(images, contrasts)
    maps = [np.load(f"{stem}{suffix}.npy", mmap_mode="r") for suffix in ("-true", "-estimated")]
    return Volumes(images, contrasts, Coils(*maps), record.get("echoes_of_one_scan", False))


def _coils(
    scans: Sequence[npt.NDArray[np.complex64]], grid: Grid, rng: np.random.Generator
) -> Coils:
    """Draw a coil for each scan (echo, x, y, z), with ESPIRiT sensitivities from its centre."""
    true, estimated = [], []
    for echoes in scans:
        n_channels = int(rng.integers(4, 33))
        coil = head_coil(grid, n_channels=n_channels, seed=int(rng.integers(2**31)))
        whitening = np.linalg.inv(np.linalg.cholesky(coil.noise_covariance)).astype(np.complex64)
        received = torch.stack(list(coil))
        received = torch.einsum("cd,dxyz->cxyz", torch.from_numpy(whitening), received)
        compressed = compress_maps(received, torch.from_numpy(echoes[0]), VIRTUAL_CHANNELS)
        maps = unit_maps(compressed)
        true.append(_pad_channels(maps))
        estimated.append(_pad_channels(_estimate_maps(maps, echoes, grid, rng)))
    return Coils(np.stack(true), np.stack(estimated))


def _pad_channels(maps: Tensor) -> npt.NDArray[np.complex64]:
    """Pad with zero channels to ``VIRTUAL_CHANNELS``."""
    missing = maps.new_zeros(VIRTUAL_CHANNELS - len(maps), *maps.shape[1:])
    return np.asarray(torch.cat([maps, missing]).numpy(), dtype=np.complex64)


def _estimate_maps(
    maps: Tensor, echoes: npt.NDArray[np.complex64], grid: Grid, rng: np.random.Generator
) -> Tensor:
    """ESPIRiT sensitivities from the noisy centre of the k-space of all echoes."""
    y, z = grid.shape[1:]
    centres = [centre for centre in CENTRES if centre[0] <= y and centre[1] <= z]
    centre = centres[rng.integers(len(centres))]
    sampled = torch.zeros(y, z, dtype=torch.bool)
    sampled[centred_slice(y, centre[0]), centred_slice(z, centre[1])] = True
    images = map(torch.from_numpy, echoes)
    samples = np.stack([fft(maps * i, PHASE_ENCODES)[..., sampled].numpy() for i in images], axis=1)
    noise = rng.standard_normal((*samples.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise_sd = np.exp(rng.uniform(*np.log(CENTRE_NOISE)))
    times_s = tuple(0.01 * (1 + echo) for echo in range(len(echoes)))
    kspace = KSpace(
        Acquisition(grid, times_s, FIELD_STRENGTH_T),
        sampled,
        samples + np.float32(noise_sd) * noise,
    )
    return espirit(kspace, noise_power=2 * float(noise_sd) ** 2).supported


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
