"""Figure of susceptibility, magnitude and R2* of a scan in three planes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.figures.canvas import panels, styled, to_png
from accelqsm.figures.figure import Figure
from accelqsm.grid import Triple
from accelqsm.units import PPB_PER_PPM

Volume = npt.NDArray[Any]
PLANES = ("axial", "coronal", "sagittal")
CHI_WINDOW_PPB = (-100.0, 200.0)
R2STAR_WINDOW_PER_S = (0.0, 60.0)
MARGIN_VOXELS = 2


def maps_figure(
    chi_ppm: Volume,
    mask: npt.NDArray[np.bool_],
    *,
    magnitude: Volume | None = None,
    r2star_per_s: Volume | None = None,
    voxel_size_mm: Triple,
    others: Mapping[str, tuple[Volume, tuple[float, float]]] = MappingProxyType({}),
) -> Figure:
    """Figure of each map in three planes through the centre of the mask, cropped to it.

    Args:
        chi_ppm: susceptibility in ppm, (x, y, z).
        mask: bool (x, y, z), where susceptibility is known.
        magnitude: (x, y, z), any scale.
        r2star_per_s: (x, y, z) in 1/s.
        voxel_size_mm: edge lengths of a voxel in mm.
        others: name with its unit -> values (x, y, z), and those shown black and white.

    Raises:
        InputError: shapes that differ, or an empty mask.
    """
    volumes: dict[str, tuple[Volume, tuple[float, float]]] = {
        "susceptibility, ppb": (PPB_PER_PPM * chi_ppm, CHI_WINDOW_PPB)
    }
    if magnitude is not None:
        volumes["magnitude"] = (magnitude, (0.0, _bright(magnitude, mask)))
    if r2star_per_s is not None:
        volumes["R2*, 1/s"] = (r2star_per_s, R2STAR_WINDOW_PER_S)
    volumes |= others
    for name, (values, _) in volumes.items():
        if values.shape != mask.shape:
            raise InputError(
                f"{name}: expected the mask's shape {mask.shape}, found {values.shape}"
            )
    if not mask.any():
        raise InputError("figure of maps: expected a mask with voxels, found none")
    box, middle = _around(mask)
    with styled():
        grid = panels(len(PLANES), [2.4] * len(volumes))
        for row, (name, (values, window)) in zip(grid.axes, volumes.items(), strict=True):
            for axes, plane, axis in zip(row, PLANES, (2, 1, 0), strict=True):
                shown = np.take(values, middle[axis], axis=axis)
                kept = [box[a] for a in range(3) if a != axis]
                size = [voxel_size_mm[a] for a in range(3) if a != axis]
                axes.imshow(
                    shown[kept[0], kept[1]].T,
                    origin="lower",
                    cmap="gray",
                    vmin=window[0],
                    vmax=window[1],
                    aspect=size[1] / size[0],
                )
                axes.set(xticks=[], yticks=[])
                if row is grid.axes[0]:
                    axes.set_title(plane)
            row[0].set_ylabel(name)
        png = to_png(grid.drawing)
    level = PPB_PER_PPM * float(np.std(chi_ppm[mask]))
    return Figure(
        title="Susceptibility, magnitude and R2*",
        caption=(
            f"Three planes through the middle of the mask; array axes as stored. Susceptibility "
            f"from {CHI_WINDOW_PPB[0]:g} to {CHI_WINDOW_PPB[1]:g} ppb."
        ),
        alt=f"Maps in three planes; the standard deviation over the mask is {level:.0f} ppb.",
        png=png,
        drawing=grid.drawing,
    )


def _bright(magnitude: Volume, mask: npt.NDArray[np.bool_]) -> float:
    """Upper end of the grey scale of a magnitude, its 99.5th percentile."""
    inside = magnitude[mask] if mask.any() else magnitude
    return float(np.percentile(inside, 99.5)) or 1.0


def _around(mask: npt.NDArray[np.bool_]) -> tuple[list[slice], list[int]]:
    """Bounding box of the mask with a margin, and its centre."""
    box, middle = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(mask.any(axis=others))
        first = max(int(where[0]) - MARGIN_VOXELS, 0)
        box.append(slice(first, int(where[-1]) + MARGIN_VOXELS + 1))
        middle.append(round(float(where[0] + where[-1]) / 2))
    return box, middle
