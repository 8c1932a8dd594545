"""``accelqsm values``: tables of nuclei joined to one table of values."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.commands.common import add_overwrite, say, table

NAME = "values"
HELP = "join tables of nuclei of many scans to one table of values, for compare"
EXAMPLE = """accelqsm values out --to values.tsv
accelqsm values sub-*/acq-*/nuclei.tsv --to values.tsv --sides"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of tables and labels."""
    parser.add_argument(
        "tables",
        type=Path,
        nargs="+",
        metavar="TABLE",
        help="tables of nuclei, or folders with them; sub- and acq- in their paths tell whose",
    )
    parser.add_argument(
        "--to",
        dest="out",
        type=Path,
        default=Path("values.tsv"),
        metavar="TSV",
        help="the table (default values.tsv)",
    )
    add_overwrite(parser)
    parser.add_argument("--subject", default="", metavar="LABEL", help="of all tables")
    parser.add_argument("--protocol", default="", metavar="LABEL", help="of all tables")
    parser.add_argument(
        "--sides", action="store_true", help="one value for each side instead of both together"
    )


def run(options: argparse.Namespace) -> None:
    """Join and write the table."""
    with table(options) as path:
        from accelqsm.files.tables import write_described_table
        from accelqsm.study.tables import VALUE_MEANINGS, join_tables

        joined = join_tables(
            options.tables,
            subject=options.subject,
            protocol=options.protocol,
            sides=options.sides,
        )
        write_described_table(path, joined, VALUE_MEANINGS)
    say(options.out, f"{len(joined)} values")
