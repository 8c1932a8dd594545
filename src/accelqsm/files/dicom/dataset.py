"""Conversion of scans to the files that are to be added to a BIDS data set."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelqsm import __version__
from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.dicom.convert import convert_stacks
from accelqsm.files.dicom.plan import Plan, PlannedScan
from accelqsm.files.dicom.scans import Scan
from accelqsm.files.dicom.sidecars import complete_sidecar, polar_images
from accelqsm.files.text.json_object import read_json_object
from accelqsm.runtime.progress import track
from accelqsm.runtime.reading import LARGEST_TABLE_BYTES, read_bytes

BIDS_VERSION = "1.11.1"
DESCRIPTION = "dataset_description.json"
TABLE = "participants.tsv"
"""Which every import writes; where it is, the import is whole."""

PARTICIPANTS = {
    "participant_id": {"Description": "subject label, as in the names of folders and files"},
    "age": {"Description": "age at the examination", "Units": "year"},
    "sex": {
        "Description": "sex, as recorded at the scanner",
        "Levels": {"F": "female", "M": "male", "O": "other"},
    },
}
OLDEST = 89
"""Ages above it identify people, and are written as this."""


@dataclass(frozen=True)
class Imported:
    """Scans that were converted into a folder, to be added to a data set.

    Attributes:
        scans: that were converted.
        failed: those that could not be, each with its problem.
        replaced: files of the data set whose places they take.
    """

    scans: list[PlannedScan]
    failed: list[Scan]
    replaced: list[Path]


def import_scans(plan: Plan, root: Path, new: Path, *, overwrite: bool = False) -> Imported:
    """Convert the scans of an import plan to what is to be added to a BIDS data set.

    Args:
        plan: of the import.
        root: the data set, which is read and not written.
        new: folder for the new files, laid out as the data set; scans that fail leave nothing.
        overwrite: scans that are there already may be replaced.

    Raises:
        InputError: scans that are there already, from the same or another study.
    """
    for planned in plan.scans:
        _check_free(planned, root, overwrite=overwrite)
    done = Imported([], [], [])
    for planned in track(plan.scans, "scans", len(plan.scans)):
        try:
            _convert(planned, new)
        except InputError as error:
            planned.scan.problem = str(error)
            done.failed.append(planned.scan)
        else:
            done.scans.append(planned)
            done.replaced.extend(_files_of(planned, root / planned.folder))
    if done.scans:
        _describe(root, new)
        done.replaced.extend(_add_participants(root, new, done.scans))
    return done


def _check_free(planned: PlannedScan, root: Path, *, overwrite: bool) -> None:
    """Check that the name of a scan is free and its folder is of the same study."""
    folder = root / planned.folder
    study = study_code(planned)
    for path in sorted(folder.glob("*.json")):
        try:
            found = read_json_object(path).get("SourceStudy", study)
        except InputError:
            continue
        if found != study:
            raise InputError(
                f"{folder}: expected images of the same study, found {path.name} of another "
                "(--subject or --session tells them apart)"
            )
    taken = _files_of(planned, folder)
    if taken and not overwrite:
        raise InputError(
            f"{taken[0]}: exists already (--overwrite replaces the scan, --session keeps both)"
        )


def study_code(planned: PlannedScan) -> str:
    """Short pseudonymous code of a study."""
    return study_hash(planned.scan.series[0].header.study)


def study_hash(study: str) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a study's UID."""
    import hashlib

    return hashlib.sha256(study.encode()).hexdigest()[:16]


def _files_of(planned: PlannedScan, folder: Path) -> list[Path]:
    """Files in a folder that belong to a scan."""
    ending = "_T1w" if planned.scan.contrast == "T1w" else r"_echo-\d+(_part-[a-z]+)?_MEGRE"
    name = re.compile(rf"{re.escape(planned.stem)}{ending}\.(nii(\.gz)?|json)")
    return sorted(path for path in folder.glob("*") if name.fullmatch(path.name))


def _convert(planned: PlannedScan, new: Path) -> None:
    """Write images and sidecars of a scan, all or none."""
    images = planned.images()
    with tempfile.TemporaryDirectory(prefix="stacks-", dir=new) as work:
        made = convert_stacks([stack for _, _, stack in images], Path(work))
        folder = Path(work) / planned.stem
        folder.mkdir()
        header = planned.scan.series[0].header
        for (name, echo, stack), converted in zip(images, made, strict=True):
            image = folder / f"{name}.nii.gz"
            shutil.move(converted.image, image)
            fields = complete_sidecar(converted.fields, stack, header, echo=echo, image=image)
            fields["SourceStudy"] = study_code(planned)
            _write_json(folder / f"{name}.json", fields)
        if "phase" not in {stack.part for _, _, stack in images} and planned.scan.contrast != "T1w":
            polar_images(folder, [name for name, _, _ in images])
        target = new / planned.folder
        target.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            path.replace(target / path.name)


def _describe(root: Path, new: Path) -> None:
    """Write ``dataset_description.json`` if there is none."""
    if (root / DESCRIPTION).exists():
        return
    generators = [{"Name": "accelqsm", "Version": __version__}, {"Name": "dcm2niix"}]
    fields = {"Name": root.resolve().name, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw"}
    _write_json(new / DESCRIPTION, fields | {"GeneratedBy": generators})


def _add_participants(root: Path, new: Path, imported: Sequence[PlannedScan]) -> list[Path]:
    """Write ``participants.tsv`` with more subjects, its columns kept; the files it replaces."""
    path = root / TABLE
    columns, rows = list(PARTICIPANTS), []
    if path.is_file():
        lines = read_bytes(path, LARGEST_TABLE_BYTES).decode("utf-8-sig").splitlines()
        columns = lines[0].split("\t") if lines else columns
        rows = [line.split("\t") for line in lines[1:] if line.strip()]
    known = {row[0] for row in rows}
    for planned in imported:
        name = f"sub-{planned.subject}"
        if name in known:
            continue
        known.add(name)
        header = planned.scan.series[0].header
        sex = header.sex if header.sex in ("F", "M", "O") else "n/a"
        values = {"participant_id": name, "age": _age_years(header.age), "sex": sex}
        rows.append([values.get(column, "n/a") for column in columns])
    write_text(new / TABLE, "".join("\t".join(row) + "\n" for row in (columns, *rows)))
    if not path.with_suffix(".json").exists():
        _write_json((new / TABLE).with_suffix(".json"), PARTICIPANTS)
    return [path] if path.exists() else []


def _age_years(age: str) -> str:
    """Age in years from a DICOM age string, such as 021Y or 018M."""
    found = re.fullmatch(r"(\d{3})([DWMY])", age)
    if not found:
        return "n/a"
    years = int(found[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[found[2]]
    return f"{min(years, OLDEST):.3g}"


def _write_json(path: Path, fields: dict[str, Any]) -> None:
    write_text(path, json.dumps(fields, indent=2, ensure_ascii=False) + "\n")
