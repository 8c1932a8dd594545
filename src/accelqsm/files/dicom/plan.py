"""Import plan: BIDS names of scans, and reasons why others are not imported."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.dicom.header.parts import PARTS
from accelqsm.files.dicom.header.reader import find_files, read_file
from accelqsm.files.dicom.header.records import DicomFile
from accelqsm.files.dicom.scans import Scan, group_scans
from accelqsm.files.dicom.series import Stack, group_series
from accelqsm.runtime.progress import track

LONGEST_LABEL = 40


@dataclass(frozen=True)
class PlannedScan:
    """A scan and its name.

    Attributes:
        scan: what is imported.
        subject, session: labels; no session is empty.
        stem: the name of its files without echo, part and suffix, such as "sub-01_acq-gre".
    """

    scan: Scan
    subject: str
    session: str
    stem: str

    @property
    def folder(self) -> Path:
        """Folder within the data set."""
        session = [f"ses-{self.session}"] if self.session else []
        return Path(f"sub-{self.subject}", *session, "anat")

    def images(self) -> list[tuple[str, int, Stack]]:
        """Name of each image without ending, the number of its echo, and its slices."""
        if self.scan.contrast == "T1w":
            return [(f"{self.stem}_T1w", 0, stack) for stack in self.scan.stacks.values()]
        times = self.scan.echo_times_s
        return [
            (f"{self.stem}_echo-{echo}_part-{part}_MEGRE", echo, self.scan.stacks[part, time])
            for echo, time in enumerate(times, start=1)
            for part in PARTS
            if (part, time) in self.scan.stacks
        ]


@dataclass(frozen=True)
class Plan:
    """Plan of an import.

    Attributes:
        source: the folder of DICOM files.
        scans: that are imported.
        left: scans that are not, each with its problem.
        unread: files without an MR image, each with its problem.
    """

    source: Path
    scans: tuple[PlannedScan, ...]
    left: tuple[Scan, ...]
    unread: tuple[DicomFile, ...]


def plan_import(
    source: Path, *, subject: str = "", session: str = "", without: Path | None = None
) -> Plan:
    """Read all headers of a folder and plan its import.

    Args:
        source: folder with DICOM files, at any depth.
        subject, session: labels, with or without "sub-" and "ses-"; by default the PatientID,
            and numbers where a patient has several studies.
        without: a folder within ``source`` that is not looked into.

    Raises:
        InputError: no folder, no files, labels that are not letters and digits, or patients or
            studies that would share a label.
    """
    if not source.is_dir():
        raise InputError(f"{source}: expected a folder of DICOM files, found none")
    labels = _label("--subject", subject, "sub-"), _label("--session", session, "ses-")
    paths = list(find_files(source, None if without is None else without.resolve()))
    read = (read_file(path) for path in track(paths, "headers", len(paths)))
    files = [file for file in read if file is not None]
    if not files:
        raise InputError(f"{source}: expected DICOM files, found none")
    scans = group_scans(group_series(files))
    wanted = [scan for scan in scans if not scan.problem]
    known = {one.header.series for scan in scans for one in scan.series}
    unread = [file for file in files if file.header is None or file.header.series not in known]
    named = _named(source, wanted, *labels)
    return Plan(source, named, tuple(scan for scan in scans if scan.problem), tuple(unread))


def _label(option: str, label: str, prefix: str) -> str:
    given = label.removeprefix(prefix)
    if given and not re.fullmatch(r"[0-9A-Za-z]+", given):
        raise InputError(f"{option}: expected letters and digits, found '{label}'")
    return given


def _named(
    source: Path, scans: Sequence[Scan], subject: str, session: str
) -> tuple[PlannedScan, ...]:
    """Assign labels of subject and session and unique names to scans."""
    subjects = _subjects(source, scans, subject)
    sessions = _sessions(source, scans, session)
    shared: dict[tuple[str, ...], list[Scan]] = defaultdict(list)
    for scan in sorted(scans, key=_order):
        header = scan.series[0].header
        name = (subjects[header.patient_id], sessions[header.study], *_entities(scan))
        shared[(*name, scan.contrast)].append(scan)
    planned = []
    for (sub, ses, acq, rec, _), same in shared.items():
        for run, scan in enumerate(same, start=1):
            number = str(run) if len(same) > 1 else ""
            pairs = (("sub", sub), ("ses", ses), ("acq", acq), ("rec", rec), ("run", number))
            stem = "_".join(f"{key}-{label}" for key, label in pairs if label)
            planned.append(PlannedScan(scan, sub, ses, stem))
    return tuple(planned)


def _order(scan: Scan) -> tuple[str, float, int]:
    first = scan.series[0]
    return first.header.study_time, first.acquired_s or 0.0, first.header.number


def _entities(scan: Scan) -> tuple[str, str]:
    """Labels of the acquisition and of the reconstruction."""
    protocol = re.sub(r"[^0-9A-Za-z]+", "", scan.series[0].header.protocol)[:LONGEST_LABEL]
    return protocol or "unnamed", scan.correction.lower()


def _subjects(source: Path, scans: Iterable[Scan], given: str) -> dict[str, str]:
    """Label of every patient."""
    patients = sorted({scan.series[0].header.patient_id for scan in scans})
    if given and len(patients) > 1:
        raise InputError(
            f"{source}: expected one patient for --subject {given}, found {len(patients)}: "
            f"{', '.join(patients)}"
        )
    labels = {patient: given or re.sub(r"[^0-9A-Za-z]+", "", patient) for patient in patients}
    for patient, label in labels.items():
        if not label:
            raise InputError(
                f"{source}: expected a PatientID with letters or digits, or --subject, found "
                f"'{patient}'"
            )
        same = [other for other in patients if labels[other].lower() == label.lower()]
        if len(same) > 1:
            raise InputError(
                f"{source}: expected patients with different labels, found {', '.join(same)}, all "
                f"sub-{label} (import one at a time with --subject)"
            )
    return labels


def _sessions(source: Path, scans: Iterable[Scan], given: str) -> dict[str, str]:
    """Label of every study: as given, else a number where a patient has several."""
    studies: dict[str, dict[str, str]] = defaultdict(dict)
    for scan in scans:
        header = scan.series[0].header
        studies[header.patient_id][header.study] = header.study_time
    labels: dict[str, str] = {}
    for patient, times in studies.items():
        if given and len(times) > 1:
            raise InputError(
                f"{source}: expected one study for --session {given}, found {len(times)} of "
                f"patient {patient}"
            )
        ordered = sorted(times, key=lambda study: (times[study], study))
        several = len(ordered) > 1
        for count, study in enumerate(ordered, start=1):
            labels[study] = given or (str(count) if several else "")
    return labels
