"""Detection of phase that has been high-pass filtered, as for susceptibility weighting."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.grid import Triple
from accelqsm.morphology import in_head_mm
from accelqsm.qsm.mask import otsu_threshold
from accelqsm.qsm.scale import length_scale
from accelqsm.units import larmor_hz_per_ppm

BLOCK_MM = 4.0
KERNEL_FWHM_MM = 20.0
LARGEST_SLOW_PHASE_RAD = 0.2
LARGEST_SLOW_FIELD_PPM = 0.012
"""The low-pass phase of unfiltered heads is 5 to 30 times the smaller of these limits in every echo
(simulated with second-order shim, 1.5 to 7 T, TE 3 to 28 ms; a measured crop; a measured field
map); after homodyne filters of 64 lines it is 0.1 to 0.5 of the limit, of 32 lines 0.4 to 0.9.
Phase simulated without background field, or of a shimmed water bottle, cannot be distinguished
from filtered phase: hence a warning instead of an error."""


def looks_filtered(images: Tensor, acquisition: Acquisition) -> bool:
    """Whether the low-pass filtered phase is almost zero in every echo.

    The phasor exp(i phase), of voxels brighter than Otsu's threshold, is averaged in blocks of
    4 mm and by a Gaussian; the root mean square of its angle, weighted by its length, must stay
    below 0.2 rad and below 0.012 ppm of the main field, in every echo.

    Args:
        images: complex (1, echo, x, y, z).
        acquisition: voxel size, echo times in seconds, main field in tesla.

    Source: the filter is that of Haacke et al. 2004, Magn Reson Med 52:612,
    doi 10.1002/mrm.20198.
    """
    rad_per_ppm_and_s = math.tau * larmor_hz_per_ppm(acquisition.field_strength_t)
    echoes = zip(images[0], acquisition.echo_times_s, strict=True)
    for image, echo_time_s in reversed(list(echoes)):
        limit_rad = min(
            LARGEST_SLOW_PHASE_RAD, LARGEST_SLOW_FIELD_PPM * rad_per_ppm_and_s * echo_time_s
        )
        if not slow_phase_rad(image, voxel_size_mm=acquisition.voxel_size_mm) < limit_rad:
            return False
    return True


def slow_phase_rad(image: Tensor, *, voxel_size_mm: Triple) -> float:
    """Root mean square of the low-pass filtered phase, FWHM 20 mm.

    In an object smaller than a human head, over as much less.

    Args:
        image: complex (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        In radians, at most pi; NaN where no voxel is above the threshold.
    """
    magnitude = image.abs()
    bright = np.minimum(magnitude.numpy(), np.percentile(magnitude.numpy(), 99))
    head = magnitude > otsu_threshold(bright)
    size_mm = in_head_mm(voxel_size_mm, length_scale(magnitude, voxel_size_mm=voxel_size_mm))
    phasor = torch.polar(head.to(magnitude), image.angle()).numpy()
    factors = tuple(
        min(max(1, round(BLOCK_MM / size)), n) for size, n in zip(size_mm, image.shape, strict=True)
    )
    widths = [
        KERNEL_FWHM_MM / math.sqrt(8 * math.log(2)) / (size * factor)
        for size, factor in zip(size_mm, factors, strict=True)
    ]
    inside = _block_means(head.numpy(), factors) > 0.5
    blocks = _block_means(phasor, factors)
    real, imaginary = (
        ndimage.gaussian_filter(part, widths, mode="constant")
        for part in (blocks.real, blocks.imag)
    )
    slow = (real + 1j * imaginary)[inside]
    weight = np.abs(slow)
    with np.errstate(invalid="ignore"):
        return float(np.sqrt((weight * np.angle(slow) ** 2).sum() / weight.sum()))


def _block_means(values: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Means over blocks of voxels; incomplete blocks at the upper ends are left out."""
    sizes = [n // factor for n, factor in zip(values.shape, factors, strict=True)]
    kept = values[tuple(slice(n * f) for n, f in zip(sizes, factors, strict=True))]
    split = [length for pair in zip(sizes, factors, strict=True) for length in pair]
    means: np.ndarray = kept.reshape(split).mean(axis=(1, 3, 5))
    return means
