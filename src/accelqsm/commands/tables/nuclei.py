"""``accelqsm nuclei``: susceptibility of nuclei in a map."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.commands.common import (
    SettingsFile,
    add_columns,
    add_mask,
    add_out,
    add_settings_file,
    columns_of,
    results,
    say,
    table,
    unsaid,
)
from accelqsm.errors import InputError
from accelqsm.files.atlases import ATLASES, DEFAULT, find_atlas
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.options.arguments import add_settings

if TYPE_CHECKING:
    from accelqsm.pipeline.nuclei.head import MappedHead
    from accelqsm.results.nuclei import NucleiResult

NAME = "nuclei"
HELP = "susceptibility of each nucleus in a map"
EXAMPLE = """accelqsm nuclei Chimap.nii.gz out --magnitude magnitude.nii.gz --t1w T1w.nii.gz
accelqsm nuclei Chimap.nii.gz nuclei.tsv --labels labels.nii.gz --lookup labels.tsv"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of map, labels or atlas, and measurement."""
    parser.add_argument("chimap", type=Path, metavar="CHIMAP", help="susceptibility, NIfTI, ppm")
    add_out(parser, "OUT.tsv with --labels alone, otherwise a folder")
    files = {
        "--magnitude": "magnitude of the same scan: registers an atlas",
        "--t1w": "T1-weighted image of the same head, any pose",
        "--labels": "integers on the map's grid, in place of an atlas",
        "--lookup": "table with index and name of each label",
        "--reference-magnitude": "magnitude of another scan of this head, on the grid of --labels: "
        "co-registers them to this scan",
        "--r2star": "R2* map in 1/s, to segment the CSF for --reference csf",
        "--chi-sd": "standard deviation of susceptibility in ppm, for intervals of the means",
    }
    for name, text in files.items():
        parser.add_argument(name, type=Path, metavar="FILE", help=text)
    add_columns(parser, "index", "name", example="of --lookup, such as index=id name=acronym")
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
    names = columns_of(options)
    if options.labels is not None and options.reference_magnitude is None:
        with table(options) as path:
            with unsaid():
                _check_files(options, names)
            n_rows = _measure(options, settings, names, path)
        say(options.out, f"{n_rows} rows; columns in {options.out.with_suffix('.json').name}")
        return
    with results(options, NAME) as folder:
        with unsaid():
            _check_files(options, names)
        from accelqsm.reports.boilerplate import write_methods

        _located(options, settings, names).write(folder)
        write_methods(folder)
    say(options.out, "nuclei.tsv, labels, quality with picture, settings, methods text")


def _measure(
    options: argparse.Namespace, settings: MeasureSettings, names: Mapping[str, str], path: Path
) -> int:
    """Measure labels that lie on the map, and write the table; the number of its rows."""
    from accelqsm.api import nuclei
    from accelqsm.files.text.lookup import read_lookup
    from accelqsm.files.toml import write_settings
    from accelqsm.results.nuclei import nuclei_record, write_nuclei

    measured = nuclei.measure_nuclei(
        _head(options),
        labels=options.labels,
        lookup=read_lookup(options.lookup, names),
        settings=settings,
    )
    write_nuclei(path, measured)
    source = _source(options) | {"labels": str(options.labels), "lookup": str(options.lookup)}
    write_settings(path.with_suffix(".toml"), nuclei_record(settings, source))
    return len(measured)


def _located(
    options: argparse.Namespace, settings: MeasureSettings, names: Mapping[str, str]
) -> NucleiResult:
    """Nuclei of an atlas, or with another scan's labels."""
    from accelqsm.api import nuclei
    from accelqsm.files.text.lookup import read_lookup

    head, source = _head(options), _source(options) | {"magnitude": str(options.magnitude)}
    if options.labels is None:
        found = nuclei.locate_nuclei(head, atlas=options.atlas, t1w=options.t1w, settings=settings)
    else:
        found = nuclei.coregister_nuclei(
            head,
            labels=options.labels,
            lookup=read_lookup(options.lookup, names),
            reference_magnitude=options.reference_magnitude,
            resample=options.resample,
            settings=settings,
        )
        source |= {"lookup": str(options.lookup)}
    return replace(found, source={**found.source, **source})


def _head(options: argparse.Namespace) -> MappedHead:
    from accelqsm.api.nuclei import mapped_head

    return mapped_head(
        options.chimap,
        magnitude=options.magnitude,
        mask=options.mask,
        r2star_per_s=options.r2star,
        chi_sd=options.chi_sd,
    )


def _source(options: argparse.Namespace) -> dict[str, str]:
    return {
        "chimap": str(options.chimap),
        "mask": "where the map is not zero" if options.mask is None else str(options.mask),
        "chi_sd": "none" if options.chi_sd is None else str(options.chi_sd),
    }


def _check_files(options: argparse.Namespace, names: Mapping[str, str]) -> None:
    """Refuse images that do not share a grid, by their headers, and a lookup that has no labels."""
    from accelqsm.files.nifti import check_same_grid, read_header

    chi = read_header(options.chimap)
    apart = options.reference_magnitude
    reference = chi if apart is None else read_header(apart)
    if options.t1w is not None:
        read_header(options.t1w)
    if options.labels is None:
        find_atlas(options.atlas or DEFAULT)
    for path in (options.mask, options.r2star, options.chi_sd):
        if path is not None:
            check_same_grid(read_header(path).grid, chi.grid, path, reference=chi.path)
    if options.labels is not None:
        from accelqsm.files.text.lookup import read_lookup

        labels = read_header(options.labels)
        check_same_grid(labels.grid, reference.grid, labels.path, reference=reference.path)
        read_lookup(options.lookup, names)
    if (
        options.magnitude is not None
        and read_header(options.magnitude).grid.shape != chi.grid.shape
    ):
        check_same_grid(
            read_header(options.magnitude).grid, chi.grid, options.magnitude, reference=chi.path
        )


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
