"""``accelqsm import``: convert DICOM to a BIDS data set."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.commands.common import say
from accelqsm.errors import InputError

if TYPE_CHECKING:
    from accelqsm.files.dicom.header.records import DicomFile
    from accelqsm.files.dicom.plan import Plan, PlannedScan
    from accelqsm.files.dicom.scans import Scan

NAME = "import"
HELP = "DICOM of multi-echo gradient echoes and T1w images to a BIDS data set"
EXAMPLE = """accelqsm import dicom bids --dry-run
accelqsm import dicom bids --subject 01 --session 1"""
HEADING = ("series", "protocol", "contrast", "echoes", "parts", "destination")
LEFT = "left: "
Row = tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of source folder, data set and labels."""
    parser.add_argument(
        "dicom", type=Path, metavar="DICOM_DIR", help="folder with DICOM files, at any depth"
    )
    parser.add_argument(
        "bids", type=Path, metavar="BIDS_DIR", help="BIDS data set, begun or added to"
    )
    parser.add_argument(
        "--subject",
        default="",
        metavar="LABEL",
        help="letters and digits; by default those of the PatientID",
    )
    parser.add_argument(
        "--session",
        default="",
        metavar="LABEL",
        help="letters and digits; by default none, or numbers where a patient has several studies",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="show what becomes of each series; write nothing"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace scans that are there already"
    )


def run(options: argparse.Namespace) -> None:
    """Plan the import, print the plan, and import."""
    from accelqsm.files.dicom.dataset import TABLE, import_scans
    from accelqsm.files.dicom.plan import plan_import
    from accelqsm.results.folder import added_files

    plan = plan_import(
        options.dicom, subject=options.subject, session=options.session, without=options.bids
    )
    if options.dry_run:
        print_table(_rows(plan, plan.scans, plan.left))
        return
    with added_files(options.bids, last=TABLE) as (new, replaced):
        done = import_scans(plan, options.bids, new, overwrite=options.overwrite)
        replaced.extend(done.replaced)
    imported, failed = done.scans, done.failed
    print_table(_rows(plan, imported, [*failed, *plan.left]))
    if not imported:
        raise InputError(
            f"{options.dicom}: expected a multi-echo gradient echo with magnitude and phase, or a "
            "T1w image, found none (the table gives the reason for each series)"
        )
    for folder in dict.fromkeys(planned.folder for planned in imported):
        here = [planned.stem for planned in imported if planned.folder == folder]
        say(options.bids / folder, f"{len(here)} scan(s): {', '.join(here)}")
    if failed:
        raise InputError(
            f"{options.dicom}: expected all {len(imported) + len(failed)} scans to be converted, "
            f"found {len(failed)} that failed: {failed[0].problem}"
        )


def print_table(rows: Sequence[Row]) -> None:
    """Print rows under the heading, columns aligned."""
    widths = [max(len(row[n]) for row in (HEADING, *rows)) for n in range(len(HEADING) - 1)]
    for row in (HEADING, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=True)]
        print("  ".join([*cells, row[-1]]).rstrip())


def _rows(plan: Plan, imported: Iterable[PlannedScan], left: Iterable[Scan]) -> list[Row]:
    rows = [
        row
        for planned in imported
        for row in _of_scan(planned.scan, str(planned.folder / planned.stem))
    ]
    rows += [row for scan in left for row in _of_scan(scan, f"{LEFT}{scan.problem}")]
    return sorted(rows, key=lambda row: int(row[0] or -1)) + _unread(plan.unread)


def _of_scan(scan: Scan, where: str) -> list[Row]:
    """A row for each series of a scan."""
    rows: list[Row] = []
    for series in scan.series:
        number = "" if series.header.number < 0 else str(series.header.number)
        times = " ".join(f"{1000 * time:.4g}" for time in series.echo_times_s if time)
        echoes = f"{len(series.echo_times_s)} ({times} ms)" if times else ""
        parts = ", ".join([*series.parts, *series.others])
        contrast = scan.contrast or "other"
        rows.append((number, series.header.protocol, contrast, echoes, parts, where))
    return rows


def _unread(files: Iterable[DicomFile]) -> list[Row]:
    """A row for each kind of files without an MR image."""
    kinds: dict[str, list[DicomFile]] = {}
    for file in files:
        kinds.setdefault(file.problem, []).append(file)
    rows: list[Row] = []
    for problem, some in kinds.items():
        name = some[0].path.name if len(some) == 1 else f"{some[0].path.name} and {len(some) - 1}"
        more = "" if len(some) == 1 else " more"
        rows.append(("", f"{name}{more}", "", "", "", f"{LEFT}{problem}"))
    return rows
