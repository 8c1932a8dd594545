"""``accelqsm simulate``: simulated scans of digital heads as MRD files with ground truth."""

from __future__ import annotations

import argparse

from accelqsm.commands.common import add_out, check_space, results, say
from accelqsm.options.arguments import SEED, number
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS

NAME = "simulate"
HELP = "simulate scans of digital heads: a BIDS dataset of MRD files with ground truth"
EXAMPLE = "accelqsm simulate bids --subjects 2 --protocols pi af5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of heads, scanner and protocols."""
    add_out(parser, "folder for the scans")
    parser.add_argument(
        "--subjects",
        **number(int, least=-1000, most=1000),
        default=1,
        metavar="N",
        help="digital heads (default 1)",
    )
    parser.add_argument(
        "--seed",
        **SEED,
        default=0,
        metavar="S",
        help="seed of the heads (default 0)",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        default="demo",
        help="size of a scan: quick to try, of the demo, or of the published study (default demo)",
    )
    parser.add_argument(
        "--protocols",
        nargs="+",
        choices=PROTOCOLS,
        default=["pi", "af3", "af4", "af5"],
        help="protocols of each head (default pi af3 af4 af5)",
    )
    parser.add_argument(
        "--t1w",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="a T1-weighted image of each head, as NIfTI (default yes; a dataset without any image "
        "is no valid BIDS)",
    )


def run(options: argparse.Namespace) -> None:
    """Simulate and write the scans."""
    preset = PRESETS[options.preset]
    with results(options, NAME) as folder:
        each = sum(preset.scan_bytes(protocol) for protocol in options.protocols)
        check_space(options.out, options.subjects * each)
        from accelqsm.virtual.scans import simulate_study

        scans = simulate_study(
            folder,
            n_subjects=options.subjects,
            seed=options.seed,
            preset=options.preset,
            protocols=options.protocols,
            t1w=options.t1w,
        )
    say(options.out, f"{len(scans)} scans with labels and true susceptibility")
