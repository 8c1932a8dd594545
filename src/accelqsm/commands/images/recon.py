"""``accelqsm recon``: magnitude and phase of every echo from MRD k-space."""

from __future__ import annotations

import argparse
from dataclasses import replace

from accelqsm.commands.common import (
    SettingsFile,
    add_scan_arguments,
    recon_of,
    results,
    say,
    unsaid,
)
from accelqsm.commands.images.check import check_scan
from accelqsm.errors import naming

NAME = "recon"
HELP = "raw data (MRD) to magnitude and phase of every echo"
EXAMPLE = "accelqsm recon scan.h5 out --method grappa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of scan and reconstruction."""
    add_scan_arguments(parser)


def run(options: argparse.Namespace) -> None:
    """Reconstruct and write images and settings."""
    recon = recon_of(SettingsFile.of(options, "recon"))
    with results(options, NAME) as folder:
        with unsaid():
            check_scan(options, recon)
        from accelqsm.api.images import read_mrd, reconstruct_echoes
        from accelqsm.reports.boilerplate import write_methods

        kspace = read_mrd(options.scan, b0_direction=options.b0_direction)
        with naming(options.scan):
            images = reconstruct_echoes(kspace, recon)
        replace(images, source={"scan": str(options.scan), **images.source}).write(folder)
        write_methods(folder)
    say(options.out, "magnitude and phase (rad) of every echo, settings, methods text")
