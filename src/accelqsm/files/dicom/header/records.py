"""Records of DICOM headers and frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accelqsm.files.dicom.header.values import Vector


@dataclass(frozen=True)
class Header:
    """Header elements that all images of a series have in common.

    Attributes:
        series: UID of the series.
        study: UID of the study.
        number: of the series; -1 without one.
        protocol: name of the protocol; of GE, whose protocol is the whole exam, the description.
        manufacturer: as written.
        patient_id, sex, age: as written.
        study_time: date and time of the study, to put studies in order.
        gradient: whether it is a gradient echo; None where the header does not say.
        echo_planar, inversion, three_d: what the sequence is.
        field_t: main field in tesla, None where unknown.
        repetition_time_s, flip_angle_deg: None where unknown.
        shape: rows and columns.
        slices: how many the header promises; 0 where it does not.
    """

    series: str
    study: str
    number: int
    protocol: str
    manufacturer: str
    patient_id: str
    sex: str
    age: str
    study_time: str
    gradient: bool | None
    echo_planar: bool
    inversion: bool
    three_d: bool
    field_t: float | None
    repetition_time_s: float | None
    flip_angle_deg: float | None
    shape: tuple[int, int]
    slices: int


@dataclass(frozen=True)
class Frame:
    """One slice of one image.

    Attributes:
        path, index: its file, and its place in it (0 in a classic file).
        part: "mag", "phase", "real", "imag", or what else it is.
        echo_time_s: None where unknown.
        image_type: the words of ImageType or FrameType.
        position, orientation: in mm and as direction cosines (LPS); None where unknown.
        acquisition: number of the acquisition, or of the position in time.
        acquired_s: when, in seconds; None where unknown.
    """

    path: Path
    index: int
    part: str
    echo_time_s: float | None
    image_type: tuple[str, ...]
    position: Vector | None
    orientation: Vector | None
    acquisition: tuple[float, float]
    acquired_s: float | None


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file: its header and frames, or the reason why it cannot be used.

    Attributes:
        path: the file.
        instance: its SOP instance UID.
        header: None where it is not DICOM.
        frames: of an MR image.
        problem: empty, or what is wrong with the file.
    """

    path: Path
    instance: str = ""
    header: Header | None = None
    frames: tuple[Frame, ...] = ()
    problem: str = ""
