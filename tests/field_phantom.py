"""A ball of tissue with a nucleus: its fields as files, whose susceptibility is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from accelqsm.dipole import forward_field
from accelqsm.files.nifti import write_image
from accelqsm.grid import Triple, centred_grid
from accelqsm.units import ppm_to_hz

GRID = centred_grid((28, 30, 26), (3.0, 3.0, 3.0))
B0_TESLA = 3.0
CHI_PPM = 0.1


def ball(radius_mm: float, centre_mm: Triple = (0.0, 0.0, 0.0)) -> np.ndarray:
    offset = GRID.world_mm() - np.reshape(centre_mm, (3, 1, 1, 1))
    return np.linalg.norm(offset, axis=0) < radius_mm


TISSUE, NUCLEUS = ball(34.0), ball(9.0, (6.0, 0.0, 0.0))
AIR = ball(8.0, (0.0, 42.0, 0.0))


def field_ppm(chi_ppm: np.ndarray, b0_direction: Triple = (0.0, 0.0, 1.0)) -> np.ndarray:
    values = torch.from_numpy(chi_ppm.astype(np.float32))
    field = forward_field(values, voxel_size_mm=GRID.voxel_size_mm, b0_direction=b0_direction)
    return field.numpy()


NOISE_PPM = np.random.default_rng(0).normal(0, 0.003, GRID.shape).astype(np.float32)
"""Without noise, the inversion takes all that it does not explain at once for outliers."""
LOCAL_PPM = field_ppm(CHI_PPM * NUCLEUS) + NOISE_PPM
TOTAL_PPM = LOCAL_PPM + field_ppm(2.0 * AIR) + 0.2
MAGNITUDE = (TISSUE * (1.0 - 0.4 * NUCLEUS) + 0.01).astype(np.float32)


def write_phantom(folder: Path) -> Path:
    """Local and total field in ppm and in Hz, mask and magnitude, without a sidecar."""
    for name, values in (("local", LOCAL_PPM), ("total", TOTAL_PPM)):
        write_image(folder / f"{name}_ppm.nii.gz", values, GRID)
        write_image(folder / f"{name}_hz.nii.gz", ppm_to_hz(values, B0_TESLA), GRID)
    write_image(folder / "mask.nii.gz", TISSUE, GRID)
    write_image(folder / "mag.nii.gz", MAGNITUDE, GRID)
    return folder


def contrast_ppm(chi_ppm: np.ndarray) -> float:
    """Mean of the nucleus less that of the tissue around it."""
    inside, around = ball(6.0, (6.0, 0.0, 0.0)), ball(26.0) & ~ball(14.0, (6.0, 0.0, 0.0))
    return float(chi_ppm[inside].mean() - chi_ppm[around].mean())
