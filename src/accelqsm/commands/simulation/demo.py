"""``accelqsm demo``: the whole study on one simulated head."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.commands.common import add_out, check_space
from accelqsm.options.arguments import SEED
from accelqsm.virtual.protocols import PRESETS

NAME = "demo"
HELP = "simulate, reconstruct, map, measure, compare, report, on one digital head"
EXAMPLE = "accelqsm demo demo"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of output folder and seed."""
    add_out(
        parser,
        "folder for everything (default demo); an earlier demo there is replaced",
        default=Path("demo"),
    )
    parser.add_argument(
        "--seed",
        **SEED,
        default=11,
        metavar="S",
        help="seed of the digital head (default 11)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the demo and print the path of its report."""
    from accelqsm.results.folder import folder_in_place

    with folder_in_place(options.out, NAME, overwrite=options.overwrite):
        from accelqsm.api.demo import DEMO_PROTOCOLS, run_demo

        each = (PRESETS["demo"].scan_bytes(protocol) for protocol in DEMO_PROTOCOLS)
        check_space(options.out, sum(each))

        print("accelqsm demo: one digital head, scanned with four protocols", flush=True)
        report = run_demo(options.out, seed=options.seed)
        from accelqsm.agreement.verdict.words import headline
        from accelqsm.reports.content.study import pooled_lines
        from accelqsm.results.comparison import unchecked_comparison
        from accelqsm.results.study import AGREEMENT

        print(headline(unchecked_comparison(options.out / AGREEMENT).verdicts), flush=True)
        for line in pooled_lines(options.out):
            print(line, flush=True)
        print(report)
