"""Figures of the subject with the largest difference from the reference: values and maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import colormaps

from accelqsm.errors import InputError
from accelqsm.figures.canvas import (
    COLOURS,
    FAINT,
    MARKERS,
    WIDTH_INCHES,
    panels,
    styled,
    to_png,
)
from accelqsm.figures.figure import Figure
from accelqsm.figures.slices import (
    DEFAULT_VIEW,
    Box,
    View,
    Volume,
    chosen_slice,
    convention,
    cut_box,
    draw_outlines,
    draw_scale,
    region_masks,
    show_slice,
)
from accelqsm.grid import Triple
from accelqsm.units import PPB_PER_PPM

DIFFERENCE_WINDOW_PPB = (-60.0, 60.0)


@dataclass(frozen=True)
class LargestDifference:
    """The largest difference of a value from the reference.

    Attributes:
        subject, region, protocol: subject, nucleus and protocol of the value.
        difference_ppb: protocol - reference.
    """

    subject: str
    region: str
    protocol: str
    difference_ppb: float


def largest_difference(values: pd.DataFrame, *, reference: str) -> LargestDifference:
    """Find the largest absolute difference from the reference; the first of equal ones.

    Args:
        values: columns ``subject, protocol, region, value_ppb``.
        reference: the protocol that the others are compared with.

    Raises:
        InputError: no value with a corresponding value of the reference.
    """
    keys = ["subject", "region"]
    base = values[values["protocol"] == reference].set_index(keys)["value_ppb"]
    others = values[values["protocol"] != reference].copy()
    reference_values = base.reindex(pd.MultiIndex.from_frame(others[keys]))
    others["difference"] = others["value_ppb"].to_numpy() - reference_values.to_numpy()
    others = others.dropna(subset=["difference"]).reset_index(drop=True)
    if others.empty:
        raise InputError(f"values: expected pairs with '{reference}', found none")
    row = others.iloc[int(np.argmax(others["difference"].abs().to_numpy(np.float64)))]
    return LargestDifference(
        str(row["subject"]), str(row["region"]), str(row["protocol"]), float(row["difference"])
    )


def subject_figure(values: pd.DataFrame, largest: LargestDifference, *, reference: str) -> Figure:
    """Figure of the values of one subject in every nucleus under every protocol.

    Args:
        values: columns ``subject, protocol, region, value_ppb``.
        largest: the difference for which the subject is selected.
        reference: the protocol that the others are compared with.
    """
    own = values[values["subject"].astype(str) == largest.subject]
    regions, protocols = (list(dict.fromkeys(own[key])) for key in ("region", "protocol"))
    wide = own.pivot(index="region", columns="protocol", values="value_ppb").reindex(regions)
    with styled():
        grid = panels(1, [2.5], left=0.7, right=1.0, top=0.15, bottom=0.4)
        axes = grid.axes[0][0]
        spread = 0.5 / max(len(protocols) - 1, 1)
        for i, protocol in enumerate(protocols):
            x = np.arange(len(regions)) + spread * (i - (len(protocols) - 1) / 2)
            axes.scatter(
                x, wide[protocol], s=34, marker=MARKERS[i % len(MARKERS)], label=str(protocol),
                color=COLOURS[i % len(COLOURS)], zorder=3,
            )  # fmt: skip
        axes.set_xticks(np.arange(len(regions)), [str(region) for region in regions])
        for x in np.arange(len(regions) - 1) + 0.5:
            axes.axvline(x, color=FAINT, linewidth=0.7)
        axes.set_ylabel("susceptibility (ppb)")
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        png = to_png(grid.drawing)
    of = f"{largest.region} of {largest.subject} under {largest.protocol}"
    return Figure(
        title="The subject with the largest difference",
        caption=(
            f"Every nucleus of {largest.subject} under every protocol. The largest difference of "
            f"all from {reference} is that of the {of}: {largest.difference_ppb:+.1f} ppb."
        ),
        alt=(
            f"Susceptibility of every nucleus of {largest.subject}, a marker per protocol. "
            f"{largest.region}: {_row_in_words(wide, largest.region, protocols)}."
        ),
        png=png,
        drawing=grid.drawing,
    )


def difference_figure(
    chi_ppm: Mapping[str, Volume],
    labels: Volume,
    regions: Mapping[int, str],
    *,
    reference: str,
    at: Sequence[int],
    voxel_size_mm: Triple,
    mask: Volume | None = None,
    view: View = DEFAULT_VIEW,
) -> Figure:
    """Figure of the difference of each map from the reference, in the slice of a nucleus.

    Args:
        chi_ppm: protocol name -> susceptibility ``(x, y, z)`` in ppm, the reference among them.
        labels: integers ``(x, y, z)``.
        regions: label value -> region.
        reference: the protocol that the others are compared with.
        at: label values of the nucleus; the slice with most of its voxels is shown.
        voxel_size_mm: edge lengths along x, y, z.
        mask: differences are shown inside.
        view: window, margin around the nuclei, and side.

    Raises:
        InputError: the reference is missing or the only map.
    """
    others = [name for name in chi_ppm if name != reference]
    if reference not in chi_ppm or not others:
        raise InputError(f"difference: expected maps of '{reference}' and another protocol")
    window_ppb, radiological = view.window_ppb or DIFFERENCE_WINDOW_PPB, view.radiological
    chosen = np.isin(labels, at)
    z = chosen_slice(labels.shape, None, chosen, labels)
    box = cut_box(np.any(labels != 0, axis=2), voxel_size_mm, margin_mm=view.margin_mm)
    inside = np.ones(labels.shape, dtype=bool) if mask is None else mask.astype(bool)
    # Orange and purple are distinguishable for colour-blind readers, and both dark in print.
    colours = colormaps["PuOr_r"].with_extremes(bad="white")
    width = min((WIDTH_INCHES - 1.0 - 0.06 * len(others)) / max(len(others), 3), 3.0)
    with styled():
        grid = panels(
            len(others), [_height(box, width, voxel_size_mm)], width=width, left=0.1, right=0.85,
            top=0.3, bottom=0.05, gap=(0.06, 0.06),
        )  # fmt: skip
        names = list(dict.fromkeys(regions.values()))
        visible = region_masks(labels[:, :, z][box], regions, names)
        for axes, name in zip(grid.flat, others, strict=True):
            axes.set(xticks=[], yticks=[])
            difference = PPB_PER_PPM * (chi_ppm[name] - chi_ppm[reference])
            shown = np.where(inside, difference, np.nan)[:, :, z][box]
            show_slice(axes, shown, window_ppb, colours, voxel_size_mm, radiological)
            draw_outlines(
                axes,
                visible,
                voxel_size_mm,
                radiological,
                regions=names,
                named=axes is grid.flat[0],
            )
            axes.set_title(f"{name} \N{MINUS SIGN} {reference}", fontweight="bold", pad=5)
        draw_scale(grid.drawing, grid.flat[-1], window_ppb, colours)
        png = to_png(grid.drawing)
    return Figure(
        title="Where the maps differ",
        caption=(
            f"Difference of the susceptibility (ppb) from {reference} in the slice with most of "
            f"the nucleus that differs most; {convention(radiological)}"
        ),
        alt=(
            f"Difference maps against {reference} with outlined nuclei, "
            f"{window_ppb[0]:g} to {window_ppb[1]:g} ppb, in columns: {', '.join(others)}."
        ),
        png=png,
        drawing=grid.drawing,
    )


def _height(box: Box, width: float, voxel_size_mm: Triple) -> float:
    n_x, n_y = (int(side.stop - side.start) for side in box)
    return width * n_y * voxel_size_mm[1] / (n_x * voxel_size_mm[0])


def _row_in_words(wide: pd.DataFrame, region: str, protocols: Sequence[str]) -> str:
    row = wide.loc[region]
    return ", ".join(f"{p} {row[p]:.1f} ppb" for p in protocols if not np.isnan(row[p]))
