"""Interval of the mean susceptibility of a nucleus about the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.units import PPB_PER_PPM

SHARED_SD_PPB = 2.0
"""What all voxels of a nucleus share: contrast lost to regularisation, background field that is
left, and the reference region. From eight digital heads, the next two from six at three SNR."""

CORRELATED_MM3 = 20.0
"""Volume over which errors of voxels go together."""

EDGE_SHARE = 0.15
"""Of the change of the mean where the label's edge is half a voxel softer."""

EDGE_SD_VOXELS = 0.5
COVERAGE_SD = 1.96
MARGIN = 3


def interval_ppb(
    chi_ppm: npt.NDArray[Any],
    chi_sd_ppm: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    lookup: pd.DataFrame,
    *,
    voxel_volume_mm3: float,
    mask: npt.NDArray[Any] | None = None,
    probabilities: Mapping[int, npt.NDArray[Any]] | None = None,
) -> npt.NDArray[np.float64]:
    """Half of the 95 % interval of each nucleus' mean, in the rows of ``measure_nuclei``.

    The root of the squares of what all voxels share (2 ppb), of the voxels' standard deviation
    over the root of the volumes of 20 mm^3 that the nucleus has room for, and of partial volume:
    0.15 of the change of the mean where the edge of the label is smoothed by half a voxel.

    Args:
        chi_ppm: susceptibility (x, y, z) in ppm.
        chi_sd_ppm: standard deviation of each voxel, (x, y, z) in ppm.
        labels: integers (x, y, z).
        lookup: columns index and name.
        voxel_volume_mm3: volume of a voxel in mm^3.
        mask: voxels that may be measured.
        probabilities: label probabilities (x, y, z) by index, instead of ``labels``.

    Returns:
        Half widths in ppb, one a row; NaN for a nucleus without voxels.
    """
    found = list(probabilities.values()) if probabilities else [np.isin(labels, lookup["index"])]
    box = _box_of(found)
    inside = None if mask is None else mask[box]
    if probabilities:
        weights = {i: np.asarray(weight[box], np.float32) for i, weight in probabilities.items()}
    else:
        weights = {int(i): (labels[box] == i).astype(np.float32) for i in lookup["index"]}
    soft = {index: _softened(weight) for index, weight in weights.items()}

    def measured(values: npt.NDArray[Any], by: Mapping[int, npt.NDArray[Any]]) -> pd.DataFrame:
        return measure_nuclei(
            values[box], labels[box], lookup,
            voxel_volume_mm3=voxel_volume_mm3, mask=inside, probabilities=by, min_voxels=1,
        )  # fmt: skip

    variance = measured(np.square(chi_sd_ppm), weights)
    n_apart = (variance["volume_mm3"] / CORRELATED_MM3).clip(lower=1)
    voxels_ppb2 = variance["mean_ppb"] * PPB_PER_PPM / n_apart
    edge_ppb = measured(chi_ppm, soft)["mean_ppb"] - measured(chi_ppm, weights)["mean_ppb"]
    variance_ppb2 = SHARED_SD_PPB**2 + voxels_ppb2 + (EDGE_SHARE * edge_ppb) ** 2
    return np.asarray(COVERAGE_SD * np.sqrt(variance_ppb2.to_numpy(np.float64)))


def _box_of(weights: Sequence[npt.NDArray[Any]]) -> tuple[slice, ...]:
    """The part of the volume where any weight is above 0, and a margin."""
    anywhere = np.zeros(weights[0].shape, dtype=np.uint8)
    for weight in weights:
        anywhere |= weight > 0
    found = ndimage.find_objects(anywhere)
    if not found:
        return tuple(slice(0, 1) for _ in anywhere.shape)
    return tuple(slice(max(side.start - MARGIN, 0), side.stop + MARGIN) for side in found[0])


def _softened(weight: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
    """The label with its edge smoothed by half a voxel."""
    return np.asarray(ndimage.gaussian_filter(weight, EDGE_SD_VOXELS))
