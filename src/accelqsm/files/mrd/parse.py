"""The MRD header of a Cartesian 3D multi-echo scan: XML to encodings (ms to s, Hz to tesla)."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd import plausible
from accelqsm.files.mrd.header import Encoding
from accelqsm.files.mrd.text import Header, parse_xml
from accelqsm.grid import Shape, Triple

IN_IMAGE = ("embedded", "interleaved")
"""Calibration modes whose lines have the contrast of the image."""

APART = ("separate", "external", "other")

LARGEST_OVERSAMPLING = 8.0


def parse_header(path: Path, text: str) -> tuple[Encoding, ...]:
    """Read the header of a Cartesian 3D multi-echo scan; only what is needed has to be right.

    Returns:
        The encodings of the file, as ``encoding_space_ref`` of the lines counts them.

    Raises:
        InputError: unreadable XML, not Cartesian, no echo times, no field, or values that cannot
            be in their unit.
    """
    header = parse_xml(path, text)
    encodings = header.parts("encoding")
    if not encodings:
        raise InputError(f"{path}: expected one encoding, found none")
    echo_times_ms = header.numbers("sequenceParameters/TE")
    if not echo_times_ms:
        raise InputError(f"{path}: expected echo times (sequenceParameters.TE), found none")
    repetition_ms = _optional(header, "sequenceParameters/TR")
    plausible.check_echo_times(path, echo_times_ms, repetition_ms)
    field_t = plausible.field_strength_t(
        path,
        tesla=_field(header, "acquisitionSystemInformation/systemFieldStrength_T"),
        larmor_hz=_field(header, "experimentalConditions/H1resonanceFrequency_Hz"),
    )
    return tuple(
        _encoding(
            encoding,
            echo_times_s=tuple(t * 1e-3 for t in echo_times_ms),
            field_strength_t=field_t,
            repetition_time_s=repetition_ms * 1e-3,
            flip_angle_deg=_optional(header, "sequenceParameters/flipAngle_deg"),
        )
        for encoding in encodings
    )


def _encoding(
    part: Header,
    *,
    echo_times_s: tuple[float, ...],
    field_strength_t: float,
    repetition_time_s: float,
    flip_angle_deg: float,
) -> Encoding:
    trajectory = part.word("trajectory")
    if trajectory is None or trajectory.lower() != "cartesian":
        raise InputError(
            f"{part.path}: expected a cartesian trajectory, found {trajectory or 'none'}"
        )
    encoded, image, fov_mm = _image_grid(part, field_strength_t)
    return Encoding(
        encoded=encoded,
        image=image,
        fov_mm=fov_mm,
        centre=(
            _centre(part, "kspace_encoding_step_1", encoded[1]),
            _centre(part, "kspace_encoding_step_2", encoded[2]),
        ),
        calibration_in_image=_calibration_mode(part) in IN_IMAGE,
        echo_times_s=echo_times_s,
        field_strength_t=field_strength_t,
        repetition_time_s=repetition_time_s,
        flip_angle_deg=flip_angle_deg,
    )


def _image_grid(part: Header, field_t: float) -> tuple[Shape, Shape, Triple]:
    """Encoded matrix, what is left of it without oversampling of the readout, and its field."""
    encoded = _matrix(part, "encodedSpace")
    encoded_mm = _field_of_view(part, "encodedSpace")
    recon_mm = _field_of_view(part, "reconSpace") if part.parts("reconSpace") else encoded_mm
    if min(encoded) < 1 or not all(0 < mm < math.inf for mm in (*encoded_mm, *recon_mm)):
        raise InputError(
            f"{part.path}: expected a matrix and fields of view above 0, found matrix {encoded}, "
            f"encoded and reconstructed fields of view {encoded_mm} and {recon_mm} mm"
        )
    plausible.check_space(part.path, part.named("encodedSpace"), encoded, encoded_mm, field_t)
    factor = max(encoded_mm[0] / recon_mm[0], 1.0)
    if factor > LARGEST_OVERSAMPLING or recon_mm[0] > LARGEST_OVERSAMPLING * encoded_mm[0]:
        raise InputError(
            f"{part.path}: expected fields of view along the readout in one unit, found "
            f"{encoded_mm[0]:g} encoded and {recon_mm[0]:g} reconstructed"
        )
    return encoded, (max(round(encoded[0] / factor), 1), encoded[1], encoded[2]), encoded_mm


def _matrix(part: Header, space: str) -> Shape:
    x, y, z = (part.number(f"{space}/matrixSize/{axis}") for axis in "xyz")
    if any(n != round(n) for n in (x, y, z)):
        raise InputError(
            f"{part.path}: {part.named(space)}.matrixSize: expected whole numbers, found "
            f"{x:g} {y:g} {z:g}"
        )
    return int(x), int(y), int(z)


def _field_of_view(part: Header, space: str) -> Triple:
    x, y, z = (part.number(f"{space}/fieldOfView_mm/{axis}") for axis in "xyz")
    return x, y, z


def _calibration_mode(part: Header) -> str:
    found = (part.word("parallelImaging/calibrationMode") or "embedded").lower()
    if found not in (*IN_IMAGE, *APART):
        raise InputError(
            f"{part.path}: {part.named('parallelImaging.calibrationMode')}: expected "
            f"{', '.join((*IN_IMAGE, *APART))}, found '{found[:40]}'"
        )
    return found


def _centre(part: Header, step: str, n: int) -> int:
    return int(part.number(f"encodingLimits/{step}/center", n // 2))


def _optional(header: Header, where: str) -> float:
    """A value that is recorded alone; 0 where it is none that can be read."""
    try:
        return header.number(where, 0.0)
    except InputError:
        return 0.0


def _field(header: Header, where: str) -> float:
    """A statement of the field, 0 for unknown; one that is no number is left with a word."""
    try:
        return header.number(where, 0.0)
    except InputError as error:
        warnings.warn(InputWarning(f"{error}; it is left"), stacklevel=3)
        return 0.0
