"""Picture of the answer for a slide: the line, a row per protocol, and the forest plot."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure as Drawing

from accelqsm.figures.canvas import DPI, INK, MUTED, styled, to_png
from accelqsm.figures.figure import Figure
from accelqsm.figures.summary.forest import Forest, draw_forest

WIDTH_INCHES, HEIGHT_INCHES = 13.333, 7.5
PLOT_INCHES = 6.6
TEXT_CHARACTERS = 34
TALLEST_INCHES = HEIGHT_INCHES - 0.5
LINE_SPACING = 1.3
FOOTER = "Research software, not a medical device"


@dataclass(frozen=True)
class SlideText:
    """Texts of a slide.

    Attributes:
        line: the answer in one sentence.
        word: the answer in a sign and a word.
        colour: its colour.
        rows: protocol, its answer in a sign and a word, and colour of that.
    """

    line: str
    word: str
    colour: str
    rows: Sequence[tuple[str, str, str]]


def slide_figure(text: SlideText, forest: Forest) -> Figure:
    """Picture of 16 to 9 with the answer on the left and the forest plot on the right."""
    with styled():
        drawing = Drawing(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DPI, facecolor="white")
        _write(drawing, text)
        height = min(forest.height_inches, TALLEST_INCHES)
        bottom = (HEIGHT_INCHES - height) / 2
        draw_forest(
            drawing, forest, (WIDTH_INCHES - PLOT_INCHES - 0.15, bottom, PLOT_INCHES, height)
        )
        png = to_png(drawing)
    return Figure(
        title="Summary for a slide",
        caption="",
        alt=f"{text.word}. {text.line}",
        png=png,
        drawing=drawing,
    )


def _write(drawing: Drawing, text: SlideText) -> None:
    left, y = 0.5, HEIGHT_INCHES - 0.75

    def put(x: float, y: float, words: str, **style: Any) -> None:
        drawing.text(x / WIDTH_INCHES, y / HEIGHT_INCHES, words, va="top", **style)

    box = {"boxstyle": "round,pad=0.35", "facecolor": text.colour, "edgecolor": "none"}
    put(left + 0.1, y, text.word, color="white", fontsize=17, fontweight="bold", bbox=box)
    lines = textwrap.wrap(text.line, TEXT_CHARACTERS)
    put(left, y - 0.7, "\n".join(lines), color=INK, fontsize=19, fontweight="bold",
        linespacing=LINE_SPACING)  # fmt: skip
    y -= 1.0 + len(lines) * 19 * LINE_SPACING / 72
    for protocol, word, colour in text.rows:
        put(left, y, protocol, color=INK, fontsize=15, fontweight="bold")
        put(left + 1.7, y, word, color=colour, fontsize=15, fontweight="bold")
        y -= 0.42
    put(left, 0.45, FOOTER, color=MUTED, fontsize=10)
