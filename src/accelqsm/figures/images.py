"""Figures of maps: protocols side by side, and magnified nuclei."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.figure import Figure as Drawing

from accelqsm.errors import InputError
from accelqsm.figures.canvas import WIDTH_INCHES, panels, styled, to_png
from accelqsm.figures.figure import Figure
from accelqsm.figures.slices import (
    DEFAULT_CHI_WINDOW_PPB,
    DEFAULT_VIEW,
    DEFAULT_VIEWS,
    Box,
    View,
    Volume,
    Window,
    brightest,
    chosen_slice,
    convention,
    cut_box,
    draw_outlines,
    draw_scale,
    joined_mask,
    region_masks,
    show_slice,
)
from accelqsm.grid import Triple
from accelqsm.units import PPB_PER_PPM

Row = tuple[str, Window, list[Volume | None]]
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.3, 0.75, 0.3, 0.05, 0.04


@dataclass(frozen=True)
class ProtocolImages:
    """Images of one protocol, all ``(x, y, z)`` on one grid (RAS+: x to the right).

    Attributes:
        name: as shown above the column.
        chi_ppm: susceptibility in ppm.
        magnitude: arbitrary unit; the panel is empty if absent, as for a simulated truth.
        phase: phase in rad, or a field map in Hz (the figure's ``phase_label`` says which).
    """

    name: str
    chi_ppm: Volume
    magnitude: Volume | None = None
    phase: Volume | None = None


def protocol_figure(
    protocols: Sequence[ProtocolImages],
    *,
    voxel_size_mm: Triple,
    mask: Volume | None = None,
    labels: Volume | None = None,
    phase_label: str = "Phase (rad)",
    phase_window: Window = (-np.pi, np.pi),
    view: View = DEFAULT_VIEW,
) -> Figure:
    """Figure of an axial slice of each protocol: magnitude, phase and susceptibility.

    One column per protocol; every row has the same window for all protocols.

    Args:
        protocols: at least one, all of one shape.
        voxel_size_mm: edge lengths along x, y, z.
        mask: phase and susceptibility are shown inside; the view is cut to it.
        labels: integers ``(x, y, z)``; the default slice is the one with most labelled voxels.
        phase_label: heading of the phase row, with its unit.
        phase_window: values shown black and white.
        view: window, side and slice.

    Raises:
        InputError: no protocol, shapes that differ, or a slice outside the volume.
    """
    shape = _common_shape(protocols, mask, labels)
    z = chosen_slice(shape, view.slice_index, labels, mask)
    chi_window_ppb = view.window_ppb or DEFAULT_CHI_WINDOW_PPB
    box = cut_box(np.ones(shape[:2]) if mask is None else mask[:, :, z], voxel_size_mm, margin_mm=4)
    inside = np.ones(shape, dtype=bool) if mask is None else mask.astype(bool)

    def cut(volume: Volume | None, scale: float = 1.0) -> Volume | None:
        return None if volume is None else np.where(inside, scale * volume, np.nan)[:, :, z]

    magnitudes = [None if p.magnitude is None else p.magnitude[:, :, z] for p in protocols]
    rows: list[Row] = [
        ("Magnitude", (0.0, brightest(magnitudes, inside[:, :, z])), magnitudes),
        (phase_label, phase_window, [cut(p.phase) for p in protocols]),
        ("Susceptibility (ppb)", chi_window_ppb, [cut(p.chi_ppm, PPB_PER_PPM) for p in protocols]),
    ]
    with styled():
        drawing = _grid(
            rows, [p.name for p in protocols], [box] * 3, voxel_size_mm, view.radiological
        )
        png = to_png(drawing)
    names = ", ".join(p.name for p in protocols)
    return Figure(
        title="Protocols side by side",
        caption=(
            f"Axial slice {z + 1} of {shape[2]}. One window per row for all protocols; "
            f"{convention(view.radiological)}"
        ),
        alt=(
            f"Axial brain images in {len(protocols)} columns ({names}) and three rows: magnitude, "
            f"{phase_label}, and susceptibility from {chi_window_ppb[0]:g} to "
            f"{chi_window_ppb[1]:g} ppb."
        ),
        png=png,
        drawing=drawing,
    )


def zoom_figure(
    chi_ppm: Mapping[str, Volume],
    labels: Volume,
    regions: Mapping[int, str],
    *,
    voxel_size_mm: Triple,
    mask: Volume | None = None,
    views: Mapping[str, Sequence[str]] = DEFAULT_VIEWS,
    view: View = DEFAULT_VIEW,
) -> Figure:
    """Figure of magnified nuclei: a column per protocol, a row per view, outlines of the labels.

    Args:
        chi_ppm: protocol name -> susceptibility ``(x, y, z)`` in ppm.
        labels: integers ``(x, y, z)``.
        regions: label value -> region; both sides of a nucleus have one region.
        voxel_size_mm: edge lengths along x, y, z.
        mask: susceptibility is shown inside.
        views: row heading -> the regions that determine its slice and crop; views without a
            labelled voxel are left out.
        view: window, margin around the nuclei, and side.

    Raises:
        InputError: no protocol, shapes that differ, or no view with a labelled voxel.
    """
    maps = [ProtocolImages(name, chi) for name, chi in chi_ppm.items()]
    shape = _common_shape(maps, mask, labels)
    inside = np.ones(shape, dtype=bool) if mask is None else mask.astype(bool)
    rows: list[Row] = []
    boxes, outlines = [], []
    window_ppb = view.window_ppb or DEFAULT_CHI_WINDOW_PPB
    for heading, names in views.items():
        chosen = joined_mask(labels, regions, names)
        if not chosen.any():
            continue
        z = chosen_slice(shape, None, chosen, None)
        boxes.append(cut_box(np.any(chosen, axis=2), voxel_size_mm, margin_mm=view.margin_mm))
        slices: list[Volume | None] = [
            np.where(inside, PPB_PER_PPM * p.chi_ppm, np.nan)[:, :, z] for p in maps
        ]
        rows.append((f"{heading} (ppb)", window_ppb, slices))
        outlines.append(region_masks(labels[:, :, z], regions, names))
    if not rows:
        raise InputError(f"labels: expected voxels of {', '.join(views)}, found none")
    with styled():
        columns = [p.name for p in maps]
        names = list(regions.values())
        drawing = _grid(rows, columns, boxes, voxel_size_mm, view.radiological, outlines, names)
        png = to_png(drawing)
    shown = ", ".join(name for group in outlines for name in group)
    return Figure(
        title="Nuclei, magnified",
        caption=(
            f"Susceptibility with the outlines in which it was measured ({shown}), one window for "
            f"all; {convention(view.radiological)}"
        ),
        alt=(
            f"Enlarged susceptibility maps of {' and '.join(map(str.lower, views))} with "
            f"outlined nuclei, in {len(maps)} columns: {', '.join(columns)}."
        ),
        png=png,
        drawing=drawing,
    )


def _common_shape(
    protocols: Sequence[ProtocolImages], mask: Volume | None, labels: Volume | None
) -> tuple[int, ...]:
    if not protocols:
        raise InputError("figure: expected at least one protocol, found none")
    shape = protocols[0].chi_ppm.shape
    others: dict[str, Volume | None] = {"mask": mask, "labels": labels}
    for p in protocols:
        others |= {f"{p.name} magnitude": p.magnitude, f"{p.name} phase": p.phase}
        others[f"{p.name} susceptibility"] = p.chi_ppm
    for name, volume in others.items():
        if volume is not None and (volume.shape != shape or volume.ndim != 3):
            raise InputError(f"{name}: expected the shape {shape}, found {volume.shape}")
    return tuple(shape)


def _grid(
    rows: Sequence[Row],
    columns: Sequence[str],
    boxes: Sequence[Box],
    voxel_size_mm: Triple,
    radiological: bool,
    outlines: Sequence[Mapping[str, npt.NDArray[np.bool_]]] = (),
    regions: Sequence[str] = (),
) -> Drawing:
    width = (WIDTH_INCHES - LEFT - RIGHT - GAP * (len(columns) - 1)) / len(columns)
    # Otherwise few columns would make a figure taller than a screen.
    width = min(width, 3.2)
    heights = []
    for box in boxes:
        n_x, n_y = box[0].stop - box[0].start, box[1].stop - box[1].start
        heights.append(width * n_y * voxel_size_mm[1] / (n_x * voxel_size_mm[0]))
    grid = panels(
        len(columns), heights, width=width, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM,
        gap=(GAP, GAP),
    )  # fmt: skip
    gray = colormaps["gray"].with_extremes(bad="black")
    for i, (label, window, images) in enumerate(rows):
        for axes, image in zip(grid.axes[i], images, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            if image is None:
                continue
            show_slice(axes, image[boxes[i]], window, gray, voxel_size_mm, radiological)
            if outlines:
                cut = {name: mask[boxes[i]] for name, mask in outlines[i].items()}
                draw_outlines(
                    axes,
                    cut,
                    voxel_size_mm,
                    radiological,
                    regions=regions,
                    named=axes is grid.axes[i][0],
                )
        grid.axes[i][0].set_ylabel(label, fontsize=9)
        if i > 0 or outlines:
            draw_scale(grid.drawing, grid.axes[i][-1], window, gray)
    for axes, name in zip(grid.axes[0], columns, strict=True):
        axes.set_title(name, fontsize=10, fontweight="bold", pad=5)
    return grid.drawing
