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
from accelqsm.files.megre.place import check_place
from accelqsm.files.megre.signal import (
    PART_NAMES,
    as_complex,
    check_count,
    check_kinds,
    check_magnitudes,
    complex_echoes,
    polar_echoes,
    tells_decay,
)
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
        inverted: whether the phase was inverted; None if the sign is to be determined.
        tells_decay: whether the magnitudes differ between echoes, so that R2* is known.
    """

    images: Tensor
    acquisition: Acquisition
    b0_direction: Triple
    name: str
    source: Mapping[str, Any]
    inverted: bool | None = None
    tells_decay: bool = True


def read_scan(scan: ScanDescription, *, invert_phase: bool | None = None) -> Echoes:
    """Read every echo as a complex image: from magnitude and phase, real and imaginary, or complex.

    Args:
        scan: files and acquisition parameters.
        invert_phase: the scanner's phase decreases with TE where the field adds to B0; None: not
            known.

    Raises:
        InputError: files that cannot be read, differ in grid or number of echoes, negative
            magnitude, phase of an unknown unit, or no voxel size or orientation.

    Warns:
        InputWarning: padding, a template's orientation, a magnitude that rises.
    """
    parts = {part: read_echoes(paths) for part, paths in scan.files.parts.items()}
    first = next(iter(parts.values()))[0]
    acquisition = Acquisition(first.grid, scan.echo_times_s, scan.field_strength_t)
    for part, echoes in parts.items():
        n_echoes, path = acquisition.n_echoes, echoes[0].path
        check_count(part, path, len(echoes), n_echoes, difference=scan.difference)
    check_kinds(parts)
    for echo in (echo for echoes in parts.values() for echo in echoes):
        check_same_grid(echo.grid, first.grid, echo.path, reference=first.path)
        check_finite(echo.values, echo.path)
    check_place(first, direction_given=scan.b0_direction is not None)
    unit = ""
    if "mag" in parts:
        images, unit = polar_echoes(parts["mag"], parts["phase"], scan)
    else:
        images = complex_echoes(parts)
    if invert_phase:
        images = images.conj()
    import torch  # last, because it takes seconds and files that do not fit are refused before

    direction = scan.b0_direction or acquisition.b0_direction
    name = str(list(scan.files.parts.values())[min(1, len(parts) - 1)][0])
    return Echoes(
        torch.from_numpy(images)[None],
        acquisition,
        direction,
        name,
        _source(scan, acquisition, direction, unit=unit, invert_phase=bool(invert_phase)),
        invert_phase,
        tells_decay(images),
    )


def _source(
    scan: ScanDescription,
    acquisition: Acquisition,
    direction: Triple,
    *,
    unit: str,
    invert_phase: bool,
) -> dict[str, Any]:
    """What is recorded of the files and how they were read."""
    files = {
        PART_NAMES[p].replace(" ", "_"): [str(f) for f in of] for p, of in scan.files.parts.items()
    }
    return {
        **files,
        **({"phase_unit": unit} if unit else {}),
        **({"phase_difference": True} if scan.difference else {}),
        "echo_times_s": list(acquisition.echo_times_s),
        "b0_tesla": acquisition.field_strength_t,
        "b0_direction": list(direction),
        "invert_phase": invert_phase,
    }


def echoes_of_arrays(
    magnitude: nibabel.Nifti1Image,
    phase: nibabel.Nifti1Image,
    *,
    echo_times_s: tuple[float, ...],
    field_strength_t: float,
    b0_direction: Sequence[float] | None = None,
    invert_phase: bool | None = None,
) -> Echoes:
    """Complex images from magnitude and phase in memory, phase in radians.

    Args:
        magnitude, phase: 4D images (x, y, z, echo), or 3D of a single echo.
        echo_times_s: one per echo, in seconds.
        field_strength_t: main field in tesla.
        b0_direction: along the array axes; by default scanner +z, from the affine.
        invert_phase: the phase decreases with TE where the field adds to B0; None: not known.

    Raises:
        InputError: images that do not fit each other or the echo times, or as ``read_scan``.
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
    check_place(parts[0], direction_given=b0_direction is not None)
    check_kinds({"mag": parts[:1], "phase": parts[1:]})
    if parts[0].values.min() < 0:
        raise InputError(f"magnitude: expected values >= 0, found {parts[0].values.min():g}")
    acquisition = Acquisition(grid, echo_times_s, field_strength_t)
    import torch

    values = [
        np.asarray(part.values, dtype=np.float32).reshape(*grid.shape, n_echoes) for part in parts
    ]
    images = as_complex(np.moveaxis(values[0], -1, 0), np.moveaxis(values[1], -1, 0))
    if invert_phase:
        images = images.conj()
    check_magnitudes(images, [parts[0].path] * n_echoes)
    direction = acquisition.b0_direction if b0_direction is None else unit_vector(b0_direction)
    source = {
        "magnitude": "given",
        "phase": "given",
        "phase_unit": "rad",
        "echo_times_s": list(echo_times_s),
        "b0_tesla": field_strength_t,
        "b0_direction": list(direction),
        "invert_phase": bool(invert_phase),
    }
    decay = tells_decay(images)
    return Echoes(
        torch.from_numpy(images)[None], acquisition, direction, "phase", source, invert_phase, decay
    )


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
