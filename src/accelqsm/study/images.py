"""Magnitude and phase images of any scanner to susceptibility."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.files.nifti import Image, check_finite, check_same_grid, read_image
from accelqsm.files.phase import phase_rad
from accelqsm.grid import Triple
from accelqsm.qsm.chain import QsmResult, susceptibility
from accelqsm.qsm.field import lag_products
from accelqsm.study.maps import read_mask, read_qsm_settings, write_maps


def qsm_images(
    magnitude: Sequence[Path],
    phase: Sequence[Path],
    out: Path,
    *,
    echo_times_s: Sequence[float],
    field_strength_t: float,
    b0_direction: Sequence[float] | None = None,
    mask: Path | None = None,
    invert_phase: bool = False,
    settings: Path | None = None,
) -> QsmResult:
    """Map susceptibility from the magnitude and phase of every echo, and write the maps.

    Args:
        magnitude, phase: one 4D image (x, y, z, echo) or one 3D image per echo, each.
        out: folder for ``Chimap.nii.gz`` (ppm), ``fieldmap.nii.gz`` and ``localfield.nii.gz``
            (Hz), ``mask.nii.gz`` (what is left of the mask) and ``settings.toml``.
        echo_times_s: one per echo, in seconds.
        field_strength_t: main field in tesla.
        b0_direction: along the array axes; by default scanner +z, from the affine.
        mask: NIfTI on the same grid; by default found from the magnitude.
        invert_phase: the scanner's phase falls where the field adds to B0.
        settings: ``settings.toml`` of an earlier run, to replay its ``[qsm]`` table.

    Raises:
        InputError: files that cannot be read, or do not fit each other or the echo times.
    """
    images, acquisition = read_channel(
        magnitude,
        phase,
        echo_times_s=echo_times_s,
        field_strength_t=field_strength_t,
        invert_phase=invert_phase,
    )
    qsm_settings = read_qsm_settings(settings)
    direction = acquisition.b0_direction if b0_direction is None else unit_vector(b0_direction)
    products = lag_products(images, echo_times_s=acquisition.echo_times_s)
    result = susceptibility(
        products,
        grid=acquisition.grid,
        b0_direction=direction,
        field_strength_t=field_strength_t,
        mask=read_mask(mask, acquisition.grid),
        settings=qsm_settings,
    )
    source = {
        "magnitude": [str(path) for path in magnitude],
        "phase": [str(path) for path in phase],
        "echo_times_s": list(acquisition.echo_times_s),
        "b0_tesla": field_strength_t,
        "b0_direction": list(direction),
        "invert_phase": invert_phase,
        "mask": "from the magnitude" if mask is None else str(mask),
    }
    write_maps(out, result, acquisition.grid, settings=qsm_settings, source=source)
    return result


def read_channel(
    magnitude: Sequence[Path],
    phase: Sequence[Path],
    *,
    echo_times_s: Sequence[float],
    field_strength_t: float,
    invert_phase: bool = False,
) -> tuple[Tensor, Acquisition]:
    """Magnitude and phase as one complex channel (1, echo, x, y, z), and its acquisition.

    Raises:
        InputError: files that cannot be read, differ in grid or number of echoes, negative
            magnitude, or phase of an unknown unit.
    """
    magnitudes, phases = read_echoes(magnitude), read_echoes(phase)
    grid = magnitudes[0].grid
    acquisition = Acquisition(grid, tuple(float(t) for t in echo_times_s), field_strength_t)
    for name, echoes in (("magnitude", magnitudes), ("phase", phases)):
        if len(echoes) != acquisition.n_echoes:
            raise InputError(
                f"{echoes[0].path}: expected {acquisition.n_echoes} {name} echoes "
                f"(one per echo time), found {len(echoes)}"
            )
    for echo in (*magnitudes, *phases):
        check_same_grid(echo.grid, grid, echo.path)
        check_finite(echo.values, echo.path)
    for echo in magnitudes:
        if echo.values.min() < 0:
            raise InputError(
                f"{echo.path}: expected a magnitude >= 0, found {float(echo.values.min()):g}"
            )
    sign = -1.0 if invert_phase else 1.0
    images = [
        torch.polar(_tensor(echo.values), sign * _tensor(angle))
        for echo, angle in zip(magnitudes, phase_rad(phases), strict=True)
    ]
    return torch.stack(images)[None], acquisition


def read_echoes(paths: Sequence[Path]) -> list[Image]:
    """3D images, one per echo, from 3D files in order or from one 4D file.

    Raises:
        InputError: several files of which one is 4D.
    """
    images = [read_image(path) for path in paths]
    if len(images) == 1 and images[0].values.ndim == 4:
        image = images[0]
        return [
            dataclasses.replace(image, values=image.values[..., n], stored=image.stored[..., n])
            for n in range(image.values.shape[3])
        ]
    for image in images:
        if image.values.ndim != 3:
            raise InputError(
                f"{image.path}: expected one 4D file or 3D files, found {len(paths)} files "
                f"and shape {image.values.shape}"
            )
    return images


def unit_vector(vector: Sequence[float]) -> Triple:
    """The direction of ``vector`` with length 1.

    Raises:
        InputError: not three finite numbers, or zero.
    """
    length = math.sqrt(sum(v * v for v in vector))
    if len(vector) != 3 or not math.isfinite(length) or length == 0:
        raise InputError(f"B0 direction: expected three numbers, not all 0, found {list(vector)}")
    return vector[0] / length, vector[1] / length, vector[2] / length


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32, order="C"))
