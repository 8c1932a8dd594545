"""Forest plot of a comparison and picture of its answer for a slide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from accelqsm.agreement.verdict.verdicts import NucleusVerdict
from accelqsm.agreement.verdict.words import signed
from accelqsm.figures.figure import Figure
from accelqsm.figures.summary.forest import MARKS, Forest, forest_figure
from accelqsm.figures.summary.slide import SlideText, slide_figure
from accelqsm.reports.cells import typeset
from accelqsm.reports.page.content import Answer
from accelqsm.results.comparison import Comparison

COLOURS = {
    "yes": MARKS["equivalent"].colour,
    "partly": MARKS["undecided"].colour,
    "open": MARKS["undecided"].colour,
    "no": MARKS["not equivalent"].colour,
    "none": MARKS[""].colour,
}
"""Colour of each tone, as in the style sheet."""
MOST_LINES = 34
"""Lines of the forest plot that fit a screen."""


def forest(stored: Comparison) -> list[Figure]:
    """Forest plot of the nuclei at risk, and of all nuclei where these are too many for a screen.

    Raises:
        InputError: no nucleus.
    """
    nuclei = _by_nucleus(stored)
    part = _at_risk(nuclei)
    figure = forest_figure(_shown(stored, part))
    if len(part) == len(nuclei):
        return [figure]
    left = len({one.region for one in nuclei}) - len({one.region for one in part})
    rest = f" The other {left} are among the figures below."
    return [
        replace(figure, caption=figure.caption + rest), forest_figure(forest_rows(stored))
    ]  # fmt: skip


def forest_rows(stored: Comparison) -> Forest:
    """What the forest plot of all nuclei shows, those at risk first."""
    return _shown(stored, _by_nucleus(stored))


def _shown(stored: Comparison, nuclei: Sequence[NucleusVerdict]) -> Forest:
    in_percent = unit_of(stored) == "%"
    rows = pd.DataFrame([_forest_row(one, stored, in_percent=in_percent) for one in nuclei])
    names = {one.region: one.name for one in nuclei if one.name != one.region}
    return Forest(rows, stored.reference, unit_of(stored), names)


def _at_risk(nuclei: Sequence[NucleusVerdict]) -> list[NucleusVerdict]:
    """The first nuclei, as many as fit a screen."""
    regions = list(dict.fromkeys(nucleus.region for nucleus in nuclei))
    each = 1 + len(nuclei) / max(len(regions), 1)
    shown = regions[: max(int(MOST_LINES / each), 1)]
    return [nucleus for nucleus in nuclei if nucleus.region in shown]


def slide(stored: Comparison, answer: Answer) -> Figure:
    """Picture of the answer for a slide.

    Raises:
        InputError: no nucleus.
    """
    text = SlideText(
        answer.text,
        f"{answer.outcome.sign} {answer.outcome.word}",
        COLOURS[answer.outcome.tone],
        [
            (one.protocol, f"{one.outcome.sign} {one.outcome.word}", COLOURS[one.outcome.tone])
            for one in answer.lines
        ],
    )
    return slide_figure(text, _shown(stored, _at_risk(_by_nucleus(stored))))


def unit_of(stored: Comparison) -> str:
    """Unit of the differences: % of the reference mean, or ppb where such a mean is zero."""
    nuclei = [nucleus for one in stored.verdicts for nucleus in one.nuclei if nucleus.n]
    return "ppb" if any(math.isnan(nucleus.bias_percent) for nucleus in nuclei) else "%"


def _by_nucleus(stored: Comparison) -> list[NucleusVerdict]:
    """All nuclei, each with all protocols, that with the highest risk of any protocol first."""
    together: dict[str, list[NucleusVerdict]] = {}
    for one in stored.verdicts:
        for nucleus in one.nuclei:
            together.setdefault(nucleus.region, []).append(nucleus)
    known = [region for region in stored.agreement["region"].unique() if region in together]
    order = sorted(known, key=lambda region: max(map(_risk, together[region])), reverse=True)
    return [nucleus for region in order for nucleus in together[region]]


def _risk(nucleus: NucleusVerdict) -> tuple[float, float]:
    """Risk; without an interval the size of the difference."""
    known = (nucleus.risk, abs(nucleus.bias_percent))
    risk, size = (-1.0 if math.isnan(value) else value for value in known)
    return risk, size


def _forest_row(
    nucleus: NucleusVerdict, stored: Comparison, *, in_percent: bool
) -> dict[str, object]:
    middle, lower, upper, margin = (
        (nucleus.bias_percent, nucleus.lower_percent, nucleus.upper_percent, nucleus.margin_percent)
        if in_percent
        else (nucleus.bias_ppb, nucleus.lower_ppb, nucleus.upper_ppb, nucleus.margin_ppb)
    )
    if in_percent and math.isnan(margin) and nucleus.region not in stored.settings.margin_ppb:
        margin = stored.settings.margin_percent
    text = "no value" if math.isnan(middle) else signed(middle, margin)
    if not math.isnan(lower):
        text += f" ({signed(lower, margin)} to {signed(upper, margin)})"
    return {
        "region": nucleus.region,
        "protocol": nucleus.protocol,
        "difference": middle,
        "lower": lower,
        "upper": upper,
        "margin": margin,
        "verdict": nucleus.decision.value if nucleus.decision else "",
        "text": typeset(text),
    }
