"""Report content of a comparison of values."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pandas as pd

from accelqsm import __version__
from accelqsm.agreement.flow import left_out
from accelqsm.agreement.values import POOLED
from accelqsm.agreement.verdict.words import protocol_sentence
from accelqsm.errors import InputError
from accelqsm.figures.ages import age_figure
from accelqsm.figures.extreme import largest_difference, subject_figure
from accelqsm.figures.figure import Figure
from accelqsm.figures.plots import bland_altman_figure
from accelqsm.figures.summary.strips import strips_figure
from accelqsm.reports import tables as report_tables
from accelqsm.reports.bibliography import references
from accelqsm.reports.cells import Table, typeset
from accelqsm.reports.checklists.answers import checklists
from accelqsm.reports.content.first_screen import answer, terms
from accelqsm.reports.content.forest import forest
from accelqsm.reports.content.illustrations import Illustrations, illustrations, subject_shown
from accelqsm.reports.content.left_out import LeftOut
from accelqsm.reports.content.record import comparison_provenance, comparison_settings
from accelqsm.reports.content.scans import measured_scans, measured_study, quality_of
from accelqsm.reports.methods import statistics_citations, statistics_text
from accelqsm.reports.page.content import ReportContent
from accelqsm.reports.sentences import (
    LEAST_PEOPLE,
    changed_ages,
    influence,
    margin_text,
    measured,
    misprints,
    repeats,
    tested,
)
from accelqsm.reports.verdicts import verdict_table
from accelqsm.results.comparison import Comparison

MOST_NAMES = 4
"""Protocols that are named below the title."""
CHECKLISTS = ("grras", "claim")
"""Citation keys of the reporting checklists."""

TABLE_TITLES = {
    "table-1": ("Participants", "Mean ± SD (range), or count (percent)."),
    "table-2": ("Pearson correlation with {reference}", "A high correlation is not agreement."),
    "table-3": (
        "Susceptibility (ppb), mean ± SD, and difference of the means from {reference} (%)",
        "Group means; the limits of agreement show how far individual subjects differ.",
    ),
    "table-4": ("Correlation with age, r (p)", "p-values without adjustment."),
}


def comparison_content(stored: Comparison, out: Path) -> ReportContent:
    """Report content of a comparison of values, with the maps behind them if they are found.

    Args:
        stored: the comparison.
        out: its folder.
    """
    notes = LeftOut()
    pictures, quality = _pictures_of(stored, out, notes)
    figures = [
        *pictures.maps, *comparison_figures(stored, notes), *pictures.differences, *quality
    ]  # fmt: skip
    plots = [plot for made in notes.make("Forest plot", lambda: forest(stored)) for plot in made]
    gaps = people_left_out(stored)
    cited = ["zhou2025"] if stored.settings.published else []
    return ReportContent(
        title=f"Agreement with {stored.reference}",
        subtitle=f"{_protocols(stored)}, compared by accelqsm {__version__}",
        answer=answer(stored),
        forest=next(iter(plots), None),
        terms=terms(stored),
        cautions=[*comparison_cautions(stored), *pictures.notes, *notes.lines],
        viewer=pictures.viewer,
        summary=finding_lines(stored),
        figures=[*figures, *plots[1:]],
        tables=comparison_tables(stored),
        people=people_lines(stored, gaps),
        people_table=people_table(gaps),
        settings=comparison_settings(stored.settings),
        provenance=comparison_provenance(stored),
        methods=[statistics_text(stored)],
        references=references([*cited, *statistics_citations(stored), *CHECKLISTS]),
        checklists=checklists(stored, gaps, study=False),
    )


def _pictures_of(
    stored: Comparison, out: Path, notes: LeftOut
) -> tuple[Illustrations, list[Figure]]:
    """Pictures of the subject with the largest difference among those with maps; quality of all."""
    found = notes.make("Maps behind the values", lambda: measured_scans(stored, out))
    scans = found[0] if found else []
    subjects = sorted({s.subject for s in scans if s.protocol == stored.reference})
    if not subjects:
        return Illustrations(), []
    largest = subject_shown(stored, subjects)
    subject = subjects[0] if largest is None else largest.subject
    folder = notes.make(
        "Pictures of the maps", lambda: measured_study(scans, subject, stored.reference)
    )
    strips = [
        figure
        for quality in notes.make("Quality", lambda: quality_of(scans))
        if quality["value"].notna().any()
        for figure in notes.make("Quality", partial(strips_figure, quality))
    ]
    return (illustrations(folder[0], notes, largest) if folder else Illustrations()), strips


def single_rows(stored: Comparison) -> pd.DataFrame:
    """Rows of the agreement table per nucleus, without the pooled rows."""
    rows = stored.agreement
    return rows[rows["region"] != POOLED]


def finding_lines(stored: Comparison) -> list[str]:
    """Sentences on each protocol and on single nuclei without a yes, then tests."""
    found = stored.verdicts
    if not any(nucleus.decision for one in found for nucleus in one.nuclei):
        return []
    each = [protocol_sentence(one) for one in found] if len(found) > 1 else []
    single = single_rows(stored)
    more = [
        *repeats(stored), *measured(single), *tested(single), *changed_ages(stored),
        *influence(single),
    ]  # fmt: skip
    return [typeset(line) for line in [*each, *more]]


def comparison_cautions(stored: Comparison) -> list[str]:
    """Cautions that apply to every comparison."""
    again = (
        "Without a repeated scan under the reference, the effect of a protocol cannot be told from "
        "that of scanning again."
    )
    return [
        f"{stored.reference} is the reference, not the truth: equal values may be equally wrong.",
        *([again] if stored.repeats is None else []),
    ]


def comparison_figures(stored: Comparison, notes: LeftOut) -> list[Figure]:
    """Figures of a comparison: Bland-Altman per nucleus, the most extreme subject, ages."""
    reference, agreement = stored.reference, stored.agreement
    values = stored.values
    if values is None:
        return notes.make("Bland-Altman, largest difference and ages", _no_values)
    enough = single_rows(stored)["n"].max() >= LEAST_PEOPLE
    regions = list(dict.fromkeys(values["region"])) if enough else [POOLED]
    figures = notes.make(
        "Bland-Altman",
        lambda: bland_altman_figure(
            values,
            agreement,
            reference=reference,
            regions=regions,
            confidence=stored.settings.confidence,
            rescan_ppb=rescan_ppb(stored),
            highlight=stored.settings.highlight,
        ),
    )
    figures += notes.make(
        "The subject with the largest difference",
        lambda: subject_figure(
            values, largest_difference(values, reference=reference), reference=reference
        ),
    )
    ages = stored.ages
    if ages is not None:
        figures += notes.make("Ages", lambda: age_figure(values, stored.ages_years, ages))
    return figures


def rescan_ppb(stored: Comparison) -> dict[tuple[str, str], float]:
    """Region and protocol -> repeatability of the reference, where it was scanned repeatedly."""
    if stored.repeats is None:
        return {}
    known = stored.repeats.dropna(subset=["repeatability_reference"])
    names = zip(known["region"].astype(str), known["protocol"].astype(str), strict=True)
    return dict(zip(names, known["repeatability_reference"].astype(float), strict=True))


def comparison_tables(stored: Comparison) -> list[Table]:
    """Tables of the published study's form, then all statistics of agreement."""
    single = single_rows(stored)
    enough = bool((single["n"] >= LEAST_PEOPLE).any())
    tables = []
    if (single["verdict"] != "").any():
        tables.append(verdict_table(single, reference=stored.reference, margin=margin_text(stored)))
    for name, frame in stored.tables.items():
        if name == "table-2" and not enough:
            continue
        title, caption = (text.format(reference=stored.reference) for text in TABLE_TITLES[name])
        tables.append(Table(title, frame, caption))
    if enough:
        tables += report_tables.agreement_tables(
            single, reference=stored.reference, confidence=stored.settings.confidence
        )
    if stored.repeats is not None:
        tables.append(report_tables.repeats_table(stored.repeats, reference=stored.reference))
    if stored.ages is not None:
        tables.append(report_tables.age_table(stored.ages, reference=stored.reference))
    if stored.checks is not None:
        tables.append(report_tables.checks_table(stored.checks, misprints(stored)))
    return tables


