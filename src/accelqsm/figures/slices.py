"""Display of slices: selection, crop, window, orientation and outlines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure as Drawing
from matplotlib.patheffects import withStroke

from accelqsm.errors import InputError
from accelqsm.grid import Triple

Volume = npt.NDArray[Any]
Window = tuple[float, float]
Box = tuple[slice, slice]

DEFAULT_CHI_WINDOW_PPB: Window = (-100.0, 200.0)
DEFAULT_VIEWS: Mapping[str, Sequence[str]] = {
    "Basal ganglia": ("Pu", "Ca", "GPe", "GPi"),
    "Midbrain": ("RN", "SNc", "SNr"),
}
# Okabe and Ito's palette without colours that are too dark on gray values.
REGION_COLOURS = ("#56b4e9", "#e69f00", "#cc79a7", "#f0e442", "#009e73", "#d55e00", "#ffffff")


@dataclass(frozen=True)
class View:
    """Display settings of slices.

    Attributes:
        window_ppb: susceptibility shown black and white; by default that of the figure.
        margin_mm: margin around the nuclei.
        radiological: the patient's right is on the left of the figure.
        slice_index: index along z, instead of the one with most labelled voxels.
    """

    window_ppb: Window | None = None
    margin_mm: float = 12.0
    radiological: bool = True
    slice_index: int | None = None


DEFAULT_VIEW = View()


def region_colours(regions: Iterable[str]) -> dict[str, str]:
    """Colour of each region, the same in every figure of the same regions."""
    names = dict.fromkeys(regions)
    return {name: REGION_COLOURS[i % len(REGION_COLOURS)] for i, name in enumerate(names)}


def views_of(regions: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Regions of each view: basal ganglia, midbrain, and one view for other nuclei."""
    names = tuple(dict.fromkeys(regions))
    usual = {
        view: tuple(n for n in members if n in names) for view, members in DEFAULT_VIEWS.items()
    }
    known = {name for members in usual.values() for name in members}
    usual["Other nuclei"] = tuple(name for name in names if name not in known)
    return {view: members for view, members in usual.items() if members}


def chosen_slice(
    shape: tuple[int, ...], wanted: int | None, labels: Volume | None, mask: Volume | None
) -> int:
    """Index along z: ``wanted``, or the slice with most labelled or masked voxels."""
    if wanted is not None:
        if not 0 <= wanted < shape[2]:
            raise InputError(f"slice: expected an index from 0 to {shape[2] - 1}, found {wanted}")
        return wanted
    for chosen in (labels, mask):
        if chosen is not None and chosen.any():
            return int(np.argmax((chosen != 0).sum(axis=(0, 1))))
    return shape[2] // 2


def cut_box(chosen: Volume, voxel_size_mm: Triple, *, margin_mm: float) -> Box:
    """Bounding box of the chosen voxels of a plane ``(x, y)`` with a margin; the whole if none."""
    sides = []
    for axis in (0, 1):
        where = np.flatnonzero(np.any(chosen, axis=1 - axis))
        margin = round(margin_mm / voxel_size_mm[axis])
        first, last = (where[0], where[-1]) if len(where) else (0, chosen.shape[axis] - 1)
        end = min(int(last) + margin + 1, chosen.shape[axis])
        sides.append(slice(max(int(first) - margin, 0), end))
    return sides[0], sides[1]


def brightest(slices: Sequence[Volume | None], inside: Volume) -> float:
    """White level of magnitudes, the 99.5th percentile of the voxels inside."""
    for image in slices:
        if image is not None and inside.any():
            return float(np.percentile(image[inside], 99.5)) or 1.0
    return 1.0


def region_masks(
    labels: Volume, regions: Mapping[int, str], names: Sequence[str]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Mask of each region, both sides together; regions without a voxel are left out."""
    masks = {name: joined_mask(labels, regions, [name]) for name in names}
    return {name: mask for name, mask in masks.items() if mask.any()}


def joined_mask(
    labels: Volume, regions: Mapping[int, str], names: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Mask of all voxels of the named regions."""
    return np.isin(labels, [index for index, region in regions.items() if region in names])


def show_slice(
    axes: Axes,
    image: Volume,
    window: Window,
    colours: Colormap,
    voxel_size_mm: Triple,
    radiological: bool,
) -> None:
    """Draw a plane ``(x, y)`` with marks of left and right."""
    shown = as_displayed(image, radiological)
    axes.imshow(
        shown, cmap=colours, vmin=window[0], vmax=window[1], origin="lower",
        interpolation="nearest", extent=extent_mm(shown, voxel_size_mm), aspect="auto",
    )  # fmt: skip
    sides = ("R", "L") if radiological else ("L", "R")
    halo = [withStroke(linewidth=1.6, foreground="black")]
    for x, side, align in ((0.02, sides[0], "left"), (0.98, sides[1], "right")):
        axes.text(
            x, 0.5, side, transform=axes.transAxes, color="white", fontsize=8, ha=align,
            va="center", path_effects=halo,
        )  # fmt: skip


def draw_outlines(
    axes: Axes,
    masks: Mapping[str, npt.NDArray[np.bool_]],
    voxel_size_mm: Triple,
    radiological: bool,
    *,
    regions: Iterable[str],
    named: bool,
) -> None:
    """Draw the outline of each region, and its name where ``named``."""
    halo = [withStroke(linewidth=1.8, foreground="black")]
    colours = region_colours(regions)
    for i, (name, mask) in enumerate(masks.items()):
        shown = as_displayed(mask, radiological).astype(float)
        height, width = shown.shape
        x = (np.arange(width) + 0.5) * voxel_size_mm[0]
        y = (np.arange(height) + 0.5) * voxel_size_mm[1]
        axes.contour(x, y, shown, levels=[0.5], colors=[colours[name]], linewidths=0.9)
        if named:
            axes.text(
                0.03, 0.97 - 0.085 * i, name, transform=axes.transAxes, color=colours[name],
                fontsize=8, va="top", fontweight="bold", path_effects=halo,
            )  # fmt: skip


def as_displayed(image: Volume, radiological: bool) -> Volume:
    """Orient a plane for display: rows to anterior, columns to the patient's left or right."""
    return np.asarray(image[::-1].T if radiological else image.T)


def extent_mm(shown: Volume, voxel_size_mm: Triple) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of a displayed plane in mm."""
    return 0.0, shown.shape[1] * voxel_size_mm[0], 0.0, shown.shape[0] * voxel_size_mm[1]


def draw_scale(drawing: Drawing, next_to: Axes, window: Window, colours: Colormap) -> None:
    """Draw the colour bar of a window next to some axes."""
    box = next_to.get_position()
    inch = 1 / drawing.get_figwidth()
    axes = drawing.add_axes(
        (box.x1 + 0.08 * inch, box.y0 + 0.1 * box.height, 0.11 * inch, 0.8 * box.height)
    )
    drawing.colorbar(ScalarMappable(Normalize(*window), colours), cax=axes)
    axes.tick_params(length=2, pad=2)


def convention(radiological: bool) -> str:
    """Sentence on the orientation of a figure."""
    side = "left" if radiological else "right"
    return f"anterior is up and the patient's right (R) is on the {side} of the picture."
