"""What a report holds, as plain data: it is gathered first and laid out later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from accelqsm.figures.figure import Figure


@dataclass(frozen=True)
class Table:
    """A table with a caption; missing values are shown as n/a.

    Attributes:
        title: short heading.
        frame: the rows, shown without their index; the first column names the row.
        caption: what the columns mean, with units.
        headings: column name -> heading, where they differ.
        formats: column name -> format such as ".1f", or "p" for p-values; ".4g" when absent.
    """

    title: str
    frame: pd.DataFrame
    caption: str = ""
    headings: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Viewer:
    """Maps to look through, with the nuclei over them.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        still: a picture of the same, where the viewer cannot run and on paper.
        maps: name -> susceptibility as compressed NIfTI in ppb, all on one grid.
        labels: compressed NIfTI of whole numbers on that grid.
        regions: label value -> region; both sides of a nucleus have one region.
        names: label value -> what it is called, where that is not its region.
        window_ppb: values shown black and white.
        start: where the cross stands at first, as a share (0 to 1) of each axis.
    """

    title: str
    caption: str
    still: Figure
    maps: Mapping[str, bytes]
    labels: bytes
    regions: Mapping[int, str]
    names: Mapping[int, str] = field(default_factory=dict)
    window_ppb: tuple[float, float] = (-100.0, 200.0)
    start: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ReportContent:
    """Everything on the page, in the order in which it is read.

    Attributes:
        title: heading of the page.
        subtitle: one line below it: participant, date, software.
        summary: the findings, one sentence each, the most important first.
        highlights: label -> figure, shown large beside the summary (at most four read well).
        verdict: the answer per nucleus and protocol, shown beside the summary.
        cautions: what the reader must know before trusting a figure.
        figures: in order.
        viewer: maps to look through, after the figures.
        tables: in order.
        people: how many were compared, and who was left out and why, in words.
        people_table: one row per person and protocol left out.
        checklists: what reporting guidelines ask for, and where it stands.
        settings: every setting of the processing, name -> value.
        provenance: software versions, seeds, checksums of weights and inputs, name -> value.
        methods: paragraphs that could stand in a paper.
        references: one line each.
    """

    title: str
    summary: Sequence[str]
    subtitle: str = ""
    highlights: Mapping[str, str] = field(default_factory=dict)
    verdict: Table | None = None
    cautions: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    viewer: Viewer | None = None
    tables: Sequence[Table] = ()
    people: Sequence[str] = ()
    people_table: Table | None = None
    checklists: Sequence[Table] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    methods: Sequence[str] = ()
    references: Sequence[str] = ()
