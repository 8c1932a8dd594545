"""Result folder of a reconstruction: magnitude and phase of every echo, and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.files.atomic import write_text
from accelqsm.files.megre.writer import write_megre
from accelqsm.files.nifti import check_finite, read_volume, write_image
from accelqsm.files.toml import write_settings
from accelqsm.grid import Grid
from accelqsm.options.table import plain
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS
from accelqsm.results.saved import SavedResult

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EchoImages:
    """Magnitude and phase of every echo, channels combined; (echo, x, y, z).

    Attributes:
        magnitude: any scale.
        phase_rad: in radians, -pi to pi.
    """

    magnitude: Volume
    phase_rad: Volume

    @property
    def images(self) -> npt.NDArray[np.complex64]:
        """Complex (echo, x, y, z)."""
        images = self.magnitude * np.exp(1j * self.phase_rad)
        return np.asarray(images, dtype=np.complex64)

    def check(self, name: str) -> None:
        """Refuse values that are not finite.

        Raises:
            InputError: with ``name``, and which they are.
        """
        check_finite(self.magnitude, f"{name}: magnitude")
        check_finite(self.phase_rad, f"{name}: phase")


@dataclass(frozen=True)
class Reconstruction(SavedResult):
    """Images of every echo of a scan, with settings and source.

    Attributes:
        echoes: magnitude and phase, (echo, x, y, z).
        grid: voxel grid of the images.
        settings: settings of the reconstruction.
        source: scan, acceleration, echo times and similar.
        device: description of the device that computed them.
    """

    echoes: EchoImages
    grid: Grid
    settings: ReconSettings
    source: Mapping[str, Any]
    device: str = ""

    @property
    def owner(self) -> str:
        """Command whose results these are."""
        return "recon"

    def write(self, out: Path) -> None:
        """Write ``echo-N_part-{mag,phase}.nii.gz``; the settings last."""
        self.echoes.check("echoes")
        write_echoes(out, self.echoes, self.grid, self.source)
        record = {
            "command": "recon",
            "source": dict(self.source),
            "recon": plain(self.settings),
            "software": software() | {"device": self.device},
        }
        write_settings(out / SETTINGS, record)

    def save_bids(self, folder: str | Path, *, subject: str, acq: str = "") -> Path:
        """Write the echoes as BIDS MEGRE images with sidecars, which ``read_images`` reads.

        Args:
            folder: output folder, such as ``sub-01/anat``.
            subject: label, with or without ``sub-``.
            acq: label of the acquisition; none without it.

        Returns:
            The folder.
        """
        entities = [f"sub-{subject.removeprefix('sub-')}", *([f"acq-{acq}"] if acq else [])]
        write_megre(
            Path(folder) / "_".join(entities),
            self.echoes.magnitude,
            self.echoes.phase_rad,
            self.grid,
            echo_times_s=self.source["echo_times_s"],
            field_strength_t=float(self.source["b0_tesla"]),
        )
        return Path(folder)


def write_echoes(
    out: Path, echoes: EchoImages, grid: Grid, source: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write magnitude and phase (rad) of each echo, with sidecars by which they are read again.

    Args:
        out: folder.
        echoes: magnitude and phase.
        grid: voxel grid of the images.
        source: what is known of the scan: echo_times_s, b0_tesla, b0_direction.
    """
    times_s = source.get("echo_times_s", ())
    known = {
        key: source[name]
        for key, name in (("MagneticFieldStrength", "b0_tesla"), ("B0_dir", "b0_direction"))
        if name in source
    }
    for echo, magnitude in enumerate(echoes.magnitude, start=1):
        fields = known | ({"EchoTime": times_s[echo - 1]} if times_s else {})
        for part, values, unit in (
            ("mag", magnitude, {}),
            ("phase", echoes.phase_rad[echo - 1], {"Units": "rad"}),
        ):
            image = out / echo_name(echo, part)
            text = json.dumps(fields | unit, indent=2) + "\n"
            write_text(image.with_name(image.name.replace(".nii.gz", ".json")), text)
            write_image(image, values, grid)


def read_echoes(folder: Path, grid: Grid) -> EchoImages | None:
    """Read images as written by ``write_echoes``; None if there are none."""
    parts: dict[str, list[Volume]] = {"mag": [], "phase": []}
    while (folder / echo_name(len(parts["mag"]) + 1, "mag")).is_file():
        echo = len(parts["mag"]) + 1
        for part, images in parts.items():
            image = read_volume(folder / echo_name(echo, part), grid=grid)
            images.append(np.asarray(image.values, dtype=np.float32))
    if not parts["mag"]:
        return None
    return EchoImages(np.stack(parts["mag"]), np.stack(parts["phase"]))


def last_echo(folder: Path, part: str) -> Path | None:
    """File of the magnitude ("mag") or phase of the last echo, or None."""
    echo = 0
    while (folder / echo_name(echo + 1, part)).is_file():
        echo += 1
    return folder / echo_name(echo, part) if echo else None


def echo_name(echo: int, part: str) -> str:
    """File name of the magnitude ("mag") or phase of an echo."""
    return f"echo-{echo}_part-{part}.nii.gz"
