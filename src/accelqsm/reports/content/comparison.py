"""Report content of a comparison of values."""

from __future__ import annotations

import pandas as pd

from accelqsm import __version__
from accelqsm.agreement.flow import left_out
from accelqsm.agreement.values import POOLED
from accelqsm.agreement.verdict.words import headline, protocol_sentence
from accelqsm.errors import InputError
from accelqsm.figures.ages import age_figure
from accelqsm.figures.extreme import largest_difference, subject_figure
from accelqsm.figures.figure import Figure
from accelqsm.figures.plots import bland_altman_figure
from accelqsm.reports import tables as report_tables
from accelqsm.reports.bibliography import references
from accelqsm.reports.checklists.answers import checklists
from accelqsm.reports.content.left_out import LeftOut
from accelqsm.reports.content.record import comparison_provenance, comparison_settings
from accelqsm.reports.methods import statistics_citations, statistics_text
from accelqsm.reports.page.content import ReportContent, Table
from accelqsm.reports.sentences import (
    LEAST_PEOPLE,
    margin_text,
    tests,
)
from accelqsm.reports.verdicts import verdict_table
from accelqsm.results.comparison import Comparison

CHECKLISTS = ("grras", "claim")
"""Citation keys of the reporting checklists."""

RESEARCH_ONLY = "Research software, not a medical device."
TABLE_TITLES = {
    "table-1": ("Participants", "Mean ± SD (range), or count (percent)."),
    "table-2": ("Pearson correlation with {reference}", "A high correlation is not agreement."),
    "table-3": (
        "Susceptibility (ppb), mean ± SD, and difference of the means from {reference} (%)",
        "Group means; the limits of agreement show how far individual subjects differ.",
    ),
    "table-4": ("Correlation with age, r (p)", "p-values without adjustment."),
}


def comparison_content(stored: Comparison) -> ReportContent:
    """Report content of a comparison of values without maps."""
    notes = LeftOut()
    figures = comparison_figures(stored, notes)
    gaps = people_left_out(stored)
    cited = ["zhou2025"] if stored.settings.published else []
    return ReportContent(
        title=f"Agreement with {stored.reference}",
        subtitle=f"{_protocols(stored)}, compared by accelqsm {__version__}",
        summary=verdict_lines(stored),
        highlights=verdict_highlights(stored),
        verdict=verdict(stored),
        cautions=[*comparison_cautions(stored), *notes.lines, RESEARCH_ONLY],
        figures=figures,
        tables=comparison_tables(stored),
        people=people_lines(stored, gaps),
        people_table=people_table(gaps),
        settings=comparison_settings(stored.settings),
        provenance=comparison_provenance(stored),
        methods=[statistics_text(stored)],
        references=references([*cited, *statistics_citations(stored), *CHECKLISTS]),
        checklists=checklists(stored, gaps, study=False),
    )


def single_rows(stored: Comparison) -> pd.DataFrame:
    """Rows of the agreement table per nucleus, without the pooled rows."""
    rows = stored.agreement
    return rows[rows["region"] != POOLED]


def verdict_lines(stored: Comparison) -> list[str]:
    """Sentences of the verdict: the headline, then each protocol, then tests."""
    found = stored.verdicts
    if not any(nucleus.decision for one in found for nucleus in one.nuclei):
        return [headline(found)]
    each = [protocol_sentence(one) for one in found] if len(found) > 1 else []
    return [headline(found), *each, *tests(stored)]


def verdict_highlights(stored: Comparison) -> dict[str, str]:
    """Number of equivalent nuclei of each protocol."""
    return {
        f"nuclei equivalent under {one.protocol}": f"{len(one.equivalent)} of {judged}"
        for one in stored.verdicts
        if (judged := len(one.nuclei) - len(one.without))
    }


def verdict(stored: Comparison) -> Table | None:
    """Table of the verdict per nucleus and protocol; None without any verdict."""
    single = single_rows(stored)
    if not (single["verdict"] != "").any():
        return None
    return verdict_table(single, reference=stored.reference, margin=margin_text(stored))


def comparison_cautions(stored: Comparison) -> list[str]:
    """Cautions that apply to every comparison."""
    return [
        f"{stored.reference} is the reference, not the truth: equal values may be equally wrong.",
        "Without a repeated scan under the reference, the effect of a protocol cannot be told from "
        "that of scanning again.",
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


def comparison_tables(stored: Comparison) -> list[Table]:
    """Tables of the published study's form, then all statistics of agreement."""
    single = single_rows(stored)
    enough = bool((single["n"] >= LEAST_PEOPLE).any())
    tables = []
    for name, frame in stored.tables.items():
        if name == "table-2" and not enough:
            continue
        title, caption = (text.format(reference=stored.reference) for text in TABLE_TITLES[name])
        tables.append(Table(title, frame, caption))
    if enough:
        tables += report_tables.agreement_tables(
            single, reference=stored.reference, confidence=stored.settings.confidence
        )
    if stored.ages is not None:
        tables.append(report_tables.age_table(stored.ages, reference=stored.reference))
    if stored.checks is not None:
        tables.append(report_tables.checks_table(stored.checks))
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
    return ", ".join(dict.fromkeys(single_rows(stored)["protocol"].astype(str)))
