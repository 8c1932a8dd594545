"""Figure of susceptibility of nuclei against age, one line per protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from accelqsm.errors import InputError
from accelqsm.figures.canvas import COLOURS, MARKERS, Panels, panels, styled, to_png
from accelqsm.figures.figure import Figure

COLUMNS = 4
LINE_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")


def age_figure(
    values: pd.DataFrame, ages_years: Mapping[str, float], associations: pd.DataFrame
) -> Figure:
    """Figure of every nucleus against age, with points and a regression line for each protocol.

    Slopes are taken from ``associations``; each line passes through the mean of its points.

    Args:
        values: columns ``subject, protocol, region, value_ppb``.
        ages_years: subject -> age.
        associations: one row per ``region, protocol`` with ``r`` and ``slope_ppb_per_year``.

    Raises:
        InputError: no subject with age and value, or a missing row.
    """
    table = values.assign(age_years=values["subject"].astype(str).map(dict(ages_years)))
    table = table.dropna(subset=["age_years", "value_ppb"])
    if table.empty:
        raise InputError("age plots: expected subjects with age and values, found none")
    regions, protocols = (list(dict.fromkeys(values[key])) for key in ("region", "protocol"))
    columns = min(COLUMNS, len(regions))
    with styled():
        grid = panels(
            columns, [1.75] * -(-len(regions) // columns), left=0.6, bottom=0.75,
            gap=(0.45, 0.5),
        )  # fmt: skip
        for axes, region in zip(grid.flat, regions, strict=False):
            for i, protocol in enumerate(protocols):
                part = table[(table["region"] == region) & (table["protocol"] == protocol)]
                row = _row(associations, region, protocol)
                _points_and_line(axes, part, float(row["slope_ppb_per_year"]), i)
            axes.set_title(str(region), fontweight="bold")
        for axes in grid.flat[len(regions) :]:
            axes.set_visible(False)
        for axes in grid.flat[max(len(regions) - columns, 0) : len(regions)]:
            axes.set_xlabel("age (years)")
        for row_of_axes in grid.axes:
            row_of_axes[0].set_ylabel("susceptibility (ppb)")
        _legend(grid, protocols)
        png = to_png(grid.drawing)
    return Figure(
        title="Susceptibility against age",
        caption=(
            "One point per subject and protocol; lines are least-squares fits. A significant "
            "correlation under one protocol and a non-significant one under another do not differ "
            "for that reason: the tables compare the correlations themselves."
        ),
        alt="Susceptibility against age with a fitted line per protocol. Correlations: "
        + "; ".join(_in_words(associations, region, protocols) for region in regions)
        + ".",
        png=png,
        drawing=grid.drawing,
    )


def _points_and_line(axes: Any, part: pd.DataFrame, slope: float, i: int) -> None:
    x, y = part["age_years"].to_numpy(np.float64), part["value_ppb"].to_numpy(np.float64)
    colour = COLOURS[i % len(COLOURS)]
    axes.scatter(
        x, y, s=8, marker=MARKERS[i % len(MARKERS)], facecolor=colour, edgecolor="white",
        linewidth=0.2, alpha=0.55, zorder=2,
    )  # fmt: skip
    if len(x) > 1 and np.isfinite(slope):
        ends = np.array([x.min(), x.max()])
        axes.plot(
            ends, y.mean() + slope * (ends - x.mean()), color=colour, linewidth=1.3, zorder=3,
            linestyle=LINE_STYLES[i % len(LINE_STYLES)],
        )  # fmt: skip


def _row(associations: pd.DataFrame, region: str, protocol: str) -> pd.Series[Any]:
    chosen = associations[
        (associations["region"] == region) & (associations["protocol"] == protocol)
    ]
    if len(chosen) != 1:
        raise InputError(
            f"age table: expected one row for {region} {protocol}, found {len(chosen)}"
        )
    return chosen.iloc[0]


def _in_words(associations: pd.DataFrame, region: str, protocols: list[str]) -> str:
    found = (f"{p} {_row(associations, region, p)['r']:.2f}" for p in protocols)
    return f"{region} {', '.join(found)}"


def _legend(grid: Panels, protocols: list[str]) -> None:
    handles = [
        Line2D(
            [], [], color=COLOURS[i % len(COLOURS)], marker=MARKERS[i % len(MARKERS)],
            linestyle=LINE_STYLES[i % len(LINE_STYLES)], markersize=4, label=protocol,
        )
        for i, protocol in enumerate(protocols)
    ]  # fmt: skip
    grid.drawing.legend(
        handles=handles, loc="lower center", ncols=max(len(handles), 1), frameon=False,
        borderaxespad=0.3,
    )  # fmt: skip
