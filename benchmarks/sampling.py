"""Poisson-disk patterns against SigPy's: count, and the error of what they reconstruct to.

SigPy runs in a process of its own, which is ended after a minute: its search may not end. Ours is
asked for as many samples as SigPy's pattern has, with and without corners, by the usual law and
isotropic in cycles/mm. All are judged by the same noisy samples, the true sensitivities, and both
reconstructions. Needs sigpy.
Usage: OMP_NUM_THREADS=1 python benchmarks/sampling.py [HEAD [N_SEEDS]]
"""

from __future__ import annotations

import multiprocessing
import queue as queues
import statistics
import sys

import numpy as np
import sigpy.mri
import torch
from torch import Tensor

from accelqsm.fourier import centred_slice
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import Encoding
from recon_head import (
    CALIBRATION,
    SHAPE,
    SIZE_MM,
    channel_images,
    error_percent,
    measured,
    sensitivities,
)

PLANE = (SHAPE[1], SHAPE[2])
PATIENCE_S = 60
RANDOM_PATTERNS = 1000


def main() -> None:
    """Print how many counts were missed, and the table."""
    torch.set_num_threads(1)
    head = int(sys.argv[1]) if len(sys.argv) > 1 else 62
    n_seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    print_counts()
    print_errors(head, n_seeds)


def print_counts() -> None:
    """Random grids, accelerations, calibration regions and seeds whose count is not exact."""
    rng, missed = np.random.default_rng(12), 0
    for _ in range(RANDOM_PATTERNS):
        shape = (int(rng.integers(9, 300)), int(rng.integers(9, 100)))
        acceleration = rng.uniform(1.0, 12.0)
        wanted = round(shape[0] * shape[1] / acceleration)
        size_y, size_z = (int(rng.integers(0, min(n, int(wanted**0.5)) + 1)) for n in shape)
        pattern = poisson_disk(
            shape,
            acceleration=acceleration,
            calibration=(size_y, size_z),
            seed=int(rng.integers(2**31)),
        )
        box = (centred_slice(shape[0], size_y), centred_slice(shape[1], size_z))
        missed += int(pattern.sum()) != wanted or not bool(pattern[box].all())
    print(f"{missed} of {RANDOM_PATTERNS} random patterns miss their count or centre\n")


def print_errors(head: int, n_seeds: int) -> None:
    """Error of the channel images in per cent, one line per pattern and their mean."""
    images, maps = channel_images(head), sensitivities()
    print("\n| AF | pattern | seed | samples | zero-filled | CG-SENSE | L1-wavelet |")
    print("|---|---|---|---:|---:|---:|---:|")
    for acceleration in (3, 5):
        table: dict[str, list[list[float]]] = {}
        for seed in range(n_seeds):
            for name, pattern in patterns(acceleration, seed).items():
                row = errors(images, maps, pattern, seed=seed)
                table.setdefault(name, []).append(row)
                _line(acceleration, name, str(seed), int(pattern.sum()), row)
        for name, rows in table.items():
            _line(
                acceleration, name, "mean", 0, [statistics.mean(c) for c in zip(*rows, strict=True)]
            )


def patterns(acceleration: int, seed: int) -> dict[str, Tensor]:
    """SigPy's, without corners as by default and with them, and ours with as many samples."""
    found = {}
    for ellipse in (True, False):
        peer = sigpy_pattern(PLANE, acceleration, CALIBRATION, seed, crop=ellipse)
        if peer is None:
            continue
        corners = "no corners" if ellipse else "corners"
        found[f"SigPy, {corners}"] = peer
        for law, size_mm in (("", (1.0, 1.0)), (", isotropic", SIZE_MM[1:])):
            found[f"ours{law}, {corners}"] = poisson_disk(
                PLANE,
                acceleration=peer.numel() / int(peer.sum()),
                calibration=CALIBRATION,
                seed=seed,
                ellipse=ellipse,
                voxel_size_mm=size_mm,
            )
    return found


def errors(images: Tensor, maps: Tensor, pattern: Tensor, *, seed: int) -> list[float]:
    """Of the zero-filled image, CG-SENSE and L1-wavelet, in per cent."""
    planes = measured(images, pattern, seed=seed).planes()[:, 0]
    found = (
        Encoding(maps, pattern).adjoint(planes),
        cg_sense(planes, maps, sampled=pattern),
        l1_wavelet(planes, maps, sampled=pattern),
    )
    return [error_percent(images, maps * image) for image in found]


def sigpy_pattern(
    shape: tuple[int, int],
    acceleration: float,
    calibration: tuple[int, int],
    seed: int,
    *,
    crop: bool = True,
) -> Tensor | None:
    """SigPy's pattern, or None if its search did not end."""
    queue: multiprocessing.Queue[np.ndarray | None] = multiprocessing.Queue()
    process = multiprocessing.Process(
        target=_sigpy_worker, args=(queue, shape, acceleration, calibration, seed, crop)
    )
    process.start()
    try:
        found = queue.get(timeout=PATIENCE_S)
    except queues.Empty:
        found = None
    process.kill()
    process.join()
    return None if found is None else torch.from_numpy(found)


def _sigpy_worker(
    queue: multiprocessing.Queue[np.ndarray | None],
    shape: tuple[int, int],
    acceleration: float,
    calibration: tuple[int, int],
    seed: int,
    crop: bool,
) -> None:
    try:
        mask = sigpy.mri.poisson(
            shape, acceleration, calib=calibration, seed=seed, tol=0.1, crop_corner=crop
        )
        queue.put(np.asarray(mask).real > 0)
    except ValueError:
        queue.put(None)


def _line(acceleration: int, name: str, seed: str, samples: int, row: list[float]) -> None:
    values = " | ".join(f"{value:.2f}" for value in row)
    print(f"| {acceleration} | {name} | {seed} | {samples or ''} | {values} |", flush=True)


if __name__ == "__main__":
    main()
