"""Reader of DICOM headers."""

from __future__ import annotations

import os
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from accelqsm.files.dicom.header.parts import part_of
from accelqsm.files.dicom.header.pixels import damage
from accelqsm.files.dicom.header.records import DicomFile, Frame, Header
from accelqsm.files.dicom.header.values import (
    first_item,
    number,
    numbers,
    seconds,
    text,
    words,
)
from accelqsm.runtime.reading import check_regular

if TYPE_CHECKING:
    from pydicom import Dataset

MR_IMAGES = {
    "1.2.840.10008.5.1.4.1.1.4": "classic",
    "1.2.840.10008.5.1.4.1.1.4.1": "enhanced",
    "1.2.840.10008.5.1.4.1.1.4.4": "enhanced",
}
DIRECTORY = "1.2.840.10008.1.3.10"
GAUSS = 1e-4
WEAKEST_GAUSS = 100.0
"""Field strengths above this are in gauss: old headers have 15000 for 1.5 T."""
GE_RAW_DATA_TYPE = 0x0043102F
PHILIPS_SLICES = 0x20011018
KEYWORDS = [
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("SeriesNumber", "SeriesDescription", "ProtocolName", "Manufacturer", "ImageType"),
    *("ComplexImageComponent", "PatientID", "PatientSex", "PatientAge", "StudyDate", "StudyTime"),
    *("AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "AcquisitionNumber"),
    *("InstanceNumber", "TemporalPositionIdentifier", "ScanningSequence", "EchoPulseSequence"),
    *("EchoPlanarPulseSequence", "InversionTime", "MRAcquisitionType", "EchoTime"),
    *("RepetitionTime", "FlipAngle", "MagneticFieldStrength", "ImagingFrequency", "Rows"),
    *("Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient"),
    *("NumberOfSlices", "BitsAllocated", "SamplesPerPixel", "FrameOfReferenceUID"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
]


def find_files(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """Sorted files in a folder and below, without those of another folder and hidden files."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and (without is None or (here / name).resolve() != without)
        )
        yield from (here / name for name in sorted(names) if not name.startswith("."))


def read_file(path: Path) -> DicomFile | None:
    """Read the header of one file; None for a DICOMDIR. Problems are recorded, not raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            check_regular(path)
            with path.open("rb") as handle:
                dataset = _dataset(handle)
                lost = damage(handle, dataset) if _kind(dataset) else ""
        except Exception as error:  # a damaged header may break pydicom anywhere
            return DicomFile(path, problem=f"not DICOM ({type(error).__name__})")
        if text(dataset.file_meta, "MediaStorageSOPClassUID") == DIRECTORY:
            return None
        kind = _kind(dataset)
        instance, header = text(dataset, "SOPInstanceUID"), _header(dataset)
        if kind is None or not all(header.shape):
            what = text(dataset, "Modality") or "no modality"
            problem = lost if kind else f"no MR image ({what})"
            return DicomFile(path, instance, header, problem=problem or "no image")
        frames = _enhanced(path, dataset) if kind == "enhanced" else (_frame(path, dataset),)
    return DicomFile(path, instance, header, frames, lost)


def _dataset(handle: BinaryIO) -> Dataset:
    """Read a data set up to its pixels, with or without the preamble."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    def read(force: bool) -> Dataset:
        handle.seek(0)
        return pydicom.dcmread(handle, stop_before_pixels=True, specific_tags=_tags(), force=force)

    try:
        return read(force=False)
    except InvalidDicomError:
        dataset = read(force=True)
        if not text(dataset, "SOPClassUID").startswith("1.2.840.10008."):
            raise
        return dataset


def _tags() -> list[int]:
    """Tags of the elements that are read."""
    from pydicom.datadict import tag_for_keyword

    known = [tag_for_keyword(keyword) for keyword in KEYWORDS]
    return [GE_RAW_DATA_TYPE, PHILIPS_SLICES, *(tag for tag in known if tag is not None)]


def _kind(dataset: Dataset) -> str | None:
    """Kind of an MR image: "classic" or "enhanced"."""
    return MR_IMAGES.get(text(dataset, "SOPClassUID"))


def _header(dataset: Dataset) -> Header:
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    frame = first_item(dataset, "PerFrameFunctionalGroupsSequence")
    timing = _group("MRTimingAndRelatedParametersSequence", frame, shared) or dataset
    modifier = _group("MRModifierSequence", frame, shared)
    maker, description = text(dataset, "Manufacturer"), text(dataset, "SeriesDescription")
    names = [text(dataset, "ProtocolName"), description]
    if maker.upper().startswith("GE"):
        names.reverse()
    scanning, echo = words(dataset, "ScanningSequence"), words(dataset, "EchoPulseSequence")
    gradient = None
    if scanning or echo:
        gradient = "SE" not in scanning and not {"SPIN", "BOTH"} & set(echo)
    planar = words(dataset, "EchoPlanarPulseSequence") == ("YES",) or "EP" in scanning
    inverted = modifier is not None and words(modifier, "InversionRecovery") == ("YES",)
    repetition_ms = number(timing, "RepetitionTime") or number(dataset, "RepetitionTime")
    promised = [number(dataset, "NumberOfSlices"), _private(dataset, "PHILIPS", PHILIPS_SLICES)]
    return Header(
        series=text(dataset, "SeriesInstanceUID"),
        study=text(dataset, "StudyInstanceUID"),
        number=int(-1 if (known := number(dataset, "SeriesNumber")) is None else known),
        protocol=re.sub(r"^WIP\s+", "", names[0] or names[1]),
        manufacturer=maker,
        patient_id=text(dataset, "PatientID"),
        sex=text(dataset, "PatientSex"),
        age=text(dataset, "PatientAge"),
        study_time=f"{text(dataset, 'StudyDate')} {text(dataset, 'StudyTime')}",
        gradient=gradient,
        echo_planar=planar,
        inversion=inverted or "IR" in scanning or bool(number(dataset, "InversionTime")),
        three_d=text(dataset, "MRAcquisitionType").upper() == "3D",
        field_t=_field_t(dataset),
        repetition_time_s=repetition_ms / 1000 if repetition_ms else None,
        flip_angle_deg=number(timing, "FlipAngle") or number(dataset, "FlipAngle"),
        shape=(int(number(dataset, "Rows") or 0), int(number(dataset, "Columns") or 0)),
        slices=int(max(n or 0 for n in promised)),
    )


def _frame(path: Path, dataset: Dataset) -> Frame:
    """Frame of a classic image."""
    image_type = words(dataset, "ImageType")
    echo_ms = number(dataset, "EchoTime")
    component = text(dataset, "ComplexImageComponent").upper()
    order = number(dataset, "AcquisitionNumber"), number(dataset, "TemporalPositionIdentifier")
    return Frame(
        path,
        0,
        part_of(image_type, component, _private(dataset, "GE", GE_RAW_DATA_TYPE)),
        echo_ms / 1000 if echo_ms else None,
        image_type,
        numbers(dataset, "ImagePositionPatient", 3),
        numbers(dataset, "ImageOrientationPatient", 6),
        (order[0] or 0.0, order[1] or 0.0),
        _acquired_s(dataset),
    )


def _enhanced(path: Path, dataset: Dataset) -> tuple[Frame, ...]:
    """Frames of an enhanced image, from per-frame and shared functional groups."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    acquired_s = _acquired_s(dataset)
    frames = []
    for index, own in enumerate(dataset.get("PerFrameFunctionalGroupsSequence") or []):
        kind = _group("MRImageFrameTypeSequence", own, shared) or dataset
        echo = _group("MREchoSequence", own, shared)
        place = _group("PlanePositionSequence", own, shared)
        plane = _group("PlaneOrientationSequence", own, shared)
        content = _group("FrameContentSequence", own, shared)
        echo_ms = None if echo is None else number(echo, "EffectiveEchoTime")
        moment = None if content is None else number(content, "TemporalPositionIndex")
        image_type = words(kind, "FrameType") or words(dataset, "ImageType")
        component = text(kind, "ComplexImageComponent").upper()
        frames.append(
            Frame(
                path,
                index,
                part_of(image_type, component, None),
                echo_ms / 1000 if echo_ms else None,
                image_type,
                None if place is None else numbers(place, "ImagePositionPatient", 3),
                None if plane is None else numbers(plane, "ImageOrientationPatient", 6),
                (0.0, moment or 0.0),
                acquired_s,
            )
        )
    return tuple(frames)


def _group(keyword: str, own: Dataset | None, shared: Dataset | None) -> Dataset | None:
    """Functional group of a frame, or the shared one."""
    for groups in (own, shared):
        found = None if groups is None else first_item(groups, keyword)
        if found is not None:
            return found
    return None


def _private(dataset: Dataset, maker: str, tag: int) -> float | None:
    """Number from a private element of a manufacturer."""
    if not text(dataset, "Manufacturer").upper().startswith(maker):
        return None
    try:
        value = dataset[tag].value
        if isinstance(value, bytes):  # an unknown vendor block: numbers of two bytes
            return float(struct.unpack("<h", value[:2])[0])
        return float(value[0] if hasattr(value, "__iter__") else value)
    except Exception:  # absent, or not a number
        return None


def _field_t(dataset: Dataset) -> float | None:
    field = number(dataset, "MagneticFieldStrength")
    if not field or field < 0:
        return None
    return field * GAUSS if field > WEAKEST_GAUSS else field


def _acquired_s(dataset: Dataset) -> float | None:
    both = text(dataset, "AcquisitionDateTime")
    if re.match(r"\d{14}", both):
        return seconds(both[:8], both[8:])
    return seconds(text(dataset, "AcquisitionDate"), text(dataset, "AcquisitionTime"))
