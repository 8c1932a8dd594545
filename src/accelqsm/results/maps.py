"""What a mapped scan leaves on disk: the maps, and the settings that made them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.files.settings import settings_from
from accelqsm.files.tables import write_settings
from accelqsm.grid import Grid
from accelqsm.qsm.chain import QsmResult
from accelqsm.qsm.settings import QsmSettings
from accelqsm.results.provenance import device_name, software

CHIMAP = "Chimap.nii.gz"
FIELD = "fieldmap.nii.gz"
FIELD_SD = "fieldsd.nii.gz"
LOCAL_FIELD = "localfield.nii.gz"
R2STAR = "R2starmap.nii.gz"
MASK = "mask.nii.gz"
SETTINGS = "settings.toml"


def map_folder(out: Path, subject: str, protocol: str) -> Path:
    """Where the maps of one scan of a study are."""
    return out / "maps" / subject / f"acq-{protocol}"


def write_echoes(out: Path, images: Tensor, grid: Grid) -> None:
    """Write combined images, complex (echo, x, y, z), as magnitude and phase (rad) of each echo."""
    for echo, image in enumerate(images, start=1):
        write_image(out / f"echo-{echo}_part-mag.nii.gz", array(image.abs()), grid)
        write_image(out / f"echo-{echo}_part-phase.nii.gz", array(image.angle()), grid)


def write_maps(
    out: Path,
    result: QsmResult,
    grid: Grid,
    *,
    settings: QsmSettings,
    source: Mapping[str, Any],
    device: torch.device,
) -> None:
    """Write susceptibility (ppm), fields (Hz), R2* (1/s), the mask left, and ``settings.toml``.

    The settings come last, with the source and the device that computed: where they stand, the
    maps are complete.
    """
    (out / SETTINGS).unlink(missing_ok=True)
    write_image(out / FIELD, array(result.field_hz), grid)
    write_image(out / FIELD_SD, array(result.field_sd_hz), grid)
    write_image(out / LOCAL_FIELD, array(result.local_field_hz), grid)
    (out / R2STAR).unlink(missing_ok=True)  # a single echo has none, whatever was here before
    if result.r2star_per_s is not None:
        write_image(out / R2STAR, array(result.r2star_per_s), grid)
    write_image(out / MASK, array(result.mask), grid)
    write_image(out / CHIMAP, array(result.chi_ppm), grid)
    write_settings(
        out / SETTINGS,
        {
            "source": dict(source),
            "qsm": plain(dataclasses.asdict(settings)),
            "software": software() | {"device": device_name(device)},
        },
    )


def read_qsm_settings(path: Path | None) -> QsmSettings:
    """Settings of the chain from the ``[qsm]`` table of a ``settings.toml``; defaults without one.

    Raises:
        InputError: a file that is not TOML, or names a setting that does not exist.
    """
    return settings_from(path, "qsm", QsmSettings())


def read_mask(path: Path | None, grid: Grid) -> Tensor | None:
    """A mask on ``grid`` (inside: above one half), or None without a path.

    Raises:
        InputError: another grid, or nothing inside.
    """
    if path is None:
        return None
    inside = read_volume(path, grid=grid).values > 0.5
    if not inside.any():
        raise InputError(f"{path}: expected a mask with voxels above 0.5, found none")
    return torch.from_numpy(np.ascontiguousarray(inside))


def array(tensor: Tensor) -> npt.NDArray[Any]:
    """A tensor as an array on the CPU."""
    values: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return values


def plain(value: Any) -> Any:
    """Nested settings as TOML can hold them (None is left out)."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
