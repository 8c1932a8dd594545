"""Summaries of results on a terminal, with labels escaped."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from accelqsm.agreement.settings import PlanSettings
from accelqsm.agreement.similarity import lowest_ssim
from accelqsm.agreement.statistics.equivalence import Verdict
from accelqsm.agreement.verdict.verdicts import ProtocolVerdict
from accelqsm.agreement.verdict.words import (
    decide_text,
    headline,
    minutes,
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


def plan_summary(plan: pd.DataFrame, settings: PlanSettings) -> Group:
    """Table of the subjects for each goal per nucleus and protocol, and what they rest on."""
    columns = {
        "target_ppb": ("Target", ".2f"),
        "planned_bias": ("Bias", "+.2f"),
        "sd_compared": ("SD", ".2f"),
        "n_subjects": ("Subjects", ".0f"),
        "n_subjects_upper_sd": ("Upper SD", ".0f"),
        "assurance": ("Assurance", ".2f"),
    }
    power = f"{100 * settings.power:g} %"
    title = f"Subjects for a power of {power} (target, bias and SD in ppb)"
    table = Table(title=title, box=None)
    for heading in ("Nucleus", "Protocol", "Goal"):
        table.add_column(heading, no_wrap=True)
    for heading, _ in columns.values():
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Saves" if "time_saved_s" in plan else "", no_wrap=True)
    table.add_column("Note")
    for _, row in plan.iterrows():
        labels = (Text(str(row[name])) for name in ("region", "protocol", "goal"))
        cells = [number(row[name], spec) for name, (_, spec) in columns.items()]
        saved = row.get("time_saved_s", np.nan)
        time = "" if np.isnan(saved) else minutes(saved)
        table.add_row(*labels, *cells, time, Text(str(row["note"])))
    return Group(table, *map(Text, _plan_words(plan)))


def _plan_words(plan: pd.DataFrame) -> list[str]:
    """Assumptions of a plan: one line for all, or one example of each kind."""
    by_goal = plan.drop_duplicates("goal")
    example = [f"{row['goal']}: {row['assumption']}" for _, row in by_goal.iterrows()]
    which = f" ({plan['region'].iloc[0]}, {plan['protocol'].iloc[0]})" if len(plan) > 1 else ""
    return [
        f"Assumed{which}: {'. '.join(example)}.",
        "Target: margin, smallest difference, or half-width of the interval of a limit of "
        "agreement. Upper SD: subjects if the SD is at the upper end of its interval. Assurance: "
        "chance to show equivalence by what the pilot knows of bias and SD.",
    ]


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
