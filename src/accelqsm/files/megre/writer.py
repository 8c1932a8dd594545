"""Writer of magnitude and phase of every echo as BIDS MEGRE images with sidecars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.nifti import write_image
from accelqsm.grid import Grid


def write_megre(
    prefix: Path,
    magnitude: npt.NDArray[Any],
    phase_rad: npt.NDArray[Any],
    grid: Grid,
    *,
    echo_times_s: Sequence[float],
    field_strength_t: float,
) -> None:
    """Write ``PREFIX_echo-N_part-{mag,phase}_MEGRE.nii.gz``, each with a JSON sidecar.

    Args:
        prefix: folder and entities, such as ``anat/sub-01_acq-pi``.
        magnitude, phase_rad: (echo, x, y, z); phase in radians.
        grid: voxel grid of the images.
        echo_times_s: one per echo, in seconds.
        field_strength_t: main field in tesla.

    Raises:
        InputError: another number of echo times than of echoes.

    Source: BIDS 1.11, magnetic resonance imaging data (multi-echo gradient echo, phase in rad).
    """
    if not len(magnitude) == len(phase_rad) == len(echo_times_s):
        raise InputError(
            f"{prefix}: expected {len(echo_times_s)} echoes (one per echo time), found "
            f"{len(magnitude)} of magnitude and {len(phase_rad)} of phase"
        )
    for echo, echo_time_s in enumerate(echo_times_s, start=1):
        known = {"EchoTime": echo_time_s, "MagneticFieldStrength": field_strength_t}
        for part, values in (("mag", magnitude), ("phase", phase_rad)):
            stem = f"{prefix.name}_echo-{echo}_part-{part}_MEGRE"
            units = {"Units": "rad"} if part == "phase" else {}
            text = json.dumps(known | units, indent=2) + "\n"
            write_text(prefix.with_name(f"{stem}.json"), text)
            write_image(prefix.with_name(f"{stem}.nii.gz"), values[echo - 1], grid)
