"""From a map to a table: its nuclei."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.nifti import Image, read_volume
from accelqsm.files.tables import read_table
from accelqsm.nuclei.labels import chosen_rows, erode
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.results.nuclei import MeasureOptions, reference_ppm, referred, write_values


def nuclei_table(
    chimap: Path,
    out: Path,
    *,
    labels: Path,
    lookup: Path,
    mask: Path | None = None,
    r2star: Path | None = None,
    options: MeasureOptions | None = None,
) -> pd.DataFrame:
    """Measure every nucleus of ``labels`` in a susceptibility map and write one row each.

    Args:
        chimap: NIfTI, ppm.
        out: tab-separated table to write, with a JSON beside it that defines its columns.
        labels: NIfTI of whole numbers on the same grid.
        lookup: tab-separated table with columns index and name.
        mask: NIfTI on the same grid; voxels outside are not measured.
        r2star: NIfTI on the same grid in 1/s, for the CSF reference.
        options: how to measure; by default the map's own zero stays, without erosion.

    Returns:
        The table as written.

    Raises:
        InputError: files that cannot be read or do not fit each other.
    """
    options = options or MeasureOptions(reference="none")
    chi = read_volume(chimap)
    label_image = read_volume(labels, grid=chi.grid)
    inside = None if mask is None else read_volume(mask, grid=chi.grid).values > 0.5
    numbers = erode(
        whole_numbers(label_image),
        distance_mm=options.erosion_mm,
        voxel_size_mm=chi.grid.voxel_size_mm,
    )
    table = measure_nuclei(
        chi.values,
        numbers,
        chosen_rows(read_table(lookup, columns=("index", "name")), options.regions),
        voxel_volume_mm3=chi.grid.voxel_volume_mm3,
        mask=inside,
        min_voxels=options.min_voxels,
    )
    brain = chi.values != 0 if inside is None else inside
    value_ppm = reference_ppm(chi.values, chi.grid, brain, options.reference, r2star=r2star)
    table = referred(table, options.reference, value_ppm)
    write_values(out, table)
    return table


def whole_numbers(image: Image) -> np.ndarray:
    """Labels as integers.

    Raises:
        InputError: values that are not whole.
    """
    rounded = np.round(image.values)
    if not np.array_equal(rounded, image.values):
        raise InputError(f"{image.path}: expected whole-number labels, found fractions")
    return rounded.astype(np.int32)
