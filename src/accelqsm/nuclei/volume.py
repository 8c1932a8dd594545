"""Volumes on a grid, and their interpolation, resampling and cropping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.errors import InputError
from accelqsm.grid import Grid, as_affine

Array = npt.NDArray[Any]
Points = npt.NDArray[np.float64]
"""World coordinates (RAS+, mm), shape (3, ...)."""

Mapping = Callable[[Points], Points]
"""Takes world points of one space to world points of another."""

POINTS_AT_ONCE = 400_000
LARGEST_SHEAR = 1e-3
MOST_VOXELS, MOST_TIMES = 2**25, 8
"""Of a derived grid: at all events, and over those of the image that it is derived from."""


@dataclass(frozen=True)
class Volume:
    """Values ``(x, y, z)`` and the grid that they lie on.

    Raises:
        InputError: a shape that is not the grid's, or a grid whose axes are not perpendicular.
    """

    values: Array
    grid: Grid

    def __post_init__(self) -> None:
        if self.values.shape != self.grid.shape:
            raise InputError(
                f"volume: expected the grid's shape {self.grid.shape}, found {self.values.shape}"
            )
        check_perpendicular(self.grid)


def check_perpendicular(grid: Grid, name: str = "affine") -> None:
    """Check that a grid is not sheared; oblique and flipped grids are allowed.

    Raises:
        InputError: a sheared grid, with the largest cosine between two axes.
    """
    axes = grid.matrix[:3, :3] / grid.voxel_size_mm
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > LARGEST_SHEAR:
        raise InputError(
            f"{name}: expected perpendicular voxel axes, found a sheared affine "
            f"(cosine {cosine:.3f} between two axes)"
        )


@dataclass(frozen=True)
class AffineMapping:
    """Affine mapping of world points by a 4 x 4 matrix."""

    matrix: npt.NDArray[np.float64]

    def __call__(self, points: Points) -> Points:
        m = self.matrix
        rotated: Points = np.tensordot(m[:3, :3], points, axes=1)
        return rotated + m[:3, 3].reshape(3, *([1] * (points.ndim - 1)))


def affine_transform(matrix: npt.ArrayLike) -> AffineMapping:
    """Affine mapping of world points by a 4 x 4 matrix."""
    return AffineMapping(np.asarray(matrix, dtype=np.float64))


def grid_points(grid: Grid, start: int = 0, stop: int | None = None) -> Points:
    """World coordinates of the voxel centres with first index from start to stop."""
    stop = grid.shape[0] if stop is None else stop
    index = np.meshgrid(
        np.arange(start, stop), *(np.arange(n) for n in grid.shape[1:]), indexing="ij"
    )
    return affine_transform(grid.matrix)(np.stack(index).astype(np.float64))


def centre_of(grid: Grid) -> npt.NDArray[np.float64]:
    """World coordinates of the centre of a grid, in mm."""
    return affine_transform(grid.matrix)((np.asarray(grid.shape)[:, None] - 1) / 2)[:, 0]


def value_at(volume: Volume, points: Points, *, order: int = 1, outside: float = 0.0) -> Array:
    """Interpolate a volume at world points, linear (order 1) or cubic (3)."""
    index = affine_transform(np.linalg.inv(volume.grid.matrix))(points)
    values = volume.values.astype(np.float32, copy=False)
    return np.asarray(
        ndimage.map_coordinates(
            values, index, output=np.float32, cval=outside, **_interpolation(order)
        )
    )


def resample_to(
    volume: Volume, grid: Grid, mapping: Mapping | None = None, *, order: int = 1
) -> Volume:
    """Resample a volume to a grid; ``mapping`` takes world points of the grid to the volume's."""
    values = volume.values.astype(np.float32, copy=False)
    if mapping is None and grid == volume.grid:
        return Volume(values, grid)
    if mapping is None or isinstance(mapping, AffineMapping):
        world = np.eye(4) if mapping is None else mapping.matrix
        index = np.linalg.inv(volume.grid.matrix) @ world @ grid.matrix
        out = ndimage.affine_transform(
            values,
            index[:3, :3],
            offset=index[:3, 3],
            output_shape=grid.shape,
            output=np.float32,
            **_interpolation(order),
        )
        return Volume(out, grid)
    out = np.empty(grid.shape, dtype=np.float32)
    for start, stop in slabs(grid):
        points = mapping(grid_points(grid, start, stop))
        out[start:stop] = value_at(volume, points, order=order)
    return Volume(out, grid)


