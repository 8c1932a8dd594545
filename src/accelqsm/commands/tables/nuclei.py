"""``accelqsm nuclei``: susceptibility of nuclei in a map."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from accelqsm.commands.common import SettingsFile, add_mask, add_settings_file, say
from accelqsm.errors import InputError
from accelqsm.files.atlases import ATLASES, DEFAULT
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.options.arguments import add_settings

NAME = "nuclei"
HELP = "susceptibility of each nucleus in a map"
EXAMPLE = """accelqsm nuclei Chimap.nii.gz out --magnitude magnitude.nii.gz --t1w T1w.nii.gz
accelqsm nuclei Chimap.nii.gz nuclei.tsv --labels labels.nii.gz --lookup labels.tsv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of map, labels or atlas, and measurement."""
    parser.add_argument("chimap", type=Path, metavar="CHIMAP", help="susceptibility, NIfTI, ppm")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="OUT.tsv with --labels alone, otherwise a folder"
    )
    files = {
        "--magnitude": "magnitude of the same scan: registers an atlas",
        "--t1w": "T1-weighted image of the same head, any pose",
        "--labels": "integers on the map's grid, in place of an atlas",
        "--lookup": "table with index and name of each label",
        "--reference-magnitude": "magnitude of another scan of this head, on the grid of --labels: "
        "co-registers them to this scan",
        "--r2star": "R2* map in 1/s, to segment the CSF for --reference csf",
    }
    for name, text in files.items():
        parser.add_argument(name, type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--atlas",
        metavar="DIR",
        help=f"folder, or {' or '.join(ATLASES.names)} (default {DEFAULT}; downloaded once)",
    )
    parser.add_argument(
        "--resample",
        action="store_true",
        help="resample the map to the other scan instead of propagating the labels to this one "
        "(it smooths)",
    )
    add_mask(parser, "where the map is not zero")
    add_settings_file(parser)
    add_settings(parser, MeasureSettings)


def run(options: argparse.Namespace) -> None:
    """Measure and write table, labels and settings."""
    settings = SettingsFile.of(options, "nuclei").settings(MeasureSettings, "nuclei")
    _check(options, settings)
    from accelqsm.api import nuclei
    from accelqsm.files.toml import write_settings
    from accelqsm.reports.boilerplate import write_methods
    from accelqsm.results.nuclei import nuclei_record, write_nuclei

    head = nuclei.mapped_head(
        options.chimap,
        magnitude=options.magnitude,
        mask=options.mask,
        r2star_per_s=options.r2star,
    )
    source = {
        "chimap": str(options.chimap),
        "mask": "where the map is not zero" if options.mask is None else str(options.mask),
    }
    if options.labels is None:
        found = nuclei.locate_nuclei(head, atlas=options.atlas, t1w=options.t1w, settings=settings)
    elif options.reference_magnitude is not None:
        found = nuclei.coregister_nuclei(
            head,
            labels=options.labels,
            lookup=options.lookup,
            reference_magnitude=options.reference_magnitude,
            resample=options.resample,
            settings=settings,
        )
    else:
        table = nuclei.measure_nuclei(
            head, labels=options.labels, lookup=options.lookup, settings=settings
        )
        write_nuclei(options.out, table)
        source |= {"labels": str(options.labels), "lookup": str(options.lookup)}
        write_settings(options.out.with_suffix(".toml"), nuclei_record(settings, source))
        say(options.out, f"{len(table)} rows; columns in {options.out.with_suffix('.json').name}")
        return
    source |= {"magnitude": str(options.magnitude)}
    replace(found, source={**found.source, **source}).save(options.out)
    write_methods(options.out)
    say(options.out, "nuclei.tsv, labels, quality metrics with figure, settings, methods text")


def _check(options: argparse.Namespace, settings: MeasureSettings) -> None:
    """Check for arguments that cannot be combined."""
    if options.labels is None:
        if options.reference_magnitude is not None or options.resample or options.lookup:
            raise InputError(
                "nuclei: expected --labels with --lookup, --reference-magnitude and --resample"
            )
        if options.magnitude is None:
            raise InputError("nuclei: expected --magnitude FILE, or --labels FILE, found neither")
        return
    if options.lookup is None:
        raise InputError("nuclei: expected --lookup TSV with --labels, found none")
    if options.atlas is not None or options.t1w is not None or settings.weighted:
        raise InputError("nuclei: expected --atlas, --t1w and --weighted without --labels")
    if options.reference_magnitude is not None and options.magnitude is None:
        raise InputError("nuclei: expected --magnitude with --reference-magnitude, found none")
    if options.resample and options.reference_magnitude is None:
        raise InputError("nuclei: expected --reference-magnitude with --resample, found none")
