"""``accelqsm demo``: the study in small, on one digital head."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.commands.common import add_out

if TYPE_CHECKING:
    import pandas as pd

    from accelqsm.results.study import ScanFiles

NAME = "demo"
HELP = "simulate, reconstruct, map, measure, compare, report, on one digital head"
EXAMPLE = "accelqsm demo demo"

PROTOCOLS = ("pi", "af3", "af4", "af5")
REFERENCE = "PI"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which head, and where everything goes."""
    add_out(
        parser,
        "folder for everything (default demo); an earlier demo there is replaced",
        default=Path("demo"),
    )
    parser.add_argument(
        "--seed", type=int, default=11, metavar="S", help="of the digital head (default 11)"
    )


def run(options: argparse.Namespace) -> None:
    """Run the demo and say where its report is."""
    from accelqsm.results.folder import folder_in_place

    with folder_in_place(options.out, NAME, overwrite=options.overwrite):
        print(run_demo(options.out, seed=options.seed))


def run_demo(out: Path, *, seed: int) -> Path:
    """Repeat the study on one digital head and write everything under ``out``.

    ``scans/`` holds raw data with truth, ``maps/`` the susceptibility of every protocol,
    ``values.tsv`` the nuclei, ``agreement/`` and ``accuracy/`` the comparisons with parallel
    imaging and with the true susceptibility, ``similarity.tsv`` that of the maps.

    Returns:
        The report, an HTML file that opens offline.
    """
    from accelqsm.reports.content.study import finding_lines
    from accelqsm.reports.rebuild import rebuild_report
    from accelqsm.runtime.progress import step
    from accelqsm.virtual.scans import simulate_study

    print("accelqsm demo: one digital head, scanned and mapped four ways", flush=True)
    with step("Scanning: parallel imaging AF 2, Poisson disk AF 3, 4, 5"):
        scans = simulate_study(
            out / "scans", n_subjects=1, seed=seed, preset="demo", protocols=PROTOCOLS
        )
    for scan in scans:
        map_scan(out, scan)
    with step("Nuclei, and their agreement with PI and with the truth"):
        compare_nuclei(out, measure_scans(out, scans))
        compare_maps(out, scans)
    with step("Report"):
        report = rebuild_report(out)
    for line in finding_lines(out):
        print(line, flush=True)
    return report


def map_scan(out: Path, scan: ScanFiles) -> None:
    """Map one scan with the reconstruction that belongs to its protocol."""
    from dataclasses import replace

    from accelqsm.api.images import map_susceptibility, read_mrd
    from accelqsm.reports.boilerplate import write_methods
    from accelqsm.results.study import map_folder
    from accelqsm.runtime.progress import step
    from accelqsm.virtual.protocols import PROTOCOLS as KNOWN

    protocol = KNOWN[scan.protocol]
    folder = map_folder(out, scan.subject, scan.protocol)
    with step(f"{protocol.label}: k-space to susceptibility with {protocol.method}"):
        maps = map_susceptibility(read_mrd(scan.raw), protocol.method)
        replace(maps, source={"scan": str(scan.raw), **maps.source}).write(folder)
        write_methods(folder)


def measure_scans(out: Path, scans: Sequence[ScanFiles]) -> pd.DataFrame:
    """Nuclei of every map and of the truth (inside the mask of its map), as ``nuclei.tsv``."""
    import pandas as pd

    from accelqsm.api.nuclei import mapped_head, measure_nuclei
    from accelqsm.files.tables import write_table
    from accelqsm.nuclei.settings import MeasureSettings
    from accelqsm.results.maps import CHIMAP, MASK
    from accelqsm.results.nuclei import write_nuclei
    from accelqsm.results.study import LOOKUP_NAME, NUCLEI, SCANS, TRUTH, map_folder
    from accelqsm.virtual.protocols import PROTOCOLS as KNOWN

    settings = MeasureSettings(reference="none")
    tables = []
    for scan in scans:
        folder, label = map_folder(out, scan.subject, scan.protocol), KNOWN[scan.protocol].label
        sources = {label: folder / CHIMAP}
        if label == REFERENCE:
            sources[TRUTH] = scan.truth
        for name, chimap in sources.items():
            table = measure_nuclei(
                mapped_head(chimap, mask=folder / MASK),
                labels=scan.labels,
                lookup=out / SCANS / LOOKUP_NAME,
                settings=settings,
            )
            write_nuclei(folder / f"nuclei{'-truth' if name == TRUTH else ''}.tsv", table)
            table.insert(0, "protocol", name)
            table.insert(0, "subject", scan.subject)
            tables.append(table)
    nuclei = pd.concat(tables, ignore_index=True)
    write_table(out / NUCLEI, nuclei)
    return nuclei


def compare_nuclei(out: Path, nuclei: pd.DataFrame) -> None:
    """Each nucleus and side against parallel imaging, and against the truth."""
    from accelqsm.api.agreement import compare, values
    from accelqsm.files.tables import write_table
    from accelqsm.results.study import ACCURACY, AGREEMENT, TRUTH, VALUES, VALUES_AND_TRUTH

    scans = nuclei.groupby(["subject", "protocol"], sort=False)
    tables = {(str(subject), str(protocol)): table for (subject, protocol), table in scans}
    table = values(tables, sides=True).drop(columns="note")
    write_table(out / VALUES_AND_TRUTH, table)
    write_table(out / VALUES, table[table["protocol"] != TRUTH])
    compare(out / VALUES, reference=REFERENCE).write(out / AGREEMENT)
    compare(out / VALUES_AND_TRUTH, reference=TRUTH).write(out / ACCURACY)


def compare_maps(out: Path, scans: Sequence[ScanFiles]) -> None:
    """How similar each map is to that of parallel imaging, as ``similarity.tsv``."""
    import numpy as np
    import pandas as pd

    from accelqsm.agreement.columns import column_dictionary
    from accelqsm.agreement.similarity import similarity_figures
    from accelqsm.files.nifti import read_volume
    from accelqsm.files.tables import write_described_table
    from accelqsm.results.maps import CHIMAP, MASK
    from accelqsm.results.study import SIMILARITY, map_folder
    from accelqsm.virtual.protocols import PROTOCOLS as KNOWN

    folders = {KNOWN[s.protocol].label: map_folder(out, s.subject, s.protocol) for s in scans}
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
