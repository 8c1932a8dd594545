"""Result folder of a mapped scan: maps and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.figures.figure import Figure
from accelqsm.files.nifti import check_finite, read_image, read_volume, write_image
from accelqsm.files.toml import read_settings, write_settings
from accelqsm.grid import Grid
from accelqsm.options.table import plain
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.echoes import EchoImages, read_echoes, write_echoes
from accelqsm.results.integrity.check import check_folder
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS, recon_of_record, settings_of_record
from accelqsm.results.saved import SavedResult

CHIMAP = "Chimap.nii.gz"
CHI_SD = "chisd.nii.gz"
FIELD = "fieldmap.nii.gz"
FIELD_SD = "fieldsd.nii.gz"
LOCAL_FIELD = "localfield.nii.gz"
R2STAR = "R2starmap.nii.gz"
MAGNITUDE = "magnitude.nii.gz"
MASK = "mask.nii.gz"
LARGEST_CHI_PPM = 20.0
"""Air differs from water by 9.4 ppm, bone and blood by less; metals are not mapped."""

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SusceptibilityMaps(SavedResult):
    """Susceptibility of a scan with the maps it is computed from; all (x, y, z) on ``grid``.

    Attributes:
        grid: voxel grid of the maps.
        chi_ppm: susceptibility relative to the reference, zero outside ``mask``.
        chi_sd_ppm: standard deviation of ``chi_ppm`` about the truth, zero outside ``mask``; None
            where it was not estimated.
        mask: bool, where ``chi_ppm`` is known.
        field_hz: total field, unwrapped.
        field_sd_hz: standard deviation of ``field_hz``, zero outside the brain; where there is no
            signal, that of a random phase. Noise is assumed for fewer than three echoes.
        local_field_hz: field of the sources in the mask.
        r2star_per_s: decay rate in 1/s; None for a single echo.
        magnitude: root of the sum of squares over channels and echoes.
        echoes: the reconstructed images, channels combined; None if the input is images.
        settings: settings of the QSM pipeline.
        recon: settings of the reconstruction; None if the input is images.
        source: record of the input: files, echo times, field strength and similar.
        device: description of the device that computed them.
        command: name of the command that computes the same.
    """

    grid: Grid
    chi_ppm: Volume
    mask: npt.NDArray[np.bool_]
    field_hz: Volume
    field_sd_hz: Volume
    local_field_hz: Volume
    r2star_per_s: Volume | None
    magnitude: Volume
    chi_sd_ppm: Volume | None = None
    echoes: EchoImages | None = None
    settings: QsmSettings = field(default_factory=QsmSettings)
    recon: ReconSettings | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    command: str = "qsm"

    @property
    def owner(self) -> str:
        """Command whose results these are."""
        return self.command

    def write(self, out: Path) -> None:
        """Write the maps as NIfTI (ppm, Hz, 1/s), and echoes; the settings last.

        Raises:
            InputError: values that are not finite or beyond physics.
        """
        self.check()
        if self.echoes is not None:
            write_echoes(out, self.echoes, self.grid, self.source)
        for name, values in self._files().items():
            if values is not None:
                write_image(out / name, values, self.grid)
        write_settings(out / SETTINGS, self._record())

    def check(self, name: str = "maps") -> None:
        """Refuse values that are not finite, and a susceptibility that no tissue has.

        Args:
            name: of what was mapped, for the message.

        Raises:
            InputError: with the map and the value.
        """
        for file, values in self._files().items():
            if values is not None:
                check_finite(values, f"{name}: {file}")
        if self.echoes is not None:
            self.echoes.check(name)
        largest = float(np.abs(self.chi_ppm).max(initial=0))
        if largest > LARGEST_CHI_PPM:
            raise InputError(
                f"{name}: expected a susceptibility within {LARGEST_CHI_PPM:g} ppm, found "
                f"{largest:.3g} ppm; are mask, phase, echo times, field and voxel sizes right?"
            )

    def plot(self) -> Figure:
        """Figure of susceptibility, magnitude and R2* in three planes through the mask's centre."""
        from accelqsm.figures.maps import maps_figure

        return maps_figure(
            self.chi_ppm,
            self.mask,
            magnitude=self.magnitude,
            r2star_per_s=self.r2star_per_s,
            voxel_size_mm=self.grid.voxel_size_mm,
        )

    def _files(self) -> dict[str, npt.NDArray[Any] | None]:
        return {
            FIELD: self.field_hz,
            FIELD_SD: self.field_sd_hz,
            CHI_SD: self.chi_sd_ppm,
            LOCAL_FIELD: self.local_field_hz,
            R2STAR: self.r2star_per_s,
            MAGNITUDE: self.magnitude,
            MASK: self.mask,
            CHIMAP: self.chi_ppm,
        }

    def _record(self) -> dict[str, Any]:
        recon = {} if self.recon is None else {"recon": plain(self.recon)}
        return {
            "command": self.command,
            "source": dict(self.source),
            **recon,
            "qsm": plain(self.settings),
            "software": software() | {"device": self.device},
        }


def read_maps(folder: str | Path) -> SusceptibilityMaps:
    """Read maps as written by ``SusceptibilityMaps.save``.

    Raises:
        InputError: no maps, or files that cannot be read or do not share a grid.
    """
    out = Path(folder)
    check_folder(out)
    record = read_settings(out / SETTINGS)
    chi = read_volume(out / CHIMAP)

    def volume(name: str) -> Volume:
        image = read_image(out / name, grid=chi.grid)
        return np.asarray(image.values, dtype=np.float32)

    software_record = record.get("software", {})
    return SusceptibilityMaps(
        grid=chi.grid,
        chi_ppm=np.asarray(chi.values, dtype=np.float32),
        mask=volume(MASK) > 0.5,
        field_hz=volume(FIELD),
        field_sd_hz=volume(FIELD_SD),
        local_field_hz=volume(LOCAL_FIELD),
        r2star_per_s=volume(R2STAR) if (out / R2STAR).is_file() else None,
        magnitude=volume(MAGNITUDE),
        chi_sd_ppm=volume(CHI_SD) if (out / CHI_SD).is_file() else None,
        echoes=read_echoes(out, chi.grid),
        settings=settings_of_record(record, out / SETTINGS),
        recon=recon_of_record(record, out / SETTINGS),
        source=record.get("source", {}),
        device=str(software_record.get("device", "")),
        command=str(record.get("command", "qsm")),
    )
