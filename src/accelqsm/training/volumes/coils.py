"""Coils of digital heads, with the sensitivities that a scan would tell of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft
from accelqsm.grid import Grid
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import compress_maps
from accelqsm.recon.sense import unit_maps
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.simulate.coils import head_coil
from accelqsm.training.volumes.volumes import FIELD_STRENGTH_T, VIRTUAL_CHANNELS, Coils

CENTRES = ((10, 8), (12, 10), (16, 16), (24, 24), (32, 24), (48, 32))
CENTRE_NOISE = (0.001, 0.02)


def drawn_coils(
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
