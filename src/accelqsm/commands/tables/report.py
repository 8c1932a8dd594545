"""``accelqsm report``: the report of a demo or comparison, rebuilt from its folder."""

from __future__ import annotations

import argparse
from pathlib import Path

NAME = "report"
HELP = "rebuild the report of a demo or comparison, one HTML file"
EXAMPLE = "accelqsm report out"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the results are."""
    parser.add_argument("out", type=Path, metavar="OUT", help="folder of demo or compare")


def run(options: argparse.Namespace) -> None:
    """Rebuild the report and say where it is."""
    from accelqsm.api.agreement import report

    print(report(options.out))
