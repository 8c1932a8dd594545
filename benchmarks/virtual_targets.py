"""True nuclei of a virtual cohort whose measured ones are to be those of the published study.

A pilot of other heads tells how the measured mean of a nucleus follows the true one under parallel
imaging: measured = a true + b. Means and SDs that the study published are put through the inverse
of that line; what scanning again adds to the SD is taken out first. The table that comes out is
for ``accelqsm simulate --nuclei``: the simulation itself knows nothing of a reconstruction.

Usage: python benchmarks/virtual_targets.py OUT.tsv [--values VALUES.tsv] [--rescan-sd-ppb SD]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.files.tables import read_table, write_table
from accelqsm.results.study import TRUTH
from accelqsm.simulate.cohort import PUBLISHED
from accelqsm.units import PPB_PER_PPM
from accelqsm.virtual.measured import measured_heads

REFERENCE = "PI"


def targets(values: pd.DataFrame, rescan_sd_ppb: float) -> pd.DataFrame:
    """Distribution of the true nuclei, with the line that was fitted to each.

    Args:
        values: columns subject, protocol (the reference and the truth among them), region and
            value_ppb, of the pilot.
        rescan_sd_ppb: SD between scans of one person under the reference.
    """
    wide = values.pivot(index=["region", "subject"], columns="protocol", values="value_ppb")
    rows = []
    for region, known in PUBLISHED.items():
        pair = wide.loc[region][[TRUTH, REFERENCE]].dropna()
        slope, offset_ppb = np.polyfit(pair[TRUTH], pair[REFERENCE], 1)
        sd_ppb = PPB_PER_PPM * known.sd_ppm
        person_sd_ppb = np.sqrt(max(sd_ppb**2 - rescan_sd_ppb**2, 0))
        rows.append(
            {
                "region": region,
                "mean_ppb": (PPB_PER_PPM * known.mean_ppm - offset_ppb) / slope,
                "sd_ppb": person_sd_ppb / slope,
                # Noise of single scans thins out what age explains of the measured values.
                "r_age": known.age_correlation * sd_ppb / person_sd_ppb,
                "slope": slope,
                "offset_ppb": offset_ppb,
            }
        )
    return pd.DataFrame(rows).round(4)


def main() -> None:
    """Write the table, and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("--values", type=Path, help="of a pilot; by default the package's heads")
    parser.add_argument("--rescan-sd-ppb", type=float, default=0.0)
    options = parser.parse_args()
    values = measured_heads().values if options.values is None else read_table(options.values)
    found = targets(values, options.rescan_sd_ppb)
    write_table(options.out, found)
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
