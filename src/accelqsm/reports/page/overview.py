"""Page of a whole study: links to its report and participants, who was left out, quality strips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import jinja2

from accelqsm.figures.figure import Figure
from accelqsm.reports.page.build import shown_figure


@dataclass(frozen=True)
class Overview:
    """Content of the page of a study.

    Attributes:
        title: heading.
        values: link to the table of values.
        report: link to the report of the comparison; "" where there is one protocol alone.
        people: participant -> link to its page, or "".
        states: participant -> protocol -> state of its nuclei.
        left_out: a sentence for each scan without values.
        quality: figures of quality over the scans.
    """

    title: str
    values: str
    report: str
    people: Mapping[str, str]
    states: Mapping[str, Mapping[str, str]]
    left_out: Sequence[str] = ()
    quality: Sequence[Figure] = ()


def build_overview(overview: Overview) -> str:
    """Render the page of a study: one file without scripts, whose links are relative.

    All text is escaped, so that labels of data sets cannot become markup.
    """
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = resources.files("accelqsm.reports.page")
    return environment.from_string(source.joinpath("overview.html.j2").read_text("utf-8")).render(
        overview=overview,
        style=source.joinpath("style.css").read_text("utf-8"),
        protocols=list(dict.fromkeys(p for own in overview.states.values() for p in own)),
        quality=[shown_figure(figure) for figure in overview.quality],
    )
