"""Maps as DICOM: one MR image for each slice, in the study and frame of reference of a scan."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelqsm import __version__
from accelqsm.errors import InputError
from accelqsm.files.dicom.anonymise import UidMaker, anonymise
from accelqsm.files.dicom.slices import Slices, as_slices
from accelqsm.files.dicom.template import Template, read_template
from accelqsm.grid import Grid

if TYPE_CHECKING:
    from pydicom import Dataset

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
IMPLEMENTATION = "2.25.271591806459174413906107839118219843151"
LARGEST = 32767
SAME_PLACE_MM = 0.5
LONGEST_TEXT = 1024


@dataclass(frozen=True)
class MapSeries:
    """A map that becomes a series.

    Attributes:
        name: of its folder, such as "susceptibility".
        values: (x, y, z), in ``unit``.
        unit: as it is written, and ``ucum`` as a code.
        window: values that are shown black and white.
        step: the finest step of the integers; 1, 2 or 5 times as coarse where they need it.
        description: of the series.
        derivation: what the map is, and how it was made.
        kind: last word of ImageType.
    """

    name: str
    values: npt.NDArray[Any]
    unit: str
    ucum: str
    window: tuple[float, float]
    step: float
    description: str
    derivation: str
    kind: str


def export_maps(
    maps: Sequence[MapSeries],
    grid: Grid,
    template_folder: Path,
    destination: Path,
    *,
    anonymous: bool = False,
) -> list[Path]:
    """Write maps as DICOM series into a new folder, all of them or none.

    Series and instance UIDs follow from the template's, the map and its settings: the same map
    gives the same, another map others. With ``anonymous`` they are random, and so are those of
    study and frame of reference.

    Returns:
        The folder of each series.

    Raises:
        InputError: a destination that is not empty, no usable template, or voxels that are not
            rectangular.
    """
    if destination.exists() and (not destination.is_dir() or any(destination.iterdir())):
        raise InputError(f"{destination}: expected a new or empty folder, found one that is not")
    template = read_template(template_folder, grid)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".export-", dir=destination.parent))
    except OSError as error:
        raise InputError(f"{destination}: cannot be written ({error})") from error
    try:
        _write_all(maps, grid, template, staging, anonymous=anonymous)
        staging.chmod(0o755)
        if destination.is_dir():
            destination.rmdir()
        staging.replace(destination)
    except OSError as error:
        raise InputError(f"{destination}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return [destination / one.name for one in maps]


def _write_all(
    maps: Sequence[MapSeries], grid: Grid, template: Template, folder: Path, *, anonymous: bool
) -> None:
    maker = UidMaker(secret=anonymous)
    origin = str(template.elements.get("StudyInstanceUID", ""))
    if anonymous:
        anonymise(template.elements, maker)
    for count, one in enumerate(maps, start=1):
        slices = as_slices(one.values, grid, template.orientation)
        content = maker.code(origin, one.derivation, slices.values.tobytes())
        (folder / one.name).mkdir()
        number = 100 * max(template.series, 1) + count
        common = _common(one, template, slices, number=number, uid=maker.uid(content, "series"))
        slope = step_for(one)
        for k in range(len(slices.values)):
            data = _instance(common, slices, k, slope)
            data.SOPInstanceUID = maker.uid(content, str(k))
            if not anonymous:
                _refer(data, template, slices.positions_mm[k])
            _save(data, folder / one.name / f"{k + 1:04d}.dcm")


def step_for(one: MapSeries) -> float:
    """The finest of 1, 2, 5, 10 ... times the step with which a map fits 16 bits."""
    largest = float(np.abs(one.values).max(initial=0.0))
    needed = largest / LARGEST / one.step
    if needed <= 1:
        return one.step
    power = 10.0 ** math.floor(math.log10(needed))
    return one.step * next(n * power for n in (1, 2, 5, 10) if n * power >= needed)


def _common(
    one: MapSeries, template: Template, slices: Slices, *, number: int, uid: str
) -> Dataset:
    """What all images of a series share."""
    from pydicom import Dataset

    data = Dataset()
    data.update(template.elements)
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate",
                    "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
                    "PositionReferenceIndicator"):  # fmt: skip
        if keyword not in data:  # type 2: may be empty, must be there
            setattr(data, keyword, "")
    if "BodyPartExamined" not in data:  # otherwise the side of a paired organ would be due
        data.BodyPartExamined = "HEAD"
    slope = step_for(one)
    low, high = one.window
    elements: dict[str, Any] = {
        "SOPClassUID": MR_IMAGE,
        "Modality": "MR",
        "SeriesInstanceUID": uid,
        "SeriesNumber": number,
        "SeriesDescription": one.description,
        "ImageType": ["DERIVED", "SECONDARY", "OTHER", one.kind],
        "DerivationDescription": one.derivation[:LONGEST_TEXT],
        "ScanningSequence": "GR",
        "SequenceVariant": "SP",
        "ScanOptions": "",
        "MRAcquisitionType": "3D",
        "RepetitionTime": None,
        "EchoTime": None,
        "EchoTrainLength": None,
        "ContentQualification": "RESEARCH",
        "ImageComments": "Research software, not for diagnosis",
        "BurnedInAnnotation": "NO",
        "ImageOrientationPatient": [_decimal(x) for x in slices.orientation],
        "PixelSpacing": [_decimal(x) for x in slices.spacing_mm[:2]],
        "SliceThickness": _decimal(slices.spacing_mm[2]),
        "SpacingBetweenSlices": _decimal(slices.spacing_mm[2]),
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": slices.values.shape[1],
        "Columns": slices.values.shape[2],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleIntercept": "0",
        "RescaleSlope": _decimal(slope),
        "RescaleType": one.unit,
        "WindowCenter": _decimal((low + high) / 2),
        "WindowWidth": _decimal(high - low),
        "VOILUTFunction": "LINEAR_EXACT",
        "RealWorldValueMappingSequence": [_real_world(one, slope)],
        "ContributingEquipmentSequence": [_this_software()],
    }
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return data


def _this_software() -> Dataset:
    """What made the map, beside the scanner."""
    from pydicom import Dataset

    purpose, software = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    software.PurposeOfReferenceCodeSequence = [purpose]
    software.Manufacturer, software.ManufacturerModelName = "accelqsm", "accelqsm"
    software.SoftwareVersions = __version__
    return software


def _real_world(one: MapSeries, slope: float) -> Dataset:
    """The unit of the values as a code (UCUM)."""
    from pydicom import Dataset

    unit, mapping = Dataset(), Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = one.ucum, "UCUM", one.unit
    mapping.LUTExplanation, mapping.LUTLabel = one.name, one.kind
    mapping.RealWorldValueFirstValueMapped = -LARGEST - 1
    mapping.RealWorldValueLastValueMapped = LARGEST
    for name in ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"):
        mapping[name].VR = "SS"
    mapping.RealWorldValueIntercept, mapping.RealWorldValueSlope = 0.0, slope
    mapping.MeasurementUnitsCodeSequence = [unit]
    return mapping


def _instance(common: Dataset, slices: Slices, k: int, slope: float) -> Dataset:
    """The image of one slice."""
    from pydicom import Dataset

    data = Dataset()
    data.update(common)
    whole = np.round(np.asarray(slices.values[k], dtype=np.float64) / slope)
    data.InstanceNumber = k + 1
    position = slices.positions_mm[k]
    data.ImagePositionPatient = [_decimal(x) for x in position]
    normal = np.cross(slices.orientation[:3], slices.orientation[3:])
    data.SliceLocation = _decimal(float(np.dot(normal, position)))
    data.PixelData = whole.clip(-LARGEST, LARGEST).astype("<i2").tobytes()
    data["PixelData"].VR = "OW"
    return data


def _refer(data: Dataset, template: Template, position_mm: Sequence[float]) -> None:
    """Name the images of the template that lie where a slice does, if there are any."""
    from pydicom import Dataset

    normal = np.cross(template.orientation[:3], template.orientation[3:])
    near = []
    for position, kind, instance in template.instances:
        if abs(float(np.dot(normal, np.subtract(position, position_mm)))) < SAME_PLACE_MM:
            source = Dataset()
            source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = kind, instance
            near.append(source)
    if near:
        data.SourceImageSequence = list(
            {one.ReferencedSOPInstanceUID: one for one in near}.values()
        )


def _save(data: Dataset, path: Path) -> None:
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.file_meta.ImplementationClassUID = IMPLEMENTATION
    data.file_meta.ImplementationVersionName = f"ACCELQSM_{__version__}"[:16]
    data.save_as(path, enforce_file_format=True)


def _decimal(value: float) -> str:
    """A number as DICOM's decimal string, of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)
