"""Report content of a study with maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from accelqsm.agreement.similarity import FIGURE_COLUMNS
from accelqsm.agreement.values import POOLED
from accelqsm.agreement.verdict.words import signed
from accelqsm.figures.figure import Figure
from accelqsm.figures.plots import scatter_figure
from accelqsm.files.tables import read_table
from accelqsm.reports import tables as report_tables
from accelqsm.reports.bibliography import references
from accelqsm.reports.cells import Table, typeset
from accelqsm.reports.checklists.answers import checklists
from accelqsm.reports.content.comparison import (
    comparison_cautions,
    comparison_figures,
    comparison_tables,
    finding_lines,
    people_left_out,
    people_lines,
    people_table,
    single_rows,
)
from accelqsm.reports.content.first_screen import answer, saved_of, terms
from accelqsm.reports.content.forest import forest
from accelqsm.reports.content.illustrations import Illustrations, illustrations, subject_shown
from accelqsm.reports.content.left_out import LeftOut
from accelqsm.reports.content.pictures import figure_of_sampling
from accelqsm.reports.content.scans import StudyFolder, simulated_study
from accelqsm.reports.content.study_records import StudyRecords
from accelqsm.reports.page.content import NONE, Answer, Line, ReportContent
from accelqsm.results.comparison import Comparison, is_comparison, unchecked_comparison
from accelqsm.results.study import (
    ACCURACY,
    AGREEMENT,
    MAPS,
    NUCLEI,
    SIMILARITY,
    TRUTH,
    VALUES_AND_TRUTH,
)

SIMULATED = (
    "Simulated data: digital heads, made by the software that measures them. They show that the "
    "chain works and what it loses against a known truth, not how it does in people."
)
NOBODY_SCANNED = "People stands for digital heads here: nobody was scanned."
PROTOCOL_TERMS = {
    "PI": "parallel imaging at acceleration 2, the reference, with which the others are compared",
    "AF": "acceleration factor: AF3 measures a third of the samples that a full scan takes, and a "
    "network makes the image",
}
POOLED_HEADINGS = ("Nuclei", "Mean difference", "Limits of agreement over nuclei", "Saves")
POOLED_NOTE = (
    "Without enough people there is no yes or no. The rows show the differences over the nuclei, "
    "which say how far the protocols lie apart, not whether one may replace the other."
)
ONE_HEAD = (
    "The nuclei of one head span a wide range of susceptibility, so that a correlation over them "
    "is high for any sensible method; read the differences and the limits of agreement."
)


def study_content(out: Path) -> ReportContent:
    """Report content of a study, from the folder of its maps and comparisons."""
    stored = unchecked_comparison(out / AGREEMENT)
    notes = LeftOut()
    mapped = sorted(path.name for path in (out / MAPS).iterdir())
    largest = subject_shown(stored, mapped)
    subject = mapped[0] if largest is None else largest.subject
    found = notes.make(
        "Pictures of the maps", lambda: simulated_study(out, subject, stored.reference)
    )
    folder = found[0] if found else None
    pictures = illustrations(folder, notes, largest) if folder else Illustrations()
    figures = [
        *pictures.maps, *comparison_figures(stored, notes), *pictures.differences,
        *_figures_of_simulation(out, folder, notes),
    ]  # fmt: skip
    plots = [plot for made in notes.make("Forest plot", lambda: forest(stored)) for plot in made]
    similarity = _similarity_tables(out, notes)
    gaps = people_left_out(stored)
    records = StudyRecords.of(out, {} if folder is None else folder.maps)
    return ReportContent(
        title=f"Accelerated QSM against {stored.reference}",
        subtitle=_subtitle(stored, records),
        answer=_answer(out, stored, simulated=bool(records.scans)),
        forest=next(iter(plots), None),
        terms=terms(stored) | (PROTOCOL_TERMS if records.scans else {}),
        cautions=[*_cautions(stored, records), *pictures.notes, *notes.lines],
        viewer=pictures.viewer,
        summary=[typeset(line) for line in [*finding_lines(stored), *pooled_lines(out)]],
        figures=[*figures, *plots[1:]],
        tables=[*_nuclei_tables(out), *_pooled_tables(out, stored), *similarity],
        people=people_lines(stored, gaps),
        people_table=people_table(gaps),
        settings=records.settings(stored),
        provenance=records.provenance(stored),
        methods=records.methods(stored),
        references=references(records.citations(stored)),
        checklists=checklists(stored, gaps, study=bool(records.scans)),
    )


def pooled_rows(out: Path) -> pd.DataFrame:
    """Agreement of each protocol over all nuclei, with the reference and with the truth.

    Columns protocol, n, r, percent_difference, loa_lower, loa_upper, truth_r, truth_slope; the
    reference has only those of the truth, which are missing without a comparison with the truth.
    """
    against = _pooled(unchecked_comparison(out / AGREEMENT))
    columns = {
        "n": against["n"],
        "r": against["pearson_r"],
        "percent_difference": against["percent_difference"],
        "loa_lower": against["loa_lower"],
        "loa_upper": against["loa_upper"],
    }
    index = against.index
    if is_comparison(out / ACCURACY):
        truth = _pooled(unchecked_comparison(out / ACCURACY))
        columns["truth_r"] = truth["pearson_r"]
        columns["truth_slope"] = truth["pearson_r"] * truth["sd"] / truth["sd_reference"]
        index = truth.index
    frame = pd.DataFrame(columns, index=index)
    return frame.reindex(columns=[*columns, *({"truth_r", "truth_slope"} - set(columns))])


def pooled_lines(out: Path) -> list[str]:
    """Sentences on the pooled agreement of each protocol, the reference last."""
    reference = unchecked_comparison(out / AGREEMENT).reference
    lines, last = [], []
    for protocol, row in pooled_rows(out).iterrows():
        accuracy = ""
        if pd.notna(row["truth_r"]):
            accuracy = (
                f"against the truth: r = {row['truth_r']:.3f}, slope = {row['truth_slope']:.2f}"
            )
        if protocol == reference:
            last.append(f"{reference}: {accuracy}.")
            continue
        lines.append(
            f"{protocol} against {reference} over {row['n']:.0f} values: r = {row['r']:.3f}, "
            f"mean difference {row['percent_difference']:+.1f} %, limits of agreement "
            f"{row['loa_lower']:.1f} to {row['loa_upper']:.1f} ppb"
            + (f"; {accuracy}." if accuracy else ".")
        )
    return [*lines, *last]


def _pooled(stored: Comparison) -> pd.DataFrame:
    rows = stored.agreement
    return rows[rows["region"] == POOLED].set_index("protocol")


def _answer(out: Path, stored: Comparison, *, simulated: bool) -> Answer:
    """The answer; without a verdict the pooled differences of each protocol in its rows."""
    found = answer(stored)
    if simulated:
        found = replace(found, notes=[NOBODY_SCANNED, *found.notes])
    if found.outcome is not NONE:
        return found
    rows = {str(name): row for name, row in pooled_rows(out).iterrows()}
    saved = {one.protocol: saved_of(one, stored) for one in stored.verdicts}
    lines = [
        Line(name, NONE, [typeset(cell) for cell in _pooled_cells(rows[name], saved[name])])
        for name in saved
    ]
    headings = ["Protocol", f"May it replace {stored.reference}?", *POOLED_HEADINGS]
    return replace(found, headings=headings, lines=lines, notes=[*found.notes, POOLED_NOTE])


def _pooled_cells(row: pd.Series[Any], saved: str) -> list[str]:
    limits = f"{signed(row['loa_lower'])} to {signed(row['loa_upper'])} ppb"
    difference = f"{signed(row['percent_difference'])} %"
    return [f"{row['n']:.0f}", difference, limits, saved]


def _figures_of_simulation(out: Path, folder: StudyFolder | None, notes: LeftOut) -> list[Figure]:
    """Accuracy against the truth, and sampling patterns."""
    figures: list[Figure] = []
    if is_comparison(out / ACCURACY):
        figures += notes.make("Accuracy", lambda: _accuracy_figure(out))
    if folder is not None:
        figures += notes.make("Sampling patterns", lambda: figure_of_sampling(folder))
    return figures


def _accuracy_figure(out: Path) -> Figure:
    accuracy = unchecked_comparison(out / ACCURACY)
    values = accuracy.values
    if values is None:
        values = read_table(out / VALUES_AND_TRUTH)
    return scatter_figure(
        values,
        accuracy.agreement,
        reference=accuracy.reference,
        highlight=accuracy.settings.highlight,
    )


def _nuclei_tables(out: Path) -> list[Table]:
    if not (out / NUCLEI).is_file():
        return []
    nuclei = read_table(out / NUCLEI, text=("subject", "note")).fillna({"note": ""})
    both = nuclei[nuclei["side"] == "both"].drop(
        columns=["side", "reference", "reference_ppb"], errors="ignore"
    )
    if both["subject"].nunique() == 1:
        both = both.drop(columns="subject")
    return [report_tables.nuclei_table(both)]


def _pooled_tables(out: Path, stored: Comparison) -> list[Table]:
    """Tables of the comparison; for few subjects those pooled over all nuclei."""
    tables = comparison_tables(stored)
    level = stored.settings.confidence
    rows = stored.agreement
    if not (single_rows(stored)["verdict"] != "").any():
        pooled = rows[rows["region"] == POOLED]
        tables += report_tables.agreement_tables(
            pooled, reference=stored.reference, confidence=level
        )
    if is_comparison(out / ACCURACY):
        accuracy = unchecked_comparison(out / ACCURACY).agreement
        pooled = accuracy[accuracy["region"] == POOLED]
        tables += report_tables.agreement_tables(pooled, reference=TRUTH, confidence=level)
    return tables


def _similarity_tables(out: Path, notes: LeftOut) -> list[Table]:
    if not (out / SIMILARITY).is_file():
        return []
    columns, text = ("protocol", *FIGURE_COLUMNS), ("subject", "protocol", "profile", "unit")
    return notes.make(
        "Similarity of the maps",
        lambda: report_tables.similarity_table(
            read_table(out / SIMILARITY, columns=columns, text=text)
        ),
    )


def _cautions(stored: Comparison, records: StudyRecords) -> list[str]:
    one = stored.values is not None and stored.values["subject"].nunique() == 1
    return [
        *([SIMULATED] if records.scans else []),
        *_measured_beforehand(stored, records),
        *([ONE_HEAD] if one else []),
        *comparison_cautions(stored),
    ]


def _measured_beforehand(stored: Comparison, records: StudyRecords) -> list[str]:
    """Which heads this run measured, and how those were that come with the package."""
    made = records.beforehand
    if not made:
        return []
    new = stored.settings.highlight
    how = ", then ".join(made["commands"])
    return [
        f"New is {new} alone, which this run scanned, mapped and measured: it is ringed in the "
        f"figures and the subject of all pictures. The other {made['heads']} heads were measured "
        f"beforehand by accelqsm {made['software']['accelqsm']} ({how}) and come as numbers."
    ]


def _subtitle(stored: Comparison, records: StudyRecords) -> str:
    people = [] if stored.values is None else list(stored.values["subject"].unique())
    if not records.scans:
        return people[0] if len(people) == 1 else f"{len(people)} people"
    seed = records.scans["seed"]
    if records.beforehand:
        new = stored.settings.highlight
        return f"{len(people)} digital heads, of which {new} (seed {seed}) is new"
    return f"Digital head {', '.join(people)}, seed {seed}"
