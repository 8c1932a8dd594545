"""Records of the content of a report, independent of its layout."""

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
    """Interactive viewer of maps with overlaid nuclei.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        still: static figure of the same, for print and where scripts cannot run.
        maps: name -> susceptibility as compressed NIfTI in ppb, all on one grid.
        labels: compressed NIfTI of integer labels on that grid.
        regions: label value -> region; both sides of a nucleus have one region.
        names: label value -> displayed name, where it differs from the region.
        window_ppb: values shown black and white.
        start: initial position of the crosshair, as a fraction (0 to 1) of each axis.
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
    """Content of a report, in the order of the page.

    Attributes:
        title: heading of the page.
        subtitle: one line below it: participant, date, software.
        summary: the findings, one sentence each, the most important first.
        highlights: label -> value, shown large next to the summary (at most four).
        verdict: the verdict per nucleus and protocol, shown next to the summary.
        cautions: limitations that the reader must know.
        figures: figures in order.
        viewer: interactive viewer, after the figures.
        tables: tables in order.
        people: sentences on the subjects compared and excluded.
        people_table: one row per excluded subject and protocol.
        checklists: answers to reporting checklists.
        settings: all settings of the processing, name -> value.
        provenance: software versions, seeds, checksums of weights and inputs, name -> value.
        methods: paragraphs of a methods section.
        references: lines of the reference list.
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
