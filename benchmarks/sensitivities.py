"""Sensitivities from centres of k-space of several sizes, and what images lose by them.

The brains, samples and errors of recon_echoes.py. Error of the sensitivities: root mean square of
the sine of the angle to the true ones where there is signal, in per cent; of the windows of all
echoes weighted by the noise and refined by the samples around the centre (the package's), of those
of the first echo, without that refinement, with a threshold in place of the weights, and of SigPy
and BART, whose ESPIRiT takes one echo. With --real, the error of samples of a real slice (channel,
ky, kz) that L1-wavelet was not given, by sensitivities from parts of its centre. What images gain:
``recon_echoes.py --calibration``.

Usage: OMP_NUM_THREADS=1 python benchmarks/sensitivities.py [--heads SEED ...] [--snr SNR ...]
    [--real SLICE.npy]
Also needs sigpy; BART where installed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from statistics import fmean
from unittest import mock

import numpy as np
import torch
from torch import Tensor

import accelqsm.recon.sensitivities.espirit as espirit_module
from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace, calibration_box
from accelqsm.recon.method_settings import SensitivitySettings
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.recon.sensitivities.estimate import estimate
from accelqsm.runtime.memory import keep_freed_memory
from bart import INSTALLED, Bart
from recon_echoes import brain, measured, pattern, with_signal

ACCELERATION = 8.0
CENTRES = ((16, 12), (12, 10), (10, 8), (8, 6))
THRESHOLD = 0.02
KERNEL = 5
REAL_CENTRES = (24, 16, 12, 10, 8)


def main() -> None:
    """Print both tables."""
    options = _options()
    torch.set_num_threads(1)
    keep_freed_memory()
    heads = {seed: brain(seed) for seed in options.heads}
    found = estimators()
    print(f"| SNR | centre | {' | '.join(found)} |\n|---:|---|{'---:|' * len(found)}")
    for snr in options.snr:
        for centre in CENTRES:
            scans = []
            for seed, head in heads.items():
                disk = pattern(ACCELERATION, seed=seed, of_each_echo=False, calibration=centre)
                scans.append((measured(*head, disk, snr=snr, seed=seed), head))
            shown = (
                f"{fmean(angle(find(scan), maps, echoes) for scan, (echoes, maps) in scans):.1f}"
                for find in found.values()
            )
            print(f"| {snr:g} | {centre[0]} x {centre[1]} | {' | '.join(shown)} |", flush=True)
    if options.real:
        real_slice(torch.from_numpy(np.load(options.real)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", type=int, nargs="+", default=[62, 75], metavar="SEED")
    parser.add_argument("--snr", type=float, nargs="+", default=[100.0, 25.0])
    parser.add_argument("--real", metavar="SLICE.npy")
    return parser.parse_args()


def real_slice(slice_: Tensor) -> None:
    """Print how well samples are predicted that lie outside the centre, a tenth of them."""
    hard = SensitivitySettings(singular_share=THRESHOLD)
    sampled = (slice_ != 0).any(0)
    largest = torch.zeros_like(sampled)
    largest[calibration_box(sampled)] = True
    drawn = torch.rand(sampled.shape, generator=torch.Generator().manual_seed(0)) < 0.1
    held_out = sampled & drawn & ~largest
    grid = centred_grid((1, *sampled.shape), (1.0, 1.0, 1.0))
    print(f"\n| centre | accelqsm | threshold {THRESHOLD:g}, kernel {KERNEL} |\n|---|---:|---:|")
    for size in REAL_CENTRES:
        centre = torch.zeros_like(sampled)
        centre[tuple(centred_slice(n, size) for n in sampled.shape)] = True
        used = sampled & ~held_out & ~(largest & ~centre)
        samples = slice_[:, used][:, None, None].numpy()
        scan = KSpace(Acquisition(grid, (0.01,), 3.0), used, samples)
        # One echo of one position: the threshold alone, with its kernel whatever the centre.
        with mock.patch.object(espirit_module, "LEAST_ROWS", 0.0):
            by_threshold = espirit(scan, settings=hard).maps
        shown = []
        for maps in (estimate(scan).maps, by_threshold):
            image = l1_wavelet(scan.planes()[:, 0], maps, sampled=used)
            predicted = fft(maps * image, PHASE_ENCODES)[:, 0]
            error = (predicted - slice_)[:, held_out].norm() / slice_[:, held_out].norm()
            shown.append(f"{100 * float(error):.1f} %")
        print(f"| {size} x {size} | {' | '.join(shown)} |", flush=True)


def estimators() -> dict[str, Callable[[KSpace], Tensor]]:
    """Name -> sensitivities (channel, x, y, z) of a scan."""
    hard = SensitivitySettings(singular_share=THRESHOLD)
    rows: dict[str, Callable[[KSpace], Tensor]] = {
        "accelqsm": lambda scan: estimate(scan).maps,
        "its first echo": lambda scan: estimate(first_echo(scan)).maps,
        "of the centre alone": lambda scan: espirit(scan).maps,
        f"the same, threshold {THRESHOLD:g}": lambda scan: espirit(scan, settings=hard).maps,
        "SigPy": by_sigpy,
    }
    return rows | ({"BART": by_bart} if INSTALLED else {})


def first_echo(scan: KSpace) -> KSpace:
    """The same scan with its first echo alone."""
    acquisition = scan.acquisition
    return replace(
        scan,
        acquisition=replace(acquisition, echo_times_s=acquisition.echo_times_s[:1]),
        sampled=scan.pattern(0),
        samples=np.ascontiguousarray(scan.samples[:, :1]),
    )


def by_sigpy(scan: KSpace) -> Tensor:
    """ESPIRiT of the first echo, readout position by readout position, not cropped.

    SigPy takes a square centre.
    """
    from sigpy.mri.app import EspiritCalib

    planes = first_echo(scan).planes()[:, 0].numpy()
    options = {"kernel_width": KERNEL, "crop": 0, "max_iter": 30, "show_pbar": False}
    width = min(size_of_centre(scan))
    found = [
        EspiritCalib(np.ascontiguousarray(planes[:, x]), calib_width=width, **options).run()
        for x in range(planes.shape[1])
    ]
    return torch.from_numpy(np.stack(found, axis=1))


def by_bart(scan: KSpace) -> Tensor:
    """ESPIRiT of the first echo in three dimensions, with maps everywhere."""
    bart = Bart(first_echo(scan).planes()[:, 0], size_of_centre(scan))
    bart.find_maps(everywhere=True)
    return bart.maps


def size_of_centre(scan: KSpace) -> tuple[int, int]:
    """Positions of the fully sampled centre along y and z."""
    y, z = calibration_box(scan.pattern(0))
    return y.stop - y.start, z.stop - z.start


def angle(found: Tensor, true: Tensor, echoes: Tensor) -> float:
    """Root mean square of the sine of the angle between sensitivities, in per cent."""
    along = (true.conj() * found).sum(0).abs() / found.abs().square().sum(0).sqrt().clamp_min(1e-20)
    here = with_signal(echoes)
    return 100 * float((1 - along[here].clamp(max=1).square()).mean().sqrt())


if __name__ == "__main__":
    main()
