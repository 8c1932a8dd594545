"""A brain seen by a ring of coils, for the benchmarks of sampling and reconstruction.

96 x 128 x 48 voxels, 8 channels of SigPy's birdcage (which do not encode along z), one echo at
20 ms, SNR 30. The digital head is laid out twice as fine and cut in k-space, as a scanner does;
what lies outside the brain gives no signal, as in a scan with fat saturation.
"""

from __future__ import annotations

from functools import cache

import sigpy.mri
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.grid import Shape, centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.sense import unit_maps
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal

SHAPE, SIZE_MM, CENTRE_MM = (96, 128, 48), (1.9, 1.7, 3.2), (0.0, -17.0, 5.0)
CALIBRATION = (16, 16)
N_CHANNELS, SNR = 8, 30.0
SIGNAL_SHARE = 0.1


def channel_images(seed: int) -> Tensor:
    """The brain through the coils, complex64 (channel, x, y, z)."""
    fine = acquisition(2)
    head = digital_head(fine.grid, seed=seed)
    signal = next(iter(transverse_signal(head, fine, seed=seed))) * head.brain
    image = ifft(acquire(signal, SHAPE), PHASE_ENCODES)
    return sensitivities() * image


@cache
def sensitivities() -> Tensor:
    """The ring of coils, complex64 (channel, x, y, z), sum |C_c|^2 = 1."""
    x, y, z = SHAPE
    coils = sigpy.mri.birdcage_maps((N_CHANNELS, z, y, x), r=1.5, nzz=N_CHANNELS)
    return unit_maps(torch.from_numpy(coils).permute(0, 3, 2, 1).to(torch.complex64))


def acquisition(refinement: int = 1) -> Acquisition:
    """What the scanner does, on a grid that many times finer."""
    x, y, z = (n * refinement for n in SHAPE)
    shape: Shape = (x, y, z)
    size_mm = (SIZE_MM[0] / refinement, SIZE_MM[1] / refinement, SIZE_MM[2] / refinement)
    return Acquisition(centred_grid(shape, size_mm, centre_mm=CENTRE_MM), (0.020,), 3.0, 0.04, 15.0)


def measured(images: Tensor, sampled: Tensor, *, seed: int) -> KSpace:
    """Noisy samples; the noise of the combined image is the mean signal over the SNR."""
    combined = images.abs().square().sum(0).sqrt()
    noise_sd = float(combined[with_signal(images)].mean()) / SNR
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(*images.shape, generator=generator, dtype=torch.complex64) * noise_sd
    samples = (fft(images, PHASE_ENCODES) + noise)[:, None, ..., sampled]
    return KSpace(acquisition(), sampled, samples.numpy())


def with_signal(images: Tensor) -> Tensor:
    """Where the combined image exceeds a tenth of its largest value, bool (x, y, z)."""
    combined = images.abs().square().sum(0).sqrt()
    return combined > SIGNAL_SHARE * combined.max()


def error_percent(images: Tensor, found: Tensor) -> float:
    """Complex NRMSE where there is signal, of channel images combined by the true sensitivities."""
    here, weights = with_signal(images), sensitivities().conj()
    true, combined = ((weights * channels).sum(0)[here] for channels in (images, found))
    return 100 * float((combined - true).norm() / true.norm())
