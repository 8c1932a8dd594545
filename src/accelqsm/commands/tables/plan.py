"""``accelqsm plan``: sample size for an equivalence test, and scan time saved."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.agreement.settings import EVERY_REGION, EquivalenceSettings, named_numbers
from accelqsm.commands.common import SettingsFile, add_overwrite, table
from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings, number

if TYPE_CHECKING:
    import pandas as pd

NAME = "plan"
HELP = "sample size for an equivalence test; scan time saved"
EXAMPLE = """accelqsm plan out/agreement.tsv --power 0.9
accelqsm plan --within-sd-ppb 3 --mean-ppb 90 --scan-time PI=406 --scan-time AF3=275 \
--reference PI"""
LARGEST_PPB = 1e6
PPB = number(float, least=-LARGEST_PPB, most=LARGEST_PPB)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of pilot table or within-subject SD, margins, and scan times."""
    parser.add_argument(
        "pilot",
        type=Path,
        nargs="?",
        metavar="AGREEMENT.tsv",
        help="agreement.tsv of a comparison",
    )
    parser.add_argument("--out", type=Path, metavar="OUT.tsv", help="table to write")
    add_overwrite(parser)
    parser.add_argument(
        "--within-sd-ppb",
        **PPB,
        metavar="PPB",
        help="within-subject SD, in place of a pilot",
    )
    parser.add_argument(
        "--mean-ppb",
        **PPB,
        metavar="PPB",
        help="mean under the reference",
    )
    bias = parser.add_mutually_exclusive_group()
    bias.add_argument(
        "--bias-ppb",
        **PPB,
        default=0.0,
        metavar="PPB",
        help="true difference (default 0)",
    )
    bias.add_argument(
        "--bias-observed", action="store_true", help="plan for the difference of the pilot"
    )
    parser.add_argument(
        "--scan-time",
        action="append",
        default=[],
        metavar="PROTOCOL=SECONDS",
        help="once per protocol, or the name of a published study",
    )
    parser.add_argument("--reference", metavar="PROTOCOL", help="the protocol to replace")
    add_settings(parser, EquivalenceSettings)


def run(options: argparse.Namespace) -> None:
    """Compute the plan, write it if ``--out`` is given, and print it."""
    settings = SettingsFile(options, {}).settings(EquivalenceSettings, "plan")
    with nullcontext() if options.out is None else table(options) as path:
        plan = _plan(options, settings)
        if path is not None:
            from accelqsm.agreement.columns import column_dictionary
            from accelqsm.files.tables import write_described_table

            write_described_table(path, plan, column_dictionary(map(str, plan)))
    from accelqsm.reports.console import plan_summary, show

    show(plan_summary(plan))


def _plan(options: argparse.Namespace, settings: EquivalenceSettings) -> pd.DataFrame:
    from accelqsm.agreement.planning import plan_subjects
    from accelqsm.pipeline.comparison import margin_of_each_region

    times_s = scan_times(options.scan_time)
    pilot = _pilot(options, settings, times_s)
    return plan_subjects(
        pilot,
        margin_percent=settings.margin_percent,
        margin_ppb=margin_of_each_region(settings.margin_ppb, pilot["region"]),
        power=settings.power,
        confidence=settings.confidence,
        bias_ppb=None if options.bias_observed else options.bias_ppb,
        scan_time_s=times_s,
        reference=options.reference,
    )


def scan_times(words: Sequence[str]) -> dict[str, float]:
    """Scan time of each protocol in s, from ``PROTOCOL=SECONDS`` or the name of a published study.

    Raises:
        InputError: a word of neither form.
    """
    if len(words) == 1 and "=" not in words[0]:
        from accelqsm.agreement.published import published

        return dict(published(words[0]).scan_time_s)
    return named_numbers(words, "--scan-time")


def _pilot(
    options: argparse.Namespace, settings: EquivalenceSettings, times_s: Mapping[str, float]
) -> pd.DataFrame:
    """Table of the pilot, or of a single nucleus with the numbers given."""
    from accelqsm.agreement.planning import COLUMNS
    from accelqsm.files.tables import read_table
    from accelqsm.results.comparison import LABELS
    from accelqsm.results.integrity.check import check_file

    if options.pilot is None:
        return _one_nucleus(options, settings, times_s)
    if options.within_sd_ppb is not None or options.mean_ppb is not None:
        raise InputError("plan: expected a pilot table or a within-subject SD, found both")
    check_file(options.pilot)
    return read_table(options.pilot, columns=COLUMNS, text=LABELS)


def _one_nucleus(
    options: argparse.Namespace, settings: EquivalenceSettings, times_s: Mapping[str, float]
) -> pd.DataFrame:
    import pandas as pd

    sd_ppb, mean_ppb = options.within_sd_ppb, options.mean_ppb
    if sd_ppb is None:
        raise InputError(
            "plan: expected a pilot table or a within-subject SD in ppb, found neither"
        )
    if not sd_ppb > 0:
        raise InputError(f"plan: expected a within-subject SD above 0 ppb, found {sd_ppb:g}")
    if mean_ppb is None and EVERY_REGION not in settings.margin_ppb:
        raise InputError("plan: expected a reference mean or a margin in ppb, found neither")
    others = [name for name in times_s if name != options.reference]
    return pd.DataFrame(
        {
            "region": "any",
            "protocol": others or ["any"],
            "mean_reference": float("nan") if mean_ppb is None else mean_ppb,
            "within_subject_sd": sd_ppb,
        }
    )
