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
from accelqsm.agreement.verdict.verdicts import ProtocolVerdict
from accelqsm.agreement.verdict.words import (
    decide_text,
    headline,
    numbers_text,
    protocol_sentence,
)
from accelqsm.reports.sentences import tests
from accelqsm.results.comparison import Comparison

PIPE_WIDTH = 120
STYLES = {Verdict.EQUIVALENT: "green", Verdict.NOT_EQUIVALENT: "red", Verdict.UNDECIDED: "yellow"}


def show(content: RenderableType) -> None:
    """Print to standard output, with a fixed line width if it is not a terminal."""
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    console.print(content)


def comparison_summary(comparison: Comparison) -> Group:
    """The verdict in one line, then a table per nucleus and protocol, then tests."""
    found = comparison.verdicts
    each = [protocol_sentence(one) for one in found] if len(found) > 1 else []
    rows = _verdict_rows(comparison, found)
    return Group(Text(headline(found)), rows, *map(Text, [*each, *tests(comparison)]))


def _verdict_rows(comparison: Comparison, found: list[ProtocolVerdict]) -> Table:
    reference = comparison.settings.reference
    table = Table(title=Text(f"Agreement with {reference} (protocol - {reference})"), box=None)
    headings = ("Nucleus", "Protocol", "n", "Diff.", "Limits, ppb", "r", "ICC", "Verdict")
    for heading in headings:
        left = heading in ("Nucleus", "Protocol", "Diff.", "Verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=heading != "Verdict")
    rows = {(row["region"], row["protocol"]): row for _, row in comparison.agreement.iterrows()}
    for nucleus in (nucleus for one in found for nucleus in one.nuclei):
        row = rows[nucleus.region, nucleus.protocol]
        decision = nucleus.decision
        word = decision.value if decision else nucleus.reason
        table.add_row(
            Text(nucleus.region),
            Text(nucleus.protocol),
            str(nucleus.n),
            numbers_text(nucleus) if decision else number(nucleus.bias_percent, "+.1f"),
            f"{number(row['loa_lower'], '.1f')} to {number(row['loa_upper'], '.1f')}",
            number(row["pearson_r"], ".3f"),
            number(row["icc"], ".3f"),
            Text("; ".join(filter(None, [word, decide_text(nucleus)])), _style(decision)),
        )
    return table


def _style(decision: Verdict | None) -> str:
    return STYLES[decision] if decision else ""


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
