"""DICOM sets as scanners write them: six echoes of a ball with a nucleus, in oblique slices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from accelqsm.dipole import forward_field
from accelqsm.grid import Grid, as_affine, centred_grid

ECHO_TIMES_S = (0.004, 0.008, 0.012, 0.016, 0.020, 0.024)
FIELD_T = 3.0
NUCLEUS_PPM = 0.12
MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
GRADIENT_ECHO = {"ScanningSequence": "GR", "SequenceVariant": "SP", "MRAcquisitionType": "3D"}
HZ_PER_PPM = 42.577478518 * FIELD_T
Echoes = Mapping[tuple[str, float], np.ndarray]


@dataclass(frozen=True)
class Exam:
    """A patient's visit: what all its files share."""

    folder: Path
    grid: Grid
    patient: str = "P-01"
    study: str = "1.2.826.0.1.3680043.8.498.1"
    manufacturer: str = "SIEMENS"
    date: str = "20260301"

    def but(self, **changes: Any) -> Exam:
        return replace(self, **changes)


def small_grid(shape: tuple[int, int, int] = (10, 12, 8)) -> Grid:
    """Oblique (20 and 10 degrees), left-handed as scanners store it: x to the left, y backwards."""
    return oblique(centred_grid(shape, (1.5, 1.7, 2.0), centre_mm=(3.0, -7.0, 11.0)))


