"""``accelqsm simulate``: simulated scans of digital heads as MRD files with ground truth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from accelqsm.commands.common import add_out, check_space, results, say
from accelqsm.options.arguments import SEED, number
from accelqsm.simulate.heads.variety import VARIETIES
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS

NAME = "simulate"
HELP = "simulate scans of digital heads: a BIDS dataset of MRD files with ground truth"
EXAMPLE = """accelqsm simulate bids --subjects 2 --protocols pi af5
accelqsm simulate bids --subjects 59 --motion --nuclei nuclei.tsv \\
    --protocols full pi pi-rescan af3 af4 af5 af8 af3-retro af4-retro af5-retro"""


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
        "--participant-label",
        "--participant_label",
        nargs="+",
        default=[],
        metavar="LABEL",
        help="of these heads only those with such labels, with or without sub-; each is as in the "
        "whole dataset, so that one can be simulated in parts",
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
        "--anatomy",
        choices=VARIETIES,
        default="near-template",
        help="how much the heads differ: each a smooth deformation of the template, or as people "
        "do in size, ventricles, sulci and sides (default near-template)",
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
    parser.add_argument(
        "--motion",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="another pose of the head in each scan (default yes for the preset paper alone)",
    )
    _add_tables(parser)


def run(options: argparse.Namespace) -> None:
    """Simulate and write the scans."""
    preset = PRESETS[options.preset]
    with results(options, NAME) as folder:
        each = sum(preset.scan_bytes(protocol) for protocol in options.protocols)
        wanted = len(set(options.participant_label)) or options.subjects
        check_space(options.out, wanted * each)
        from accelqsm.simulate.cohort import PUBLISHED, Cohort, Distribution
        from accelqsm.virtual.scans import simulate_study

        nuclei = PUBLISHED
        if options.nuclei is not None:
            from accelqsm.files.text.distributions import read_distributions

            rows = read_distributions(options.nuclei, list(PUBLISHED)).itertuples()
            nuclei = {name: Distribution(*figures) for name, *figures in rows}
        scans = simulate_study(
            folder,
            Cohort(
                options.subjects,
                options.seed,
                nuclei,
                tuple(options.participant_label),
                options.exact,
            ),
            preset=options.preset,
            protocols=options.protocols,
            t1w=options.t1w,
            changed=_changed(options),
        )
    say(options.out, f"{len(scans)} scans with labels and true susceptibility")


def _changed(options: argparse.Namespace) -> dict[str, Any]:
    """Fields of the preset that the command line sets."""
    changed: dict[str, Any] = {"anatomy": options.anatomy}
    if options.motion is not None:
        changed["moves_between_scans"] = options.motion
    if options.pattern is None:
        return changed
    from accelqsm.results.integrity.check import check_file

    check_file(options.pattern)
    return {**changed, "pattern": str(options.pattern)}


def _add_tables(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a table: sampled positions, and susceptibilities."""
    parser.add_argument(
        "--pattern",
        type=Path,
        metavar="TSV",
        help="positions that the protocol af3, af4, af5 or af8 samples, as accelqsm pattern writes "
        "them, in place of a Poisson disk; the acceleration is that of the table",
    )
    parser.add_argument(
        "--nuclei",
        type=Path,
        metavar="TSV",
        help="how the true susceptibility of nuclei is distributed over heads, columns region, "
        "mean_ppb, sd_ppb and r_age (correlation with age); by default as Zhou et al. 2025 "
        "measured it under parallel imaging",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="the heads themselves have these means, SDs and correlations with age, and not only "
        "those they are drawn from (9 subjects or more)",
    )
