"""What an MRD header says of an acquisition, and the header of an acquisition."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.acquisition import Acquisition
from accelqsm.files.mrd.orientation import LPS_TO_RAS
from accelqsm.grid import Grid, Shape, Triple, as_affine
from accelqsm.units import GAMMA_BAR_HZ_PER_T


@dataclass(frozen=True)
class Encoding:
    """Encoding of a raw file: matrix, voxel size, k-space centre and sequence parameters.

    Attributes:
        encoded: encoded matrix (readout with oversampling, PE1, PE2).
        image: the same without oversampling of the readout. What is oversampled along the phase
            encodes stays, since nothing but the whole encoded field of view can be unfolded.
        fov_mm: encoded field of view.
        centre: index of the zero frequency along PE1 and PE2, as the lines count them.
        calibration_in_image: whether lines for calibration alone belong to the image too.
        echo_times_s, field_strength_t, repetition_time_s, flip_angle_deg: as in Acquisition.
    """

    encoded: Shape
    image: Shape
    fov_mm: Triple
    centre: tuple[int, int]
    calibration_in_image: bool
    echo_times_s: tuple[float, ...]
    field_strength_t: float
    repetition_time_s: float
    flip_angle_deg: float

    @property
    def voxel_size_mm(self) -> Triple:
        """Encoded field of view over encoded matrix."""
        x, y, z = (mm / n for mm, n in zip(self.fov_mm, self.encoded, strict=True))
        return x, y, z

    def without_oversampling(self) -> Encoding:
        """The same where the lines hold no more than the image's readout."""
        fov_mm = (self.voxel_size_mm[0] * self.image[0], *self.fov_mm[1:])
        return replace(self, encoded=self.image, fov_mm=fov_mm)

    def acquisition(
        self, directions: npt.NDArray[np.float64], centre_mm: npt.NDArray[np.float64]
    ) -> Acquisition:
        """The acquisition, placed by directions of the array axes and the centre (RAS+)."""
        matrix = np.eye(4)
        matrix[:3, :3] = directions * self.voxel_size_mm
        matrix[:3, 3] = centre_mm - matrix[:3, :3] @ [n // 2 for n in self.image]
        return Acquisition(
            grid=Grid(self.image, as_affine(matrix)),
            echo_times_s=self.echo_times_s,
            field_strength_t=self.field_strength_t,
            repetition_time_s=self.repetition_time_s,
            flip_angle_deg=self.flip_angle_deg,
        )


def build_header(acquisition: Acquisition, *, n_channels: int, acceleration: float) -> str:
    """The MRD header (XML) of an acquisition."""
    # Takes a second to import, which reading has no need of.
    import ismrmrd.xsd as xsd

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
