"""Conversion between MRD header and acquisition (LPS to RAS+, ms to s, Hz to tesla)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ismrmrd.xsd as xsd
import numpy as np
import numpy.typing as npt

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.grid import Grid, Shape, as_affine
from accelqsm.units import GAMMA_BAR_HZ_PER_T

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
IN_IMAGE = ("embedded", "interleaved")
"""Calibration modes whose lines are part of the image acquisition."""


@dataclass(frozen=True)
class Encoding:
    """Encoding of a raw file: matrix, voxel size, k-space centre and sequence parameters.

    Attributes:
        encoded: encoded matrix (readout with oversampling, PE1, PE2).
        image: the same without readout oversampling. Oversampling along the phase encodes remains,
            since only the whole encoded field of view can be unaliased.
        voxel_size_mm: encoded field of view over encoded matrix.
        centre: index of the zero frequency along PE1 and PE2, in the counters of the lines.
        calibration_in_image: whether calibration-only lines also belong to the image.
        echo_times_s, field_strength_t, repetition_time_s, flip_angle_deg: as in Acquisition.
    """

    encoded: Shape
    image: Shape
    voxel_size_mm: tuple[float, float, float]
    centre: tuple[int, int]
    calibration_in_image: bool
    echo_times_s: tuple[float, ...]
    field_strength_t: float
    repetition_time_s: float
    flip_angle_deg: float

    def acquisition(self, line_head: npt.NDArray[np.void]) -> Acquisition:
        """Acquisition record, with the affine from position and directions of one imaging line."""
        axes = [line_head["read_dir"], line_head["phase_dir"], line_head["slice_dir"]]
        directions = LPS_TO_RAS @ np.array(axes, dtype=float).T
        if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
            directions = np.eye(3)
        matrix = np.eye(4)
        matrix[:3, :3] = directions * self.voxel_size_mm
        centre = LPS_TO_RAS @ np.asarray(line_head["position"], dtype=float)
        matrix[:3, 3] = centre - matrix[:3, :3] @ [n // 2 for n in self.image]
        return Acquisition(
            grid=Grid(self.image, as_affine(matrix)),
            echo_times_s=self.echo_times_s,
            field_strength_t=self.field_strength_t,
            repetition_time_s=self.repetition_time_s,
            flip_angle_deg=self.flip_angle_deg,
        )


def parse_header(path: Path, text: bytes | str) -> Encoding:
    """Read the header of a Cartesian 3D multi-echo scan.

    Raises:
        InputError: unreadable XML, several encodings, not Cartesian, no echo times, no field.
    """
    try:
        with warnings.catch_warnings():
            # Otherwise a value of the wrong type would be kept as text with a mere warning.
            warnings.simplefilter("error")
            header = xsd.CreateFromDocument(text)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: unreadable MRD header ({reason})") from error
    if len(header.encoding) != 1:
        raise InputError(f"{path}: expected one encoding, found {len(header.encoding)}")
    encoding = header.encoding[0]
    trajectory = encoding.trajectory.value
    if trajectory != "cartesian":
        raise InputError(f"{path}: expected a cartesian trajectory, found {trajectory}")
    encoded, image = _image_grid(path, encoding)
    sequence = header.sequenceParameters
    if sequence is None or not sequence.TE:
        raise InputError(f"{path}: expected echo times (sequenceParameters.TE), found none")
    return Encoding(
        encoded=encoded,
        image=image,
        voxel_size_mm=_voxel_size_mm(encoding),
        centre=_centre(encoding),
        calibration_in_image=_calibration_mode(encoding) in IN_IMAGE,
        echo_times_s=tuple(t * 1e-3 for t in sequence.TE),
        field_strength_t=_field_strength(path, header),
        repetition_time_s=sequence.TR[0] * 1e-3 if sequence.TR else 0.0,
        flip_angle_deg=sequence.flipAngle_deg[0] if sequence.flipAngle_deg else 0.0,
    )


def build_header(acquisition: Acquisition, *, n_channels: int, acceleration: float) -> str:
    """MRD header (XML) of an acquisition."""
    nx, ny, nz = acquisition.grid.shape
    vx, vy, vz = acquisition.voxel_size_mm
    space = xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=nx, y=ny, z=nz),
        fieldOfView_mm=xsd.fieldOfViewMm(x=nx * vx, y=ny * vy, z=nz * vz),
    )

    def limit(n: int) -> Any:
        return xsd.limitType(minimum=0, maximum=n - 1, center=n // 2)

    encoding = xsd.encodingType(
        encodedSpace=space,
        reconSpace=space,
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=limit(ny),
            kspace_encoding_step_2=limit(nz),
            contrast=xsd.limitType(minimum=0, maximum=acquisition.n_echoes - 1, center=0),
        ),
        trajectory=xsd.trajectoryType.CARTESIAN,
    )
    larmor_hz = round(acquisition.field_strength_t * GAMMA_BAR_HZ_PER_T)
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=larmor_hz),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="accelqsm",
            systemModel="digital scanner",
            systemFieldStrength_T=acquisition.field_strength_t,
            receiverChannels=n_channels,
        ),
        encoding=[encoding],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[acquisition.repetition_time_s * 1e3],
            TE=[t * 1e3 for t in acquisition.echo_times_s],
            flipAngle_deg=[acquisition.flip_angle_deg],
        ),
        userParameters=xsd.userParametersType(
            userParameterDouble=[
                xsd.userParameterDoubleType(name="NetAcceleration", value=acceleration)
            ]
        ),
    )
    return str(header.toXML())


def line_geometry(grid: Grid) -> dict[str, npt.NDArray[np.float32]]:
    """Position and directions (LPS, mm) in the head of every line of an acquisition on ``grid``."""
    directions = LPS_TO_RAS @ (grid.matrix[:3, :3] / grid.voxel_size_mm)
    centre = LPS_TO_RAS @ (grid.matrix @ np.array([*(n // 2 for n in grid.shape), 1.0]))[:3]
    return {
        "position": centre.astype(np.float32),
        "read_dir": directions[:, 0].astype(np.float32),
        "phase_dir": directions[:, 1].astype(np.float32),
        "slice_dir": directions[:, 2].astype(np.float32),
    }


def _image_grid(path: Path, encoding: Any) -> tuple[Shape, Shape]:
    """Encoded matrix, and image matrix without readout oversampling."""
    size = encoding.encodedSpace.matrixSize
    encoded = (int(size.x), int(size.y), int(size.z))
    fields_mm = [
        (fov.x, fov.y, fov.z)
        for fov in (encoding.encodedSpace.fieldOfView_mm, encoding.reconSpace.fieldOfView_mm)
    ]
    if min(encoded) < 1 or not all(0 < mm < math.inf for field in fields_mm for mm in field):
        raise InputError(
            f"{path}: expected a matrix and fields of view above 0, found matrix {encoded}, "
            f"encoded and reconstructed fields of view {fields_mm[0]} and {fields_mm[1]} mm"
        )
    readout = round(encoded[0] * min(fields_mm[1][0] / fields_mm[0][0], 1.0))
    return encoded, (max(readout, 1), encoded[1], encoded[2])


def _voxel_size_mm(encoding: Any) -> tuple[float, float, float]:
    size, fov = encoding.encodedSpace.matrixSize, encoding.encodedSpace.fieldOfView_mm
    return fov.x / size.x, fov.y / size.y, fov.z / size.z


def _calibration_mode(encoding: Any) -> str:
    parallel = encoding.parallelImaging
    if parallel is None or parallel.calibrationMode is None:
        return "embedded"
    return str(parallel.calibrationMode.value)


def _centre(encoding: Any) -> tuple[int, int]:
    limits = encoding.encodingLimits
    size = encoding.encodedSpace.matrixSize
    first, second = limits.kspace_encoding_step_1, limits.kspace_encoding_step_2
    return (
        int(first.center) if first is not None else int(size.y) // 2,
        int(second.center) if second is not None else int(size.z) // 2,
    )


def _field_strength(path: Path, header: Any) -> float:
    system = header.acquisitionSystemInformation
    if system is not None and system.systemFieldStrength_T:
        return float(system.systemFieldStrength_T)
    larmor_hz = header.experimentalConditions.H1resonanceFrequency_Hz
    if not larmor_hz:
        raise InputError(f"{path}: expected a field strength or resonance frequency, found none")
    return float(larmor_hz) / GAMMA_BAR_HZ_PER_T
