"""A head with iron in it, as multi-echo images in memory or in files: small, but mapped in full."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import torch

from accelqsm.dipole import forward_field
from accelqsm.files.nifti import write_image
from accelqsm.grid import centred_grid
from scan_files import echo_path, write_json

GRID = centred_grid((28, 32, 28), (2.8, 2.8, 2.8))
ECHO_TIMES_S = (0.004, 0.009, 0.014, 0.019)
FIELD_T = 3.0
HZ_PER_PPM = 42.577478518 * FIELD_T
IRON = (((-14, 4, 2), 6.5, 0.12), ((14, 4, 2), 6.5, 0.12), ((0, -14, -8), 5.5, 0.2))
"""Centre (mm), radius (mm) and susceptibility (ppm) of nuclei."""


def brain() -> np.ndarray:
    """Bool (x, y, z)."""
    x, y, z = GRID.world_mm()
    return np.asarray((x / 32) ** 2 + (y / 38) ** 2 + (z / 33) ** 2 < 1)


@cache
def chi_ppm() -> np.ndarray:
    """Susceptibility (x, y, z)."""
    chi = np.zeros(GRID.shape, np.float32)
    for centre, radius, value in IRON:
        distance = np.linalg.norm(GRID.world_mm() - np.reshape(centre, (3, 1, 1, 1)), axis=0)
        chi[distance < radius] = value
    return chi


@cache
def echoes(echo_times_s: tuple[float, ...] = ECHO_TIMES_S) -> tuple[np.ndarray, ...]:
    """Complex (x, y, z): the field of the iron and a slope, R2* that rises with iron, noise."""
    field_ppm = forward_field(
        torch.from_numpy(chi_ppm()), voxel_size_mm=GRID.voxel_size_mm, b0_direction=(0.0, 0.0, 1.0)
    )
    x, y, z = GRID.world_mm()
    field_hz = field_ppm.numpy() * HZ_PER_PPM + 0.3 * x - 0.2 * y + 0.25 * z
    rate = 18 + 150 * chi_ppm()
    rng = np.random.default_rng(1)
    images = []
    for t in echo_times_s:
        noise = rng.normal(0, 0.0125, (2, *GRID.shape))
        signal = brain() * np.exp(-rate * t + 1j * (0.4 + math.tau * field_hz * t))
        images.append((signal + noise[0] + 1j * noise[1]).astype(np.complex64))
    return tuple(images)


def write_iron(folder: Path, *, sign: float = 1.0) -> Path:
    """Write the head as a BIDS scan."""
    folder.mkdir(parents=True, exist_ok=True)
    for echo, (t, image) in enumerate(zip(ECHO_TIMES_S, echoes(), strict=True), start=1):
        for part, values in (("mag", np.abs(image)), ("phase", sign * np.angle(image))):
            write_image(echo_path(folder, echo, part), values.astype(np.float32), GRID)
        fields = {"EchoTime": t, "MagneticFieldStrength": FIELD_T}
        write_json(folder / f"sub-01_echo-{echo}_MEGRE.json", fields)
    return folder


def slope(chi: np.ndarray, mask: np.ndarray) -> float:
    """Of the means of nuclei found against the truth, both relative to the mean of the mask."""
    truth, found = [], []
    for _, _, value in IRON[1:]:
        inside = (chi_ppm() == np.float32(value)) & mask
        found.append(chi[inside].mean() - chi[mask].mean())
        truth.append(value - chi_ppm()[mask].mean())
    return float(np.dot(truth, found) / np.dot(truth, truth))
