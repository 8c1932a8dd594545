"""Pictures of the maps: protocols side by side, and the nuclei from near."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure as Drawing
from matplotlib.patheffects import withStroke

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.report.canvas import COLOURS, WIDTH_INCHES, panels, styled, to_png
from accelqsm.report.content import Figure
from accelqsm.units import PPB_PER_PPM

Volume = npt.NDArray[Any]
Window = tuple[float, float]
Box = tuple[slice, slice]
Row = tuple[str, Window, list[Volume | None]]

DEFAULT_CHI_WINDOW_PPB: Window = (-100.0, 200.0)
DEFAULT_VIEWS: Mapping[str, Sequence[str]] = {
    "Basal ganglia": ("Pu", "Ca", "GPe", "GPi"),
    "Midbrain": ("RN", "SNc", "SNr"),
}
LEFT, RIGHT, TOP, BOTTOM, GAP = 0.3, 0.75, 0.3, 0.05, 0.04


@dataclass(frozen=True)
class ProtocolImages:
    """The images of one protocol, all ``(x, y, z)`` on one grid (RAS+: x to the right).

    Attributes:
        name: as shown above the column.
        chi_ppm: susceptibility in ppm.
        magnitude: arbitrary unit; its panel stays empty when absent, as for a simulated truth.
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
    slice_index: int | None = None,
    chi_window_ppb: Window = DEFAULT_CHI_WINDOW_PPB,
    phase_label: str = "Phase (rad)",
    phase_window: Window = (-np.pi, np.pi),
    radiological: bool = True,
) -> Figure:
    """Draw one axial slice: a column per protocol; magnitude, phase and susceptibility as rows.

    Every row has one window for all protocols.

    Args:
        protocols: at least one, all of one shape.
        voxel_size_mm: edge lengths along x, y, z.
        mask: phase and susceptibility are shown inside; the view is cut to it.
        labels: integers ``(x, y, z)``; the default slice is the one with most labelled voxels.
        slice_index: index along z, instead of the default.
        chi_window_ppb: values shown black and white.
        phase_label: heading of the phase row, with its unit.
        phase_window: values shown black and white.
        radiological: the patient's right is on the left of the picture.

    Raises:
        InputError: no protocol, shapes that differ, or a slice outside the volume.
    """
    shape = _common_shape(protocols, mask, labels)
    z = _slice(shape, slice_index, labels, mask)
    box = _box(np.ones(shape[:2]) if mask is None else mask[:, :, z], voxel_size_mm, margin_mm=4)
    inside = np.ones(shape, dtype=bool) if mask is None else mask.astype(bool)

    def cut(volume: Volume | None, scale: float = 1.0) -> Volume | None:
        return None if volume is None else np.where(inside, scale * volume, np.nan)[:, :, z]

    magnitudes = [None if p.magnitude is None else p.magnitude[:, :, z] for p in protocols]
    rows: list[Row] = [
        ("Magnitude", (0.0, _brightest(magnitudes, inside[:, :, z])), magnitudes),
        (phase_label, phase_window, [cut(p.phase) for p in protocols]),
        ("Susceptibility (ppb)", chi_window_ppb, [cut(p.chi_ppm, PPB_PER_PPM) for p in protocols]),
    ]
    with styled():
        drawing = _grid(rows, [p.name for p in protocols], [box] * 3, voxel_size_mm, radiological)
        png = to_png(drawing)
    names = ", ".join(p.name for p in protocols)
    return Figure(
        title="Protocols side by side",
        caption=(
            f"Axial slice {z + 1} of {shape[2]}. One window per row for all protocols; "
            f"{_convention(radiological)}"
        ),
        alt=(
            f"Axial brain images in {len(protocols)} columns ({names}) and three rows: magnitude, "
            f"{phase_label}, and susceptibility from {chi_window_ppb[0]:g} to "
            f"{chi_window_ppb[1]:g} ppb."
        ),
        png=png,
    )


