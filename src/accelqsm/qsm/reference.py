"""What has zero susceptibility: the field tells differences alone."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.mask import erode

FLUID_R2STAR_PER_S = 5.0
MIDDLE_MM = 30.0
EDGE_MM = 1.5
LEAST_FLUID_ML = 0.3


def referenced(chi_ppm: Tensor, mask: Tensor, region: Tensor | None) -> Tensor:
    """chi inside the mask, less its mean over a reference region, and zero outside.

    Args:
        chi_ppm: (x, y, z).
        mask: bool (x, y, z).
        region: bool (x, y, z) that has zero susceptibility, or None to shift nothing.

    Raises:
        InputError: a region without a voxel in the mask.
    """
    level: Tensor | float = 0.0
    if region is not None:
        if not bool((region & mask).any()):
            raise InputError("reference region: expected some voxels in the mask, found none")
        level = chi_ppm[region & mask].mean()
    return torch.where(mask, chi_ppm - level, 0)


def ventricle_fluid(r2star_per_s: Tensor, mask: Tensor, *, voxel_size_mm: Triple) -> Tensor:
    """Fluid of the lateral ventricles: slow decay near the middle of the mask, edge taken off.

    Args:
        r2star_per_s: (x, y, z) in 1/s.
        mask: bool (x, y, z), the brain.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        bool (x, y, z).

    Raises:
        InputError: less than 0.3 ml of fluid, which is no reference.

    Source: after Liu et al. 2018, Magn Reson Med 79:2795, doi 10.1002/mrm.26946 (MEDI+0).
    """
    places = mask.nonzero() * mask.new_tensor(voxel_size_mm, dtype=r2star_per_s.dtype)
    near = torch.zeros_like(mask)
    near[mask] = torch.linalg.vector_norm(places - places.mean(0), dim=1) < MIDDLE_MM
    slow = near & (r2star_per_s < FLUID_R2STAR_PER_S)
    core = erode(slow, EDGE_MM, voxel_size_mm=voxel_size_mm)
    volume_ml = float(core.sum()) * voxel_size_mm[0] * voxel_size_mm[1] * voxel_size_mm[2] / 1000
    if volume_ml < LEAST_FLUID_ML:
        raise InputError(
            f"reference csf: expected {LEAST_FLUID_ML} ml or more of R2* below "
            f"{FLUID_R2STAR_PER_S:g} per s near the middle of the brain, found {volume_ml:.2f} ml"
        )
    return core
