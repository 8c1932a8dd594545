"""Sidecars of imported images, completed with the fields that BIDS and mapping require."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accelqsm.files.atomic import write_text
from accelqsm.files.dicom.header.records import Header
from accelqsm.files.dicom.series import Stack
from accelqsm.files.nifti import read_image, write_image

CLOSE_RAD = 0.02
REAL_WORDS = ("R", "REAL", "R_FFE")
LEFT_OUT = ("BidsGuess",)
LEAST_GAUSS, GAUSS_PER_TESLA = 1000, 10000
"""Some scanners write 30000 for 3 T, which no field of a scanner in tesla reaches."""


def complete_sidecar(
    fields: dict[str, Any], stack: Stack, header: Header, *, echo: int, image: Path
) -> dict[str, Any]:
    """Complete a sidecar with the fields that BIDS and mapping require.

    Args:
        fields: as dcm2niix wrote them.
        stack: part and echo time, which win.
        header: of the series, for what is missing.
        echo: number of the echo; 0 for an image of a single one.
        image: a phase image is read, so that its ``Units`` can be told.
    """
    complete = {key: value for key, value in fields.items() if key not in LEFT_OUT}
    if stack.echo_time_s:
        complete["EchoTime"] = stack.echo_time_s
    known = {
        "MagneticFieldStrength": header.field_t,
        "Manufacturer": header.manufacturer or None,
        "FlipAngle": header.flip_angle_deg,
    }
    if echo:
        complete["EchoNumber"] = echo
        known["RepetitionTimeExcitation"] = header.repetition_time_s
    for key, value in known.items():
        if value is not None:
            complete.setdefault(key, value)
    field = complete.get("MagneticFieldStrength")
    if isinstance(field, int | float) and field >= LEAST_GAUSS:
        complete["MagneticFieldStrength"] = field / GAUSS_PER_TESLA
    if stack.part == "phase":
        complete["Units"] = "rad" if _is_in_radians(image) else "arbitrary"
    return complete


def _is_in_radians(path: Path) -> bool:
    """Whether values are non-integers within one turn around zero, or from zero."""
    values = np.asarray(read_image(path).values, dtype=np.float32)
    low, high = float(values.min()), float(values.max())
    symmetric = -math.pi - CLOSE_RAD <= low and high <= math.pi + CLOSE_RAD
    positive = low >= 0 and high <= math.tau + CLOSE_RAD
    return (symmetric or positive) and high > low and not bool(np.all(values == np.round(values)))


def polar_images(folder: Path, names: Sequence[str]) -> None:
    """Write magnitude (if there is none) and phase from real and imaginary images.

    Args:
        folder: of the images and sidecars.
        names: of the images, without ending.
    """
    for name in names:
        if "_part-real_" not in name:
            continue
        other = name.replace("_part-real_", "_part-imag_")
        real, imaginary = (read_image(folder / f"{one}.nii.gz") for one in (name, other))
        complex_image = real.values.astype(np.float32) + 1j * imaginary.values.astype(np.float32)
        fields = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        fields["ImageType"] = [w for w in fields.get("ImageType", []) if w not in REAL_WORDS]
        fields["Sources"] = [f"{name}.nii.gz", f"{other}.nii.gz"]
        for part, values in (("mag", np.abs(complex_image)), ("phase", np.angle(complex_image))):
            stem = name.replace("_part-real_", f"_part-{part}_")
            if (folder / f"{stem}.nii.gz").exists():
                continue
            units = {"Units": "rad"} if part == "phase" else {}
            write_image(folder / f"{stem}.nii.gz", values.astype(np.float32), real.grid)
            text = json.dumps(fields | units, indent=2, ensure_ascii=False)
            write_text(folder / f"{stem}.json", f"{text}\n")
