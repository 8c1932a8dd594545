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
from accelqsm.files.text.lookup import read_lookup, whole_numbers
from accelqsm.grid import Grid
from accelqsm.results.integrity.check import check_file


def labels_of(
    labels: VolumeLike, lookup: PathLike | pd.DataFrame | None, *, grid: Grid
) -> tuple[Image, pd.DataFrame]:
    """Read labels as integers on a grid, and their lookup table.

    Returns:
    The labels, and a table with columns index and name.

    Raises:
        InputError: no lookup, another grid, or labels that are not whole numbers.
    """
    if lookup is None:
        raise InputError("nuclei: expected a lookup with the labels, found none")
    image = as_volume(labels, "labels", grid=grid)
    whole = whole_labels(image)
    rows = _lookup(lookup)
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


def _lookup(lookup: PathLike | pd.DataFrame) -> pd.DataFrame:
    if isinstance(lookup, str | os.PathLike):
        check_file(Path(lookup))
        return read_lookup(Path(lookup))
    if "index" not in lookup or lookup["index"].isna().any():
        return lookup
    return lookup.assign(index=whole_numbers(lookup["index"], "label lookup"))
