"""Records of the content of a report, independent of its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from accelqsm.figures.figure import Figure
from accelqsm.reports.cells import Table


@dataclass(frozen=True)
class Outcome:
    """Overall decision on a protocol, in a sign, a word and a colour that say the same.

    Attributes:
        tone: class of the style sheet that has the colour.
    """

    sign: str
    word: str
    tone: str


YES = Outcome("✓", "Yes", "yes")
PARTLY = Outcome("◐", "For some nuclei", "partly")
OPEN = Outcome("?", "Undecided", "open")
NO = Outcome("✗", "No", "no")
NONE = Outcome("–", "No verdict", "none")


@dataclass(frozen=True)
class Line:
    """Row of the answer: a protocol, its outcome, and a cell per further heading."""

    protocol: str
    outcome: Outcome
    cells: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """The first screen: one line, and a row per protocol.

    Attributes:
        text: the line.
        outcome: sign, word and colour of the line.
        headings: of the rows: protocol, outcome, and the further cells.
        lines: rows.
        notes: what the rows mean, in a sentence or two.
    """

    text: str
    outcome: Outcome = NONE
    headings: Sequence[str] = ()
    lines: Sequence[Line] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ViewerMap:
    """A volume of the viewer.

    Attributes:
        volume: compressed NIfTI.
        kind: what it shows; maps of a kind are listed together.
        unit: unit of its values, or empty.
        window: values shown black and white.
        colours: colour map of the viewer's script.
    """

    volume: bytes
    kind: str = "Susceptibility"
    unit: str = "ppb"
    window: tuple[float, float] = (-100.0, 200.0)
    colours: str = "gray"


@dataclass(frozen=True)
class Viewer:
    """Interactive viewer of maps with overlaid nuclei.

    Attributes:
        title: short heading.
        caption: what is shown and how to read it.
        still: static figure of the same, for print and where scripts cannot run.
        maps: name -> map, all on one grid.
        labels: compressed NIfTI of integer labels on that grid.
        regions: label value -> region; both sides of a nucleus have one region.
        names: label value -> displayed name, where it differs from the region.
        start: initial position of the crosshair, as a fraction (0 to 1) of each axis.
    """

    title: str
    caption: str
    still: Figure
    maps: Mapping[str, ViewerMap]
    labels: bytes
    regions: Mapping[int, str]
    names: Mapping[int, str] = field(default_factory=dict)
    start: tuple[float, float, float] = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class ReportContent:
    """Content of a report, in the order of the page; what follows the viewer can be folded.

    Attributes:
        title: heading of the page.
        answer: line one, and a row per protocol.
        subtitle: one line: participant, date, software.
        forest: difference of every nucleus against the margin.
        terms: what the reader must know to read the first two, each in a sentence.
        cautions: limitations that the reader must know.
        viewer: interactive viewer.
        summary: the findings in sentences.
        figures: figures in order.
        tables: tables in order.
        people: sentences on the subjects compared and excluded.
        people_table: one row per excluded subject and protocol.
        checklists: answers to reporting checklists.
        settings: all settings of the processing, name -> value.
        provenance: software versions, seeds, checksums of weights and inputs, name -> value.
        methods: paragraphs of a methods section.
        references: lines of the reference list.
        unfolded: parts that are not folded at first, by their anchors ("figures", "tables").
    """

    title: str
    answer: Answer
    subtitle: str = ""
    forest: Figure | None = None
    terms: Mapping[str, str] = field(default_factory=dict)
    cautions: Sequence[str] = ()
    viewer: Viewer | None = None
    summary: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    people: Sequence[str] = ()
    people_table: Table | None = None
    checklists: Sequence[Table] = ()
    settings: Mapping[str, object] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    methods: Sequence[str] = ()
    references: Sequence[str] = ()
    unfolded: Sequence[str] = ()
