"""Whether phase turns backwards, told from iron: what decays fast in a head is paramagnetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.grid import Triple
from accelqsm.morphology import Mask, erode_mask

EDGE_MM = 3.0
FINE_MM = 1.5
COARSE_MM = 12.0
FASTEST_SHARE = 0.01
"""Of the voxels: nuclei and veins are a few hundredths of a brain."""
LEAST_VOXELS = 30
MOST_SD = 4.0
"""To which a voxel is clipped, lest one bleeding or calcification decide."""
SD_PER_MAD = 1.4826
Volume = npt.NDArray[Any]


def iron_contrast(
    chi_ppm: Volume, decay: Volume, mask: Mask, *, voxel_size_mm: Triple
) -> float | None:
    """Mean susceptibility of the hundredth of the voxels that decays fastest, in robust SDs.

    Both maps are smoothed by 1.5 mm and relieved of their mean over 12 mm, inside the mask less
    3 mm, where no air shortens the decay. Iron makes it 1.7 to 4 (simulated heads); phase of the
    other sign turns it round.

    Args:
        chi_ppm: (x, y, z).
        decay: (x, y, z), R2* or what rises with it.
        mask: bool (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        The contrast, or None where the mask is too small or the maps too flat to tell.

    Source: R2* of deep grey nuclei and veins rises with their iron and susceptibility, Langkammer
    et al. 2012, NeuroImage 62:1593, doi 10.1016/j.neuroimage.2012.05.049.
    """
    inside = erode_mask(mask, EDGE_MM, voxel_size_mm=voxel_size_mm)
    if inside.sum() * FASTEST_SHARE < LEAST_VOXELS:
        return None
    box = ndimage.find_objects(inside.astype(np.int8))[0]
    inside = inside[box]
    chi, rate = (
        _details(values[box], inside, voxel_size_mm)[inside] for values in (chi_ppm, decay)
    )
    middle = np.median(chi)
    sd = SD_PER_MAD * float(np.median(np.abs(chi - middle)))
    if not (sd > 0 and rate.max() > rate.min()):
        return None
    fastest = rate >= np.quantile(rate, 1 - FASTEST_SHARE)
    return float(np.clip((chi[fastest] - middle) / sd, -MOST_SD, MOST_SD).mean())


def _details(values: Volume, inside: Mask, voxel_size_mm: Triple) -> Volume:
    """Values of a scale between fine and coarse, with averages over the mask alone."""
    fine, coarse = (
        _average(values, inside, [width / size for size in voxel_size_mm])
        for width in (FINE_MM, COARSE_MM)
    )
    return fine - coarse


def _average(values: Volume, inside: Mask, sigmas: list[float]) -> Volume:
    weight = ndimage.gaussian_filter(inside.astype(np.float32), sigmas)
    total = ndimage.gaussian_filter(np.where(inside, values, 0).astype(np.float32), sigmas)
    average: Volume = total / np.maximum(weight, 1e-6)
    return average
