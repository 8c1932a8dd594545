"""Quality-control figure of label outlines on susceptibility and magnitude in three planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from accelqsm.errors import InputError
from accelqsm.figures.canvas import COLOURS, FAINT, panels, styled, to_png
from accelqsm.figures.figure import Figure
from accelqsm.units import PPB_PER_PPM

Volume = npt.NDArray[Any]
PLANES = ("axial", "coronal", "sagittal")
HALF_WIDTH_MM = 40.0
CHI_WINDOW_PPB = (-80.0, 180.0)
PANEL_INCHES = 1.35
OUTLINE, OTHERS = COLOURS[5], COLOURS[4]


def outline_figure(
    chi_ppm: Volume,
    magnitude: Volume,
    nuclei: Mapping[str, Volume],
    *,
    voxel_size_mm: float,
    notes: Mapping[str, str] | None = None,
) -> Figure:
    """Figure of each nucleus in three planes through it, on susceptibility and magnitude.

    Args:
        chi_ppm, magnitude: (x, y, z), RAS+ with cubic voxels.
        nuclei: region -> partial volume (x, y, z), 0 to 1, both sides together; the outline
            is at one half. All are drawn in each panel, that of the row in a different colour.
        voxel_size_mm: edge of a voxel.
        notes: region -> note or flag.

    Raises:
        InputError: shapes that differ, or no nucleus.
    """
    if not nuclei:
        raise InputError("outline figure: expected at least one nucleus, found none")
    for name, partial_volume in nuclei.items():
        if partial_volume.shape != chi_ppm.shape or magnitude.shape != chi_ppm.shape:
            raise InputError(
                f"outline figure: expected one shape, found {chi_ppm.shape}, {magnitude.shape} "
                f"and {partial_volume.shape} of {name}"
            )
    positive = magnitude[np.isfinite(magnitude) & (magnitude > 0)]
    images = (
        (PPB_PER_PPM * chi_ppm, CHI_WINDOW_PPB),
        (magnitude, tuple(np.percentile(positive, [2, 99.5])) if positive.size else (0.0, 1.0)),
    )
    with styled():
        grid = panels(
            6, [PANEL_INCHES] * len(nuclei), width=PANEL_INCHES, left=0.55, right=0.1, top=0.4,
            bottom=0.1, gap=(0.04, 0.04),
        )  # fmt: skip
        for row, name in zip(grid.axes, nuclei, strict=True):
            _draw_row(row, name, images, nuclei, voxel_size_mm)
            if notes and notes.get(name):
                row[0].text(
                    0.02, 0.02, notes[name], transform=row[0].transAxes, color=FAINT, fontsize=5
                )
        for column, axes in enumerate(grid.axes[0]):
            what = ("susceptibility", "magnitude")[column // 3]
            axes.set_title(f"{PLANES[column % 3]}\n{what}", fontsize=8, pad=3)
        png = to_png(grid.drawing)
    return Figure(
        title="Labels on susceptibility and magnitude",
        caption=(
            f"Three planes through the middle of each nucleus; susceptibility from "
            f"{CHI_WINDOW_PPB[0]:g} to {CHI_WINDOW_PPB[1]:g} ppb. Right is right."
        ),
        alt=f"Outlines of {', '.join(nuclei)} in axial, coronal and sagittal planes.",
        png=png,
        drawing=grid.drawing,
    )


def _draw_row(
    row: Sequence[Axes],
    name: str,
    images: Sequence[tuple[Volume, tuple[float, float]]],
    nuclei: Mapping[str, Volume],
    voxel_size_mm: float,
) -> None:
    """Draw one nucleus in three planes of each image, with the outlines of all nuclei."""
    middle = _middle(nuclei[name])
    for column, axes in enumerate(row):
        values, window = images[column // 3]
        axis = 2 - column % 3
        axes.set(xticks=[], yticks=[])
        axes.set_facecolor("black")
        image = _cut(values, axis, middle, voxel_size_mm)
        axes.imshow(
            image.T, origin="lower", cmap="gray", vmin=window[0], vmax=window[1],
            interpolation="nearest", aspect="equal",
        )  # fmt: skip
        for other, volume in nuclei.items():
            cut = _cut(volume, axis, middle, voxel_size_mm)
            if cut.max() > 0.5 and cut.min() < 0.5:
                axes.contour(
                    cut.T, levels=[0.5], linewidths=0.9 if other == name else 0.5,
                    colors=[OUTLINE if other == name else OTHERS],
                )  # fmt: skip
    row[0].set_ylabel(name, fontsize=9, fontweight="bold")


def _middle(volume: Volume) -> tuple[int, int, int]:
    """Indices of the planes with most of the nucleus; for x, of the side with lower index."""
    counts = [volume.sum(axis=tuple(a for a in range(3) if a != axis)) for axis in range(3)]
    x, y, z = (int(np.argmax(count)) for count in counts)
    return x, y, z


def _cut(values: Volume, axis: int, middle: tuple[int, int, int], size_mm: float) -> Volume:
    """Crop a plane to a square around the nucleus (about the midline along x)."""
    plane = np.take(values, middle[axis], axis=axis)
    rest = [a for a in range(3) if a != axis]
    reach = round(HALF_WIDTH_MM / size_mm)
    centre = [values.shape[0] // 2 if a == 0 else middle[a] for a in rest]
    out = np.zeros((2 * reach, 2 * reach), dtype=np.float64)
    into, of = [], []
    for c, n in zip(centre, plane.shape, strict=True):
        low, high = max(0, c - reach), min(n, c + reach)
        into.append(slice(low - c + reach, high - c + reach))
        of.append(slice(low, high))
    out[tuple(into)] = np.nan_to_num(plane[tuple(of)])
    return out
