"""Receive sensitivities of a head coil: circular loops on an ellipsoid, by Biot-Savart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple

FORMER_SEMI_AXES_MM: Triple = (115.0, 135.0, 120.0)
FORMER_CENTRE_MM: Triple = (0.0, -17.0, 4.0)
"""The coil is fixed in the scanner, where an upright head has its centre."""
COVERED_FRACTION = 0.7
SMALLEST_RADIUS_MM = 52.0
SEGMENTS = 36
COARSE_SPACING_MM = 9.0
NEAREST_WIRE_MM = 12.0
"""Closer to a wire than this no tissue lies; the field is kept finite there."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeadCoil:
    """Receive sensitivities on one grid, one channel at a time.

    ``coil[c]`` is complex64 (x, y, z); the root sum of squares over channels is 1 on average in
    the head.
    """

    grid: Grid
    n_channels: int
    _coarse: npt.NDArray[np.complex128]
    _coarse_indices: tuple[Array, Array, Array]

    def __len__(self) -> int:
        return self.n_channels

    def __iter__(self) -> Iterator[Tensor]:
        return (self[channel] for channel in range(self.n_channels))

    def __getitem__(self, channel: int) -> Tensor:
        """Sensitivity of one channel, complex64 (x, y, z)."""
        if not 0 <= channel < self.n_channels:
            raise IndexError(f"channel {channel} of {self.n_channels}")
        values = self._coarse[channel]
        for axis, positions in enumerate(self._coarse_indices):
            values = np.moveaxis(
                np.tensordot(_cubic_weights(values.shape[axis], positions), values, (1, axis)),
                0,
                axis,
            ).astype(np.complex64)
        return torch.from_numpy(np.ascontiguousarray(values))


def head_coil(grid: Grid, *, n_channels: int, seed: int) -> HeadCoil:
    """Sensitivities of circular loops around the upper 70 % of the head.

    C_c = (B_x - i B_y) exp(i phi_c(r)), B the field of unit current in loop c by Biot-Savart,
    phi_c a constant drawn per channel plus a smooth quadratic. B0 is scanner z.

    Args:
        grid: where the sensitivities are wanted; scanner coordinates in mm.
        n_channels: 4 to 32 loops (1 and more work).
        seed: draws the loops' jitter and the phases.

    Returns:
        A sequence of complex64 (x, y, z), scaled so that sqrt(sum_c |C_c|^2) has mean 1 in the
        head.

    Raises:
        InputError: fewer than one channel.

    Source: Roemer et al. 1990, Magn Reson Med 16:192, doi 10.1002/mrm.1910160203.
    """
    if n_channels < 1:
        raise InputError(f"channels: expected at least 1, found {n_channels}")
    rng = np.random.default_rng([seed, n_channels])
    points, indices = _coarse_points(grid)
    centres, normals = _loop_positions(n_channels, rng)
    radius = max(SMALLEST_RADIUS_MM, 180.0 / np.sqrt(n_channels))
    maps = []
    for centre, normal in zip(centres, normals, strict=True):
        field = loop_field(points, centre, normal, radius_mm=radius)
        phase = _receive_phase(points, rng)
        maps.append((field[..., 0] - 1j * field[..., 1]) * np.exp(1j * phase))
    coarse = np.stack(maps)
    inside = (((points - FORMER_CENTRE_MM) / (75.0, 95.0, 80.0)) ** 2).sum(-1) < 1
    power = (np.abs(coarse) ** 2).sum(0)
    # A grid that misses the head altogether is still scaled, by what it does see.
    scale = np.sqrt(power[inside] if inside.any() else power).mean()
    return HeadCoil(grid, n_channels, coarse / scale, indices)


def loop_field(
    points_mm: Array, centre_mm: Array, normal: Array, *, radius_mm: float
) -> Array:
    """Field of unit current in a circular loop, sum of dl x r / |r|^3 over straight segments.

    Args:
        points_mm: (..., 3).
        centre_mm: centre of the loop, (3,).
        normal: unit vector; the current runs right-handed about it, (3,).
        radius_mm: radius of the loop.

    Returns:
        (..., 3) in units of mu_0 I / (4 pi mm).
    """
    helper = np.eye(3)[np.argmin(np.abs(normal))]
    first = np.cross(normal, helper)
    first /= np.linalg.norm(first)
    second = np.cross(normal, first)
    angles = 2 * np.pi * np.arange(SEGMENTS + 1) / SEGMENTS
    # The polygon's mean squared radius is that of the circle, so that fields far away agree.
    corner = radius_mm / np.sqrt(np.sin(2 * np.pi / SEGMENTS) / (2 * np.pi / SEGMENTS))
    wire = centre_mm + corner * (
        np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second
    )
    total = np.zeros(points_mm.shape)
    for start, end in zip(wire, wire[1:], strict=False):
        away = points_mm - (start + end) / 2
        distance = np.maximum(np.linalg.norm(away, axis=-1), NEAREST_WIRE_MM)
        total += np.cross(end - start, away) / distance[..., None] ** 3
    return total


def _loop_positions(n_channels: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Centres on the ellipsoid, by a spiral that shares out the covered height, and normals."""
    heights = 1 - 2 * COVERED_FRACTION * (np.arange(n_channels) + 0.5) / n_channels
    azimuths = np.arange(n_channels) * np.pi * (3 - np.sqrt(5)) + rng.uniform(0, 2 * np.pi)
    ring = np.sqrt(1 - heights**2)
    unit = np.stack([ring * np.cos(azimuths), ring * np.sin(azimuths), heights], axis=1)
    normals = unit / np.asarray(FORMER_SEMI_AXES_MM)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return unit * FORMER_SEMI_AXES_MM + FORMER_CENTRE_MM, normals


def _receive_phase(points_mm: Array, rng: np.random.Generator) -> Array:
    """A constant over the circle plus a smooth quadratic that spans about pi over the head."""
    unit = (points_mm - FORMER_CENTRE_MM) / 100.0
    quadratic = rng.normal(0, 0.6, (3, 3))
    linear = rng.normal(0, 0.4, 3)
    return np.asarray(
        rng.uniform(0, 2 * np.pi)
        + unit @ linear
        + np.einsum("...i,ij,...j->...", unit, quadratic, unit)
    )


def _coarse_points(grid: Grid) -> tuple[Array, tuple[Array, Array, Array]]:
    """Coarse points that cover the grid, (x, y, z, 3), and where the grid lies between them."""
    steps = [max(1.0, COARSE_SPACING_MM / size) for size in grid.voxel_size_mm]
    counts = [int(np.ceil((n - 1) / s)) + 5 for n, s in zip(grid.shape, steps, strict=True)]
    lines = [(np.arange(c) - 2) * s for c, s in zip(counts, steps, strict=True)]
    voxels = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    points = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    x, y, z = (np.arange(n) / s + 2 for n, s in zip(grid.shape, steps, strict=True))
    return points, (x, y, z)


def _cubic_weights(n_coarse: int, positions: Array) -> npt.NDArray[np.float32]:
    """Matrix of cubic-spline interpolation from ``n_coarse`` samples to ``positions``."""
    columns = [
        ndimage.map_coordinates(unit, positions[None], order=3, mode="nearest")
        for unit in np.eye(n_coarse)
    ]
    return np.stack(columns, axis=1).astype(np.float32)
