"""Labels before measurement: erosion, coverage by image and mask, and selection of regions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.nuclei.measure import split_side

LARGEST_LOSS = 0.1
"""Fraction of a nucleus outside the image or the mask above which its value is missing."""


def narrow_labels(labels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Labels in the smallest of int16, int32 and int64 that holds them."""
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return labels.astype(kind)
    return labels.astype(np.int64)


def erode(
    labels: npt.NDArray[Any], *, distance_mm: float, voxel_size_mm: Triple
) -> npt.NDArray[Any]:
    """Erode each label: remove voxels within ``distance_mm`` of a voxel outside the label.

    Args:
        labels: integers (x, y, z).
        distance_mm: 0 for no erosion.
        voxel_size_mm: edge lengths of a voxel.

    Raises:
        InputError: a negative distance.
    """
    if distance_mm < 0:
        raise InputError(f"erosion: expected 0 mm or more, found {distance_mm:g} mm")
    left = np.zeros_like(labels)
    if distance_mm == 0:
        return labels.copy()
    # Counted anew: atlases have label numbers of nine digits, and some have negative ones.
    numbers, places = np.unique(labels[labels != 0], return_inverse=True)
    counted = np.zeros(labels.shape, dtype=np.int32)
    counted[labels != 0] = places + 1
    for number, box in zip(numbers.tolist(), ndimage.find_objects(counted), strict=True):
        here = np.pad(labels[box] == number, 1)
        depth = ndimage.distance_transform_edt(here, sampling=voxel_size_mm)[1:-1, 1:-1, 1:-1]
        left[box][depth > distance_mm] = number
    return left


def labels_outside(
    propagated: npt.NDArray[Any],
    inside: npt.NDArray[np.bool_],
    lookup: pd.DataFrame,
    *,
    in_image: npt.NDArray[np.bool_],
) -> dict[int, str]:
    """Labels that lie more than a tenth outside the image or the mask, with the reason as text.

    Args:
        propagated: integers (x, y, z), on a grid that may extend beyond the image.
        inside: the mask on that grid.
        lookup: columns index and name.
        in_image: voxels of that grid that are in the image.

    Returns:
        Reason by index, for labels with more than a tenth outside.
    """
    reasons = {}
    for index in lookup["index"].tolist():
        here = propagated == index
        n = int(here.sum())
        if not n:
            continue
        for what, where in (("image", in_image), ("mask", inside)):
            outside = float((here & ~where).sum()) / n
            if outside > LARGEST_LOSS:
                reasons[int(index)] = f"{100 * outside:.0f} % of it lies outside the {what}"
                break
    return reasons


def select_rows(lookup: pd.DataFrame, regions: tuple[str, ...] | None) -> pd.DataFrame:
    """Rows of the lookup for some regions, in the order of ``regions``; all rows for None.

    Raises:
        InputError: a region that no row names.
    """
    if regions is None:
        return lookup
    names = [split_side(str(name))[0] for name in lookup["name"]]
    unknown = [region for region in regions if region not in names]
    if unknown:
        raise InputError(
            f"regions: expected some of {' '.join(dict.fromkeys(names))}, found {unknown[0]}"
        )
    place: Mapping[str, int] = {region: i for i, region in enumerate(regions)}
    order = [i for i, name in enumerate(names) if name in place]
    order.sort(key=lambda i: place[names[i]])
    return lookup.iloc[order].reset_index(drop=True)
