"""Demonstration of the whole study: one digital head, beside heads measured beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.settings import CompareSettings
from accelqsm.agreement.similarity import similarity_figures
from accelqsm.api.agreement import compare, values
from accelqsm.api.images import map_susceptibility, read_mrd
from accelqsm.api.nuclei import mapped_head, measure_nuclei
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import write_described_table, write_table
from accelqsm.files.toml import write_settings
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.reports.boilerplate import write_methods
from accelqsm.reports.rebuild import write_report
from accelqsm.results.maps import CHI_SD, CHIMAP, MASK
from accelqsm.results.nuclei import write_nuclei
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS
from accelqsm.results.study import (
    ACCURACY,
    AGREEMENT,
    BEFOREHAND,
    LOOKUP_NAME,
    NUCLEI,
    SCANS,
    SIMILARITY,
    TRUTH,
    VALUES,
    VALUES_AND_TRUTH,
    ScanFiles,
    map_folder,
)
from accelqsm.runtime.progress import step
from accelqsm.simulate.cohort import Cohort
from accelqsm.virtual.measured import measured_heads
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.scans import simulate_study

DEMO_PRESET = "demo"
DEMO_PROTOCOLS = ("pi", "af3", "af4", "af5")
REFERENCE = "PI"


def run_demo(out: Path, *, seed: int) -> Path:
    """Simulate, map and measure one digital head, and compare it and those measured beforehand.

    ``scans/`` has raw data with ground truth, ``maps/`` the susceptibility of every protocol,
    ``values.tsv`` the nuclei, ``agreement/`` and ``accuracy/`` the comparisons with parallel
    imaging and with the true susceptibility of this head and of those that come with the package,
    ``similarity.tsv`` the similarity of the maps.

    Args:
        out: output folder.
        seed: seed of the digital head.

    Returns:
        Path of the report, an HTML file that opens offline.
    """
    with step("Scanning: parallel imaging AF 2, Poisson disk AF 3, 4, 5"):
        scans = simulate_study(
            out / "scans", Cohort(1, seed), preset=DEMO_PRESET, protocols=DEMO_PROTOCOLS
        )
    for scan in scans:
        map_scan(out, scan)
    beforehand = measured_heads()
    with step("Nuclei, and their agreement with PI and with the truth"):
        own = values_of(measure_scans(out, scans))
        compare_values(out, own, beforehand.values, scan_times_s(scans))
        compare_maps(out, scans)
    record = {"command": "demo", "seed": seed, "software": software()}
    write_settings(out / SETTINGS, {**record, BEFOREHAND: dict(beforehand.record)})
    with step("Report"):
        return write_report(out)


def map_scan(out: Path, scan: ScanFiles) -> None:
    """Map one scan with the reconstruction of its protocol."""
    protocol = PROTOCOLS[scan.protocol]
    folder = map_folder(out, scan.subject, scan.protocol)
    with step(f"{protocol.label}: k-space to susceptibility with {protocol.method}"):
        maps = map_susceptibility(read_mrd(scan.raw), protocol.method)
        replace(maps, source={"scan": str(scan.raw), **maps.source}).write(folder)
        write_methods(folder)


def measure_scans(out: Path, scans: Sequence[ScanFiles]) -> pd.DataFrame:
    """Measure nuclei in every map and in the truth (within the same mask).

    Returns:
        Table of nuclei with columns subject and protocol, also written as ``nuclei.tsv``.
    """
    tables = []
    for scan in scans:
        folder = map_folder(out, scan.subject, scan.protocol)
        for name, table in measure_scan(folder, scan, out / SCANS / LOOKUP_NAME).items():
            write_nuclei(folder / f"nuclei{'-truth' if name == TRUTH else ''}.tsv", table)
            table.insert(0, "protocol", name)
            table.insert(0, "subject", scan.subject)
            tables.append(table)
    nuclei = pd.concat(tables, ignore_index=True)
    write_table(out / NUCLEI, nuclei)
    return nuclei


def measure_scan(maps: Path, scan: ScanFiles, lookup: Path) -> dict[str, pd.DataFrame]:
    """Nuclei of the map in a folder and, for the reference, of the truth within the same mask.

    Returns:
        Label of the protocol, or "truth" -> table of nuclei.
    """
    label = PROTOCOLS[scan.protocol].label
    sources: dict[str, tuple[Path, Path | None]] = {label: (maps / CHIMAP, maps / CHI_SD)}
    if label == REFERENCE:
        sources[TRUTH] = (scan.truth, None)
    return {
        name: measure_nuclei(
            mapped_head(chimap, mask=maps / MASK, chi_sd=chi_sd),
            labels=scan.labels,
            lookup=lookup,
            settings=MeasureSettings(reference="none"),
        )
        for name, (chimap, chi_sd) in sources.items()
    }


def values_of(nuclei: pd.DataFrame) -> pd.DataFrame:
    """Table of values, both sides together, of nuclei with columns subject and protocol."""
    scans = nuclei.groupby(["subject", "protocol"], sort=False)
    tables = {(str(subject), str(protocol)): table for (subject, protocol), table in scans}
    return values(tables).drop(columns="note")


def scan_times_s(scans: Sequence[ScanFiles]) -> dict[str, float]:
    """Protocol label -> duration of its scan: one repetition per sampled position."""
    repetition_time_s = PRESETS[DEMO_PRESET].repetition_time_s
    return {
        PROTOCOLS[scan.protocol].label: repetition_time_s
        * int((read_sampling(scan.raw) != 0).sum())
        for scan in scans
    }


def compare_values(
    out: Path, own: pd.DataFrame, beforehand: pd.DataFrame, times_s: Mapping[str, float]
) -> None:
    """Compare each nucleus with parallel imaging and with the truth, this head's values ringed."""
    table = pd.concat([beforehand, own], ignore_index=True)
    write_table(out / VALUES_AND_TRUTH, table)
    write_table(out / VALUES, table[table["protocol"] != TRUTH])
    new = str(own["subject"].iloc[0])
    timed = CompareSettings(reference=REFERENCE, scan_time_s=times_s, highlight=new)
    compare(out / VALUES, settings=timed).write(out / AGREEMENT)
    true = CompareSettings(reference=TRUTH, highlight=new)
    compare(out / VALUES_AND_TRUTH, settings=true).write(out / ACCURACY)


def compare_maps(out: Path, scans: Sequence[ScanFiles]) -> None:
    """Similarity of each map to that of parallel imaging, written to ``similarity.tsv``."""
    folders = {PROTOCOLS[s.protocol].label: map_folder(out, s.subject, s.protocol) for s in scans}
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
