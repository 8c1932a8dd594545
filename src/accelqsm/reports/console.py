"""Summaries of results on a terminal, with labels escaped."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelqsm.agreement.similarity import lowest_ssim
from accelqsm.agreement.statistics.equivalence import Verdict
from accelqsm.agreement.values import POOLED
from accelqsm.reports.sentences import answer, tests, undecided
from accelqsm.results.comparison import Comparison

PIPE_WIDTH = 120
STYLES = {Verdict.EQUIVALENT: "green", Verdict.NOT_EQUIVALENT: "red", Verdict.UNDECIDED: "yellow"}


def show(content: RenderableType) -> None:
    """Print to standard output, with a fixed line width if it is not a terminal."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(content)


def comparison_summary(comparison: Comparison) -> Group:
    """Table of agreement per nucleus and protocol, with the conclusions in a few sentences."""
    single = comparison.agreement[comparison.agreement["region"] != POOLED]
    lines = [answer(comparison), *undecided(comparison), *tests(comparison)]
    return Group(_agreement_rows(single, comparison.settings.reference), *map(Text, lines))


def _agreement_rows(single: pd.DataFrame, reference: str) -> Table:
    table = Table(title=Text(f"Agreement with {reference} (protocol - {reference})"), box=None)
    headings = ("Nucleus", "Protocol", "n", "r", "Diff. %", "Limits, ppb", "ICC", "Verdict")
    for heading in headings:
        left = heading in ("Nucleus", "Protocol", "Verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "Verdict")
    for _, row in single.iterrows():
        verdict = str(row["verdict"])
        style = STYLES[Verdict(verdict)] if verdict else ""
        table.add_row(
            Text(str(row["region"])),
            Text(str(row["protocol"])),
            str(row["n"]),
            number(row["pearson_r"], ".3f"),
            number(row["percent_difference"], "+.1f"),
            f"{number(row['loa_lower'], '.1f')} to {number(row['loa_upper'], '.1f')}",
            number(row["icc"], ".3f"),
            Text(verdict or str(row["note"]), style=style),
        )
    return table


def plan_summary(plan: pd.DataFrame) -> Table:
    """Table of sample size per nucleus and protocol, and scan time saved."""
    columns = {
        "within_subject_sd": ("Within SD, ppb", ".2f"),
        "tost_margin": ("Margin, ppb", ".2f"),
        "planned_bias": ("Bias, ppb", "+.2f"),
        "n_subjects": ("Subjects", ".0f"),
        "power": ("Power", ".3f"),
        "n_subjects_upper_sd": ("At upper SD", ".0f"),
        "time_saved_s": ("Saved per scan, s", ".0f"),
        "time_saved_h": ("Saved in total, h", ".1f"),
    }
    shown = {name: spec for name, spec in columns.items() if name in plan}
    table = Table(title="Sample size for equivalence", box=None)
    table.add_column("Nucleus")
    table.add_column("Protocol")
    for heading, _ in shown.values():
        table.add_column(heading, justify="right")
    for _, row in plan.iterrows():
        cells = [number(row[name], spec) for name, (_, spec) in shown.items()]
        table.add_row(Text(str(row["region"])), Text(str(row["protocol"])), *cells)
    return table


def similarity_summary(figures: pd.DataFrame) -> Group:
    """Table of similarity measures with dynamic range and region."""
    table = Table(title="Similarity of the maps", box=None)
    for heading in ("Figure", "Value", "Unit", "Dynamic range, ppm", "Region", "Profile"):
        table.add_column(heading, justify="right" if heading == "Value" else "left")
    for _, row in figures.iterrows():
        table.add_row(
            str(row["figure"]),
            number(row["value"], ".4g"),
            str(row["unit"]),
            number(row["dynamic_range_ppm"], ".4g"),
            str(row["region"]),
            f"{row['profile']} {row['definition']}".strip(),
        )
    note = (
        "Figures can be compared within a profile only. Published ones without dynamic range and "
        "region cannot be reconstructed: with one range for both, 44.5 dB would leave an SSIM of "
        f"at least {lowest_ssim(44.5):.2f}."
    )
    return Group(table, Text(note))


def number(value: float, spec: str) -> str:
    """Format a table cell: n/a for NaN, no sign before a rounded zero."""
    if np.isnan(value):
        return "n/a"
    text = format(value, spec)
    return text.lstrip("+-") if float(text) == 0 else text
