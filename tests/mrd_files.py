"""Raw files written line by line with the ismrmrd package, for the tests of the reader."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ismrmrd
import ismrmrd.xsd as xsd
import numpy as np


@dataclass(frozen=True)
class Space:
    """Matrix and field of view (mm) of an encoded or reconstructed space."""

    matrix: tuple[int, int, int]
    fov_mm: tuple[float, float, float]

    def xml(self) -> Any:
        return xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(**dict(zip("xyz", self.matrix, strict=True))),
            fieldOfView_mm=xsd.fieldOfViewMm(**dict(zip("xyz", self.fov_mm, strict=True))),
        )


@dataclass(frozen=True)
class Scan:
    """What a header says."""

    encoded: Space
    recon: Space
    centre: tuple[int, int]
    calibration_mode: str | None = None
    trajectory: str = "cartesian"
    n_encodings: int = 1
    echo_times_ms: tuple[float, ...] = (4.0,)

    def but(self, **changes: Any) -> Scan:
        return replace(self, **changes)

    def xml(self) -> bytes:
        first, second = (xsd.limitType(minimum=0, maximum=c, center=c) for c in self.centre)
        parallel = None
        if self.calibration_mode is not None:
            parallel = xsd.parallelImagingType(
                accelerationFactor=xsd.accelerationFactorType(
                    kspace_encoding_step_1=2, kspace_encoding_step_2=1
                ),
                calibrationMode=xsd.calibrationModeType(self.calibration_mode),
            )
        encoding = xsd.encodingType(
            encodedSpace=self.encoded.xml(),
            reconSpace=self.recon.xml(),
            encodingLimits=xsd.encodingLimitsType(
                kspace_encoding_step_1=first, kspace_encoding_step_2=second
            ),
            trajectory=xsd.trajectoryType(self.trajectory),
            parallelImaging=parallel,
        )
        header = xsd.ismrmrdHeader(
            experimentalConditions=xsd.experimentalConditionsType(
                H1resonanceFrequency_Hz=123200000
            ),
            encoding=[encoding] * self.n_encodings,
            sequenceParameters=xsd.sequenceParametersType(TE=list(self.echo_times_ms)),
        )
        text: bytes = header.toXML().encode()
        return text


def line(
    values: np.ndarray, ky: int, kz: int, *, centre: int, flags: Iterable[int] = (), **index: int
) -> Any:
    """One readout, complex64 (channel, sample), at the file's own indices."""
    acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(values, np.complex64))
    acquisition.center_sample = centre
    acquisition.idx.kspace_encode_step_1, acquisition.idx.kspace_encode_step_2 = ky, kz
    for name, value in index.items():
        setattr(acquisition.idx, name, value)
    for flag in flags:
        acquisition.set_flag(flag)
    acquisition.read_dir[:], acquisition.phase_dir[:] = (-1, 0, 0), (0, -1, 0)
    acquisition.slice_dir[:] = (0, 0, 1)
    return acquisition


def write_lines(path: Path, scan: Scan, lines: Iterable[Any]) -> None:
    with ismrmrd.Dataset(str(path)) as dataset:
        dataset.write_xml_header(scan.xml())
        for each in lines:
            dataset.append_acquisition(each)
