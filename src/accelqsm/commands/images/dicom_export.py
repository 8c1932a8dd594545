"""``accelqsm export``: write maps as DICOM."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelqsm.commands.common import say

if TYPE_CHECKING:
    from accelqsm.files.dicom.export.elements import MapSeries
    from accelqsm.files.nifti import Image

NAME = "export"
HELP = "susceptibility and R2* as DICOM, in the study and frame of reference of the scan"
EXAMPLE = "accelqsm export out --dicom dicom maps-dicom"
WINDOW_PPB = (-100.0, 200.0)
WINDOW_PER_S = (0.0, 100.0)
STEP_PPB = 0.1
STEP_PER_S = 0.01
PPB_PER_PPM = 1000.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of maps, template examination and output folder."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of maps, as `map` writes it")
    parser.add_argument(
        "dest", type=Path, metavar="DEST", help="new or empty folder: a folder for each series"
    )
    parser.add_argument(
        "--dicom",
        type=Path,
        required=True,
        metavar="TEMPLATE_DICOM_DIR",
        help="DICOM of the scan, which gives patient, study and frame of reference",
    )
    parser.add_argument(
        "--anonymise",
        action="store_true",
        help="remove patient, dates and institution, replace all UIDs at random (DICOM PS3.15, "
        "basic profile)",
    )


def run(options: argparse.Namespace) -> None:
    """Read maps and write them as DICOM series."""
    from accelqsm.errors import naming
    from accelqsm.files.dicom.export.writer import export_maps
    from accelqsm.files.nifti import read_volume
    from accelqsm.files.toml import read_settings
    from accelqsm.results.folder import locked_folder
    from accelqsm.results.integrity.check import check_folder
    from accelqsm.results.maps import CHIMAP, R2STAR
    from accelqsm.results.records import SETTINGS

    check_folder(options.out)
    record = read_settings(options.out / SETTINGS)
    chi = read_volume(options.out / CHIMAP)
    maps = [_susceptibility(chi, record)]
    if (options.out / R2STAR).is_file():
        maps.append(_relaxation(read_volume(options.out / R2STAR, grid=chi.grid), record))
    with locked_folder(options.dest), naming(options.out / CHIMAP):
        written = export_maps(
            maps, chi.grid, options.dicom, options.dest, anonymous=options.anonymise
        )
    for folder, one in zip(written, maps, strict=True):
        say(folder, f"{len(list(folder.iterdir()))} MR images, {one.description}")


def _susceptibility(chi: Image, record: dict[str, Any]) -> MapSeries:
    from accelqsm.files.dicom.export.elements import MapSeries

    table = record.get("qsm", {})
    made = ", ".join(
        f"{key} {table[key]}" for key in ("background", "inversion", "reference") if key in table
    )
    return MapSeries(
        name="susceptibility",
        values=chi.values.astype("float64") * PPB_PER_PPM,
        unit="ppb",
        ucum="[ppb]",
        window=WINDOW_PPB,
        step=STEP_PPB,
        description="QSM (ppb), research, not for diagnosis",
        derivation=f"Magnetic susceptibility in ppb from multi-echo phase; {made}; {_by(record)}",
        kind="QSM",
    )


def _relaxation(r2star: Image, record: dict[str, Any]) -> MapSeries:
    from accelqsm.files.dicom.export.elements import MapSeries

    return MapSeries(
        name="r2star",
        values=r2star.values.astype("float64"),
        unit="1/s",
        ucum="/s",
        window=WINDOW_PER_S,
        step=STEP_PER_S,
        description="R2* (1/s), research, not for diagnosis",
        derivation=f"Decay rate R2* in 1/s from multi-echo magnitude; {_by(record)}",
        kind="R2STAR",
    )


def _by(record: dict[str, Any]) -> str:
    version = record.get("software", {}).get("accelqsm", "of an unknown version")
    return f"accelqsm {version}, research software, not for diagnosis"
