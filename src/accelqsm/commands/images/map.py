"""``accelqsm map``: MRD k-space to susceptibility in one go."""

from __future__ import annotations

import argparse
from dataclasses import replace

from accelqsm.commands.common import (
    SettingsFile,
    add_mask,
    add_qsm,
    add_scan_arguments,
    recon_of,
    save_maps,
)
from accelqsm.errors import naming
from accelqsm.qsm.settings import QsmSettings

NAME = "map"
HELP = "raw data (MRD) to susceptibility in one go"
EXAMPLE = "accelqsm map scan.h5 out --method reconnet3d"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is mapped, and how."""
    add_scan_arguments(parser)
    add_mask(parser, "found from the magnitude")
    add_qsm(parser)


def run(options: argparse.Namespace) -> None:
    """Map, and write maps, images and settings."""
    file = SettingsFile.of(options, "recon", "qsm")
    recon, qsm = recon_of(file), file.settings(QsmSettings, "qsm")
    from accelqsm.api.images import map_susceptibility, read_mrd

    kspace = read_mrd(options.scan, b0_direction=options.b0_direction)
    with naming(options.scan):
        maps = map_susceptibility(kspace, recon, mask=options.mask, settings=qsm)
    save_maps(replace(maps, source={"scan": str(options.scan), **maps.source}), options.out)
