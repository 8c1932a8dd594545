"""Reconstructions of an under-sampled brain beside BART's and pygrappa's, as a Markdown table.

The brain of recon_head.py, reconstructed from the same noisy samples by all: errors of the combined
image where there is signal, in per cent, and CPU seconds on one thread, by getrusage. CG-SENSE has
the same weight and number of iterations in both; of L1-wavelet, BART's has the best of three
lambdas with maps everywhere, and the time of that one run. Time for the sensitivities has a line
of its own. Peers that are not installed are left out, and so is the network while
no weights for it come with the package.
Usage: OMP_NUM_THREADS=1 python benchmarks/recon_methods.py [HEAD [AF ...]]
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, READOUT, SPATIAL, centred_slice, fft, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.method_settings import SenseSettings
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.network.slabs import apply_network
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.sense import Encoding
from accelqsm.recon.sensitivities.espirit import Sensitivities
from accelqsm.recon.sensitivities.estimate import estimate
from accelqsm.recon.weights import load_network
from bart import INSTALLED, Bart
from recon_head import (
    CALIBRATION,
    SHAPE,
    channel_images,
    error_percent,
    measured,
)

LAMBDAS: tuple[float, ...] = (0.002, 0.005, 0.01)
SENSE, WAVELET_ITERATIONS = SenseSettings(), 60
PEER_KERNEL = (5, 5, 3)

Result = TypeVar("Result")


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    head = int(sys.argv[1]) if len(sys.argv) > 1 else 62
    accelerations = [int(word) for word in sys.argv[2:]] or [2, 3, 4, 5]
    images = channel_images(head)
    print("| AF | method | NRMSE % | CPU s |\n|---|---|---:|---:|")
    everything = torch.ones(SHAPE[1:], dtype=torch.bool)
    whole = ifft(measured(images, everything, seed=head).planes()[:, 0], PHASE_ENCODES)
    _row(1, "fully sampled, noise alone", error_percent(images, whole), None)
    for acceleration in accelerations:
        kspace = measured(images, pattern(acceleration, seed=head), seed=head)
        found, cpu_s = _timed(partial(estimate, kspace))
        _row(acceleration, "ours: sensitivities", None, cpu_s)
        print_ours(acceleration, images, kspace, found)
        print_network(acceleration, images, kspace, found)
        if acceleration == 2:
            print_grappa(acceleration, images, kspace)
        if INSTALLED:
            print_bart(acceleration, images, kspace)


def pattern(acceleration: int, *, seed: int) -> Tensor:
    """Every other line for parallel imaging, Poisson disks beyond, with the same centre."""
    plane = (SHAPE[1], SHAPE[2])
    if acceleration == 2:
        return regular(plane, acceleration=(2, 1), calibration=CALIBRATION)
    return poisson_disk(plane, acceleration=acceleration, calibration=CALIBRATION, seed=seed)


def print_ours(acceleration: int, images: Tensor, kspace: KSpace, found: Sensitivities) -> None:
    """What needs sensitivities and no training."""
    maps, planes, sampled = found.supported, kspace.planes()[:, 0], kspace.sampled
    everywhere = found.maps
    zero_filled = everywhere * Encoding(everywhere, sampled).adjoint(planes)
    _row(acceleration, "zero-filled", error_percent(images, zero_filled), None)
    methods: dict[str, Callable[[], Tensor]] = {
        "CG-SENSE": lambda: cg_sense(planes, maps, sampled=sampled),
        "L1-wavelet": lambda: l1_wavelet(planes, maps, sampled=sampled),
    }
    for name, solve in methods.items():
        image, cpu_s = _timed(solve)
        _row(acceleration, f"ours: {name}", error_percent(images, maps * image), cpu_s)


def print_network(acceleration: int, images: Tensor, kspace: KSpace, found: Sensitivities) -> None:
    """The network of joint consistency."""
    try:
        network = load_network("joint")
    except InputError:
        return
    planes = kspace.planes()[:, :1]
    image, cpu_s = _timed(lambda: apply_network(network, planes, kspace.sampled, found.supported))
    _row(acceleration, "ours: ReconNet3D", error_percent(images, found.maps * image), cpu_s)


def print_grappa(acceleration: int, images: Tensor, kspace: KSpace) -> None:
    """Ours, and pygrappa's on the same samples and centre with a kernel of the same reach."""
    blocks, cpu_s = _timed(lambda: list(reconstruct(kspace, "grappa")))
    found = torch.cat([block.images[:, 0] for block in blocks], dim=1)
    _row(acceleration, "ours: GRAPPA", error_percent(images, found), cpu_s)
    try:
        from pygrappa import mdgrappa
    except ImportError:
        return
    spectrum = fft(kspace.planes()[:, 0], READOUT).permute(1, 2, 3, 0).contiguous().numpy()
    centre = [centred_slice(n, c) for n, c in zip(SHAPE[1:], CALIBRATION, strict=True)]
    calibration = np.ascontiguousarray(spectrum[:, *centre])
    filled, cpu_s = _timed(lambda: mdgrappa(spectrum, calibration, kernel_size=PEER_KERNEL))
    theirs = ifft(torch.from_numpy(filled).permute(3, 0, 1, 2), SPATIAL).to(images.dtype)
    _row(acceleration, "pygrappa: GRAPPA", error_percent(images, theirs), cpu_s)


def print_bart(acceleration: int, images: Tensor, kspace: KSpace) -> None:
    """The same through BART's commands, with maps defined everywhere and as BART crops them."""
    bart, lambdas = Bart(kspace.planes()[:, 0], CALIBRATION), LAMBDAS
    for everywhere in (True, False):
        where = "everywhere" if everywhere else "crop_to_nonzero"
        _, cpu_s = _timed(partial(bart.find_maps, everywhere=everywhere))
        _row(acceleration, f"BART: sensitivities {where}", None, cpu_s)
        error, cpu_s = _solved(bart, images, SENSE.n_iterations, f"Q:{SENSE.weight}")
        _row(acceleration, f"BART: CG-SENSE, maps {where}", error, cpu_s)
        if acceleration > 2:
            error, cpu_s, best = min(
                (*_solved(bart, images, WAVELET_ITERATIONS, f"W:7:0:{lamda}"), lamda)
                for lamda in lambdas
            )
            _row(acceleration, f"BART: L1-wavelet, lambda {best}, maps {where}", error, cpu_s)
            lambdas = (best,)


def _solved(bart: Bart, images: Tensor, n_iterations: int, penalty: str) -> tuple[float, float]:
    """Error and CPU seconds of a reconstruction with the maps that there are."""
    image, cpu_s = _timed(lambda: bart.solve(n_iterations, penalty))
    return error_percent(images, bart.maps * image), cpu_s


def _timed(solve: Callable[[], Result]) -> tuple[Result, float]:
    """A result, and the CPU seconds that it took this process and its children."""
    before = _cpu_s()
    return solve(), _cpu_s() - before


def _cpu_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def _row(acceleration: int, method: str, error: float | None, cpu_s: float | None) -> None:
    values = " | ".join(
        "" if value is None else f"{value:.{digits}f}" for value, digits in ((error, 2), (cpu_s, 1))
    )
    print(f"| {acceleration} | {method} | {values} |", flush=True)


if __name__ == "__main__":
    main()
