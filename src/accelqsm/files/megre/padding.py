"""A value far outside the range of a phase, with which software fills what is outside the head."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputWarning
from accelqsm.files.nifti import Image

LEAST_SHARE = 0.01
"""Of the voxels, lest an outlier be taken for padding."""
LEAST_GAP = 0.1
"""Between padding and the other values, as a share of their range."""


def without_padding(
    images: Sequence[Image],
) -> tuple[list[Image], list[npt.NDArray[np.bool_]] | None]:
    """Phase with padding replaced by a value of the phase, and where it was; None without any.

    Padding is the smallest or largest value, in a hundredth of every echo or more, apart from the
    others by a tenth of their range.

    Warns:
        InputWarning: naming the value and its share.
    """
    value = _padding(images)
    if value is None:
        return list(images), None
    places = [np.asarray(image.values == value) for image in images]
    share = float(np.mean([place.mean() for place in places]))
    warnings.warn(
        InputWarning(
            f"{images[0].path}: phase is {value:g} in {100 * share:.0f} % of the voxels, taken as "
            "padding outside the head, where the magnitude is set to 0"
        ),
        stacklevel=2,
    )
    return [_filled(image, place) for image, place in zip(images, places, strict=True)], places


def _padding(images: Sequence[Image]) -> float | None:
    values = np.concatenate([np.asarray(image.values).ravel() for image in images])
    for value in (values.min(), values.max()):
        if min(float((image.values == value).mean()) for image in images) < LEAST_SHARE:
            continue
        others = values[values != value]
        if not others.size:
            continue
        low, high = float(others.min()), float(others.max())
        gap = max(low - float(value), float(value) - high)
        if high > low and gap > LEAST_GAP * (high - low):
            return float(value)
    return None


def _filled(image: Image, place: npt.NDArray[np.bool_]) -> Image:
    if place.all() or not place.any():
        return image
    first = int(np.argmin(place))
    fill = (image.values.ravel()[first], image.stored.ravel()[first])
    values, stored = (
        np.where(place, one, array)
        for one, array in zip(fill, (image.values, image.stored), strict=True)
    )
    return dataclasses.replace(
        image, values=values, stored=stored.astype(image.stored.dtype, copy=False)
    )
