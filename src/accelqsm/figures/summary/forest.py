"""Forest plot: difference of every nucleus with its interval, against the margin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI, FAINT, INK, MUTED, styled, to_png
from accelqsm.figures.figure import Figure

WIDTH_INCHES = 6.2
LINE_INCHES, TOP_INCHES, BOTTOM_INCHES = 0.2, 0.05, 0.5
LEFT_INCHES, RIGHT_INCHES = (0.75, 2.2), 1.85
LETTER_INCHES = 0.082
"""Room for the names of protocols, least and most, and for a letter."""
FONT_SIZE = 9.5
REACH = 1.12
"""How far the axis goes beyond the longest interval."""

_ORDER = "Nuclei in the order of risk, the most doubtful first. Shaded: the margin. "
_DECIDED = (
    "Marker: mean difference. Line: the interval that decides. ✓ the whole interval lies within "
    "the margin; ✗ it lies wholly outside; ? it crosses an end of the margin."
)
_OPEN = "Marker: mean difference, of too few people for an interval, and so without a verdict."


@dataclass(frozen=True)
class Mark:
    """How a decision is drawn: colour, marker and sign say the same."""

    colour: str
    marker: str
    sign: str


MARKS: Mapping[str, Mark] = MappingProxyType(
    {
        "equivalent": Mark("#0a6b3d", "o", "✓"),
        "undecided": Mark("#8a4b00", "D", "?"),
        "not equivalent": Mark("#a4161a", "s", "✗"),
        "": Mark(MUTED, "o", ""),
    }
)
"""Decision -> mark; empty for none."""


@dataclass(frozen=True)
class Forest:
    """What a forest plot shows.

    Attributes:
        rows: in the order shown, columns ``region, protocol, difference, lower, upper`` (the
            interval that decides), ``margin`` (half-width), ``verdict`` (key of ``MARKS``) and
            ``text`` (the figures as printed at the end of the line). Missing numbers are not drawn.
        reference: the protocol that the others are compared with.
        unit: unit of the differences.
        names: region -> what its abbreviation stands for.
    """

    rows: pd.DataFrame
    reference: str
    unit: str = "%"
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def groups(self) -> list[tuple[str, pd.DataFrame]]:
        """Rows of each region."""
        return [(str(name), part) for name, part in self.rows.groupby("region", sort=False)]

    @property
    def left_inches(self) -> float:
        """Room for the longest name of a protocol."""
        longest = max(map(len, self.rows["protocol"].astype(str)), default=0)
        return float(np.clip(LETTER_INCHES * (longest + 2), *LEFT_INCHES))

    @property
    def height_inches(self) -> float:
        """Height of a line for every row and every region."""
        lines = len(self.rows) + len(self.groups)
        return TOP_INCHES + BOTTOM_INCHES + LINE_INCHES * lines


def forest_figure(forest: Forest) -> Figure:
    """Forest plot of the difference from the reference, a group per nucleus, a line per protocol.

    Raises:
        InputError: no row.
    """
    rows = forest.rows
    if rows.empty:
        raise InputError("forest plot: expected rows of nuclei and protocols, found none")
    height = forest.height_inches
    with styled():
        drawing = Drawing(figsize=(WIDTH_INCHES, height), dpi=DPI, facecolor="white")
        draw_forest(drawing, forest, (0.0, 0.0, WIDTH_INCHES, height))
        png = to_png(drawing)
    return Figure(
        title=f"Difference from {forest.reference}, per nucleus",
        caption=_ORDER + (_DECIDED if (rows["verdict"] != "").any() else _OPEN),
        alt=f"Forest plot of the difference from {forest.reference}. "
        + _in_words(rows, forest.unit),
        png=png,
        drawing=drawing,
    )


def draw_forest(
    drawing: Drawing, forest: Forest, box_inches: tuple[float, float, float, float]
) -> None:
    """Draw a forest plot into a box (left, bottom, width, height) of a drawing, in inches."""
    left, bottom, width, height = box_inches
    names = forest.left_inches
    across, up = drawing.get_size_inches()
    axes = drawing.add_axes(
        (
            (left + names) / across,
            (bottom + BOTTOM_INCHES) / up,
            (width - names - RIGHT_INCHES) / across,
            (height - TOP_INCHES - BOTTOM_INCHES) / up,
        )
    )
    reach = REACH * _longest(forest.rows)
    line = 0
    for region, part in forest.groups:
        title = f"{region}  {forest.names[region]}" if region in forest.names else region
        beyond = (names - 0.08) / (width - names - RIGHT_INCHES)
        _text(axes, -beyond, line, title, weight="bold", ha="left")
        margin = float(part["margin"].iloc[0])
        top, bottom = line + 0.55, line + len(part) + 0.5
        if np.isfinite(margin):
            axes.fill_between([-margin, margin], top, bottom, color=FAINT, alpha=0.6, linewidth=0)
            axes.vlines([-margin, margin], top, bottom, color=MUTED, linestyle="--", linewidth=0.8)
        axes.vlines(0, top, bottom, color=MUTED, linewidth=0.8, zorder=1)
        for row in part.to_dict("records"):
            line += 1
            _line(axes, {str(name): value for name, value in row.items()}, line)
        line += 1
    axes.set(ylim=(line - 0.3, -0.6), xlim=(-reach, reach), yticks=[])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(
        f"← lower     difference from {forest.reference} ({forest.unit})     higher →",
        fontsize=FONT_SIZE,
    )
    axes.tick_params(labelsize=FONT_SIZE - 1)


def _line(axes: Axes, row: Mapping[str, object], y: int) -> None:
    mark = MARKS[str(row["verdict"])]
    lower, upper, middle = (float(str(row[name])) for name in ("lower", "upper", "difference"))
    if np.isfinite([lower, upper]).all():
        axes.hlines(y, lower, upper, color=mark.colour, linewidth=1.8, zorder=3)
    if np.isfinite(middle):
        axes.plot(
            middle, y, marker=mark.marker, color=mark.colour, markersize=5.5, zorder=4,
            markeredgecolor="white", markeredgewidth=0.6,
        )  # fmt: skip
    _text(axes, -0.02, y, _shortened(str(row["protocol"])), ha="right")
    _text(axes, 1.02, y, f"{mark.sign} {row['text']}".strip(), ha="left", color=mark.colour)


def _shortened(name: str) -> str:
    most = int(LEFT_INCHES[1] / LETTER_INCHES) - 2
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _text(
    axes: Axes, x: float, y: float, text: str, *, ha: str, color: str = INK, weight: str = "normal"
) -> None:
    """Text at a share of the width of the axes."""
    axes.text(
        x, y, text, ha=ha, va="center", transform=axes.get_yaxis_transform(), fontsize=FONT_SIZE,
        color=color, fontweight=weight, clip_on=False,
    )  # fmt: skip


def _longest(rows: pd.DataFrame) -> float:
    numbers = rows[["difference", "lower", "upper", "margin"]].abs().to_numpy(np.float64)
    return float(np.nanmax(numbers)) if np.isfinite(numbers).any() else 1.0


def _in_words(rows: pd.DataFrame, unit: str) -> str:
    parts = [
        f"{row['region']} {row['protocol']}: {row['text']} {unit}"
        + (f", {row['verdict']}" if row["verdict"] else "")
        for row in rows.to_dict("records")
    ]
    return "; ".join(parts) + "."