def oblique(grid: Grid) -> Grid:
    """The grid with x to the left and y backwards, tilted about x and z."""
    a, b = math.radians(20), math.radians(10)
    tilt = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    turn = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    matrix = grid.matrix
    centre = matrix @ [*(n // 2 for n in grid.shape), 1]
    matrix[:3, :3] = turn @ tilt @ np.diag([-1, -1, 1]) @ matrix[:3, :3]
    matrix[:3, 3] = centre[:3] - matrix[:3, :3] @ [n // 2 for n in grid.shape]
    return Grid(grid.shape, as_affine(matrix))


def phantom(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Susceptibility in ppm (x, y, z), the ball, and the nucleus in it, left of the middle."""
    x, y, z = grid.world_mm() - np.reshape(
        grid.matrix[:3, :3] @ [n / 2 for n in grid.shape] + grid.matrix[:3, 3], (3, 1, 1, 1)
    )
    half = min(n * size for n, size in zip(grid.shape, grid.voxel_size_mm, strict=True)) / 2
    ball = x**2 + y**2 + z**2 < (0.8 * half) ** 2
    nucleus = (x + 0.25 * half) ** 2 + y**2 + z**2 < (0.22 * half) ** 2
    return np.where(nucleus, NUCLEUS_PPM, 0.0), ball, nucleus


def complex_echoes(grid: Grid, echo_times_s: Sequence[float] = ECHO_TIMES_S) -> list[np.ndarray]:
    """Complex images (x, y, z) of the phantom, with noise around it."""
    chi, ball, nucleus = phantom(grid)
    field_ppm = forward_field(
        torch.from_numpy(chi).float(),
        voxel_size_mm=grid.voxel_size_mm,
        b0_direction=grid.b0_direction,
    ).numpy()
    field_hz = HZ_PER_PPM * field_ppm + 15
    decay = np.where(nucleus, 40.0, 20.0)
    images = []
    for t in echo_times_s:
        noise = np.random.default_rng(round(1e6 * t)).normal(0, 0.01, (2, *grid.shape))
        signal = ball * np.exp(-decay * t + 1j * (math.tau * field_hz * t + 0.5))
        images.append(signal + noise[0] + 1j * noise[1])
    return images


def parts(grid: Grid, names: Sequence[str], echo_times_s: Sequence[float] = ECHO_TIMES_S) -> Echoes:
    """Some parts of the echoes: magnitude up to 1, phase in radians."""
    kinds = {"mag": np.abs, "phase": np.angle, "real": np.real, "imag": np.imag}
    images = complex_echoes(grid, echo_times_s)
    return {
        (name, t): kinds[name](image)
        for name in names
        for t, image in zip(echo_times_s, images, strict=True)
    }


def stored(part: str, values: np.ndarray, manufacturer: str) -> tuple[np.ndarray, dict[str, Any]]:
    """Whole numbers as a manufacturer stores them, and the elements that say how."""
    if part == "mag":
        return np.round(values * 2000).clip(0, 4095).astype(np.uint16), {}
    if part in ("real", "imag"):
        return np.round(values * 2000).astype(np.int16), {"PixelRepresentation": 1}
    turn = np.round((values + math.pi) / math.tau * 4095).clip(0, 4095).astype(np.uint16)
    if manufacturer.startswith("Philips"):
        return turn, {"RescaleSlope": f"{math.tau / 4095:.12f}", "RescaleIntercept": "-3.14159265",
                      "RescaleType": "rad"}  # fmt: skip
    if manufacturer.startswith("SIEMENS"):
        return turn, {"RescaleSlope": "2", "RescaleIntercept": "-4096", "RescaleType": "US"}
    return turn, {}


IMAGE_TYPES = {
    "SIEMENS": {"mag": "M\\ND\\NORM", "phase": "P\\ND"},
    "Philips Medical Systems": {"mag": "M_FFE\\M\\FFE", "phase": "PHASE MAP\\P\\FFE"},
    "GE MEDICAL SYSTEMS": dict.fromkeys(("mag", "phase", "real", "imag"), "OTHER"),
    "UIH": {"mag": "M\\UCA\\IF", "phase": "P\\UCA\\IF"},
}
GE_TYPE = {"mag": 0, "phase": 1, "real": 2, "imag": 3}


def base(exam: Exam, number: int, protocol: str, *, time: str = "101500") -> Dataset:
    """Patient, study, series, equipment."""
    data = Dataset()
    for keyword, value in {
        "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Doe^Jane", "PatientID": exam.patient,
        "PatientBirthDate": "19800102", "PatientSex": "F", "PatientAge": "046Y",
        "StudyInstanceUID": exam.study, "StudyDate": exam.date, "StudyTime": "100000",
        "StudyID": "1", "AccessionNumber": "A77", "ReferringPhysicianName": "Who^Dr",
        "SeriesInstanceUID": f"{exam.study}.{number}", "SeriesNumber": number, "Modality": "MR",
        "SeriesDescription": protocol, "ProtocolName": protocol, "SeriesDate": exam.date,
        "SeriesTime": time, "AcquisitionDate": exam.date, "AcquisitionTime": time,
        "ContentDate": exam.date, "ContentTime": time, "Manufacturer": exam.manufacturer,
        "ManufacturerModelName": "Model", "InstitutionName": "Hospital", "StationName": "MR1",
        "DeviceSerialNumber": "S4711", "SoftwareVersions": "1", "PatientPosition": "HFS",
        "FrameOfReferenceUID": f"{exam.study}.9999", "PositionReferenceIndicator": "",
        "MagneticFieldStrength": FIELD_T, "ImagingFrequency": 123.2, "RepetitionTime": 40,
        "FlipAngle": 15, "EchoTrainLength": 1, "NumberOfAverages": 1, "ImagedNucleus": "1H",
        "ScanOptions": "", "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        **GRADIENT_ECHO,
    }.items():  # fmt: skip
        setattr(data, keyword, value)
    if exam.manufacturer.startswith("GE"):
        data.ProtocolName = "WHOLE EXAM"
    return data


def place(grid: Grid) -> tuple[list[float], list[float], np.ndarray]:
    """Row and column direction, spacing of rows and columns, and the affine, in DICOM's LPS."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.matrix
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    directions = [*(lps[:3, 0] / sizes[0]), *(lps[:3, 1] / sizes[1])]
    return [round(float(d), 12) for d in directions], [float(sizes[1]), float(sizes[0])], lps


def save(data: Dataset, path: Path) -> Path:
    """Write one file, explicit little endian."""
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def write_series(
    exam: Exam, number: int, echoes: Echoes, protocol: str = "gre_qsm 0.8", **elements: Any
) -> Path:
    """Write classic images of some parts and echoes, one file per slice; returns their folder."""
    folder = exam.folder / f"{number:03d}"
    directions, spacing, lps = place(exam.grid)
    times = sorted({time for _, time in echoes})
    instance = 0
    for (part, echo_time_s), values in echoes.items():
        whole, how = stored(part, values, exam.manufacturer)
        for k in range(exam.grid.shape[2]):
            instance += 1
            data = base(exam, number, protocol)
            data.SOPClassUID = MR
            data.SOPInstanceUID = f"{exam.study}.{number}.{instance}"
            kinds = IMAGE_TYPES[exam.manufacturer]
            data.ImageType = ["ORIGINAL", "PRIMARY", *kinds[part].split("\\")]
            if exam.manufacturer.startswith("GE"):
                block = data.private_block(0x0043, "GEMS_PARM_01", create=True)
                block.add_new(0x2F, "SS", GE_TYPE[part])
            data.InstanceNumber, data.AcquisitionNumber = instance, 1
            data.EchoTime, data.EchoNumbers = 1000 * echo_time_s, times.index(echo_time_s) + 1
            data.ImageOrientationPatient, data.PixelSpacing = directions, spacing
            position = lps @ [0, 0, k, 1]
            data.ImagePositionPatient = [round(float(p), 8) for p in position[:3]]
            data.SliceThickness = data.SpacingBetweenSlices = float(np.linalg.norm(lps[:3, 2]))
            data.Rows, data.Columns = whole.shape[1], whole.shape[0]
            for keyword, value in {**how, **elements}.items():
                setattr(data, keyword, value)
            data.PixelData = np.ascontiguousarray(whole[:, :, k].T).tobytes()
            save(data, folder / f"IM{instance:04d}.dcm")
    return folder


def item(**elements: Any) -> Items:
    """A sequence of one item."""
    data = Dataset()
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    return Items([data])


def write_enhanced(exam: Exam, number: int, echoes: Echoes, protocol: str = "gre_qsm 0.8") -> Path:
    """Write all parts and echoes as one enhanced multi-frame file; returns its folder."""
    directions, spacing, lps = place(exam.grid)
    data = base(exam, number, protocol)
    for keyword in ("EchoTrainLength", "RepetitionTime", "FlipAngle", "NumberOfAverages"):
        delattr(data, keyword)
    data.SOPClassUID, data.SOPInstanceUID = ENHANCED, f"{exam.study}.{number}.1"
    data.ImageType = ["ORIGINAL", "PRIMARY", "T2", "MIXED"]
    data.EchoPulseSequence, data.EchoPlanarPulseSequence = "GRADIENT", "NO"
    data.AcquisitionDateTime = f"{exam.date}101500"
    data.InstanceNumber = data.AcquisitionNumber = 1
    data.ComplexImageComponent = "MIXED"
    timing = item(RepetitionTime=40, FlipAngle=15, EchoTrainLength=6, RFEchoTrainLength=0,
                  GradientEchoTrainLength=6)  # fmt: skip
    size = float(np.linalg.norm(lps[:3, 2]))
    data.SharedFunctionalGroupsSequence = item(
        MRTimingAndRelatedParametersSequence=timing,
        PixelMeasuresSequence=item(
            PixelSpacing=spacing, SliceThickness=size, SpacingBetweenSlices=size
        ),
        PlaneOrientationSequence=item(ImageOrientationPatient=directions),
    )
    times = sorted({time for _, time in echoes})
    names = {"mag": "MAGNITUDE", "phase": "PHASE", "real": "REAL", "imag": "IMAGINARY"}
    frames, pixels = Items([]), []
    for (part, echo_time_s), values in echoes.items():
        whole, how = stored(part, values, exam.manufacturer)
        how = {"RescaleSlope": "1", "RescaleIntercept": "0", "RescaleType": "US"} | how
        how.pop("PixelRepresentation", None)
        kind = IMAGE_TYPES[exam.manufacturer][part].split("\\")[0]
        for k in range(exam.grid.shape[2]):
            position = [round(float(p), 8) for p in (lps @ [0, 0, k, 1])[:3]]
            index = [k + 1, times.index(echo_time_s) + 1, 1 + list(names).index(part)]
            frames += item(
                MRImageFrameTypeSequence=item(
                    FrameType=["ORIGINAL", "PRIMARY", kind, "NONE"],
                    ComplexImageComponent=names[part],
                ),
                MREchoSequence=item(EffectiveEchoTime=1000 * echo_time_s),
                FrameContentSequence=item(
                    StackID="1", InStackPositionNumber=k + 1, TemporalPositionIndex=1,
                    DimensionIndexValues=index,
                ),
                PlanePositionSequence=item(ImagePositionPatient=position),
                PixelValueTransformationSequence=item(**how),
            )  # fmt: skip
            pixels.append(np.ascontiguousarray(whole[:, :, k].T))
    pointers = (0x00209057, 0x00189082, 0x00089208)
    data.DimensionIndexSequence = Items([item(DimensionIndexPointer=p)[0] for p in pointers])
    data.PerFrameFunctionalGroupsSequence = frames
    data.NumberOfFrames, data.Rows, data.Columns = len(pixels), *pixels[0].shape
    data.PixelData = np.stack(pixels).tobytes()
    return save(data, exam.folder / f"{number:03d}" / "enhanced.dcm").parent


def write_localiser(exam: Exam, number: int) -> Path:
    """Three slices, each across another axis."""
    folder = exam.folder / f"{number:03d}"
    for n, directions in enumerate(([1, 0, 0, 0, 1, 0], [0, 1, 0, 0, 0, -1], [1, 0, 0, 0, 0, -1])):
        data = base(exam, number, "localizer")
        data.SOPClassUID, data.SOPInstanceUID = MR, generate_uid()
        data.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
        data.InstanceNumber, data.EchoTime, data.PixelSpacing = n + 1, 4, [2, 2]
        data.ImageOrientationPatient, data.ImagePositionPatient = directions, [0, 0, n]
        data.Rows = data.Columns = 8
        data.PixelData = np.zeros((8, 8), np.uint16).tobytes()
        save(data, folder / f"IM{n}.dcm")
    return folder
