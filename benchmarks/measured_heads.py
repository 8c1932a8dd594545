"""Make the table of heads that come with the package, from a study of simulated heads.

The study is two commands, and takes an hour on two cores:

    accelqsm simulate BIDS --subjects 12 --seed 59 --participant-label 01 02 03 04 05 06 09 10 11 12
    accelqsm workflow BIDS OUT --labels derivatives/truth --threads 1 -- --cores 2

Then this script measures the nuclei in its maps as the demo does, with those of the truth, and
writes the table and the record of how it came about.

Usage: python benchmarks/measured_heads.py BIDS OUT [FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

import accelqsm.virtual
from accelqsm.api.demo import DEMO_PROTOCOLS, measure_scan, values_of
from accelqsm.files.tables import write_table
from accelqsm.files.toml import read_settings, write_settings
from accelqsm.results.records import SETTINGS
from accelqsm.results.study import LOOKUP_NAME, TRUE, scan_files
from accelqsm.study.plan import MAP, STEPS
from accelqsm.virtual.measured import RECORD, TABLE

PREFIX = "head"
"""In place of ``sub``, which a head of the demo is called."""


def main() -> None:
    """Measure all heads of the study, and write table and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bids", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(accelqsm.virtual.__path__[0]))
    options = parser.parse_args()
    subjects = sorted(path.name for path in (options.bids / TRUE).glob("sub-*"))
    tables = [table for subject in subjects for table in _measured(options, subject)]
    write_table(options.folder / TABLE, values_of(pd.concat(tables, ignore_index=True)))
    scans = read_settings(options.bids / SETTINGS)
    first = options.out / STEPS / subjects[0] / f"acq-{DEMO_PROTOCOLS[0]}" / MAP / SETTINGS
    commands = [line.strip() for line in (__doc__ or "").splitlines() if "    accelqsm" in line]
    record = {
        "heads": len(subjects),
        "seed": scans["seed"],
        "preset": scans["preset"],
        "commands": commands,
        "software": read_settings(first)["software"],
    }
    write_settings(options.folder / RECORD, record)


def _measured(options: argparse.Namespace, subject: str) -> list[pd.DataFrame]:
    """Nuclei of a head in every map and in the truth, with columns subject and protocol."""
    tables = []
    for protocol in DEMO_PROTOCOLS:
        scan = scan_files(options.bids, subject, protocol)
        maps = options.out / STEPS / subject / f"acq-{protocol}" / MAP
        for name, table in measure_scan(maps, scan, options.bids / LOOKUP_NAME).items():
            label = subject.replace("sub", PREFIX)
            tables.append(table.assign(subject=label, protocol=name))
    return tables


if __name__ == "__main__":
    main()
