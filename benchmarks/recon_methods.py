"""Parallel imaging and compressed sensing on a head seen by a ring of coils, as a Markdown table.

96 x 128 x 48 voxels, 8 channels of SigPy's birdcage (which do not encode along z), one echo at
20 ms, SNR 30. Errors are those of the channel images where there is signal, in per cent. SigPy's
own reconstructions run on the same samples. Needs the [dev] extra and sigpy.
Usage: python benchmarks/recon_methods.py [SEED]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np
import sigpy.mri
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.espirit import espirit_maps
from accelqsm.recon.reconstruct import Method, reconstruct
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.sense import cg_sense, l1_wavelet
from accelqsm.simulate.head import digital_head
from accelqsm.simulate.scanner import transverse_signal

SHAPE, SIZE_MM, CENTRE_MM = (96, 128, 48), (1.9, 1.7, 3.2), (0.0, -17.0, 5.0)
N_CHANNELS, SNR, CENTRE = 8, 30.0, (16, 16)
SIGNAL_SHARE = 0.1
SIGPY_REGULARISATIONS = (1e-3, 2e-3, 4e-3)
SIGPY_ITERATIONS = 40


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    images = channel_images(seed)
    print("| pattern | method | NRMSE % | CPU s |\n|---|---|---:|---:|")
    two = regular(SHAPE[1:], acceleration=(2, 1), calibration=(24, SHAPE[2]))
    _print("regular, AF 2", images, two, seed, ("grappa", "cg-sense"))
    for acceleration in (3, 4, 5):
        ours = poisson_disk(SHAPE[1:], acceleration=acceleration, calibration=CENTRE, seed=seed)
        _print(
            f"Poisson disk, AF {acceleration}",
            images,
            ours,
            seed,
            ("zero-filled", "cg-sense", "l1-wavelet", "reconnet3d"),
        )
        _print_sigpy(f"Poisson disk, AF {acceleration}", images, ours, seed)


def channel_images(seed: int) -> Tensor:
    """A head through the coils, complex (channel, x, y, z)."""
    x, y, z = SHAPE
    acquisition = _acquisition()
    head = digital_head(acquisition.grid, seed=seed)
    image = next(iter(transverse_signal(head, acquisition, seed=seed)))
    coils = sigpy.mri.birdcage_maps((N_CHANNELS, z, y, x), r=1.5, nzz=N_CHANNELS)
    maps = torch.from_numpy(coils).permute(0, 3, 2, 1).to(torch.complex64)
    return maps / maps.abs().square().sum(0).sqrt() * image


def _acquisition() -> Acquisition:
    return Acquisition(centred_grid(SHAPE, SIZE_MM, centre_mm=CENTRE_MM), (0.020,), 3.0, 0.04, 15.0)


def _sampled(images: Tensor, sampled: Tensor, seed: int) -> KSpace:
    """Noisy samples; the noise of an image is the mean signal over the SNR."""
    combined = images.abs().square().sum(0).sqrt()
    noise_sd = float(combined[combined > SIGNAL_SHARE * combined.max()].mean()) / SNR
    generator = torch.Generator().manual_seed(seed)
    noise = torch.view_as_complex(torch.randn(*images.shape, 2, generator=generator)) * noise_sd
    samples = (fft(images, PHASE_ENCODES) + noise)[:, None, ..., sampled]
    return KSpace(_acquisition(), sampled, samples.numpy())


def _print(
    pattern: str, images: Tensor, sampled: Tensor, seed: int, methods: tuple[Method, ...]
) -> None:
    kspace = _sampled(images, sampled, seed)
    for method in methods:
        found = torch.zeros_like(images)
        start = time.process_time()
        for block in reconstruct(kspace, method=method, consistency="channels"):
            found[block.channels, block.x] = block.images[:, 0]
        _row(pattern, method, images, found, time.process_time() - start)


def _print_sigpy(pattern: str, images: Tensor, sampled: Tensor, seed: int) -> None:
    """SigPy's L1-wavelet with the best of several lambdas, and ours, from one set of maps."""
    kspace = _sampled(images, sampled, seed)
    maps = espirit_maps(kspace)
    measured = kspace.planes()[:, 0]
    scale = float(measured.abs().max())
    readout = torch.fft.fftshift(
        torch.fft.fft(torch.fft.ifftshift(measured, dim=1), dim=1, norm="ortho"), dim=1
    )
    data = (readout / scale).numpy()
    weights = np.broadcast_to(sampled.numpy(), data.shape[1:]).astype(np.float32)

    def run(solve: Callable[[], np.ndarray]) -> tuple[float, float]:
        start = time.process_time()
        image = torch.from_numpy(np.asarray(solve())) * scale
        return _error(images, maps * image), time.process_time() - start

    best = min(
        run(
            sigpy.mri.app.L1WaveletRecon(
                data,
                maps.numpy(),
                lamda,
                weights=weights,
                max_iter=SIGPY_ITERATIONS,
                show_pbar=False,
            ).run
        )
        for lamda in SIGPY_REGULARISATIONS
    )
    print(f"| {pattern} | SigPy L1-wavelet, best lambda | {best[0]:.2f} | {best[1]:.1f} |")
    for name, solve in (("CG-SENSE", cg_sense), ("L1-wavelet", l1_wavelet)):
        start = time.process_time()
        error = _error(images, maps * solve(measured, maps, sampled=sampled))
        cpu_s = time.process_time() - start
        print(f"| {pattern} | ours, maps given: {name} | {error:.2f} | {cpu_s:.1f} |", flush=True)


def _row(pattern: str, method: str, images: Tensor, found: Tensor, cpu_s: float) -> None:
    print(f"| {pattern} | {method} | {_error(images, found):.2f} | {cpu_s:.1f} |", flush=True)


def _error(images: Tensor, found: Tensor) -> float:
    combined = images.abs().square().sum(0).sqrt()
    here = combined > SIGNAL_SHARE * combined.max()
    return 100 * float((found - images)[:, here].norm() / images[:, here].norm())


if __name__ == "__main__":
    main()
