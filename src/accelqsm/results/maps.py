"""Result folder of a mapped scan: maps and settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.figures.figure import Figure
from accelqsm.files.atomic import write_text
from accelqsm.files.field.description import SPELLED
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
from accelqsm.units import hz_to_ppm, ppm_to_hz

CHIMAP = "Chimap.nii.gz"
CHI_SD = "chisd.nii.gz"
NULL_SHARE = "nullshare.nii.gz"
FIELD = "fieldmap.nii.gz"
FIELD_SD = "fieldsd.nii.gz"
LOCAL_FIELD = "localfield.nii.gz"
R2STAR = "R2starmap.nii.gz"
MAGNITUDE = "magnitude.nii.gz"
MASK = "mask.nii.gz"
FIELDS = (FIELD, FIELD_SD, LOCAL_FIELD)
WORDS = {
    "susceptibility (ppm)": (CHIMAP,),
    "fields ({unit})": FIELDS,
    "R2*": (R2STAR,),
    "magnitude": (MAGNITUDE,),
    "mask": (MASK,),
}
LARGEST_CHI_PPM = 20.0
"""Air differs from water by 9.4 ppm, bone and blood by less; metals are not mapped."""

Volume = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FieldMaps(SavedResult):
    """Fields of a scan; all (x, y, z) on ``grid``. What was given or not computed is None.

    Attributes:
        grid: voxel grid of the maps.
        mask: bool, where the last of the maps is known.
        field_hz: total field, unwrapped.
        field_sd_hz: standard deviation of ``field_hz``, zero outside the brain; where there is no
            signal, that of a random phase. Noise is assumed for fewer than three echoes.
        local_field_hz: field of the sources in the mask.
        r2star_per_s: decay rate in 1/s; None for a single echo as well.
        magnitude: root of the sum of squares over channels and echoes.
        settings: settings of the QSM pipeline.
        source: record of the input: files, echo times, field strength and similar.
        device: description of the device that computed them.
        command: name of the command that computes the same.
    """

    grid: Grid
    mask: npt.NDArray[np.bool_]
    field_hz: Volume | None = None
    field_sd_hz: Volume | None = None
    local_field_hz: Volume | None = None
    r2star_per_s: Volume | None = None
    magnitude: Volume | None = None
    settings: QsmSettings = field(default_factory=QsmSettings)
    source: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    command: str = "qsm"

    @property
    def owner(self) -> str:
        """Command whose results these are."""
        return self.command

    def write(self, out: Path) -> None:
        """Write the maps as NIfTI (ppm, 1/s, fields with their unit in a sidecar); settings last.

        Raises:
            InputError: values that are not finite or beyond physics.
        """
        self.check()
        in_unit = 1.0
        if _unit(self.source) == "ppm":
            in_unit = hz_to_ppm(1.0, float(self.source["b0_tesla"]))
        for name, values in self._files().items():
            if values is None:
                continue
            if name in FIELDS:
                values = values * np.float32(in_unit)
                write_text(out / _sidecar(name), json.dumps(self._described(), indent=2) + "\n")
            write_image(out / name, values, self.grid)
        write_settings(out / SETTINGS, self._record())

    def check(self, name: str = "maps") -> None:
        """Refuse values that are not finite.

        Args:
            name: of what was mapped, for the message.

        Raises:
            InputError: with the map and the value.
        """
        for file, values in self._files().items():
            if values is not None:
                check_finite(values, f"{name}: {file}")

    @property
    def said(self) -> str:
        """The maps that there are, in words."""
        files = {name for name, values in self._files().items() if values is not None}
        return ", ".join(
            words.format(unit=SPELLED[_unit(self.source)])
            for words, names in WORDS.items()
            if files & set(names)
        )

    def _files(self) -> dict[str, npt.NDArray[Any] | None]:
        return {
            FIELD: self.field_hz,
            FIELD_SD: self.field_sd_hz,
            LOCAL_FIELD: self.local_field_hz,
            R2STAR: self.r2star_per_s,
            MAGNITUDE: self.magnitude,
            MASK: self.mask,
        }

    def _described(self) -> dict[str, Any]:
        """Sidecar of a field, by which it is read again."""
        known = {"MagneticFieldStrength": "b0_tesla", "B0_dir": "b0_direction"}
        return {"Units": SPELLED[_unit(self.source)]} | {
            key: self.source[name] for key, name in known.items() if name in self.source
        }

    def _record(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "source": dict(self.source),
            "qsm": plain(self.settings),
            "software": software() | {"device": self.device},
        }


@dataclass(frozen=True, kw_only=True)
class SusceptibilityMaps(FieldMaps):
    """Susceptibility of a scan with the maps it is computed from; all (x, y, z) on ``grid``.

    Attributes:
        chi_ppm: susceptibility relative to the reference, zero outside ``mask``.
        chi_sd_ppm: standard deviation of ``chi_ppm`` about the truth, zero outside ``mask``; None
            where it was not estimated.
        null_share: share of each voxel's signal, over the echoes, that a network put in where no
            sample tells of it; None where it was not estimated.
        echoes: the reconstructed images, channels combined; None if the input is images.
        recon: settings of the reconstruction; None if the input is images.
    """

    chi_ppm: Volume
    chi_sd_ppm: Volume | None = None
    null_share: Volume | None = None
    echoes: EchoImages | None = None
    recon: ReconSettings | None = None

    def write(self, out: Path) -> None:
        """Write the maps as NIfTI (ppm, Hz, 1/s), and echoes; the settings last.

        Raises:
            InputError: values that are not finite or beyond physics.
        """
        if self.echoes is not None:
            self.echoes.check("maps")
            write_echoes(out, self.echoes, self.grid, self.source)
        super().write(out)

    def check(self, name: str = "maps") -> None:
        """Refuse values that are not finite, and a susceptibility that no tissue has.

        Args:
            name: of what was mapped, for the message.

        Raises:
            InputError: with the map and the value.
        """
        super().check(name)
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
        own = {NULL_SHARE: self.null_share, CHI_SD: self.chi_sd_ppm, CHIMAP: self.chi_ppm}
        return super()._files() | own

    def _record(self) -> dict[str, Any]:
        recon = {} if self.recon is None else {"recon": plain(self.recon)}
        record = super()._record()
        return {name: record.pop(name) for name in ("command", "source")} | recon | record


def read_maps(folder: str | Path) -> SusceptibilityMaps:
    """Read maps as written by ``SusceptibilityMaps.save``.

    Raises:
        InputError: no maps, or files that cannot be read or do not share a grid.
    """
    out = Path(folder)
    check_folder(out)
    record = read_settings(out / SETTINGS)
    source = record.get("source", {})
    if "until" in source and not (out / CHIMAP).is_file():
        raise InputError(
            f"{out}: expected {CHIMAP}, found the maps of a run that ended at the "
            f"{str(source['until']).replace('-', ' ')}"
        )
    chi = read_volume(out / CHIMAP)

    def volume(name: str) -> Volume:
        image = read_image(out / name, grid=chi.grid)
        return np.asarray(image.values, dtype=np.float32)

    def optional(name: str, *, computed: bool) -> Volume | None:
        return volume(name) if computed or (out / name).is_file() else None

    def field_hz(name: str, *, computed: bool) -> Volume | None:
        values = optional(name, computed=computed)
        if values is None or _unit(source) == "hz":
            return values
        return values * np.float32(ppm_to_hz(1.0, float(source["b0_tesla"])))

    from_images = "field_unit" not in source
    software_record = record.get("software", {})
    return SusceptibilityMaps(
        grid=chi.grid,
        chi_ppm=np.asarray(chi.values, dtype=np.float32),
        mask=volume(MASK) > 0.5,
        field_hz=field_hz(FIELD, computed=from_images),
        field_sd_hz=field_hz(FIELD_SD, computed=from_images),
        local_field_hz=field_hz(LOCAL_FIELD, computed="local_field" not in source),
        r2star_per_s=optional(R2STAR, computed=False),
        magnitude=optional(MAGNITUDE, computed=from_images),
        chi_sd_ppm=optional(CHI_SD, computed=False),
        null_share=optional(NULL_SHARE, computed=False),
        echoes=read_echoes(out, chi.grid),
        settings=settings_of_record(record, out / SETTINGS),
        recon=recon_of_record(record, out / SETTINGS),
        source=source,
        device=str(software_record.get("device", "")),
        command=str(record.get("command", "qsm")),
    )


def _unit(source: Mapping[str, Any]) -> str:
    """Unit in which fields are written: that of a field that was given, else Hz."""
    return str(source.get("field_unit", "hz"))


def _sidecar(name: str) -> str:
    return name.replace(".nii.gz", ".json")
