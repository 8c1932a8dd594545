"""How like one susceptibility map is to another, every number with its range and region."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.similarity import similarity_figures
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import write_described_table


def similarity_table(
    chimap: Path, reference: Path, out: Path | None = None, *, mask: Path
) -> pd.DataFrame:
    """Measure the likeness of two maps on one grid.

    Args:
        chimap: NIfTI, ppm.
        reference: NIfTI, ppm, on the same grid.
        out: tab-separated table to write; none when absent.
        mask: NIfTI on the same grid; where both maps are defined.

    Raises:
        InputError: files that cannot be read, do not share a grid, or hold no contrast.
    """
    image = read_volume(chimap)
    figures = similarity_figures(
        image.values,
        read_volume(reference, grid=image.grid).values,
        read_volume(mask, grid=image.grid).values > 0.5,
    )
    if out is not None:
        write_described_table(out, figures, column_dictionary(map(str, figures)))
    return figures
