"""Standard deviation of a susceptibility map: noise, and what the chain gets wrong without any."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.smooth import gaussian_mm

FLAT_PPM, STEEP_PPM, CONTRAST_PPM = 0.0082, 0.0039, 0.022
"""Error without noise in tissue of ordinary susceptibility, whose contrast regularisation lowers;
far from it, where edges are found; and the contrast between the two."""

THIN_PPM = 0.005
"""Susceptibility above the mean of the brain where the error is largest: that of cortex, which is
thin. With the three above from eight heads."""

SMOOTHING_MM = 2.5


def susceptibility_sd(
    chi_ppm: Tensor, mask: Tensor, noise_sd_ppm: Tensor, *, voxel_size_mm: Triple
) -> Tensor:
    """Standard deviation of each voxel's susceptibility about the truth.

    The root of the squares of the noise and of the error without noise, which falls from 8 ppb
    where susceptibility is 5 ppb above the brain's mean to 3.9 ppb where it is far from that.

    Args:
        chi_ppm: (x, y, z) in ppm.
        mask: bool (x, y, z).
        noise_sd_ppm: (x, y, z) in ppm, from noise alone.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        (x, y, z) in ppm, zero outside the mask. One standard deviation holds the truth in 60 to
        75 % of the voxels of white matter, grey matter and nuclei of digital heads.
    """
    level = chi_ppm[mask].mean() + THIN_PPM
    contrast = gaussian_mm(torch.where(mask, chi_ppm - level, 0), SMOOTHING_MM, voxel_size_mm)
    contrast /= CONTRAST_PPM
    model = STEEP_PPM + (FLAT_PPM - STEEP_PPM) * torch.exp(-contrast.square())
    return torch.where(mask, torch.hypot(model, noise_sd_ppm), 0)