def people_left_out(stored: Comparison) -> pd.DataFrame:
    """Table of excluded subjects; empty if the folder has no values."""
    if stored.values is None:
        return pd.DataFrame(columns=["subject"])
    return left_out(stored.values, reference=stored.reference, participants=stored.participants)


def people_lines(stored: Comparison, gaps: pd.DataFrame) -> list[str]:
    """Sentences on the number of subjects compared and excluded."""
    single = single_rows(stored)
    least, most = int(single["n"].min()), int(single["n"].max())
    pairs = str(least) if least == most else f"{least} to {most}"
    lines = [f"People with values under both protocols, per nucleus: {pairs}."]
    if stored.values is None:
        lines.append("The folder has no values, so that excluded subjects cannot be named.")
    elif gaps.empty:
        n = stored.values["subject"].nunique()
        lines.append(f"{n} measured; nobody was left out: no value and no age is missing.")
    else:
        n = stored.values["subject"].nunique()
        lines.append(f"{n} measured; {gaps['subject'].nunique()} with gaps, listed below.")
    return lines


def people_table(gaps: pd.DataFrame) -> Table | None:
    """Report table of excluded subjects; None without any."""
    if gaps.empty:
        return None
    headings = {
        "subject": "Participant", "protocol": "Protocol", "regions": "Nuclei",
        "reason": "Reason", "left_out_of": "Left out of",
    }  # fmt: skip
    return Table(
        "Left out",
        gaps,
        "Where only some nuclei are missing, the person stays in the comparisons of the others. "
        "A reason other than 'no value' comes from the column note of the table of values.",
        headings,
    )


def _no_values() -> Figure:
    raise InputError("compared-values.tsv: no such file; run compare again")


def _protocols(stored: Comparison) -> str:
    names = list(dict.fromkeys(single_rows(stored)["protocol"].astype(str)))
    return ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} protocols"
