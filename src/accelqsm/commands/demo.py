"""The study in small, on one digital head: simulate, map, measure, compare, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.similarity import similarity_figures
from accelqsm.commands.scan import map_scan
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import write_described_table, write_table
from accelqsm.pipeline.comparison import CompareOptions, compare_values
from accelqsm.pipeline.labels import nuclei_table
from accelqsm.reports.comparison import rebuild_report
from accelqsm.reports.pictures import TRUTH
from accelqsm.reports.study import SIMILARITY, finding_lines
from accelqsm.results.maps import CHIMAP, MASK, map_folder
from accelqsm.runtime.progress import step
from accelqsm.virtual.protocols import PROTOCOLS
from accelqsm.virtual.scans import LOOKUP_NAME, ScanFiles, simulate_study

DEMO_PROTOCOLS = ("pi", "af3", "af4", "af5")
REFERENCE = PROTOCOLS["pi"].label


def run_demo(out: Path, *, seed: int = 11) -> Path:
    """Repeat the study on one digital head and write everything under ``out``.

    ``scans/`` holds raw data with truth, ``maps/`` the susceptibility of every protocol,
    ``values.tsv`` the nuclei, ``agreement/`` and ``accuracy/`` the comparisons with parallel
    imaging and with the true susceptibility, ``similarity.tsv`` the likeness of the maps.

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
            )
    with step("Nuclei, and their agreement with PI and with the truth"):
        nuclei = measure_scans(out, scans)
        compare_nuclei(out, nuclei)
        compare_maps(out, scans)
    with step("Report"):
        report = rebuild_report(out)
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


def compare_maps(out: Path, scans: Sequence[ScanFiles]) -> None:
    """How like each map is to that of parallel imaging, as ``similarity.tsv``."""
    folders = {
        PROTOCOLS[scan.protocol].label: map_folder(out, scan.subject, scan.protocol)
        for scan in scans
    }
    masks = [read_volume(folder / MASK).values > 0 for folder in folders.values()]
    shared = np.logical_and.reduce(masks)
    reference = read_volume(folders[REFERENCE] / CHIMAP).values
    tables = []
    for label, folder in folders.items():
        if label != REFERENCE:
            figures = similarity_figures(read_volume(folder / CHIMAP).values, reference, shared)
            figures.insert(0, "protocol", label)
            tables.append(figures)
    frame = pd.concat(tables, ignore_index=True)
    write_described_table(out / SIMILARITY, frame, column_dictionary(map(str, frame)))
