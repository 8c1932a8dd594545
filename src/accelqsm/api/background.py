"""Where a susceptibility map without a mask holds a brain: where it is not its background."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputWarning
from accelqsm.files.nifti import Image

TINY = 1e-4
"""Of the 99th percentile: what interpolation and rounding leave of zero."""
LEAST_SHARE = 0.5
"""Of the faces of the volume, which a background covers."""
LARGEST_SPREAD = 0.5
"""Of the border relative to the middle, if there is a background: a crop of a brain has 1."""
Mask = npt.NDArray[np.bool_]
Values = npt.NDArray[np.float64]


def brain_of(image: Image) -> Mask:
    """Voxels that are not background: not zero, or not the one value of most of the border.

    Args:
        image: susceptibility (x, y, z) of which the background is constant, or zero but for
            rounding.

    Returns:
        bool (x, y, z).

    Warns:
        InputWarning: a background that is not exactly zero.
    """
    brain, doubt = brain_and_doubt(image)
    say(doubt)
    return brain


def brain_and_doubt(image: Image) -> tuple[Mask, str]:
    """As ``brain_of``, and what it would warn of, or ""."""
    values: Values = np.asarray(image.values, dtype=np.float64)
    border = _border(values)
    nonzero: Mask = values != 0
    if (border == 0).mean() >= LEAST_SHARE:
        return nonzero, ""
    limit = TINY * float(np.percentile(np.abs(values), 99))
    if (np.abs(border) <= limit).mean() >= LEAST_SHARE:
        what = f"the background is not exactly 0; what is within {limit:.2g} ppm is left out"
        above: Mask = np.abs(values) > limit
        return above, _told(image, what)
    common, counts = np.unique(border, return_counts=True)
    level = common[counts.argmax()]
    if counts.max() >= LEAST_SHARE * border.size:
        other: Mask = values != level
        return other, _told(image, f"the background is {level:g}, not 0, and left out")
    middle = values[tuple(slice(n // 4, n - n // 4) for n in values.shape)]
    if nonzero.all() and border.std() < LARGEST_SPREAD * middle.std():
        what = "the background is nowhere 0, and the whole volume is taken for the brain"
        return nonzero, _told(image, what)
    return nonzero, ""


def _border(values: Values) -> Values:
    """Values of the six faces."""
    faces = [np.take(values, end, axis).ravel() for axis in range(3) for end in (0, -1)]
    return np.concatenate(faces)


def _told(image: Image, what: str) -> str:
    return f"{image.path}: {what} (--mask FILE settles it)"


def say(doubt: str) -> None:
    """Warn of what is not empty."""
    if doubt:
        warnings.warn(InputWarning(doubt), stacklevel=3)
