"""Conversion of a volume to DICOM slices and coordinates (LPS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.grid import Grid

SQUARE = 1e-3
"""Largest cosine between two axes of a grid whose voxels are rectangular."""


@dataclass(frozen=True)
class Slices:
    """A volume in DICOM's order and coordinates (LPS, mm).

    Attributes:
        values: (slice, row, column).
        orientation: directions of a row (to the next column) and of a column (to the next row).
        spacing_mm: distance of rows, of columns and of slices.
        positions_mm: centre of the first pixel of each slice.
    """

    values: npt.NDArray[Any]
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float, float]
    positions_mm: tuple[tuple[float, float, float], ...]


def as_slices(values: npt.NDArray[Any], grid: Grid, orientation: Sequence[float]) -> Slices:
    """Reorder and flip the axes of a volume to the orientation nearest to a template's.

    No value changes: pixel (k, r, c) is at ``positions_mm[k] + c dc row + r dr column``, the
    place that the affine gives it.

    Args:
        values: (x, y, z) on ``grid``.
        grid: RAS+.
        orientation: row and column direction of the template (LPS).

    Raises:
        InputError: voxels that are not rectangular.
    """
    matrix = np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.matrix
    sizes = np.linalg.norm(matrix[:3, :3], axis=0)
    axes = matrix[:3, :3] / sizes
    off = np.abs(axes.T @ axes - np.eye(3)).max()
    if off > SQUARE:
        raise InputError(
            f"affine: expected rectangular voxels, as DICOM has them, found axes {off:.3f} from it"
        )
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:6])
    cosines = np.stack([np.cross(row, column), column, row]) @ axes
    order = max(permutations(range(3)), key=lambda p: sum(abs(cosines[n, p[n]]) for n in range(3)))
    flips = [bool(cosines[n, order[n]] < 0) for n in range(3)]
    arranged = values.transpose(order)
    start = matrix[:3, 3].copy()
    steps = [matrix[:3, axis] for axis in order]
    for n, flip in enumerate(flips):
        if flip:
            arranged = np.flip(arranged, n)
            start += steps[n] * (arranged.shape[n] - 1)
            steps[n] = -steps[n]
    lengths = [float(np.linalg.norm(step)) for step in steps]
    directions = np.concatenate([steps[2] / lengths[2], steps[1] / lengths[1]])
    places = [start + k * steps[0] for k in range(arranged.shape[0])]
    return Slices(
        np.ascontiguousarray(arranged),
        tuple(float(d) for d in directions),
        (lengths[1], lengths[2], lengths[0]),
        tuple((float(p[0]), float(p[1]), float(p[2])) for p in places),
    )
