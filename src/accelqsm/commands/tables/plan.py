"""``accelqsm plan``: subjects of a study, and scan time saved."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.agreement.settings import EVERY_REGION, PlanSettings, named_numbers
from accelqsm.commands.common import SettingsFile, add_overwrite, table
from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings, number

if TYPE_CHECKING:
    import pandas as pd

    from accelqsm.agreement.settings import CompareSettings

NAME = "plan"
HELP = "subjects that a study needs, by what a comparison has shown; scan time saved"
EXAMPLE = """accelqsm plan out --power 0.9 --detect-ppb 2
accelqsm plan --within-sd-ppb 3 --mean-ppb 90 --bias-ppb 1 --scan-time PI=406 --scan-time AF3=275 \
--reference PI"""
LARGEST_PPB = 1e6
PPB = number(float, least=-LARGEST_PPB, most=LARGEST_PPB)
CURVE = "-curve"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of pilot table or within-subject SD, goals, and scan times."""
    parser.add_argument(
        "pilot",
        type=Path,
        nargs="?",
        metavar="COMPARISON",
        help="folder of a comparison, or its agreement.tsv",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="OUT.tsv",
        help="table to write, and OUT-curve.tsv beside it: power against subjects",
    )
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
        metavar="PPB",
        help="true difference, protocol - reference; by default as observed in the pilot",
    )
    bias.add_argument(
        "--bias-observed",
        action="store_true",
        help="plan for the difference of the pilot, as without --bias-ppb",
    )
    parser.add_argument(
        "--scan-time",
        action="append",
        default=[],
        metavar="PROTOCOL=SECONDS",
        help="once per protocol, or the name of a published study; by default as in the comparison",
    )
    parser.add_argument(
        "--reference",
        metavar="PROTOCOL",
        help="the protocol to replace; by default that of the comparison",
    )
    add_settings(parser, PlanSettings)


def run(options: argparse.Namespace) -> None:
    """Compute the plan, write it with its curve if ``--out`` is given, and print it."""
    compared = _compared(options.pilot)
    shared = {} if compared is None else {
        "confidence": compared.confidence, "power": compared.power
    }  # fmt: skip
    settings = SettingsFile(options, {}).settings(PlanSettings, "plan", shared)
    with nullcontext() if options.out is None else table(options) as path:
        plan = _plan(options, settings, compared)
        if path is not None:
            _write(path, plan, settings)
    from accelqsm.reports.console import plan_summary, show

    show(plan_summary(plan, settings))


def _write(path: Path, plan: pd.DataFrame, settings: PlanSettings) -> None:
    from accelqsm.agreement.columns import column_dictionary
    from accelqsm.agreement.planning.curve import power_curve
    from accelqsm.files.tables import write_described_table

    curve = power_curve(plan, settings)
    for name, frame in ((path.stem + CURVE + path.suffix, curve), (path.name, plan)):
        described = column_dictionary(map(str, frame))
        write_described_table(path.with_name(name), frame, described)


def _plan(
    options: argparse.Namespace, settings: PlanSettings, compared: CompareSettings | None
) -> pd.DataFrame:
    from accelqsm.agreement.planning.plan import plan_subjects
    from accelqsm.results.comparison import known_scan_times_s

    times_s = scan_times(options.scan_time)
    pilot = _pilot(options, settings, times_s)
    reference = options.reference
    if compared is not None:
        protocols = [str(name) for name in pilot["protocol"].unique()]
        times_s = times_s or dict(known_scan_times_s(compared, protocols)[0])
        reference = reference or compared.reference
    return plan_subjects(
        pilot, settings, bias_ppb=options.bias_ppb, scan_time_s=times_s, reference=reference
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


def _compared(pilot: Path | None) -> CompareSettings | None:
    """Settings of the comparison in whose folder the pilot lies; None elsewhere."""
    from accelqsm.results.comparison import compare_settings_beside

    return None if pilot is None else compare_settings_beside(pilot)


def _pilot(
    options: argparse.Namespace, settings: PlanSettings, times_s: Mapping[str, float]
) -> pd.DataFrame:
    """Table of the pilot, or of a single nucleus with the numbers given."""
    from accelqsm.agreement.planning.pilot import COLUMNS
    from accelqsm.files.tables import read_table
    from accelqsm.results.comparison import AGREEMENT, TEXT
    from accelqsm.results.integrity.check import check_file

    if options.pilot is None:
        return _one_nucleus(options, settings, times_s)
    if options.within_sd_ppb is not None or options.mean_ppb is not None:
        raise InputError("plan: expected a pilot table or a within-subject SD, found both")
    path = options.pilot / AGREEMENT if options.pilot.is_dir() else options.pilot
    check_file(path)
    return read_table(path, columns=COLUMNS, text=TEXT)


def _one_nucleus(
    options: argparse.Namespace, settings: PlanSettings, times_s: Mapping[str, float]
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
