"""``accelqsm report``: rebuild the report of a demo or comparison from its folder."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
HELP = "rebuild the report of a demo or comparison, one HTML file"
EXAMPLE = "accelqsm report out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the argument of the folder."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of demo or compare")


def run(options: argparse.Namespace) -> None:
    """Rebuild the report and print its path."""
    from accelqsm.api.agreement import report

    print(report(options.out))
