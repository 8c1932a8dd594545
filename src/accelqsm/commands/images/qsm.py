"""``accelqsm qsm``: susceptibility maps from magnitude and phase images, or from a field."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

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
from accelqsm.commands.images.check import check_images, check_maps_space, other_parts
from accelqsm.errors import InputError
from accelqsm.options.arguments import number
from accelqsm.qsm.settings import UNTIL, QsmSettings
from accelqsm.units import FIELD_UNITS

if TYPE_CHECKING:
    from accelqsm.files.field.record import Field
    from accelqsm.files.megre.echoes import Echoes

NAME = "qsm"
HELP = "magnitude and phase images, or a total or local field, to susceptibility"
EXAMPLE = """accelqsm qsm out --megre sub-01/anat
accelqsm qsm out --magnitude mag*.nii.gz --phase phase*.nii.gz --echo-times-s 0.004 0.009 \
--b0-tesla 3
accelqsm qsm out --total-field field.nii.gz --field-unit hz --b0-tesla 3 --mask mask.nii.gz"""

OF_PHASE = ("megre", "phase", "real", "imaginary", "complex", "phase_range", "invert_phase")
"""Arguments that a field leaves nothing to do for."""


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
    add_mask(parser, "a brain extraction from the magnitude; a field needs one")
    _add_field(parser)
    add_settings_file(parser)
    add_qsm(parser)


def _add_field(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a field to start from, and of the map to end at."""
    fields = {
        "total-field": "unwrapped field of all sources, in place of phase; --magnitude is optional",
        "local-field": "field of the sources in the mask alone, likewise",
        "field-sd": "standard deviation of the field, in its unit, whose inverse weighs it; by "
        "default all weights are equal",
    }
    for name, text in fields.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--field-unit",
        choices=FIELD_UNITS,
        help="of fields, read and written; by default Units of the JSON sidecars",
    )
    parser.add_argument(
        "--until", choices=UNTIL, default=UNTIL[-1], help="last map to compute and write"
    )


def run(options: argparse.Namespace) -> None:
    """Compute and write maps and settings."""
    settings = SettingsFile.of(options, "qsm").settings(QsmSettings, "qsm")
    with results(options, NAME) as folder:
        images = _field(options) if options.total_field or options.local_field else _images(options)
        from accelqsm.api.images import susceptibility

        maps = susceptibility(images, mask=options.mask, settings=settings, until=options.until)
        write_maps(maps, folder)
    say_maps(options.out, maps)


def _field(options: argparse.Namespace) -> Field:
    """The field, without anything that says otherwise.

    Raises:
        InputError: arguments of phase, or as ``read_field``.
    """
    from accelqsm.api.fields import read_field

    for name in OF_PHASE:
        if getattr(options, name) not in (None, ()):
            raise InputError(
                "--total-field or --local-field: expected no arguments of phase, found "
                f"--{name.replace('_', '-')}"
            )
    field = read_field(
        options.total_field,
        local_field=options.local_field,
        field_unit=options.field_unit,
        field_sd=options.field_sd,
        magnitude=list(options.magnitude),
        echo_times_s=options.echo_times_s,
        b0_tesla=options.b0_tesla,
        b0_direction=options.b0_direction,
    )
    check_maps_space(options.out, field.grid)
    return field


def _images(options: argparse.Namespace) -> Echoes:
    """The images, after a check of what their headers tell.

    Raises:
        InputError: arguments of a field, or as ``read_images``.
    """
    for name in ("field_sd", "field_unit"):
        if getattr(options, name) is not None:
            raise InputError(
                f"--{name.replace('_', '-')}: expected --total-field or --local-field with it, "
                "found neither"
            )
    with unsaid():
        check_images(options)
    from accelqsm.api.images import read_images

    return read_images(
        options.megre or other_parts(options),
        magnitude=list(options.magnitude),
        phase=list(options.phase),
        echo_times_s=options.echo_times_s,
        b0_tesla=options.b0_tesla,
        b0_direction=options.b0_direction,
        phase_range=options.phase_range,
        invert_phase=options.invert_phase,
    )
