"""The study in small, on one digital head: simulate, map, measure, compare, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from accelqsm.files.tables import write_table
from accelqsm.progress import step
from accelqsm.study.compare import CompareOptions, compare_values
from accelqsm.study.findings import REFERENCE, TRUTH, finding_lines, write_report
from accelqsm.study.maps import CHIMAP, MASK, map_folder
from accelqsm.study.protocols import PROTOCOLS
from accelqsm.study.scan import map_scan
from accelqsm.study.tables import nuclei_table
from accelqsm.study.virtual import LOOKUP_NAME, ScanFiles, simulate_study

DEMO_PROTOCOLS = ("pi", "af3", "af4", "af5")


def run_demo(out: Path, *, seed: int = 11) -> Path:
    """Repeat the study on one digital head and write everything under ``out``.

    ``scans/`` holds raw data with truth, ``maps/`` the susceptibility of every protocol,
    ``values.tsv`` the nuclei, ``agreement/`` and ``accuracy/`` the comparisons with parallel
    imaging and with the true susceptibility.

    Returns:
        The report, an HTML file that opens offline.
    """
    print("accelqsm demo: one digital head, scanned and mapped four ways", flush=True)
    with step("Scanning: parallel imaging AF 2, Poisson disk AF 3, 4, 5"):
        scans = simulate_study(
            out / "scans", n_subjects=1, seed=seed, preset="demo", protocols=DEMO_PROTOCOLS
        )
    for scan in scans:
        protocol = PROTOCOLS[scan.protocol]
        with step(f"{protocol.label}: k-space to susceptibility with {protocol.method}"):
            map_scan(
                scan.raw,
                map_folder(out, scan.subject, scan.protocol),
                method=protocol.method,
                consistency="channels",
            )
    with step("Nuclei, and their agreement with PI and with the truth"):
        nuclei = measure_scans(out, scans)
        compare_nuclei(out, nuclei)
    with step("Report"):
        report = write_report(out, scans, seed=seed)
    for line in finding_lines(out):
        print(line, flush=True)
    return report


def measure_scans(out: Path, scans: Sequence[ScanFiles]) -> pd.DataFrame:
    """Nuclei of every map and of the truth (inside the mask of its map), as ``nuclei.tsv``."""
    lookup = out / "scans" / LOOKUP_NAME
    tables = []
    for scan in scans:
        folder = map_folder(out, scan.subject, scan.protocol)
        sources = {PROTOCOLS[scan.protocol].label: folder / CHIMAP}
        if PROTOCOLS[scan.protocol].label == REFERENCE:
            sources[TRUTH] = scan.truth
        for label, chimap in sources.items():
            name = folder / ("nuclei.tsv" if label != TRUTH else "nuclei-truth.tsv")
            table = nuclei_table(
                chimap, name, labels=scan.labels, lookup=lookup, mask=folder / MASK
            )
            table.insert(0, "protocol", label)
            table.insert(0, "subject", scan.subject)
            tables.append(table)
    nuclei = pd.concat(tables, ignore_index=True)
    write_table(out / "nuclei.tsv", nuclei)
    return nuclei


def compare_nuclei(out: Path, nuclei: pd.DataFrame) -> None:
    """Each nucleus and side against parallel imaging, and against the truth."""
    sides = nuclei[nuclei["side"].isin(["L", "R"])]
    values = pd.DataFrame(
        {
            "subject": sides["subject"],
            "protocol": sides["protocol"],
            "region": sides["side"] + " " + sides["region"],
            "value_ppb": sides["mean_ppb"],
        }
    )
    write_table(out / "values-truth.tsv", values)
    write_table(out / "values.tsv", values[values["protocol"] != TRUTH])
    compare_values(out / "values.tsv", out / "agreement", CompareOptions(REFERENCE))
    compare_values(out / "values-truth.tsv", out / "accuracy", CompareOptions(TRUTH))
