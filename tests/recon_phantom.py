"""A tiny multi-channel, multi-echo scan in closed form, for the tests of the reconstruction."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace

ECHO_TIMES_S = (0.005, 0.012)
FIELD_HZ = 20.0


def channel_images(shape: tuple[int, int, int], n_channels: int) -> Tensor:
    """A patterned ellipsoid, seen by smooth channels: complex64 (channel, echo, x, y, z)."""
    lines = [torch.linspace(-1, 1, n, dtype=torch.float64) for n in shape]
    x, y, z = torch.meshgrid(*lines, indexing="ij")
    radius = (x / 0.7) ** 2 + (y / 0.7) ** 2 + (z / 0.7) ** 2
    pattern = 1 + 0.4 * torch.cos(17 * x) * torch.cos(23 * y + 1) * torch.cos(11 * z)
    tissue = torch.sigmoid(30 * (1 - radius)) * pattern
    images = []
    for channel in range(n_channels):
        angle = 2 * math.pi * channel / n_channels
        along = math.cos(angle) * y + math.sin(angle) * z
        sensitivity = torch.polar(torch.exp(along), 0.8 * along + channel)
        for echo_time_s in ECHO_TIMES_S:
            evolution = 2 * math.pi * FIELD_HZ * echo_time_s * (1 + 0.5 * x)
            decay = math.exp(-20 * echo_time_s) * tissue
            images.append(sensitivity * torch.polar(decay, evolution))
    return torch.stack(images).reshape(n_channels, len(ECHO_TIMES_S), *shape).to(torch.complex64)


def sample(images: Tensor, sampled: Tensor, *, noise_sd: float = 0.0, seed: int = 0) -> KSpace:
    """Measure the images with a pattern; noise of that standard deviation per real component."""
    shape = (images.shape[-3], images.shape[-2], images.shape[-1])
    samples = fft(images, PHASE_ENCODES)[..., sampled].numpy()
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((*samples.shape, 2), dtype=np.float32) * np.float32(noise_sd)
    acquisition = Acquisition(centred_grid(shape, (2.0, 2.0, 2.0)), ECHO_TIMES_S, 3.0)
    return KSpace(acquisition, sampled, samples + noise.view(np.complex64)[..., 0])
