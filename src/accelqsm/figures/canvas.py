"""Sizes, colours, layout and PNG output that all figures have in common."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

WIDTH_INCHES = 10.0
DPI, PRINT_DPI = 150, 300
INK, MUTED, FAINT = "#1b2733", "#5b6875", "#d9dfe5"
# Okabe and Ito's palette for colour-blind readers without yellow, which is too light on white;
# markers are redundant with colours.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5b6875")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "axes.titlesize": 9.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # Names from users may contain a dollar sign, which is not a formula.
    "text.parse_math": False,
}


@dataclass(frozen=True)
class Panels:
    """A drawing with its axes in rows and columns."""

    drawing: Drawing
    axes: tuple[tuple[Axes, ...], ...]

    @property
    def flat(self) -> list[Axes]:
        """All axes, row by row."""
        return [axes for row in self.axes for axes in row]


def styled() -> AbstractContextManager[None]:
    """Context manager with the style of all figures."""
    return mpl.rc_context(_STYLE)


def panels(
    n_columns: int,
    heights: Sequence[float],
    *,
    width: float | None = None,
    left: float = 0.6,
    right: float = 0.15,
    top: float = 0.35,
    bottom: float = 0.45,
    gap: tuple[float, float] = (0.1, 0.1),
) -> Panels:
    """Create axes of equal width with explicit positions, so that an image fills its axes exactly.

    ``heights`` gives one height per row; ``width`` of a column fills the page when absent. All in
    inches; ``gap`` is (between columns, between rows).
    """
    around = left + right + gap[0] * (n_columns - 1)
    width = width or (WIDTH_INCHES - around) / n_columns
    across = around + n_columns * width
    total = top + bottom + sum(heights) + gap[1] * (len(heights) - 1)
    drawing = Drawing(figsize=(across, total), dpi=DPI, facecolor="white")
    rows, above = [], top
    for height in heights:
        above += height
        box = [
            (left + i * (width + gap[0]), total - above, width, height) for i in range(n_columns)
        ]
        rows.append(
            tuple(
                drawing.add_axes((x / across, y / total, w / across, h / total))
                for x, y, w, h in box
            )
        )
        above += gap[1]
    return Panels(drawing, tuple(rows))


def to_png(drawing: Drawing, *, dpi: int = DPI) -> bytes:
    """Render a drawing as PNG bytes, without a date, so that equal drawings give equal bytes."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def to_svg(drawing: Drawing) -> bytes:
    """Render a drawing as SVG bytes with text as text; equal drawings give equal bytes."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "accelqsm"}):
        drawing.savefig(buffer, format="svg", dpi=PRINT_DPI, metadata={"Date": None})
    return buffer.getvalue()
