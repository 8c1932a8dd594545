"""``accelqsm compare``: agreement of protocols in each nucleus."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.agreement.settings import CompareSettings
from accelqsm.commands.common import (
    SettingsFile,
    add_columns,
    add_out,
    add_settings_file,
    columns_of,
    results,
)
from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings

NAME = "compare"
HELP = "agreement of protocols, nucleus by nucleus"
EXAMPLE = """accelqsm compare values.tsv out --reference PI
accelqsm compare values.tsv out --reference PI --scan-time PI=406 --scan-time AF5=131
accelqsm compare values.tsv out --reference PI --repeat "PI rescan=PI"
accelqsm compare values.tsv out --reference PI --participants people.tsv --published zhou2025"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of tables and comparison settings."""
    parser.add_argument(
        "values",
        type=Path,
        metavar="VALUES.tsv",
        help="columns subject, protocol, region, value_ppb; or one for each protocol, region or "
        "both; run or session of repeated scans",
    )
    add_columns(
        parser,
        "subject",
        "protocol",
        "region",
        "value_ppb (or value_ppm)",
        "run, session",
        example="subject=ID value_ppb=chi; region=Pu,Ca of a wide table",
    )
    add_out(parser)
    parser.add_argument(
        "--participants",
        type=Path,
        metavar="TSV",
        help="columns participant_id, age and optionally sex: adds correlations with age",
    )
    add_settings_file(parser)
    add_settings(parser, CompareSettings)


def run(options: argparse.Namespace) -> None:
    """Compare, write tables and settings, and print the verdict."""
    file = SettingsFile.of(options, "compare", "options")
    from accelqsm.results.comparison import compare_table

    table = compare_table(file.record, options.settings)
    settings = file.settings(CompareSettings, "compare", table)
    if not settings.reference:
        if options.settings is not None:
            raise InputError(f"{options.settings}: [compare] expected a reference, found none")
        raise InputError("compare: expected --reference PROTOCOL or --settings TOML, found neither")
    from accelqsm.api.agreement import compare
    from accelqsm.reports.boilerplate import write_methods
    from accelqsm.reports.console import comparison_summary, show

    with results(options, NAME) as folder:
        comparison = compare(
            options.values,
            participants=options.participants,
            columns=columns_of(options),
            settings=settings,
        )
        comparison.write(folder)
        write_methods(folder)
    show(comparison_summary(comparison))