def _interpolation(order: int) -> dict[str, Any]:
    """Options of linear (order 1) or cubic interpolation."""
    return {"order": 3, "mode": "grid-constant"} if order > 1 else {"order": 1, "mode": "constant"}


def slabs(grid: Grid) -> list[tuple[int, int]]:
    """Ranges of the first index with at most a few hundred thousand points each."""
    thickness = max(1, POINTS_AT_ONCE // (grid.shape[1] * grid.shape[2]))
    return [(s, min(s + thickness, grid.shape[0])) for s in range(0, grid.shape[0], thickness)]


def box_around(volume: Volume, *, margin_mm: float) -> Grid:
    """Bounding box of the non-zero voxels of a volume, with a margin.

    Raises:
        InputError: nothing but zeros.
    """
    return part_of(volume.grid, *_bounds(volume, margin_mm))


def crop_to_nonzero(volume: Volume, *, margin_mm: float) -> Volume:
    """Crop a volume to its non-zero voxels and a margin.

    Raises:
        InputError: nothing but zeros.
    """
    low, high = _bounds(volume, margin_mm)
    part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Volume(volume.values[part], part_of(volume.grid, low, high))


def _bounds(volume: Volume, margin_mm: float) -> tuple[list[int], list[int]]:
    labelled = volume.values != 0
    if not labelled.any():
        raise InputError("labels: expected labelled voxels, found none")
    axes = ((1, 2), (0, 2), (0, 1))
    where = [np.flatnonzero(labelled.any(others)) for others in axes]
    margins = [int(np.ceil(margin_mm / size)) for size in volume.grid.voxel_size_mm]
    low = [max(0, int(w.min()) - m) for w, m in zip(where, margins, strict=True)]
    high = [
        min(n, int(w.max()) + 1 + m)
        for w, m, n in zip(where, margins, volume.grid.shape, strict=True)
    ]
    return low, high


def part_of(grid: Grid, low: list[int], high: list[int]) -> Grid:
    """Grid of the voxels from index ``low`` up to ``high``; either may lie beyond ``grid``."""
    matrix = grid.matrix.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.asarray(low, dtype=np.float64)
    x, y, z = (b - a for a, b in zip(low, high, strict=True))
    return Grid((x, y, z), as_affine(matrix))


def check_size(shape: Sequence[float], of: Grid) -> None:
    """Refuse a grid of many times more voxels than the image that it is derived from.

    Raises:
        InputError: voxel sizes that make it larger than memory.
    """
    most = max(MOST_VOXELS, MOST_TIMES * math.prod(of.shape))
    if not math.prod(shape) <= most:
        sizes = " x ".join(f"{size:g}" for size in of.voxel_size_mm)
        raise InputError(
            f"registration: expected voxels of a head, found {sizes} mm, for which it would need "
            f"a grid of {math.prod(shape):.3g} voxels (at most {most:.3g})"
        )


def isotropic_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Grid of cubic voxels over the same field of view, along the same axes.

    Raises:
        InputError: as ``check_size``.
    """
    sizes = np.asarray(grid.voxel_size_mm)
    exact = np.maximum(1, np.round(np.asarray(grid.shape) * sizes / spacing_mm))
    check_size([float(v) for v in exact], grid)
    n = exact.astype(int)
    matrix = grid.matrix.copy()
    matrix[:3, :3] = matrix[:3, :3] / sizes * spacing_mm
    centre = grid.matrix[:3, :3] @ ((np.asarray(grid.shape) - 1) / 2) + grid.matrix[:3, 3]
    matrix[:3, 3] = centre - matrix[:3, :3] @ ((n - 1) / 2)
    return Grid((int(n[0]), int(n[1]), int(n[2])), as_affine(matrix))
