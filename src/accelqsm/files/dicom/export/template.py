"""Template series of an export: patient, study and frame of reference."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accelqsm.errors import InputError
from accelqsm.files.dicom.header.reader import find_files, read_file
from accelqsm.files.dicom.header.records import DicomFile
from accelqsm.files.dicom.header.values import first_item, numbers, text, words
from accelqsm.grid import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

COPIED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "PatientSize"),
    *("PatientWeight", "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber"),
    *("ReferringPhysicianName", "StudyDescription", "Manufacturer", "ManufacturerModelName"),
    *("InstitutionName", "StationName", "DeviceSerialNumber", "SoftwareVersions"),
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition"),
    *("MagneticFieldStrength", "ImagingFrequency", "ImagedNucleus", "ProtocolName"),
    "BodyPartExamined",
)
"""Elements of patient, study, equipment, place and sequence."""
DATES = re.compile(r"\d{8}")
TIMES = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
LONGEST = {"LO": 64, "SH": 16}
AGES = re.compile(r"\d{3}[DWMY]")


@dataclass(frozen=True)
class Template:
    """The DICOM series that a map is derived from.

    Attributes:
        elements: data set with patient, study, equipment and frame of reference.
        series: number of the series.
        orientation: row and column direction (LPS).
        instances: SOP class and instance UID of each slice, by its position (LPS, mm).
        corners_mm: 3 x 2, lowest and highest of the slices' corners (LPS, mm).
    """

    elements: Dataset
    series: int
    orientation: tuple[float, ...]
    instances: tuple[tuple[tuple[float, ...], str, str], ...]
    corners_mm: np.ndarray


def read_template(folder: Path, grid: Grid) -> Template:
    """Find the template series of a map in a folder: the one with most images at its position.

    Raises:
        InputError: no MR images with a position, several patients or studies, or none where the
            map is.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of DICOM files, found none")
    files = [file for file in map(read_file, find_files(folder)) if file is not None]
    usable = [file for file in files if _is_usable(file)]
    if not usable:
        raise InputError(
            f"{folder}: expected MR images with position and orientation, found none among "
            f"{len(files)} files"
        )
    for what, keys in (
        ("study", {file.header.study for file in usable if file.header}),
        ("patient", {file.header.patient_id for file in usable if file.header}),
    ):
        if len(keys) > 1:
            raise InputError(
                f"{folder}: expected images of one {what}, found {len(keys)}: "
                f"{', '.join(sorted(keys))}"
            )
    counts = Counter(file.header.series for file in usable if file.header)
    centre = np.diag([-1, -1, 1]) @ (grid.matrix @ [*((n - 1) / 2 for n in grid.shape), 1])[:3]
    for series, _ in counts.most_common():
        template = _template(
            [file for file in usable if file.header and file.header.series == series]
        )
        low, high = template.corners_mm
        if (low <= centre).all() and (centre <= high).all():
            return template
    raise InputError(
        f"{folder}: expected images around the middle of the map "
        f"({' '.join(f'{x:.0f}' for x in centre)} mm, LPS), found none: another head, or another "
        "position?"
    )


def _is_usable(file: DicomFile) -> bool:
    return file.header is not None and bool(file.frames) and _placed(file)


def _placed(file: DicomFile) -> bool:
    return all(frame.position and frame.orientation for frame in file.frames)


def _template(files: Sequence[DicomFile]) -> Template:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = pydicom.dcmread(files[0].path, stop_before_pixels=True, force=True)
        elements = _elements(first)
    orientation = files[0].frames[0].orientation or ()
    spacing = _spacing(first)
    header = files[0].header
    assert header is not None
    rows, columns = header.shape
    corners = []
    for file in files:
        for frame in file.frames:
            start = np.array((frame.position or (0, 0, 0))[:3])
            row = np.array((frame.orientation or orientation)[:3]) * spacing[1] * columns
            column = np.array((frame.orientation or orientation)[3:6]) * spacing[0] * rows
            corners += [start, start + row, start + column, start + row + column]
    kind = text(first, "SOPClassUID")
    instances = tuple(
        ((frame.position or ())[:3], kind, file.instance) for file in files for frame in file.frames
    )
    bounds = np.stack([np.min(corners, 0), np.max(corners, 0)])
    return Template(elements, header.number, tuple(orientation[:6]), instances, bounds)


def _spacing(dataset: Dataset) -> tuple[float, float]:
    """Spacing of rows and columns in mm."""
    found = numbers(dataset, "PixelSpacing", 2)
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        group = first_item(dataset, groups)
        measures = None if group is None else first_item(group, "PixelMeasuresSequence")
        if found is None and measures is not None:
            found = numbers(measures, "PixelSpacing", 2)
    return (found[0], found[1]) if found else (1.0, 1.0)


def _elements(source: Dataset) -> Dataset:
    """Valid elements of patient, study, equipment and frame of reference."""
    from pydicom import Dataset

    elements = Dataset()
    character_set = source.get("SpecificCharacterSet")
    if character_set:
        elements.SpecificCharacterSet = character_set
    for keyword in COPIED:
        value = _valid(source, keyword)
        if value is not None:
            setattr(elements, keyword, value)
    return elements


def _valid(source: Dataset, keyword: str) -> Any:
    """Value of an element, or None if missing, empty or malformed."""
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR
    from pydicom.valuerep import validate_value

    try:
        value = source.get(keyword)
    except Exception:  # what pydicom raises on a malformed element depends on its representation
        return None
    if value is None or value == "":
        return None
    representation = dictionary_VR(_tag(keyword))
    pattern = {"DA": DATES, "TM": TIMES, "AS": AGES}.get(representation)
    if pattern is not None:
        return value if pattern.fullmatch(str(value)) else None
    if keyword == "PatientSex" and words(source, keyword)[0] not in ("M", "F", "O"):
        return None
    if representation == "DS":
        return value if numbers(source, keyword) else None
    if representation in LONGEST and isinstance(value, str):
        return value[: LONGEST[representation]]
    try:
        validate_value(representation, value, RAISE)
    except ValueError:
        return None
    return value


def _tag(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(keyword) or 0
