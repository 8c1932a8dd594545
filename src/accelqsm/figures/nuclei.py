"""Figures of the nuclei overlaid on susceptibility, in axial views and in three planes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Drawing
from matplotlib.patheffects import withStroke

from accelqsm.errors import InputError
from accelqsm.figures.canvas import DPI, WIDTH_INCHES, panels, styled, to_png
from accelqsm.figures.figure import Figure
from accelqsm.figures.slices import (
    DEFAULT_CHI_WINDOW_PPB,
    Volume,
    Window,
    as_displayed,
    chosen_slice,
    convention,
    cut_box,
    draw_scale,
    extent_mm,
    joined_mask,
    region_colours,
    region_masks,
    show_slice,
    views_of,
)
from accelqsm.grid import Triple
from accelqsm.units import PPB_PER_PPM

PLANES = ("axial", "coronal", "sagittal")
OVERLAY_ALPHA = 0.55
STILL_INCHES = 2.6
Masks = Mapping[str, npt.NDArray[np.bool_]]


def nuclei_figure(
    name: str,
    chi_ppm: Volume,
    labels: Volume,
    regions: Mapping[int, str],
    *,
    voxel_size_mm: Triple,
    chi_window_ppb: Window = DEFAULT_CHI_WINDOW_PPB,
    margin_mm: float = 18.0,
    radiological: bool = True,
) -> Figure:
    """Figure of the nuclei on susceptibility: each view without and with named overlays.

    Args:
        name: name of the map.
        chi_ppm: susceptibility ``(x, y, z)`` in ppm.
        labels: integers ``(x, y, z)``.
        regions: label value -> region; both sides of a nucleus have one region.
        voxel_size_mm: edge lengths along x, y, z.
        chi_window_ppb: values shown black and white.
        margin_mm: margin around the nuclei.
        radiological: the patient's right is on the left of the figure.

    Raises:
        InputError: shapes that differ, or no labelled voxel.
    """
    check_labels(chi_ppm, labels)
    box = cut_box(np.any(labels != 0, axis=2), voxel_size_mm, margin_mm=margin_mm)
    colours = region_colours(regions.values())
    views = {
        view: (chosen_slice(labels.shape, None, chosen, None), members)
        for view, members in views_of(regions.values()).items()
        if (chosen := joined_mask(labels, regions, members)).any()
    }
    gray = colormaps["gray"]
    width = (WIDTH_INCHES - 1.0) / 4
    n_x, n_y = (side.stop - side.start for side in box)
    height = width * n_y * voxel_size_mm[1] / (n_x * voxel_size_mm[0])
    rows = -(-len(views) // 2)
    with styled():
        grid = panels(
            2 * min(len(views), 2), [height] * rows, width=width, left=0.1, right=0.75, top=0.3,
            bottom=0.05, gap=(0.04, 0.3),
        )  # fmt: skip
        for i, (view, (z, members)) in enumerate(views.items()):
            bare, named = grid.flat[2 * i : 2 * i + 2]
            image = PPB_PER_PPM * chi_ppm[:, :, z][box]
            masks = region_masks(labels[:, :, z][box], regions, members)
            for axes in (bare, named):
                axes.set(xticks=[], yticks=[])
                show_slice(axes, image, chi_window_ppb, gray, voxel_size_mm, radiological)
            fill_regions(named, masks, colours, radiological)
            _name_regions(named, masks, colours, voxel_size_mm, radiological)
            bare.set_title(view, fontsize=10, fontweight="bold", loc="left", pad=5)
        for axes in grid.flat[2 * len(views) :]:
            axes.set_visible(False)
        draw_scale(grid.drawing, grid.axes[0][-1], chi_window_ppb, gray)
        png = to_png(grid.drawing)
    shown = ", ".join(colours)
    return Figure(
        title="The nuclei",
        caption=(
            f"Susceptibility of {name} (ppb) without and with the nuclei in which it was measured "
            f"({shown}); {convention(radiological)}"
        ),
        alt=(
            f"Axial susceptibility maps of {name} at {' and '.join(v.lower() for v in views)}, "
            f"each without and with coloured, named nuclei: {shown}."
        ),
        png=png,
        drawing=grid.drawing,
    )


def still_figure(
    name: str,
    chi_ppm: Volume,
    labels: Volume,
    regions: Mapping[int, str],
    *,
    voxel_size_mm: Triple,
    at: tuple[int, int, int],
    chi_window_ppb: Window = DEFAULT_CHI_WINDOW_PPB,
    radiological: bool = True,
) -> Figure:
    """Static figure of three planes through one voxel with overlaid nuclei, as in the viewer.

    Args:
        name, chi_ppm, labels, regions, voxel_size_mm, chi_window_ppb, radiological: as for
            ``nuclei_figure``.
        at: voxel in all three planes.

    Raises:
        InputError: shapes that differ, or no labelled voxel.
    """
    check_labels(chi_ppm, labels)
    colours = region_colours(regions.values())
    gray = colormaps["gray"]
    sizes = [_plane_size(chi_ppm.shape, voxel_size_mm, axis) for axis in (2, 1, 0)]
    # One scale for all planes: together they are as wide as the page.
    scale = (WIDTH_INCHES - 1.1) / sum(width for width, _ in sizes)
    scale = min(scale, STILL_INCHES / max(height for _, height in sizes))
    with styled():
        drawing = Drawing(figsize=(WIDTH_INCHES, STILL_INCHES + 0.35), dpi=DPI, facecolor="white")
        left = 0.1
        for plane, axis, (width, height) in zip(PLANES, (2, 1, 0), sizes, strict=True):
            axes = _add_axes(drawing, left, width * scale, height * scale)
            cut = np.take(chi_ppm, at[axis], axis=axis)
            sides = tuple(size for a, size in enumerate(voxel_size_mm) if a != axis)
            mirrored = radiological and axis != 0
            shown = as_displayed(PPB_PER_PPM * cut, mirrored)
            axes.imshow(
                shown, cmap=gray, vmin=chi_window_ppb[0], vmax=chi_window_ppb[1], origin="lower",
                interpolation="nearest", extent=extent_mm(shown, (sides[0], sides[1], 1.0)),
                aspect="auto",
            )  # fmt: skip
            masks = region_masks(np.take(labels, at[axis], axis=axis), regions, list(colours))
            fill_regions(axes, masks, colours, mirrored)
            axes.set_title(plane, fontsize=9)
            left += width * scale + 0.06
        draw_scale(drawing, axes, chi_window_ppb, gray)
        png = to_png(drawing)
    return Figure(
        title="Nuclei in three planes",
        caption="",
        alt=(
            f"Axial, coronal and sagittal susceptibility of {name} around the nuclei, which are "
            f"coloured: {', '.join(colours)}."
        ),
        png=png,
        drawing=drawing,
    )


def check_labels(chi_ppm: Volume, labels: Volume) -> None:
    """Check that labels have the shape of a map and are not empty.

    Raises:
        InputError: shapes that differ, or no labelled voxel.
    """
    if labels.shape != chi_ppm.shape or labels.ndim != 3:
        raise InputError(f"labels: expected the shape {chi_ppm.shape}, found {labels.shape}")
    if not labels.any():
        raise InputError("labels: expected labelled voxels, found none")


def fill_regions(
    axes: Axes,
    masks: Masks,
    colours: Mapping[str, str],
    mirrored: bool,
) -> None:
    """Overlay each region in its colour on the plane that the axes show."""
    extent = axes.get_images()[0].get_extent()
    for name, mask in masks.items():
        shown = as_displayed(mask, mirrored)
        layer = np.zeros((*shown.shape, 4))
        layer[shown] = (*to_rgb(colours[name]), OVERLAY_ALPHA)
        axes.imshow(layer, origin="lower", interpolation="nearest", extent=extent, aspect="auto")


def _name_regions(
    axes: Axes,
    masks: Masks,
    colours: Mapping[str, str],
    voxel_size_mm: Triple,
    radiological: bool,
) -> None:
    """Annotate each region with its name and a line, for readers who cannot tell the colours."""
    halo = [withStroke(linewidth=2.0, foreground="black")]
    middles = {
        name: _middle_on_the_left(as_displayed(mask, radiological)) for name, mask in masks.items()
    }
    n_rows = as_displayed(next(iter(masks.values())), radiological).shape[0]
    spread = 0.1 * (len(middles) - 1)
    around = float(np.mean([y for _, y in middles.values()])) / n_rows
    top = min(max(around + spread / 2, 0.05 + spread), 0.95)
    for i, name in enumerate(sorted(middles, key=lambda name: -middles[name][1])):
        x, y = middles[name]
        axes.annotate(
            name, (x * voxel_size_mm[0], y * voxel_size_mm[1]), xytext=(0.06, top - 0.1 * i),
            textcoords="axes fraction", color=colours[name], fontsize=9, fontweight="bold",
            va="center", path_effects=halo,
            arrowprops={"arrowstyle": "-", "color": "white", "linewidth": 0.6, "shrinkA": 1},
        )  # fmt: skip


def _middle_on_the_left(shown: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Column and row of the centre of the part of a region in the left half of the figure."""
    half = shown[:, : shown.shape[1] // 2]
    rows, columns = np.nonzero(half if half.any() else shown)
    middle = int(np.argmin(np.hypot(rows - rows.mean(), columns - columns.mean())))
    return float(columns[middle]) + 0.5, float(rows[middle]) + 0.5


def _plane_size(shape: tuple[int, ...], voxel_size_mm: Triple, axis: int) -> tuple[float, float]:
    width, height = (n * s for a, (n, s) in enumerate(zip(shape, voxel_size_mm, strict=True))
                     if a != axis)  # fmt: skip
    return width, height


def _add_axes(drawing: Drawing, left: float, width: float, height: float) -> Axes:
    across, total = drawing.get_size_inches()
    axes = drawing.add_axes((left / across, 0.05 / total, width / across, height / total))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes
