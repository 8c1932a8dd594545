"""From a map to a table: its nuclei."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.nifti import Image, read_volume
from accelqsm.files.tables import read_table, write_table
from accelqsm.nuclei.measure import measure_nuclei


def nuclei_table(
    chimap: Path, out: Path, *, labels: Path, lookup: Path, mask: Path | None = None
) -> pd.DataFrame:
    """Measure every nucleus of ``labels`` in a susceptibility map and write one row each.

    Args:
        chimap: NIfTI, ppm.
        out: tab-separated table to write.
        labels: NIfTI of whole numbers on the same grid.
        lookup: tab-separated table with columns index and name.
        mask: NIfTI on the same grid; voxels outside are not measured.

    Returns:
        The table as written.

    Raises:
        InputError: files that cannot be read or do not fit each other.
    """
    chi = read_volume(chimap)
    label_image = read_volume(labels, grid=chi.grid)
    table = measure_nuclei(
        chi.values,
        _whole_numbers(label_image),
        read_table(lookup, columns=("index", "name")),
        voxel_volume_mm3=chi.grid.voxel_volume_mm3,
        mask=None if mask is None else read_volume(mask, grid=chi.grid).values > 0.5,
    )
    write_table(out, table)
    return table


def _whole_numbers(image: Image) -> np.ndarray:
    rounded = np.round(image.values)
    if not np.array_equal(rounded, image.values):
        raise InputError(f"{image.path}: expected whole-number labels, found fractions")
    return rounded.astype(np.int32)
