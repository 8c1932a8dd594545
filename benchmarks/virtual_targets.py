"""True nuclei of a virtual cohort whose measured ones are to be those of the published study.

A pilot of other heads tells how the measured mean of a nucleus follows the susceptibility that its
head was drawn with: measured = a drawn + b, and by how much single heads lie off that line. Means
and SDs that the study published are put through the inverse of the line; what lies off it is taken
out of the SD first. The table that comes out is for ``accelqsm simulate --nuclei``: the simulation
itself knows nothing of a reconstruction.

Usage: python benchmarks/virtual_targets.py PILOT.tsv OUT.tsv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.tables import read_table, write_table
from accelqsm.simulate.cohort import PUBLISHED
from accelqsm.units import PPB_PER_PPM

PILOT_COLUMNS = ("subject", "region", "drawn_ppb", "measured_ppb")


def targets(pilot: pd.DataFrame) -> pd.DataFrame:
    """Distribution of the true nuclei, with the line that was fitted to each.

    Args:
        pilot: ``PILOT_COLUMNS``: what each nucleus of each head was drawn with, and what the
            reference measured; three heads or more.

    Returns:
        Columns region, mean_ppb, sd_ppb and r_age of the true nuclei; slope, offset_ppb and
        residual_sd_ppb of the line.

    Raises:
        InputError: heads that lie off the line by more than people differ.
    """
    rows = []
    for region, known in PUBLISHED.items():
        own = pilot[pilot["region"] == region]
        slope, offset_ppb = np.polyfit(own["drawn_ppb"], own["measured_ppb"], 1)
        residuals_ppb = own["measured_ppb"] - slope * own["drawn_ppb"] - offset_ppb
        residual_sd_ppb = np.sqrt((residuals_ppb**2).sum() / (len(own) - 2))
        sd_ppb = PPB_PER_PPM * known.sd_ppm
        if residual_sd_ppb >= sd_ppb:
            raise InputError(
                f"pilot: {region}: expected heads within the published SD of {sd_ppb:.1f} ppb of "
                f"their line, found an SD of {residual_sd_ppb:.1f}"
            )
        person_sd_ppb = np.sqrt(sd_ppb**2 - residual_sd_ppb**2)
        rows.append(
            {
                "region": region,
                "mean_ppb": (PPB_PER_PPM * known.mean_ppm - offset_ppb) / slope,
                "sd_ppb": person_sd_ppb / slope,
                # What lies off the line thins out what age explains of the measured values.
                "r_age": known.age_correlation * sd_ppb / person_sd_ppb,
                "slope": slope,
                "offset_ppb": offset_ppb,
                "residual_sd_ppb": residual_sd_ppb,
            }
        )
    return pd.DataFrame(rows).round(4)


def main() -> None:
    """Write the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("pilot", type=Path, help="pilot.tsv of virtual_cohort.py")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    found = targets(read_table(options.pilot, columns=PILOT_COLUMNS, text=("subject",)))
    write_table(options.out, found)
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
