"""Reader of magnitude and phase images as complex images of every echo."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.files.megre.description import ScanDescription
from accelqsm.files.megre.phase import given_unit, phase_rad, phase_unit
from accelqsm.files.nifti import Image, check_finite, check_same_grid, image_of, read_image
from accelqsm.grid import Triple, unit_vector

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Echoes:
    """Coil-combined complex images of every echo.

    Attributes:
        images: complex (1, echo, x, y, z).
        acquisition: grid, echo times and field.
        b0_direction: unit vector of the main field along the array axes.
        name: name of the phase, for messages.
        source: files and reading options, for the record of a result.
    """

    images: Tensor
    acquisition: Acquisition
    b0_direction: Triple
    name: str
    source: Mapping[str, Any]


def read_scan(scan: ScanDescription, *, invert_phase: bool = False) -> Echoes:
    """Read magnitude and phase of every echo as complex images.

    Args:
        scan: files and acquisition parameters.
        invert_phase: the scanner's phase decreases with TE where the field adds to B0.

    Raises:
        InputError: files that cannot be read, differ in grid or number of echoes, negative
            magnitude, or phase of an unknown unit.
    """
    magnitudes, phases = read_echoes(scan.files.magnitude), read_echoes(scan.files.phase)
    grid = magnitudes[0].grid
    acquisition = Acquisition(grid, scan.echo_times_s, scan.field_strength_t)
    for name, echoes in (("magnitude", magnitudes), ("phase", phases)):
        if len(echoes) != acquisition.n_echoes:
            raise InputError(
                f"{echoes[0].path}: expected {acquisition.n_echoes} {name} echoes "
                f"(one per echo time), found {len(echoes)}"
            )
    for echo in (*magnitudes, *phases):
        check_same_grid(echo.grid, grid, echo.path, reference=magnitudes[0].path)
        check_finite(echo.values, echo.path)
    for echo in magnitudes:
        if echo.values.min() < 0:
            raise InputError(
                f"{echo.path}: expected a magnitude >= 0, found {float(echo.values.min()):g}"
            )
    unit = (
        phase_unit(phases, units=scan.phase_units)
        if scan.phase_range is None
        else given_unit(phases, *scan.phase_range)
    )
    import torch  # last, because it takes seconds and files that do not fit are refused before

    sign = -1.0 if invert_phase else 1.0
    images = [
        torch.polar(_tensor(echo.values), sign * _tensor(angle))
        for echo, angle in zip(magnitudes, phase_rad(phases, unit), strict=True)
    ]
    direction = scan.b0_direction or acquisition.b0_direction
    source = {
        "magnitude": [str(path) for path in scan.files.magnitude],
        "phase": [str(path) for path in scan.files.phase],
        "phase_unit": unit.name + (", slope ignored" if unit.stored else ""),
        "echo_times_s": list(acquisition.echo_times_s),
        "b0_tesla": acquisition.field_strength_t,
        "b0_direction": list(direction),
        "invert_phase": invert_phase,
    }
    name = str(scan.files.phase[0])
    return Echoes(torch.stack(images)[None], acquisition, direction, name, source)


def echoes_of_arrays(
    magnitude: nibabel.Nifti1Image,
    phase: nibabel.Nifti1Image,
    *,
    echo_times_s: tuple[float, ...],
    field_strength_t: float,
    b0_direction: Sequence[float] | None = None,
    invert_phase: bool = False,
) -> Echoes:
    """Complex images from magnitude and phase in memory, phase in radians.

    Args:
        magnitude, phase: 4D images (x, y, z, echo), or 3D of a single echo.
        echo_times_s: one per echo, in seconds.
        field_strength_t: main field in tesla.
        b0_direction: along the array axes; by default scanner +z, from the affine.
        invert_phase: the phase decreases with TE where the field adds to B0.

    Raises:
        InputError: images that do not fit each other or the echo times.
    """
    parts = []
    for name, image in (("magnitude", magnitude), ("phase", phase)):
        found = image_of(image, Path(name))
        check_finite(found.values, found.path)
        parts.append(found)
    shapes = [part.values.shape for part in parts]
    n_echoes = shapes[0][3] if len(shapes[0]) == 4 else 1
    if shapes[0] != shapes[1] or n_echoes != len(echo_times_s):
        raise InputError(
            f"images: expected magnitude and phase of {len(echo_times_s)} echoes, found shapes "
            f"{shapes[0]} and {shapes[1]}"
        )
    grid = parts[0].grid
    check_same_grid(parts[1].grid, grid, parts[1].path, reference=parts[0].path)
    acquisition = Acquisition(grid, echo_times_s, field_strength_t)
    import torch

    values = [_tensor(part.values).reshape(*grid.shape, n_echoes) for part in parts]
    sign = -1.0 if invert_phase else 1.0
    images = torch.polar(values[0], sign * values[1]).movedim(-1, 0).contiguous()
    direction = acquisition.b0_direction if b0_direction is None else unit_vector(b0_direction)
    source = {
        "magnitude": "given",
        "phase": "given",
        "phase_unit": "rad",
        "echo_times_s": list(echo_times_s),
        "b0_tesla": field_strength_t,
        "b0_direction": list(direction),
        "invert_phase": invert_phase,
    }
    return Echoes(images[None], acquisition, direction, "phase", source)


def read_echoes(paths: Sequence[Path]) -> list[Image]:
    """Read 3D images, one per echo, from 3D files in order or from one 4D file.

    A fourth axis of one volume counts as 3D.

    Raises:
        InputError: several files of which one is 4D.
    """
    images = [read_image(path) for path in paths]
    if len(images) == 1 and images[0].values.ndim == 4:
        return [_volume(images[0], n) for n in range(images[0].values.shape[3])]
    for image in images:
        if image.values.ndim != 3 and image.values.shape[3] != 1:
            raise InputError(
                f"{image.path}: expected one 4D file or 3D files, found {len(paths)} files "
                f"and shape {image.values.shape}"
            )
    return [image if image.values.ndim == 3 else _volume(image, 0) for image in images]


def _volume(image: Image, number: int) -> Image:
    """One volume of a 4D image."""
    return dataclasses.replace(
        image, values=image.values[..., number], stored=image.stored[..., number]
    )


def _tensor(values: np.ndarray) -> Tensor:
    import torch

    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
