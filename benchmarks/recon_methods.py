"""Reconstructions of an under-sampled brain beside BART's and pygrappa's, as a Markdown table.

The brain of recon_head.py, reconstructed from the same noisy samples by all: errors of the channel
images where there is signal, in per cent, and CPU seconds on one thread. CG-SENSE has the same
weight and number of iterations in both; of L1-wavelet, BART's has the best of three lambdas. Time
for the sensitivities has a line of its own. Peers that are not installed are left out.
Usage: OMP_NUM_THREADS=1 python benchmarks/recon_methods.py [HEAD [AF ...]]
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.fourier import READOUT, SPATIAL, fft, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.espirit import espirit_maps
from accelqsm.recon.grappa import grappa
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.sense import (
    SENSE_ITERATIONS,
    SENSE_WEIGHT,
    Encoding,
    cg_sense,
    l1_wavelet,
)
from recon_head import (
    CALIBRATION,
    SHAPE,
    channel_images,
    error_percent,
    measured,
)

LAMBDAS = (0.002, 0.005, 0.01)
WAVELET_ITERATIONS = 60


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    head = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    accelerations = [int(word) for word in sys.argv[2:]] or [2, 3, 4, 5]
    images = channel_images(head)
    print("| AF | method | NRMSE % | CPU s |\n|---|---|---:|---:|")
    for acceleration in accelerations:
        plane = (SHAPE[1], SHAPE[2])
        if acceleration == 2:
            pattern = regular(plane, acceleration=(2, 1), calibration=CALIBRATION)
        else:
            pattern = poisson_disk(
                plane, acceleration=acceleration, calibration=CALIBRATION, seed=head
            )
        kspace = measured(images, pattern, seed=head)
        print_ours(acceleration, images, kspace)
        if acceleration == 2:
            print_grappa(acceleration, images, kspace)
        if shutil.which("bart"):
            with tempfile.TemporaryDirectory() as folder:
                print_bart(acceleration, images, kspace, Path(folder))


def print_ours(acceleration: int, images: Tensor, kspace: KSpace) -> None:
    """Sensitivities, and what needs them."""
    start = time.process_time()
    maps = espirit_maps(kspace)
    print(f"| {acceleration} | ours: sensitivities | | {time.process_time() - start:.1f} |")
    planes, sampled = kspace.planes()[:, 0], kspace.sampled
    methods: dict[str, Callable[[], Tensor]] = {
        "zero-filled": lambda: Encoding(maps, sampled).adjoint(planes),
        "CG-SENSE": lambda: cg_sense(planes, maps, sampled=sampled),
        "L1-wavelet": lambda: l1_wavelet(planes, maps, sampled=sampled),
    }
    for name, solve in methods.items():
        start = time.process_time()
        image = solve()
        cpu_s = time.process_time() - start
        _row(acceleration, f"ours: {name}", error_percent(images, maps * image), cpu_s)


def print_grappa(acceleration: int, images: Tensor, kspace: KSpace) -> None:
    """Ours, and pygrappa's on the same samples and centre with a kernel of the same reach."""
    start = time.process_time()
    found = torch.zeros_like(images)
    for x, block in grappa(kspace):
        found[:, x] = block[:, 0]
    cpu_s = time.process_time() - start
    _row(acceleration, "ours: GRAPPA", error_percent(images, found), cpu_s)
    try:
        from pygrappa import mdgrappa
    except ImportError:
        return
    planes = kspace.planes()[:, 0]
    spectrum = fft(planes, READOUT).permute(1, 2, 3, 0).numpy()
    centre = [
        slice(n // 2 - c // 2, n // 2 + c // 2) for n, c in zip(SHAPE[1:], CALIBRATION, strict=True)
    ]
    calibration = np.ascontiguousarray(spectrum[:, *centre])
    start = time.process_time()
    filled = mdgrappa(np.ascontiguousarray(spectrum), calibration, kernel_size=(5, 5, 3))
    cpu_s = time.process_time() - start
    theirs = ifft(torch.from_numpy(filled).permute(3, 0, 1, 2), SPATIAL).to(images.dtype)
    _row(acceleration, "pygrappa: GRAPPA", error_percent(images, theirs), cpu_s)


def print_bart(acceleration: int, images: Tensor, kspace: KSpace, folder: Path) -> None:
    """The same through BART's commands."""
    spectrum = fft(kspace.planes()[:, 0], READOUT).permute(1, 2, 3, 0).numpy()
    _write_cfl(folder / "k", spectrum)
    box = ":".join(map(str, (max(CALIBRATION), *CALIBRATION)))
    sensitivities = ["ecalib", "-m1", "-r", box, "-k5", "-t", "0.001", "-c0", "k", "s"]
    cpu_s = _bart(folder, sensitivities)
    maps = torch.from_numpy(_read_cfl(folder / "s")).permute(3, 0, 1, 2)
    print(f"| {acceleration} | BART: sensitivities | | {cpu_s:.1f} |", flush=True)

    def solved(options: list[str]) -> tuple[float, float]:
        cpu_s = _bart(folder, ["pics", "-S", *options, "k", "s", "x"])
        image = torch.from_numpy(_read_cfl(folder / "x"))
        return error_percent(images, maps * image), cpu_s

    least_squares = ["-i", str(SENSE_ITERATIONS), "-R", f"Q:{SENSE_WEIGHT}"]
    _row(acceleration, "BART: CG-SENSE", *solved(least_squares))
    if acceleration > 2:
        sparse = ["-i", str(WAVELET_ITERATIONS), "-R"]
        best = min((*solved([*sparse, f"W:7:0:{lamda}"]), lamda) for lamda in LAMBDAS)
        _row(acceleration, f"BART: L1-wavelet, lambda {best[2]}", best[0], best[1])


def _bart(folder: Path, words: list[str]) -> float:
    """Run a command, and return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["bart", *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _write_cfl(path: Path, values: npt.NDArray[np.complex64]) -> None:
    path.with_suffix(".hdr").write_text(f"# Dimensions\n{' '.join(map(str, values.shape))}\n")
    values.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def _read_cfl(path: Path) -> npt.NDArray[np.complex64]:
    sizes = path.with_suffix(".hdr").read_text().splitlines()[1].split()
    flat = np.fromfile(path.with_suffix(".cfl"), np.complex64)
    volume = flat.reshape([int(size) for size in sizes], order="F").squeeze()
    return np.ascontiguousarray(volume)


def _row(acceleration: int, method: str, error: float, cpu_s: float) -> None:
    print(f"| {acceleration} | {method} | {error:.2f} | {cpu_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
