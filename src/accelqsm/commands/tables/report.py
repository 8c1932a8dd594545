"""``accelqsm report``: rebuild the report of a demo or comparison from its folder."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
HELP = "rebuild the report of a demo or comparison, one HTML file"
EXAMPLE = "accelqsm report out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder, and further formats."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of demo or compare")
    parser.add_argument(
        "--tables",
        action="append",
        default=[],
        choices=("docx", "tex"),
        help="write the tables of the page for Word or LaTeX; may be repeated",
    )
    parser.add_argument(
        "--figures",
        action="store_true",
        help="write the figures as SVG and as PNG of 300 dpi, and a picture for a slide",
    )


def run(options: argparse.Namespace) -> None:
    """Rebuild the report and print its path."""
    from accelqsm.api.agreement import report

    print(report(options.out, tables=options.tables, figures=options.figures))
