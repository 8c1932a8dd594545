"""``accelqsm map``: susceptibility maps from MRD k-space."""

from __future__ import annotations

import argparse
from dataclasses import replace

from accelqsm.commands.common import (
    SettingsFile,
    add_invert_phase,
    add_mask,
    add_qsm,
    add_scan_arguments,
    recon_of,
    results,
    say_maps,
    unsaid,
    write_maps,
)
from accelqsm.commands.images.check import check_scan
from accelqsm.errors import naming
from accelqsm.qsm.settings import QsmSettings

NAME = "map"
HELP = "raw data (MRD) to susceptibility maps"
EXAMPLE = "accelqsm map scan.h5 out --method reconnet3d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of scan, mask, reconstruction and QSM pipeline."""
    add_scan_arguments(parser)
    add_invert_phase(parser)
    add_mask(parser, "a brain extraction from the magnitude")
    add_qsm(parser)


def run(options: argparse.Namespace) -> None:
    """Compute and write maps, images and settings."""
    file = SettingsFile.of(options, "recon", "qsm")
    recon, qsm = recon_of(file), file.settings(QsmSettings, "qsm")
    with results(options, NAME) as folder:
        with unsaid():
            check_scan(options, recon)
        from accelqsm.api.images import map_susceptibility, read_mrd

        kspace = read_mrd(options.scan, b0_direction=options.b0_direction)
        with naming(options.scan):
            maps = map_susceptibility(
                kspace,
                recon,
                mask=options.mask,
                settings=qsm,
                invert_phase=options.invert_phase,
            )
        source = {"scan": str(options.scan), **maps.source}
        write_maps(replace(maps, source=source), folder)
    say_maps(options.out, maps)
