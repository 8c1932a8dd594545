"""One more dipole inversion: truncated k-space division, as a function and a row."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.grid import Triple
from accelqsm.options.setting import Settings, setting
from accelqsm.qsm.inversion.registry import Inversion
from accelqsm.qsm.volume import box_of


@dataclass(frozen=True)
class TkdSettings(Settings):
    """Of truncated k-space division."""

    threshold: float = setting(
        0.15, above=0, below=0.66, help="least magnitude of the dipole that is divided by"
    )


def truncated_division(
    local_field_ppm: Tensor,
    mask: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    data_weight: Tensor | None = None,
    magnitude: Tensor | None = None,
    settings: TkdSettings = TkdSettings(),
) -> Tensor:
    """Divide the spectrum of the field by the dipole, where the dipole is large enough.

    chi = F^-1 [F f / D], with |D| raised to the threshold where it is smaller.

    Args:
        local_field_ppm: (x, y, z) in ppm of the main field.
        mask: bool (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        data_weight, magnitude: of no use here; taken as every inversion does.
        settings: the threshold.

    Returns:
        chi in ppm, (x, y, z), zero outside the mask.

    Source: Shmueli et al. 2009, Magn Reson Med 62:1510, doi 10.1002/mrm.22135.
    """
    box = box_of(mask, margin_voxels=(12, 12, 12))
    field = box.frame(local_field_ppm * mask)
    x, y, z = field.shape
    dipole = dipole_kernel(
        (x, y, z),
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=field.dtype,
        device=field.device,
    )
    sign = torch.where(dipole < 0, -1.0, 1.0)
    divisor = sign * dipole.abs().clamp_min(settings.threshold)
    chi = torch.fft.irfftn(torch.fft.rfftn(field) / divisor, s=field.shape)
    return box.unframe(chi, mask.shape) * mask


TKD = Inversion(
    "tkd",
    "truncated_division:truncated_division",
    "truncated k-space division (Shmueli et al. 2009; threshold {threshold})",
    settings=TkdSettings,
)
