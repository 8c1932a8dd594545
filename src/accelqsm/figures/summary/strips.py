"""Strip plots of quality over the scans of a study."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from accelqsm.errors import InputError
from accelqsm.figures.canvas import COLOURS, INK, MARKERS, panels, styled, to_png
from accelqsm.figures.figure import Figure

COLUMNS = 3
MOST_PANELS = 12
FAR = 3.5
"""Median absolute deviations (scaled to a standard deviation) beyond which a scan is named."""


def strips_figure(quality: pd.DataFrame) -> Figure:
    """Strip plot per quality metric: a column per protocol, a point per scan, far ones named.

    Args:
        quality: columns ``subject, protocol, metric, value, unit``; metrics beyond the twelfth are
            left out.

    Raises:
        InputError: no metric with values.
    """
    known = quality.dropna(subset=["value"])
    metrics = list(dict.fromkeys(known["metric"]))[:MOST_PANELS]
    if not metrics:
        raise InputError("quality: expected metrics with values, found none")
    protocols = list(dict.fromkeys(known["protocol"]))
    columns = min(COLUMNS, len(metrics))
    rows = -(-len(metrics) // columns)
    far: list[str] = []
    with styled():
        grid = panels(columns, [1.5] * rows, left=0.65, gap=(0.7, 0.55), bottom=0.35)
        for axes, metric in zip(grid.flat, metrics, strict=False):
            part = known[known["metric"] == metric]
            far += _strip(axes, part, protocols)
            unit = str(part["unit"].iloc[0])
            title = str(metric).replace("_", " ")
            axes.set_title(f"{title} ({unit})" if unit not in ("", "nan") else title, fontsize=8.5)
        for axes in grid.flat[len(metrics) :]:
            axes.set_visible(False)
        png = to_png(grid.drawing)
    named = f" Named: {', '.join(dict.fromkeys(far))}." if far else " No scan stands out."
    return Figure(
        title="Quality of the scans and their labels",
        caption=(
            "One point per scan; a scan is named where it lies more than "
            f"{FAR:g} robust standard deviations from the median of its protocol.{named}"
        ),
        alt=f"Strip plots of {', '.join(str(m).replace('_', ' ') for m in metrics)} by protocol "
        f"({', '.join(map(str, protocols))}).{named}",
        png=png,
        drawing=grid.drawing,
    )


def _strip(axes: Axes, part: pd.DataFrame, protocols: list[str]) -> list[str]:
    """Draw one metric; the scans that lie far from the others."""
    far = []
    for i, protocol in enumerate(protocols):
        own = part[part["protocol"] == protocol]
        values = own["value"].to_numpy(np.float64)
        if not values.size:
            continue
        spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
        axes.scatter(
            i + spread, values, s=12, marker=MARKERS[i % len(MARKERS)], alpha=0.8,
            color=COLOURS[i % len(COLOURS)],
        )  # fmt: skip
        middle = float(np.median(values))
        axes.hlines(middle, i - 0.3, i + 0.3, color=INK, linewidth=0.9)
        deviation = 1.4826 * float(np.median(np.abs(values - middle)))
        for place in np.flatnonzero(np.abs(values - middle) > FAR * deviation):
            if deviation > 0:
                subject = str(own["subject"].iloc[place])
                axes.annotate(subject, (i + spread[place], values[place]), fontsize=6.5,
                              xytext=(3, 2), textcoords="offset points")  # fmt: skip
                far.append(f"{subject} {protocol}")
    axes.set_xticks(range(len(protocols)), protocols)
    axes.set_xlim(-0.6, len(protocols) - 0.4)
    return far
