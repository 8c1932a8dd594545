"""Scores of susceptibility maps, those of the QSM challenge 2.0 and XSIM.

Source: QSM Challenge 2.0 Organization Committee 2021, Magn Reson Med 86:1241,
doi 10.1002/mrm.28754.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from torch import Tensor

from accelqsm.agreement.similarity import hfen, nrmse_percent, xsim
from accelqsm.grid import Triple

CALCIFIED_PPM = -0.4
SHELL_MM = (2.0, 10.0)
BLOOD_PPM = 0.2


def field_scores(field_ppm: Tensor, true_ppm: Tensor, mask: Tensor) -> dict[str, float]:
    """Median absolute error in ppb and share in % of voxels off by more than 25 ppb."""
    error = 1e3 * (field_ppm - true_ppm)[mask].abs()
    return {
        "median ppb": float(error.median()),
        "> 25 ppb %": 100 * float((error > 25).float().mean()),
    }


def map_scores(
    chi_ppm: Tensor, true_ppm: Tensor, labels: Tensor, mask: Tensor, size_mm: Triple
) -> dict[str, float]:
    """Every score over ``mask``, in which both maps are given the mean zero.

    Args:
        chi_ppm, true_ppm: (x, y, z) in ppm.
        labels: nuclei, zero elsewhere.
        mask: bool (x, y, z).
        size_mm: edge lengths of a voxel.

    Returns:
        Errors in %, of all voxels, detrended (the line that fits best taken off), of tissue, of
        nuclei and of blood; correlation; XSIM; HFEN in %; slope and r of the means of nuclei; the
        spread of the error around the calcification in ppb, its streaks.
    """
    region = mask.numpy()
    found, true = (np.where(region, v - v[region].mean(), 0) for v in _arrays(chi_ppm, true_ppm))
    slope, level = np.polyfit(true[region], found[region], 1)
    detrended = np.where(region, (found - level) / slope, 0)
    calcified = true < CALCIFIED_PPM
    nuclei = region & (labels.numpy() > 0)
    blood = region & (true > BLOOD_PPM) & ~nuclei
    means = np.array(
        [
            (found[here].mean(), true[here].mean())
            for here in (nuclei & (labels.numpy() == k) for k in np.unique(labels.numpy())[1:])
            if here.sum() > 0
        ]
    )
    distance = ndimage.distance_transform_edt(~calcified, sampling=size_mm)
    shell = region & (distance > SHELL_MM[0]) & (distance < SHELL_MM[1])
    return {
        "NRMSE": nrmse_percent(found, true, region),
        "detrended": nrmse_percent(detrended, true, region),
        "tissue": nrmse_percent(found, true, region & ~blood & ~calcified),
        "nuclei": nrmse_percent(found, true, nuclei),
        "blood": nrmse_percent(found, true, blood),
        "r": float(np.corrcoef(found[region], true[region])[0, 1]),
        "XSIM": xsim(found, true, region),
        "HFEN": 100 * hfen(found, true, region),
        "slope": float(np.polyfit(means[:, 1], means[:, 0], 1)[0]),
        "nuclei r": float(np.corrcoef(means.T)[0, 1]),
        "streak ppb": 1e3 * float((found - true)[shell].std()),
    }


def _arrays(*volumes: Tensor) -> list[np.ndarray]:
    return [v.double().numpy() for v in volumes]
