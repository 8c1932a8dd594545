"""A ball of tissue as a BIDS dataset: three echoes, magnitude and phase, with JSON sidecars."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from accelqsm.files.nifti import write_image
from accelqsm.grid import Grid, centred_grid

GRID = centred_grid((24, 27, 21), (2.0, 2.0, 2.4))
ECHO_TIMES_S = (0.004, 0.009, 0.014)
FIELD_T = 3.0


def ball(grid: Grid = GRID, radius_mm: float = 19.0) -> np.ndarray:
    """Bool (x, y, z): inside the ball."""
    return np.linalg.norm(grid.world_mm(), axis=0) < radius_mm


def echoes(echo_times_s: Sequence[float] = ECHO_TIMES_S) -> list[np.ndarray]:
    """Complex images (x, y, z): a field of 40 Hz and a slope, an offset of 1 rad, noise around."""
    rng = np.random.default_rng(0)
    x, y, z = GRID.world_mm()
    field_hz = 40 + 4 * x + 2 * y * np.exp(-((z / 10) ** 2))
    images = []
    for t in echo_times_s:
        noise = rng.normal(0, 0.005, (2, *GRID.shape))
        signal = ball() * np.exp(-20 * t + 1j * (math.tau * field_hz * t + 1.0))
        images.append(signal + noise[0] + 1j * noise[1])
    return images


def as_siemens(phase_rad: np.ndarray) -> np.ndarray:
    """Phase as whole even numbers, -4096..4094."""
    return (np.round(phase_rad * 2048 / math.pi) * 2).clip(-4096, 4094).astype(np.int16)


def echo_path(folder: Path, echo: int, part: str, scan: str = "sub-01", end: str = "nii") -> Path:
    """Name of one echo's file."""
    return folder / f"{scan}_echo-{echo}_part-{part}_MEGRE.{end}"


def write_json(path: Path, fields: Mapping[str, Any]) -> Path:
    """A sidecar."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields))
    return path


def write_scan(
    folder: Path, scan: str = "sub-01", *, sidecars: bool = True, siemens: bool = False
) -> Path:
    """Write one scan into ``folder``, with a sidecar for each echo and one for the whole scan."""
    folder.mkdir(parents=True, exist_ok=True)
    for echo, image in enumerate(echoes(), start=1):
        phase = np.angle(image).astype(np.float32)
        write_image(echo_path(folder, echo, "mag", scan), np.abs(image).astype(np.float32), GRID)
        write_image(
            echo_path(folder, echo, "phase", scan), as_siemens(phase) if siemens else phase, GRID
        )
        if sidecars:
            fields = {"EchoTime": ECHO_TIMES_S[echo - 1]}
            write_json(folder / f"{scan}_echo-{echo}_MEGRE.json", fields)
    if sidecars:
        write_json(folder / f"{scan}_MEGRE.json", {"MagneticFieldStrength": FIELD_T})
    return folder


def write_dataset(root: Path, **options: Any) -> Path:
    """A dataset of one scan; the field is told at its root. Returns the folder of the images."""
    write_json(root / "dataset_description.json", {"Name": "ball", "BIDSVersion": "1.10.0"})
    folder = write_scan(root / "sub-01" / "anat", **options)
    if (folder / "sub-01_MEGRE.json").is_file():
        (folder / "sub-01_MEGRE.json").rename(root / "MEGRE.json")
    return folder


def paths(folder: Path, part: str, order: Sequence[int] = (1, 2, 3)) -> list[str]:
    """Names of the echoes' files, in some order."""
    return [str(echo_path(folder, echo, part)) for echo in order]


def write_4d(folder: Path) -> list[str]:
    """Write the scan as two 4D files; returns the options that name them."""
    for part, values in (("mag", np.abs), ("phase", np.angle)):
        stacked = np.stack([values(image) for image in echoes()], -1).astype(np.float32)
        write_image(folder / f"{part}.nii.gz", stacked, GRID)
    return ["--magnitude", str(folder / "mag.nii.gz"), "--phase", str(folder / "phase.nii.gz")]
