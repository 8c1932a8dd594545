"""Channel images of a multi-echo train in closed form, for the tests of the field and its noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

EIGHT_ECHOES_S = tuple(0.0033 + 0.0031 * k for k in range(8))
UNEVEN_S = (0.003, 0.0071, 0.0099, 0.0166, 0.0231)
SCATTERED_S = (0.004, 0.0091, 0.0147, 0.022, 0.028)
LONG_S = tuple(0.004 + 0.006 * k for k in range(5))
THREE_S = (0.005, 0.0125, 0.02)
TWO_S = (0.004, 0.009)


def images(
    field_hz: Tensor,
    *,
    echo_times_s: tuple[float, ...],
    n_channels: int = 8,
    t2star_s: float = 0.03,
    noise_sd: float = 0.0,
    seed: int = 0,
    factor: Tensor | None = None,
) -> Tensor:
    """Complex128 images (channel, echo, x, y, z) of unit combined magnitude at time zero.

    ``factor`` (echo, x, y, z) multiplies the signal of every channel.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.complex128, generator=generator) * math.sqrt(2)

    coils = draw(n_channels, 1, *field_hz.shape)
    coils = coils / coils.abs().square().sum(0).sqrt()
    times = column(echo_times_s)
    signal = torch.exp(-times / t2star_s + 2j * math.pi * field_hz * times)
    clean = coils * (signal if factor is None else signal * factor)
    return clean + noise_sd * draw(*clean.shape)


def column(echo_times_s: tuple[float, ...]) -> Tensor:
    """Echo times in seconds as (echo, 1, 1, 1)."""
    return torch.tensor(echo_times_s, dtype=torch.float64).view(-1, 1, 1, 1)


def constant(field_hz: float, n_voxels: int = 2000) -> Tensor:
    """One frequency in every voxel, (x, 1, 1): too few voxels for torch to use threads."""
    return torch.full((n_voxels, 1, 1), field_hz, dtype=torch.float64)


def bound_hz(echo_times_s: tuple[float, ...], *, t2star_s: float, noise_sd: float) -> float:
    """Cramer-Rao bound of the frequency for a free phase offset; times 2 pi, that of R2*."""
    times = torch.tensor(echo_times_s, dtype=torch.float64)
    power = torch.exp(-2 * times / t2star_s)
    mean = (power * times).sum() / power.sum()
    return noise_sd / (2 * math.pi * float((power * (times - mean) ** 2).sum().sqrt()))
