"""Public function that reads a total or a local field."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelqsm.api.inputs import as_image
from accelqsm.api.types import VolumeLike
from accelqsm.errors import InputError
from accelqsm.files.field.description import describe_field
from accelqsm.files.field.record import Field, FieldKind, field_of
from accelqsm.files.nifti import single_volume
from accelqsm.runtime.progress import stage


def read_field(
    total_field: VolumeLike | None = None,
    *,
    local_field: VolumeLike | None = None,
    field_unit: str | None = None,
    field_sd: VolumeLike | None = None,
    magnitude: VolumeLike = (),
    echo_times_s: Sequence[float] | None = None,
    b0_tesla: float | None = None,
    b0_direction: Sequence[float] | None = None,
) -> Field:
    """Read a total or a local field, from which ``susceptibility`` starts.

    Args:
        total_field: path or nibabel image of the unwrapped field of all sources, (x, y, z),
            positive where it adds to B0.
        local_field: likewise of the sources in the mask alone, in place of ``total_field``.
        field_unit: "hz" or "ppm"; by default ``Units`` of the JSON sidecars.
        field_sd: standard deviation of the field in the same unit, whose inverse weighs the
            field; 0 where the field is not known. By default all weights are equal.
        magnitude: one 4D image or one 3D image per echo, whose edges susceptibility may share.
        echo_times_s: of the magnitudes, in seconds, which weigh late ones more; by default
            ``EchoTime`` of the sidecars, else they weigh the same.
        b0_tesla: main field; by default ``MagneticFieldStrength`` of the sidecars.
        b0_direction: along the array axes; by default ``B0_dir``, else scanner +z.

    Returns:
    The field in Hz with its grid and field strength.

    Raises:
        InputError: both fields or none, a unit or field strength that nobody says, or images that
            cannot be read or do not fit each other.
    """
    kind: FieldKind = "total-field" if local_field is None else "local-field"
    given = total_field if local_field is None else local_field
    if given is None or (total_field is not None and local_field is not None):
        both = "both" if given is not None else "neither"
        raise InputError(f"expected --total-field or --local-field, found {both}")
    many = list(magnitude) if isinstance(magnitude, list | tuple) else [magnitude]
    sd = [] if field_sd is None else [field_sd]
    described = describe_field(
        _paths([given, *sd]),
        _paths(many),
        field_unit=field_unit,
        echo_times_s=echo_times_s,
        field_strength_t=b0_tesla,
        b0_direction=b0_direction,
    )
    stage("Reading field")
    image = single_volume(as_image(given, kind.replace("-", " ")))
    found = field_of(
        kind,
        image,
        described,
        field_sd=None if not sd else single_volume(as_image(sd[0], "field sd", grid=image.grid)),
        magnitudes=[as_image(one, "magnitude", grid=image.grid) for one in many],
    )
    stage()
    return found


def _paths(images: Sequence[Any]) -> list[Path]:
    return [Path(one) for one in images if isinstance(one, str | os.PathLike)]
