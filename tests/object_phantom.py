"""A brain of any size with five nuclei and a source of background, in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.grid import Grid, Triple, centred_grid
from accelqsm.units import larmor_hz_per_ppm

FIELD_T = 3.0
SEMI_AXES_MM = (38.0, 40.0, 36.0)
NUCLEI = [  # centre and radius in mm, ppm
    ((-14.0, 4.0, 2.0), 6.0, 0.12),
    ((14.0, 4.0, 2.0), 6.0, 0.12),
    ((-10.0, -12.0, -10.0), 5.0, 0.20),
    ((10.0, -12.0, -10.0), 5.0, 0.20),
    ((0.0, 20.0, 8.0), 6.0, -0.08),
]
AIR = ((0.0, 46.0, -26.0), 9.0, 3.0)


@dataclass(frozen=True)
class Phantom:
    """Echoes, complex (echo, x, y, z), of a brain, bool (x, y, z), with labels from 1."""

    grid: Grid
    echo_times_s: tuple[float, ...]
    echoes: Tensor
    brain: Tensor
    labels: Tensor


def phantom(
    echo_times_s: tuple[float, ...] = (0.004, 0.009, 0.014, 0.019),
    *,
    smaller: float = 1.0,
    n_voxels: int = 40,
    noise_sd: float = 1 / 80,
    brighter_shell: float = 0.0,
) -> Phantom:
    """A brain of 229 ml over ``smaller`` cubed; a susceptibility keeps its field at any size.

    Args:
        echo_times_s: echo times in seconds.
        smaller: what all lengths are divided by.
        n_voxels: along each side of a field of view of 96 mm over ``smaller``.
        noise_sd: of the real part, where the signal at time zero is 1.
        brighter_shell: signal of a scalp that the brain lies in, over that of the brain.
    """
    grid = centred_grid((n_voxels,) * 3, (96.0 / n_voxels / smaller,) * 3)
    at_mm = [p * smaller for p in torch.from_numpy(grid.world_mm()).double()]
    brain = ellipsoid(at_mm, SEMI_AXES_MM)
    labels = torch.zeros(brain.shape, dtype=torch.int64)
    field_ppm = AIR[2] * sphere_field(at_mm, AIR[0], AIR[1])
    rate_per_s = torch.full_like(field_ppm, 18.0)
    for number, (centre_mm, radius_mm, chi_ppm) in enumerate(NUCLEI, start=1):
        inside = ellipsoid(at_mm, (radius_mm,) * 3, centre_mm)
        labels[inside] = number
        rate_per_s[inside] += 150 * max(chi_ppm, 0)
        field_ppm += chi_ppm * sphere_field(at_mm, centre_mm, radius_mm)
    x, y, z = at_mm
    hz = field_ppm * larmor_hz_per_ppm(FIELD_T) + 0.25 * x - 0.15 * y + 0.3 * z
    signal = brain.double()
    if brighter_shell:
        shell = ellipsoid(at_mm, (46.0, 47.0, 46.0)) & ~ellipsoid(at_mm, (42.0, 44.0, 41.0))
        signal = signal + brighter_shell * shell
    times = torch.tensor(echo_times_s, dtype=torch.float64).view(-1, 1, 1, 1)
    phase_rad = 2 * math.pi * hz * times + 0.4 + 0.006 * x - 0.004 * y
    clean = signal * torch.polar(torch.exp(-rate_per_s * times), phase_rad)
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(clean.shape, dtype=clean.dtype, generator=generator) * math.sqrt(2)
    return Phantom(grid, echo_times_s, clean + noise_sd * noise, brain, labels)


def ellipsoid(
    at_mm: list[Tensor], semi_axes_mm: Triple, centre_mm: Triple = (0.0, 0.0, 0.0)
) -> Tensor:
    """Bool (x, y, z)."""
    parts = zip(at_mm, centre_mm, semi_axes_mm, strict=True)
    return torch.stack([((p - c) / a) ** 2 for p, c, a in parts]).sum(0) <= 1


def sphere_field(at_mm: list[Tensor], centre_mm: Triple, radius_mm: float) -> Tensor:
    """Field of a sphere of 1 ppm in ppm, B0 along z; zero inside."""
    x, y, z = (p - c for p, c in zip(at_mm, centre_mm, strict=True))
    square = (x**2 + y**2 + z**2).clamp_min(1e-6)
    field = (radius_mm**2 / square) ** 1.5 / 3 * (3 * z**2 / square - 1)
    return torch.where(square > radius_mm**2, field, 0)


def slope(chi_ppm: Tensor, mask: Tensor, made: Phantom) -> float:
    """Of the nuclei's means against the truth, both relative to the mean of the mask."""
    truth_ppm = torch.zeros(made.labels.shape, dtype=torch.float64)
    for number, (_, _, value_ppm) in enumerate(NUCLEI, start=1):
        truth_ppm[made.labels == number] = value_ppm
    found, true = [], []
    for number in range(1, len(NUCLEI) + 1):
        voxels = (made.labels == number) & mask
        assert voxels.sum() > 2
        found.append(float(chi_ppm[voxels].mean() - chi_ppm[mask].mean()))
        true.append(float(truth_ppm[voxels].mean() - truth_ppm[mask].mean()))
    return sum(f * t for f, t in zip(found, true, strict=True)) / sum(t * t for t in true)
