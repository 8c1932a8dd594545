"""Voxel grids: shape and affine, and the geometry that follows from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Affine = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Grid:
    """A regular voxel grid: ``affine`` takes voxel indices to scanner coordinates in mm (RAS+).

    Attributes:
        shape: voxels along x, y, z (array axes, x is the readout).
        affine: 4 x 4, rows as tuples; ``world_mm = affine @ (i, j, k, 1)``.

    Raises:
        InputError: affine that is not 4 x 4, finite and invertible, or a shape below 1.
    """

    shape: Shape
    affine: Affine

    def __post_init__(self) -> None:
        matrix = np.asarray(self.affine, dtype=float)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise InputError(f"affine: expected 4 x 4 finite numbers, found shape {matrix.shape}")
        if abs(np.linalg.det(matrix[:3, :3])) < 1e-9:
            raise InputError("affine: singular, so that some axis has no voxel size")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise InputError(f"grid shape: expected three sizes >= 1, found {self.shape}")

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The affine as a 4 x 4 array."""
        return np.asarray(self.affine, dtype=np.float64)

    @property
    def voxel_size_mm(self) -> Triple:
        """Edge lengths of a voxel along the array axes, in mm."""
        sizes = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return float(sizes[0]), float(sizes[1]), float(sizes[2])

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of a voxel in mm^3."""
        return float(abs(np.linalg.det(self.matrix[:3, :3])))

    @property
    def rotation(self) -> npt.NDArray[np.float64]:
        """Orthonormal 3 x 3 matrix nearest to the affine without its voxel sizes."""
        left, _, right = np.linalg.svd(self.matrix[:3, :3] / self.voxel_size_mm)
        return np.asarray(left @ right, dtype=np.float64)

    @property
    def b0_direction(self) -> Triple:
        """Unit vector of the main field (scanner +z) along the array axes: R^T (0, 0, 1)."""
        row = self.rotation[2]
        return float(row[0]), float(row[1]), float(row[2])

    def world_mm(self) -> npt.NDArray[np.float32]:
        """Scanner coordinates of every voxel centre, ``(3, x, y, z)`` in mm."""
        indices = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in self.shape), indexing="ij")
        matrix = self.matrix.astype(np.float32)
        return np.stack(
            [sum(matrix[i, j] * indices[j] for j in range(3)) + matrix[i, 3] for i in range(3)]
        )

    def refined(self, factors: Sequence[int]) -> Grid:
        """Finer grid over the same volume, each voxel axis divided by ``factors``, for simulation.

        A centred k-space crop of an image on the refined grid has its voxel centres exactly on
        this grid: index ``n // 2`` of both grids is the same point.
        """
        matrix = self.matrix
        fine = matrix.copy()
        fine[:3, :3] = matrix[:3, :3] / np.asarray(factors, dtype=float)
        shape = tuple(n * f for n, f in zip(self.shape, factors, strict=True))
        centre = matrix @ np.array([*(n // 2 for n in self.shape), 1.0])
        fine[:3, 3] = centre[:3] - fine[:3, :3] @ np.array([n // 2 for n in shape])
        return Grid((shape[0], shape[1], shape[2]), as_affine(fine))


def cut_grid(grid: Grid, box: Sequence[slice]) -> Grid:
    """Grid of the crop ``values[box]``, whose voxels keep their world coordinates.

    Args:
        grid: of the whole volume.
        box: a slice along each axis, with start and stop, within the volume.
    """
    matrix = grid.matrix.copy()
    matrix[:3, 3] = (matrix @ np.array([*(side.start for side in box), 1.0]))[:3]
    x, y, z = (side.stop - side.start for side in box)
    return Grid((x, y, z), as_affine(matrix))


def as_affine(matrix: npt.ArrayLike) -> Affine:
    """Convert a 4 x 4 array to nested tuples, which a frozen grid can hold and compare."""
    return tuple(tuple(float(v) for v in row) for row in np.asarray(matrix, dtype=float))


def centred_grid(
    shape: Shape, voxel_size_mm: Triple, *, centre_mm: Triple = (0.0, 0.0, 0.0)
) -> Grid:
    """Axial grid whose voxel ``n // 2`` lies at ``centre_mm`` (RAS+)."""
    matrix = np.diag([*voxel_size_mm, 1.0])
    matrix[:3, 3] = np.asarray(centre_mm) - np.asarray(voxel_size_mm) * [n // 2 for n in shape]
    return Grid(shape, as_affine(matrix))


def unit_vector(vector: Sequence[float]) -> Triple:
    """Normalise a vector to length 1, such as the direction of B0 along the array axes.

    Raises:
        InputError: not three finite numbers, or zero.
    """
    length = math.sqrt(sum(v * v for v in vector))
    if len(vector) != 3 or not math.isfinite(length) or length == 0:
        raise InputError(f"B0 direction: expected three numbers, not all 0, found {list(vector)}")
    return vector[0] / length, vector[1] / length, vector[2] / length
