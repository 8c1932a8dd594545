"""Conversion of paths, NIfTI objects, arrays and tensors to arrays on a grid."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.api.types import VolumeLike
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import (
    Image,
    check_finite,
    check_same_grid,
    image_of,
    read_image,
    single_volume,
)
from accelqsm.grid import Grid
from accelqsm.results.integrity.check import check_file

MOST_LABELS = 256
HIGHEST_PROBABILITY = 1.001


def as_image(
    value: VolumeLike,
    name: str,
    *,
    grid: Grid | None = None,
    single: bool = False,
    colours: bool = False,
) -> Image:
    """Convert a path, nibabel image, array or tensor to a 3D or 4D image.

    Args:
        value: path, nibabel image, numpy array or torch tensor.
        name: name of the input, for messages.
        grid: grid of an array, which has none of its own; an image must be on it.
        single: one volume of real values, which is then 3D.
        colours: those of an RGB image are numbers (``image_of``), in place of an error.

    Returns:
        The image with its grid.

    Raises:
        InputError: an unreadable image, an array without a grid, another grid, or several volumes.
    """
    if isinstance(value, str | os.PathLike):
        check_file(Path(value))
        return read_image(Path(value), grid=grid, single=single, colours=colours)
    if hasattr(value, "affine") and hasattr(value, "dataobj"):
        image = image_of(value, Path(name), colours=colours)
    else:
        values = _array(value)
        if grid is None:
            raise InputError(
                f"{name}: expected an image with an affine, found {type(value).__name__}"
            )
        if values.shape[:3] != grid.shape:
            raise InputError(f"{name}: expected shape {grid.shape}, found {values.shape}")
        image = Image(Path(name), grid, values, values)
    if grid is not None:
        check_same_grid(image.grid, grid, image.path)
    return single_volume(image) if single else image


def as_volume(
    value: VolumeLike, name: str, *, grid: Grid | None = None, colours: bool = False
) -> Image:
    """Convert an input to a 3D image without NaN; arguments as of ``as_image``.

    Returns:
        The image with its grid.

    Raises:
        InputError: as ``as_image``, or not 3D, or not finite.
    """
    image = as_image(value, name, grid=grid, single=True, colours=colours)
    check_finite(image.values, image.path)
    return image


def as_mask(value: VolumeLike | None, grid: Grid) -> npt.NDArray[np.bool_] | None:
    """Convert an input to a mask on ``grid`` (inside: above one half).

    Returns:
        bool (x, y, z), or None for None.

    Raises:
        InputError: another grid, nothing inside, or values that are no mask: negative ones,
            intensities, percentages.

    Warns:
        InputWarning: labels, which are taken together, or probabilities, which are cut at 0.5.
    """
    if value is None:
        return None
    image = as_volume(value, "mask", grid=grid)
    inside = image.values > 0.5
    if not inside.any():
        raise InputError(f"{image.path}: expected a mask with voxels above 0.5, found none")
    if taken := _taken(image):
        warnings.warn(InputWarning(f"{image.path}: {taken}"), stacklevel=2)
    return np.ascontiguousarray(inside)


def _taken(image: Image) -> str:
    """How values other than two are taken for a mask, in words; "" for two values.

    Raises:
        InputError: values that are neither labels nor probabilities.
    """
    found = np.unique(image.values)
    low, high = float(found[0]), float(found[-1])
    whole = bool((found == np.round(found)).all())
    few = len(found) <= MOST_LABELS
    if low < 0 or not (few if whole else high <= HIGHEST_PROBABILITY):
        raise InputError(
            f"{image.path}: expected a mask of 0 and 1, labels, or probabilities from 0 to 1, "
            f"found {low:g}..{high:g}"
        )
    if len(found) <= 2:
        return ""
    if whole:
        return f"{len(found) - (low == 0)} labels are taken together as the mask"
    return "voxels above 0.5 of these probabilities are taken as the mask"


def name_of(value: object, otherwise: str) -> str:
    """Name of an input for messages and records.

    Returns:
        Its path as text, or ``otherwise`` if it is not a path.
    """
    return str(value) if isinstance(value, str | os.PathLike) else otherwise


def _array(value: Any) -> npt.NDArray[Any]:
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    values = np.asarray(detached)
    return values.astype(np.uint8) if values.dtype == np.bool_ else values
