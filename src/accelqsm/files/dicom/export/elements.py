"""DICOM elements of the images of a map."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelqsm import __version__
from accelqsm.files.dicom.export.slices import Slices
from accelqsm.files.dicom.export.template import Template

if TYPE_CHECKING:
    from pydicom import Dataset

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
LARGEST = 32767
SAME_PLACE_MM = 0.5
LONGEST_TEXT = 1024


@dataclass(frozen=True)
class MapSeries:
    """A map to be written as a DICOM series.

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


def step_for(one: MapSeries) -> float:
    """Smallest of 1, 2, 5, 10 ... times the step with which a map fits into 16 bits."""
    largest = float(np.abs(one.values).max(initial=0.0))
    needed = largest / LARGEST / one.step
    if needed <= 1:
        return one.step
    power = 10.0 ** math.floor(math.log10(needed))
    return one.step * next(n * power for n in (1, 2, 5, 10) if n * power >= needed)


def series_elements(
    one: MapSeries, template: Template, slices: Slices, *, number: int, uid: str
) -> Dataset:
    """DICOM elements that all images of a series have in common."""
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
    """Contributing equipment: this software."""
    from pydicom import Dataset

    purpose, software = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109102", "DCM"
    purpose.CodeMeaning = "Processing Equipment"
    software.PurposeOfReferenceCodeSequence = [purpose]
    software.Manufacturer, software.ManufacturerModelName = "accelqsm", "accelqsm"
    software.SoftwareVersions = __version__
    return software


def _real_world(one: MapSeries, slope: float) -> Dataset:
    """Real-world value mapping with the unit as a UCUM code."""
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


def slice_elements(common: Dataset, slices: Slices, k: int, slope: float) -> Dataset:
    """DICOM data set of one slice."""
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


def refer_to_template(data: Dataset, template: Template, position_mm: Sequence[float]) -> None:
    """Add references to the template images at the position of a slice."""
    from pydicom import Dataset

    normal = np.cross(template.orientation[:3], template.orientation[3:])
    near: dict[str, Dataset] = {}
    for position, kind, instance in template.instances:
        if abs(float(np.dot(normal, np.subtract(position, position_mm)))) < SAME_PLACE_MM:
            source = Dataset()
            source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID = kind, instance
            near[instance] = source
    if near:
        data.SourceImageSequence = list(near.values())


def _decimal(value: float) -> str:
    """Format a number as a DICOM decimal string of at most 16 characters."""
    from pydicom.valuerep import format_number_as_ds

    return format_number_as_ds(float(value) + 0.0)
