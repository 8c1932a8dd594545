"""Bland-Altman and scatter plots of agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from accelqsm.errors import InputError
from accelqsm.figures.canvas import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    MUTED,
    WIDTH_INCHES,
    Panels,
    panels,
    styled,
    to_png,
)
from accelqsm.figures.figure import Figure

POOLED = "all"
BAND_ALPHA = 0.18
FEW_POINTS = 40
_RESCAN = " Dotted lines: between them lie 95 % of the differences of {0} scanned again from {0}."
_RINGED = " Ringed: {}."


def bland_altman_figure(
    values: pd.DataFrame,
    agreement: pd.DataFrame,
    *,
    reference: str,
    regions: Sequence[str] = (POOLED,),
    confidence: float = 0.95,
    rescan_ppb: Mapping[tuple[str, str], float] | None = None,
    highlight: str = "",
) -> Figure:
    """Bland-Altman plots, a column per protocol and a row per region.

    Bias (solid) and limits of agreement (dashed) with their confidence intervals (bands) are
    taken from ``agreement``.

    Args:
        values: columns ``subject, protocol, region, value_ppb``.
        agreement: one row per ``region, protocol`` with ``bias, loa_lower, loa_upper`` and their
            ``_ci_lower`` and ``_ci_upper``, in ppb.
        reference: the protocol that the others are compared with.
        regions: rows; "all" pools every region, with a colour and a marker each.
        confidence: level of the intervals in ``agreement``.
        rescan_ppb: (region, protocol) -> difference that scanning again under the reference stays
            below in 95 % of cases; dotted lines.
        highlight: subject whose points are ringed.

    Raises:
        InputError: a protocol or region that is not in the tables.
    """
    wide = _wide(values, reference)
    protocols = [name for name in wide.columns if name != reference]
    again = rescan_ppb or {}
    with styled():
        grid = _panel_grid(len(protocols), [2.6 if len(regions) == 1 else 1.75] * len(regions))
        for row, region in zip(grid.axes, regions, strict=True):
            part = _part(wide, region)
            low, high = _range(part)
            limit = 1.0
            for axes, protocol in zip(row, protocols, strict=True):
                pair = part[[reference, protocol]].dropna()
                difference = pair[protocol] - pair[reference]
                _points(axes, pair.mean(axis=1), difference, regions=_all_regions(wide))
                _rings(axes, pair.mean(axis=1), difference, highlight)
                figures = _agreement_row(agreement, region, protocol)
                _limits(axes, figures)
                _rescan(axes, again.get((region, protocol), np.nan))
                axes.set_xlim(low, high)
                reach = [*difference.abs(), *figures[["loa_lower", "loa_upper"]].abs()]
                limit = max(limit, 1.25 * max((v for v in reach if np.isfinite(v)), default=1.0))
            _label_row(row, region, "difference (ppb)", (-limit, limit), single=len(regions) == 1)
        for axes, protocol in zip(grid.axes[0], protocols, strict=True):
            axes.set_title(f"{protocol} \N{MINUS SIGN} {reference}", fontweight="bold")
        for axes, protocol in zip(grid.axes[-1], protocols, strict=True):
            axes.set_xlabel(f"mean of {reference} and {protocol} (ppb)")
        if POOLED in regions:
            _legend(grid, _all_regions(wide))
        png = to_png(grid.drawing)
    return Figure(
        title=f"Bland-Altman: difference from {reference}",
        caption=(
            f"Difference of each protocol from {reference} against the mean of both, one point per "
            "subject and nucleus. Solid line: bias. Dashed lines: limits of agreement (bias "
            f"± 1.96 SD). Bands: {100 * confidence:g}\N{NO-BREAK SPACE}% confidence intervals."
            + (_RESCAN.format(reference) if again else "")
            + (_RINGED.format(highlight) if highlight else "")
        ),
        alt=_limits_in_words(agreement, protocols, regions, reference),
        png=png,
        drawing=grid.drawing,
    )


def scatter_figure(
    values: pd.DataFrame,
    agreement: pd.DataFrame,
    *,
    reference: str,
    regions: Sequence[str] = (POOLED,),
    highlight: str = "",
) -> Figure:
    """Scatter plots of each protocol against the reference with the identity line.

    Tables and arguments as for ``bland_altman_figure``; ``agreement`` has ``pearson_r`` and ``n``.
    With the simulated truth as ``reference``, the figure shows accuracy.

    Raises:
        InputError: a protocol or region that is not in the tables.
    """
    wide = _wide(values, reference)
    protocols = [name for name in wide.columns if name != reference]
    with styled():
        size = (WIDTH_INCHES - 0.75 - 0.35 * len(protocols)) / max(len(protocols), 3)
        grid = _panel_grid(len(protocols), [size] * len(regions), gap=(0.35, 0.25), width=size)
        for row, region in zip(grid.axes, regions, strict=True):
            part = _part(wide, region)
            low, high = _range(part)
            for axes, protocol in zip(row, protocols, strict=True):
                pair = part[[reference, protocol]].dropna()
                axes.plot([low, high], [low, high], color=MUTED, linewidth=0.9, zorder=1)
                _points(axes, pair[reference], pair[protocol], regions=_all_regions(wide))
                _rings(axes, pair[reference], pair[protocol], highlight)
                axes.set_xlim(low, high)
                figures = _agreement_row(agreement, region, protocol)
                text = f"r = {figures['pearson_r']:.3f}\nn = {figures['n']:.0f}"
                axes.text(0.05, 0.95, text, transform=axes.transAxes, va="top")
            _label_row(row, region, "value (ppb)", (low, high), single=len(regions) == 1)
        for axes, protocol in zip(grid.axes[0], protocols, strict=True):
            axes.set_title(protocol, fontweight="bold")
        for axes in grid.axes[-1]:
            axes.set_xlabel(f"{reference} (ppb)")
        if POOLED in regions:
            _legend(grid, _all_regions(wide))
        png = to_png(grid.drawing)
    found = ", ".join(
        f"{p} r = {_agreement_row(agreement, regions[0], p)['pearson_r']:.3f}" for p in protocols
    )
    return Figure(
        title=f"Each protocol against {reference}",
        caption=(
            f"Susceptibility of each nucleus and subject against {reference}; the line is "
            "identity. A high correlation alone is not agreement."
            + (_RINGED.format(highlight) if highlight else "")
        ),
        alt=f"Scatter plots against {reference} around the identity line: {found}.",
        png=png,
        drawing=grid.drawing,
    )


def _wide(values: pd.DataFrame, reference: str) -> pd.DataFrame:
    order = list(dict.fromkeys(values["protocol"].astype(str)))
    if reference not in order:
        raise InputError(f"reference: expected one of {', '.join(order)}, found '{reference}'")
    table = values.astype({"protocol": str, "region": str, "subject": str})
    wide = table.pivot(index=["region", "subject"], columns="protocol", values="value_ppb")
    return wide[order].reindex(list(dict.fromkeys(table["region"])), level="region")


def _all_regions(wide: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(wide.index.get_level_values("region")))


def _part(wide: pd.DataFrame, region: str) -> pd.DataFrame:
    if region == POOLED:
        return wide
    part = wide[wide.index.get_level_values("region") == region]
    if part.empty:
        raise InputError(f"region: expected one of {_all_regions(wide)}, found '{region}'")
    return part


def _agreement_row(agreement: pd.DataFrame, region: str, protocol: str) -> pd.Series[Any]:
    chosen = agreement[(agreement["region"] == region) & (agreement["protocol"] == protocol)]
    if len(chosen) != 1:
        raise InputError(
            f"agreement table: expected one row for {region} {protocol}, found {len(chosen)}"
        )
    return chosen.iloc[0]


def _panel_grid(
    n_columns: int,
    heights: Sequence[float],
    *,
    gap: tuple[float, float] = (0.12, 0.26),
    width: float | None = None,
) -> Panels:
    return panels(n_columns, heights, width=width, left=0.75, right=0.1, bottom=0.85, gap=gap)


def _points(
    axes: Axes, x: pd.Series[float], y: pd.Series[float], *, regions: Sequence[str]
) -> None:
    names = x.index.get_level_values("region")
    for i, region in enumerate(regions):
        chosen = names == region
        if chosen.any():
            marker, colour, filled = _marker_style(i)
            axes.scatter(
                x[chosen], y[chosen], s=13 if len(x) > FEW_POINTS else 26, marker=marker,
                facecolor=colour if filled else "none", edgecolor="white" if filled else colour,
                linewidth=0.25 if filled else 1.0, alpha=0.8, zorder=3,
            )  # fmt: skip


def _rings(axes: Axes, x: pd.Series[float], y: pd.Series[float], subject: str) -> None:
    """A ring about each point of a subject."""
    own = x.index.get_level_values("subject") == subject
    axes.scatter(x[own], y[own], s=70, facecolor="none", edgecolor=INK, linewidth=0.9, zorder=4)


def _marker_style(i: int) -> tuple[str, str, bool]:
    """Marker, colour and fill of the i-th region, distinct for the first 49."""
    lap = i // len(COLOURS)
    return MARKERS[(i + lap) % len(MARKERS)], COLOURS[i % len(COLOURS)], lap % 2 == 0


def _limits(axes: Axes, figures: pd.Series[Any]) -> None:
    axes.axhline(0, color=FAINT, linewidth=0.8, zorder=1)
    halo = [withStroke(linewidth=2, foreground="white")]
    for name, style in (("bias", "-"), ("loa_lower", "--"), ("loa_upper", "--")):
        value = float(figures[name])
        if np.isnan(value):
            continue
        axes.axhline(value, color=INK, linestyle=style, linewidth=1.0, zorder=4)
        ends = float(figures[f"{name}_ci_lower"]), float(figures[f"{name}_ci_upper"])
        if not np.isnan(ends).any():
            axes.axhspan(*ends, color=MUTED, alpha=BAND_ALPHA, linewidth=0, zorder=2)
        axes.annotate(
            f"{value:+.1f}".replace("-", "\N{MINUS SIGN}"), (1, value), xytext=(-2, 2),
            xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
            va="bottom", fontsize=7.5, zorder=5, path_effects=halo,
        )  # fmt: skip


def _rescan(axes: Axes, half_width: float) -> None:
    if np.isfinite(half_width):
        for value in (-half_width, half_width):
            axes.axhline(value, color=COLOURS[0], linestyle=":", linewidth=1.1, zorder=4)


def _label_row(
    row: Sequence[Axes], region: str, label: str, limits: tuple[float, float], *, single: bool
) -> None:
    row[0].set_ylabel(label if single and region == POOLED else f"{region}\n{label}")
    for axes in row:
        axes.set_ylim(*limits)
        if axes is not row[0]:
            axes.tick_params(labelleft=False)


def _range(part: pd.DataFrame) -> tuple[float, float]:
    numbers = part.to_numpy(np.float64)
    if np.isnan(numbers).all():
        return 0.0, 1.0
    low, high = float(np.nanmin(numbers)), float(np.nanmax(numbers))
    margin = 0.06 * (high - low) or 1.0
    return low - margin, high + margin


def _legend(grid: Panels, regions: Sequence[str]) -> None:
    handles = [
        Line2D(
            [], [], linestyle="", marker=marker, markersize=5, color=colour,
            markerfacecolor=colour if filled else "none", label=region,
        )
        for region, (marker, colour, filled) in zip(
            regions, map(_marker_style, count()), strict=False
        )
    ]  # fmt: skip
    grid.drawing.legend(
        handles=handles, loc="lower center", ncols=max(len(handles), 1), frameon=False,
        handletextpad=0.1, columnspacing=1.4, borderaxespad=0.3,
    )  # fmt: skip


def _limits_in_words(
    agreement: pd.DataFrame, protocols: Sequence[str], regions: Sequence[str], reference: str
) -> str:
    if len(regions) > 1:
        return _widest_in_words(agreement, protocols, regions, reference)
    parts = []
    for region in regions:
        for protocol in protocols:
            row = _agreement_row(agreement, region, protocol)
            parts.append(
                f"{protocol} {'' if region == POOLED else region + ' '}{_figures_in_words(row)}"
            )
    return f"Bland-Altman plots against {reference}: " + "; ".join(parts) + "."


def _figures_in_words(row: pd.Series) -> str:
    if np.isnan(row["bias"]):
        return "no points"
    bias = f"bias {row['bias']:.1f}, "
    if np.isnan(row["loa_upper"]):
        return bias + "no limits from so few points"
    return bias + f"limits {row['loa_lower']:.1f} to {row['loa_upper']:.1f} ppb"


def _widest_in_words(
    agreement: pd.DataFrame, protocols: Sequence[str], regions: Sequence[str], reference: str
) -> str:
    """Alternative text of many plots, with the widest limits of each protocol."""
    parts = []
    for protocol in protocols:
        rows = [(region, _agreement_row(agreement, region, protocol)) for region in regions]
        widths = [float(row["loa_upper"] - row["loa_lower"]) for _, row in rows]
        if np.isnan(widths).all():
            continue
        region, row = rows[int(np.nanargmax(widths))]
        parts.append(
            f"{protocol} has its widest limits of agreement in {region}, {row['loa_lower']:.1f} to "
            f"{row['loa_upper']:.1f} ppb around a bias of {row['bias']:.1f}"
        )
    return (
        f"Bland-Altman plots of each protocol against {reference}, a row per nucleus "
        f"({', '.join(regions)}): " + "; ".join(parts) + "."
    )
