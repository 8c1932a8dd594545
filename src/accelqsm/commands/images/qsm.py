"""``accelqsm qsm``: susceptibility maps from magnitude and phase images."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.commands.common import (
    SettingsFile,
    add_invert_phase,
    add_mask,
    add_out,
    add_qsm,
    add_settings_file,
    results,
    say_maps,
    unsaid,
    write_maps,
)
from accelqsm.commands.images.check import check_images, other_parts
from accelqsm.options.arguments import number
from accelqsm.qsm.settings import QsmSettings

NAME = "qsm"
HELP = "magnitude and phase images to susceptibility"
EXAMPLE = """accelqsm qsm out --megre sub-01/anat
accelqsm qsm out --magnitude mag*.nii.gz --phase phase*.nii.gz --echo-times-s 0.004 0.009 \
--b0-tesla 3"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of images, acquisition parameters and QSM pipeline."""
    add_out(parser)
    parser.add_argument(
        "--megre",
        type=Path,
        metavar="PREFIX",
        help="BIDS folder or prefix of one scan, *_echo-N_part-{mag,phase}_MEGRE.nii[.gz]",
    )
    parts = {
        "magnitude": "magnitude of every echo, 3D files or one 4D file, in place of --megre",
        "phase": "phase of every echo, likewise, or one phase difference (phasediff)",
        "real": "real part of every echo, with --imaginary, in place of --magnitude and --phase",
        "imaginary": "imaginary part of every echo",
        "complex": "complex images of every echo, in place of --magnitude and --phase",
    }
    for part, text in parts.items():
        parser.add_argument(
            f"--{part}", type=Path, nargs="+", default=(), metavar="FILE", help=text
        )
    parser.add_argument(
        "--echo-times-s",
        **number(float, least=-1e6, most=1e6),
        nargs="+",
        metavar="T",
        help="in seconds; by default EchoTime of the JSON sidecars",
    )
    parser.add_argument(
        "--b0-tesla",
        **number(float, least=-1e9, most=1e9),
        metavar="B",
        help="main field in tesla; by default MagneticFieldStrength of the JSON sidecars",
    )
    parser.add_argument(
        "--b0-direction",
        **number(float, least=-1e6, most=1e6),
        nargs=3,
        metavar=("X", "Y", "Z"),
        help="direction of the main field along the array axes; by default B0_dir, else scanner +z",
    )
    parser.add_argument(
        "--phase-range",
        **number(float, least=-1e9, most=1e9),
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values that are -pi and pi; by default determined from sidecars and values",
    )
    add_invert_phase(parser)
    add_mask(parser, "a brain extraction from the magnitude")
    add_settings_file(parser)
    add_qsm(parser)


def run(options: argparse.Namespace) -> None:
    """Compute and write maps and settings."""
    settings = SettingsFile.of(options, "qsm").settings(QsmSettings, "qsm")
    with results(options, NAME) as folder:
        with unsaid():
            check_images(options)
        from accelqsm.api.images import read_images, susceptibility

        images = read_images(
            options.megre or other_parts(options),
            magnitude=list(options.magnitude),
            phase=list(options.phase),
            echo_times_s=options.echo_times_s,
            b0_tesla=options.b0_tesla,
            b0_direction=options.b0_direction,
            phase_range=options.phase_range,
            invert_phase=options.invert_phase,
        )
        write_maps(susceptibility(images, mask=options.mask, settings=settings), folder)
    say_maps(options.out)
