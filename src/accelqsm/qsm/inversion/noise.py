"""Noise of the field in the susceptibility that the L1 inversion makes of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.grid import Triple
from accelqsm.qsm.inversion.gradient import Gradient
from accelqsm.qsm.inversion.l1 import MARGIN_VOXELS
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.volume import box_of

STRUCTURE, RESTORED = 0.3, 0.22
"""Mean factor of the regularisation, between that on edges and that elsewhere; less where contrast
is given back, and noise with it."""

RESPONSE = 0.8
"""Noise found over that of the linear filter, from differences of maps of four heads at SNR 100,
50 and 25; the two above, for today's penalty, of three."""

N_ROUNDS = 8
SMALLEST = 1e-12


def l1_noise_sd(
    field_sd_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    settings: L1Settings,
) -> Tensor:
    """Standard deviation of susceptibility from noise of the field, independent by voxel.

    Noise is small beside edges, and the penalty acts on it as a quadratic one of the weight
    k = lambda / sqrt(g0^2 + g^2), with the small gradient g0 of the settings and the gradient g
    that the noise itself has: h = D / (D^2 + k |grad|^2), and the variance is h^2 convolved with
    that of the field. g follows from h, and h from g, in a few rounds.

    Args:
        field_sd_ppm: (x, y, z) in ppm, of noise alone; infinite where there is no signal.
        mask: bool (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        settings: of the inversion.

    Returns:
        (x, y, z) in ppm, zero outside the mask.

    Raises:
        InputError: an empty mask.
    """
    known = mask & field_sd_ppm.isfinite()
    box = box_of(mask, margin_voxels=MARGIN_VOXELS)
    variance = box.frame(torch.where(known, field_sd_ppm, 0).square())
    if not bool(known.any()):
        return torch.zeros_like(field_sd_ppm)
    kernel = dipole_kernel(
        box.padded,
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=variance.dtype,
        device=variance.device,
    )
    power = Gradient(voxel_size_mm).power_spectrum(variance)
    typical = float(field_sd_ppm[known].square().median())
    steepness = math.sqrt(typical) / min(voxel_size_mm)
    structure = RESTORED if settings.acts("restore_contrast") else STRUCTURE
    for _ in range(N_ROUNDS):
        small = math.hypot(settings.small_gradient, steepness)
        weight = structure * settings.regularisation / max(small, SMALLEST)
        response = kernel / (kernel.square() + weight * power).clamp_min(SMALLEST)
        # Mean over the half spectrum, which has all but its first and last plane once for two.
        steepness = math.sqrt(typical * float((power * response.square()).mean()) / 3)
    point = torch.fft.irfftn(response.to(torch.complex64), s=box.padded)
    spread = torch.fft.rfftn(point.square()) * torch.fft.rfftn(variance)
    found = torch.fft.irfftn(spread, s=box.padded).clamp_min(0).sqrt()
    return torch.where(mask, RESPONSE * box.unframe(found, mask.shape), 0)
