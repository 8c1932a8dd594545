"""Label images and their lookups, of whatever holds them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.api.inputs import as_volume
from accelqsm.api.types import PathLike, VolumeLike
from accelqsm.errors import InputError
from accelqsm.files.nifti import Image
from accelqsm.files.text.colours import RGB, packed_colours
from accelqsm.files.text.lookup import read_lookup, whole_numbers
from accelqsm.grid import Grid
from accelqsm.results.integrity.check import check_file


def labels_of(
    labels: VolumeLike, lookup: PathLike | pd.DataFrame | None, *, grid: Grid
) -> tuple[Image, pd.DataFrame]:
    """Read labels as integers on a grid, and their lookup table.

    Labels of an RGB image are found by the colours of the lookup. A lookup with red, green and
    blue names what any image may hold: of it, the labels that this one holds are kept.

    Returns:
    The labels, and a table with columns index and name.

    Raises:
        InputError: no lookup, another grid, labels that are not whole numbers, or colours that the
            lookup does not tell apart.
    """
    if lookup is None:
        raise InputError("nuclei: expected a lookup with the labels, found none")
    image = as_volume(labels, "labels", grid=grid, colours=True)
    rows = _lookup(lookup)
    whole = _by_colour(image, rows) if image.stored.dtype.names else whole_labels(image)
    here = np.isin(rows["index"], whole) if set(RGB) <= set(rows) else np.zeros(len(rows), bool)
    if here.any():
        rows = rows[here].reset_index(drop=True)
    return Image(image.path, image.grid, whole, whole), rows


def check_named(image: Image, rows: pd.DataFrame) -> None:
    """Refuse labels of which a lookup names none.

    Raises:
        InputError: with some of both.
    """
    if {"index", "name"} <= set(rows) and not np.isin(image.values, rows["index"]).any():
        present = np.unique(image.values[image.values != 0])[:4].tolist()
        raise InputError(
            f"{image.path}: expected voxels of a label in the lookup "
            f"({', '.join(map(str, rows['index'][:4]))} ...), found labels "
            f"{', '.join(map(str, present)) or 'of zero alone'}"
        )


def whole_labels(image: Image) -> npt.NDArray[np.int64]:
    """The values of a label image as int64.

    Raises:
        InputError: fractions, or numbers so large that their type rounds them.
    """
    values = image.values
    rounded = np.round(values)
    if not np.array_equal(rounded, values):
        raise InputError(f"{image.path}: expected whole-number labels, found fractions")
    largest = float(np.abs(rounded.astype(np.float64)).max(initial=0.0))
    exact = 2.0**24 if image.stored.dtype == np.float32 else 2.0**53
    if largest >= (2.0**63 if np.issubdtype(values.dtype, np.integer) else exact):
        raise InputError(
            f"{image.path}: expected label numbers that {values.dtype} holds exactly (below "
            f"{exact:.0f}), found {largest:.0f}; store them as integers"
        )
    return rounded.astype(np.int64)


def _by_colour(image: Image, rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Labels of an image of packed colours, of which black is background."""
    packed = packed_colours(rows)
    if packed is None:
        raise InputError(
            f"{image.path}: expected a number in every voxel, or a lookup with colours (columns "
            "red, green, blue, or color as #RRGGBB), found colours "
            f"({''.join(image.stored.dtype.names or '')}) and a lookup with "
            f"{', '.join(map(str, rows))}"
        )
    found = np.zeros(image.values.shape, dtype=np.int64)
    for colour in np.unique(image.values[image.values != 0]).tolist():
        indices = rows["index"][packed == colour].tolist()
        if len(indices) != 1:
            raise InputError(
                f"{image.path}: expected one label of the colour #{colour:06x} in the lookup, "
                f"found {len(indices)}"
            )
        found[image.values == colour] = indices[0]
    return found


def _lookup(lookup: PathLike | pd.DataFrame) -> pd.DataFrame:
    if isinstance(lookup, str | os.PathLike):
        check_file(Path(lookup))
        return read_lookup(Path(lookup))
    if "index" not in lookup or lookup["index"].isna().any():
        return lookup
    return lookup.assign(index=whole_numbers(lookup["index"], "label lookup"))
