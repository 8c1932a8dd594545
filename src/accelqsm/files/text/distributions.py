"""Reader of tables of how nuclei are distributed over people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.tables import read_table
from accelqsm.units import PPB_PER_PPM

FIGURES = {"mean_ppb": (0.0, 1000.0), "sd_ppb": (0.0, 1000.0), "r_age": (-1.0, 1.0)}
"""Columns, and the ends between which their figures lie."""


def read_distributions(path: Path, regions: Sequence[str]) -> pd.DataFrame:
    """Read mean and SD of the susceptibility of each nucleus, and its correlation with age.

    Args:
        path: table with columns region, mean_ppb, sd_ppb and r_age.
        regions: the nuclei that it must have, each once.

    Returns:
        Index region, columns mean_ppm, sd_ppm and age_correlation, in the order of ``regions``.

    Raises:
        InputError: a table that cannot be read, other regions, or figures out of range.
    """
    table = read_table(path, columns=("region", *FIGURES), text=("region",), numbers=tuple(FIGURES))
    found = list(table["region"])
    if sorted(found) != sorted(regions):
        raise InputError(
            f"{path}: region: expected {', '.join(regions)}, each once, found {', '.join(found)}"
        )
    for column, (low, high) in FIGURES.items():
        wrong = table[~table[column].between(low, high)]
        if len(wrong):
            raise InputError(
                f"{path}: {column}: expected a number from {low:g} to {high:g}, found "
                f"{wrong[column].iloc[0]:g} for {wrong['region'].iloc[0]}"
            )
    own = table.set_index("region").loc[list(regions)]
    return pd.DataFrame(
        {
            "mean_ppm": own["mean_ppb"] / PPB_PER_PPM,
            "sd_ppm": own["sd_ppb"] / PPB_PER_PPM,
            "age_correlation": own["r_age"],
        }
    )
