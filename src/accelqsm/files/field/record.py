"""A total or local field with what is known of its noise and of the anatomy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.files.field.description import FieldDescription
from accelqsm.files.megre.place import check_place
from accelqsm.files.nifti import Image, check_finite, check_same_grid
from accelqsm.grid import Grid, Triple
from accelqsm.units import FieldUnit, ppm_to_hz

FieldKind = Literal["total-field", "local-field"]
Volume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Field:
    """A field to start from; all volumes (x, y, z) on ``grid``.

    Attributes:
        kind: of all sources, unwrapped, or of those in the mask alone.
        field_hz: positive where the field adds to B0.
        grid: voxel grid.
        field_strength_t: main field in tesla.
        b0_direction: unit vector of the main field along the array axes.
        unit: in which fields are read and written.
        field_sd_hz: standard deviation of the field; None for equal weights.
        magnitude: root of the sum of squares over echoes, or None.
        late_magnitude: the same, weighted by the echo times where they are known.
        name: of the field, for messages.
        source: files and reading options, for the record of a result.
    """

    kind: FieldKind
    field_hz: Volume
    grid: Grid
    field_strength_t: float
    b0_direction: Triple
    unit: FieldUnit
    field_sd_hz: Volume | None
    magnitude: Volume | None
    late_magnitude: Volume | None
    name: str
    source: Mapping[str, Any]


def field_of(
    kind: FieldKind,
    image: Image,
    described: FieldDescription,
    *,
    field_sd: Image | None = None,
    magnitudes: Sequence[Image] = (),
) -> Field:
    """Convert images to a ``Field`` in Hz.

    Args:
        kind: of the field.
        image: the field, 3D.
        described: its unit, main field and echo times.
        field_sd: its standard deviation in the same unit.
        magnitudes: 3D images, one per echo, or one 4D image.

    Raises:
        InputError: images of other grids, negative magnitudes or standard deviations, echo times
            of another number than of magnitudes, or no orientation.
    """
    for other in [*([] if field_sd is None else [field_sd]), *magnitudes]:
        check_same_grid(other.grid, image.grid, other.path, reference=image.path)
        check_finite(other.values, other.path)
        if float(other.values.min()) < 0:
            raise InputError(f"{other.path}: expected values >= 0, found {other.values.min():g}")
    check_place(image, direction_given=described.b0_direction is not None)
    echoes, times_s = _echoes(magnitudes), described.echo_times_s
    if echoes is not None and times_s and len(times_s) != len(echoes):
        raise InputError(
            f"{magnitudes[0].path}: expected {len(times_s)} echoes (one per echo time), found "
            f"{len(echoes)}"
        )
    direction = described.b0_direction or image.grid.b0_direction
    return Field(
        kind,
        _in_hz(image, described),
        image.grid,
        described.field_strength_t,
        direction,
        described.unit,
        None if field_sd is None else _in_hz(field_sd, described),
        None if echoes is None else _root_sum(echoes, np.ones(len(echoes))),
        None if echoes is None else _root_sum(echoes, np.array(times_s or [1.0] * len(echoes))),
        str(image.path),
        {
            kind.replace("-", "_"): str(image.path),
            "field_unit": described.unit,
            **({} if field_sd is None else {"field_sd": str(field_sd.path)}),
            **({"magnitude": [str(m.path) for m in magnitudes]} if magnitudes else {}),
            **({"echo_times_s": list(times_s)} if magnitudes and times_s else {}),
            "b0_tesla": described.field_strength_t,
            "b0_direction": list(direction),
        },
    )


def _in_hz(image: Image, described: FieldDescription) -> Volume:
    values = np.asarray(image.values, dtype=np.float64)
    if described.unit == "ppm":
        values = ppm_to_hz(values, described.field_strength_t)
    return values.astype(np.float32)


def _echoes(magnitudes: Sequence[Image]) -> Volume | None:
    """Magnitudes as (echo, x, y, z); None of none."""
    if not magnitudes:
        return None
    if len(magnitudes) == 1 and magnitudes[0].values.ndim == 4:
        return np.moveaxis(magnitudes[0].values, -1, 0).astype(np.float32)
    for one in magnitudes:
        if one.values.squeeze().ndim != 3:
            raise InputError(
                f"{one.path}: expected one 4D file or 3D files, found {len(magnitudes)} files and "
                f"shape {one.values.shape}"
            )
    return np.stack([m.values.reshape(m.grid.shape) for m in magnitudes]).astype(np.float32)


def _root_sum(echoes: Volume, weights: npt.NDArray[np.float64]) -> Volume:
    largest = float(echoes.max()) or 1.0  # squares of large numbers exceed single precision
    total = np.einsum("e,exyz->xyz", weights**2, (echoes / largest).astype(np.float64) ** 2)
    root: Volume = (np.sqrt(total) * largest).astype(np.float32)
    return root