def zoom_figure(
    chi_ppm: Mapping[str, Volume],
    labels: Volume,
    regions: Mapping[int, str],
    *,
    voxel_size_mm: Triple,
    mask: Volume | None = None,
    views: Mapping[str, Sequence[str]] = DEFAULT_VIEWS,
    chi_window_ppb: Window = DEFAULT_CHI_WINDOW_PPB,
    margin_mm: float = 12.0,
    radiological: bool = True,
) -> Figure:
    """Draw the nuclei from near: a column per protocol, a row per view, outlines of the labels.

    Args:
        chi_ppm: protocol name -> susceptibility ``(x, y, z)`` in ppm.
        labels: integers ``(x, y, z)``.
        regions: label value -> region; both sides of a nucleus have one region.
        voxel_size_mm: edge lengths along x, y, z.
        mask: susceptibility is shown inside.
        views: row heading -> the regions that choose its slice and its cut; views without a
            labelled voxel are left out.
        chi_window_ppb: values shown black and white.
        margin_mm: room around the nuclei.
        radiological: the patient's right is on the left of the picture.

    Raises:
        InputError: no protocol, shapes that differ, or no view with a labelled voxel.
    """
    maps = [ProtocolImages(name, chi) for name, chi in chi_ppm.items()]
    shape = _common_shape(maps, mask, labels)
    inside = np.ones(shape, dtype=bool) if mask is None else mask.astype(bool)
    rows: list[Row] = []
    boxes, outlines = [], []
    for view, names in views.items():
        chosen = np.isin(labels, [index for index, name in regions.items() if name in names])
        if not chosen.any():
            continue
        z = _slice(shape, None, chosen, None)
        boxes.append(_box(np.any(chosen, axis=2), voxel_size_mm, margin_mm=margin_mm))
        slices: list[Volume | None] = [
            np.where(inside, PPB_PER_PPM * p.chi_ppm, np.nan)[:, :, z] for p in maps
        ]
        rows.append((f"{view} (ppb)", chi_window_ppb, slices))
        outlines.append(_region_masks(labels[:, :, z], regions, names))
    if not rows:
        raise InputError(f"labels: expected voxels of {', '.join(views)}, found none")
    with styled():
        columns = [p.name for p in maps]
        drawing = _grid(rows, columns, boxes, voxel_size_mm, radiological, outlines)
        png = to_png(drawing)
    shown = ", ".join(name for group in outlines for name in group)
    return Figure(
        title="Nuclei from near",
        caption=(
            f"Susceptibility with the outlines in which it was measured ({shown}), one window for "
            f"all; {_convention(radiological)}"
        ),
        alt=(
            f"Enlarged susceptibility maps of {' and '.join(view.lower() for view in views)} with "
            f"outlined nuclei, in {len(maps)} columns: {', '.join(columns)}."
        ),
        png=png,
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


def _slice(
    shape: tuple[int, ...], wanted: int | None, labels: Volume | None, mask: Volume | None
) -> int:
    if wanted is not None:
        if not 0 <= wanted < shape[2]:
            raise InputError(f"slice: expected an index from 0 to {shape[2] - 1}, found {wanted}")
        return wanted
    for chosen in (labels, mask):
        if chosen is not None and chosen.any():
            return int(np.argmax((chosen != 0).sum(axis=(0, 1))))
    return shape[2] // 2


def _box(chosen: Volume, voxel_size_mm: Triple, *, margin_mm: float) -> Box:
    sides = []
    for axis in (0, 1):
        where = np.flatnonzero(np.any(chosen, axis=1 - axis))
        margin = round(margin_mm / voxel_size_mm[axis])
        first, last = (where[0], where[-1]) if len(where) else (0, chosen.shape[axis] - 1)
        end = min(int(last) + margin + 1, chosen.shape[axis])
        sides.append(slice(max(int(first) - margin, 0), end))
    return sides[0], sides[1]


def _brightest(slices: Sequence[Volume | None], inside: Volume) -> float:
    for image in slices:
        if image is not None and inside.any():
            return float(np.percentile(image[inside], 99.5)) or 1.0
    return 1.0


def _region_masks(
    labels: Volume, regions: Mapping[int, str], names: Sequence[str]
) -> dict[str, npt.NDArray[np.bool_]]:
    masks = {
        name: np.isin(labels, [index for index, region in regions.items() if region == name])
        for name in names
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def _grid(
    rows: Sequence[Row],
    columns: Sequence[str],
    boxes: Sequence[Box],
    voxel_size_mm: Triple,
    radiological: bool,
    outlines: Sequence[Mapping[str, npt.NDArray[np.bool_]]] = (),
) -> Drawing:
    width = (WIDTH_INCHES - LEFT - RIGHT - GAP * (len(columns) - 1)) / len(columns)
    # Few columns would make a figure taller than a screen.
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
            _show(axes, image[boxes[i]], window, gray, voxel_size_mm, radiological)
            if outlines:
                cut = {name: mask[boxes[i]] for name, mask in outlines[i].items()}
                _outline(axes, cut, voxel_size_mm, radiological, named=axes is grid.axes[i][0])
        grid.axes[i][0].set_ylabel(label, fontsize=9)
        if i > 0 or outlines:
            _scale(grid.drawing, grid.axes[i][-1], window, gray)
    for axes, name in zip(grid.axes[0], columns, strict=True):
        axes.set_title(name, fontsize=10, fontweight="bold", pad=5)
    return grid.drawing


def _show(
    axes: Axes,
    image: Volume,
    window: Window,
    colours: Colormap,
    voxel_size_mm: Triple,
    radiological: bool,
) -> None:
    shown = _as_displayed(image, radiological)
    axes.imshow(
        shown, cmap=colours, vmin=window[0], vmax=window[1], origin="lower",
        interpolation="nearest", extent=_extent(shown, voxel_size_mm), aspect="auto",
    )  # fmt: skip
    sides = ("R", "L") if radiological else ("L", "R")
    halo = [withStroke(linewidth=1.6, foreground="black")]
    for x, side, align in ((0.02, sides[0], "left"), (0.98, sides[1], "right")):
        axes.text(
            x, 0.5, side, transform=axes.transAxes, color="white", fontsize=8, ha=align,
            va="center", path_effects=halo,
        )  # fmt: skip


def _outline(
    axes: Axes,
    masks: Mapping[str, npt.NDArray[np.bool_]],
    voxel_size_mm: Triple,
    radiological: bool,
    *,
    named: bool,
) -> None:
    halo = [withStroke(linewidth=1.8, foreground="black")]
    for i, (name, mask) in enumerate(masks.items()):
        shown = _as_displayed(mask, radiological).astype(float)
        height, width = shown.shape
        x = (np.arange(width) + 0.5) * voxel_size_mm[0]
        y = (np.arange(height) + 0.5) * voxel_size_mm[1]
        colour = OUTLINE_COLOURS[i % len(OUTLINE_COLOURS)]
        axes.contour(x, y, shown, levels=[0.5], colors=[colour], linewidths=0.9)
        if named:
            axes.text(
                0.03, 0.97 - 0.085 * i, name, transform=axes.transAxes, color=colour, fontsize=8,
                va="top", fontweight="bold", path_effects=halo,
            )  # fmt: skip


def _as_displayed(image: Volume, radiological: bool) -> Volume:
    """Rows upwards to anterior, columns to the patient's left (radiological) or right."""
    return np.asarray(image[::-1].T if radiological else image.T)


def _extent(shown: Volume, voxel_size_mm: Triple) -> tuple[float, float, float, float]:
    return 0.0, shown.shape[1] * voxel_size_mm[0], 0.0, shown.shape[0] * voxel_size_mm[1]


def _scale(drawing: Drawing, beside: Axes, window: Window, colours: Colormap) -> None:
    box = beside.get_position()
    inch = 1 / drawing.get_figwidth()
    axes = drawing.add_axes(
        (box.x1 + 0.08 * inch, box.y0 + 0.1 * box.height, 0.11 * inch, 0.8 * box.height)
    )
    drawing.colorbar(ScalarMappable(Normalize(*window), colours), cax=axes)
    axes.tick_params(length=2, pad=2)


def _convention(radiological: bool) -> str:
    side = "left" if radiological else "right"
    return f"anterior is up and the patient's right (R) is on the {side} of the picture."


OUTLINE_COLOURS = (COLOURS[4], COLOURS[5], COLOURS[3], "#f0e442", COLOURS[2])
