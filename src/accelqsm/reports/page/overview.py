"""Page of a whole study: links to its report and participants, who was left out, quality strips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

import jinja2

WIDTH, HEIGHT, MARGIN = 420, 22, 8
"""Size of a strip in pixels."""


@dataclass(frozen=True)
class Overview:
    """Content of the page of a study.

    Attributes:
        title: heading.
        report: link to the report of the comparison.
        people: participant -> link to its page, or "".
        states: participant -> protocol -> state of its nuclei.
        left_out: a sentence for each scan without values.
        strips: metric with its unit -> name of each scan and its value.
    """

    title: str
    report: str
    people: Mapping[str, str]
    states: Mapping[str, Mapping[str, str]]
    left_out: Sequence[str] = ()
    strips: Mapping[str, Sequence[tuple[str, float]]] = field(default_factory=dict)


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
        strips=list(_strips(overview.strips)),
        width=WIDTH,
        height=HEIGHT,
    )


def _strips(strips: Mapping[str, Sequence[tuple[str, float]]]) -> Iterator[dict[str, object]]:
    """Each metric with its range, and the place of each scan in it."""
    for metric, values in strips.items():
        finite = [(name, value) for name, value in values if value == value]
        if not finite:
            continue
        low, high = min(v for _, v in finite), max(v for _, v in finite)
        scale = (WIDTH - 2 * MARGIN) / ((high - low) or 1.0)
        dots = [
            {"x": round(MARGIN + (value - low) * scale, 1), "name": name, "value": f"{value:.4g}"}
            for name, value in finite
        ]
        yield {"metric": metric, "low": f"{low:.4g}", "high": f"{high:.4g}", "dots": dots}
