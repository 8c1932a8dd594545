"""Receive sensitivities of a head coil of circular loops on an ellipsoid, by Biot-Savart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple
from accelqsm.simulate.heads.lattice import cubic_resample

FORMER_SEMI_AXES_MM: Triple = (115.0, 135.0, 120.0)
FORMER_CENTRE_MM: Triple = (0.0, -17.0, 4.0)
"""The coil is fixed in the scanner, where an upright head has its centre."""
COVERED_FRACTION = 0.7
SMALLEST_RADIUS_MM = 52.0
RADIUS_OF_ONE_LOOP_MM = 180.0
"""The loop radius is inversely proportional to the square root of the number of loops."""
HEAD_SEMI_AXES_MM: Triple = (72.0, 90.0, 75.0)
NEIGHBOUR_CORRELATION = 0.2
SEGMENTS = 36
COARSE_SPACING_MM = 9.0
NEAREST_WIRE_MM = 12.0
"""Distance to a wire below which the field is held constant; no tissue is nearer."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeadCoil:
    """Receive sensitivities on a grid, evaluated channel by channel.

    ``coil[c]`` is complex64 (x, y, z); the root sum of squares over channels is 1 on average in
    the head. ``noise_covariance`` (channel, channel) is Hermitian with unit diagonal.
    """

    grid: Grid
    n_channels: int
    noise_covariance: npt.NDArray[np.complex128]
    _coarse: Tensor
    _coarse_indices: tuple[Array, Array, Array]

    def __len__(self) -> int:
        return self.n_channels

    def __iter__(self) -> Iterator[Tensor]:
        return (self[channel] for channel in range(self.n_channels))

    def __getitem__(self, channel: int) -> Tensor:
        """Sensitivity of one channel, complex64 (x, y, z)."""
        if not 0 <= channel < self.n_channels:
            raise IndexError(f"channel {channel} of {self.n_channels}")
        return cubic_resample(self._coarse[channel], self._coarse_indices)


def head_coil(grid: Grid, *, n_channels: int, seed: int) -> HeadCoil:
    """Sensitivities of circular loops around the upper 70 % of the head.

    C_c = (B_x - i B_y) exp(i phi_c(r)), B the field of unit current in loop c by Biot-Savart,
    phi_c a constant drawn per channel plus a smooth quadratic. B0 is scanner z.

    Args:
        grid: voxel grid of the sensitivities, in scanner coordinates.
        n_channels: number of loops, 1 or more (4 to 32 are typical).
        seed: seed of the positions and phases of the loops.

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
    loops = _loops(n_channels, rng)
    points, indices = _coarse_points(grid)
    # Evaluated on a fixed lattice, so that the scale does not depend on the grid.
    scale = np.sqrt((np.abs(_sensitivities(_head_points(), loops)) ** 2).sum(0)).mean()
    coarse = torch.from_numpy((_sensitivities(points, loops) / scale).astype(np.complex64))
    return HeadCoil(grid, n_channels, _noise_covariance(loops, rng), coarse, indices)


def loop_field(points_mm: Array, centre_mm: Array, normal: Array, *, radius_mm: float) -> Array:
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
    # The polygon has the area of the circle, so that the far fields agree.
    corner = radius_mm / np.sqrt(np.sin(2 * np.pi / SEGMENTS) / (2 * np.pi / SEGMENTS))
    wire = centre_mm + corner * (np.cos(angles)[:, None] * first + np.sin(angles)[:, None] * second)
    x, y, z = np.moveaxis(points_mm, -1, 0)
    total = np.zeros((3, *x.shape))
    for start, end in pairwise(wire):
        (a, b, c), (u, v, w) = end - start, (start + end) / 2
        dx, dy, dz = x - u, y - v, z - w
        cubed = np.maximum(dx**2 + dy**2 + dz**2, NEAREST_WIRE_MM**2) ** -1.5
        total[0] += (b * dz - c * dy) * cubed
        total[1] += (c * dx - a * dz) * cubed
        total[2] += (a * dy - b * dx) * cubed
    return np.moveaxis(total, 0, -1)


@dataclass(frozen=True)
class _Loop:
    centre_mm: Array
    normal: Array
    radius_mm: float
    phase_rad: float
    phase_slope: Array
    phase_curvature: Array


def _loops(n_channels: int, rng: np.random.Generator) -> list[_Loop]:
    """Loops on the ellipsoid along a spiral, evenly spaced in height."""
    heights = 1 - 2 * COVERED_FRACTION * (np.arange(n_channels) + 0.5) / n_channels
    azimuths = np.arange(n_channels) * np.pi * (3 - np.sqrt(5)) + rng.uniform(0, 2 * np.pi)
    ring = np.sqrt(1 - heights**2)
    unit = np.stack([ring * np.cos(azimuths), ring * np.sin(azimuths), heights], axis=1)
    normals = unit / np.asarray(FORMER_SEMI_AXES_MM)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centres = unit * FORMER_SEMI_AXES_MM + FORMER_CENTRE_MM
    radius = max(SMALLEST_RADIUS_MM, RADIUS_OF_ONE_LOOP_MM / np.sqrt(n_channels))
    return [
        _Loop(
            centre,
            normal,
            radius,
            phase_rad=rng.uniform(0, 2 * np.pi),
            phase_slope=rng.normal(0, 0.4, 3),
            phase_curvature=rng.normal(0, 0.6, (3, 3)),
        )
        for centre, normal in zip(centres, normals, strict=True)
    ]


def _sensitivities(points_mm: Array, loops: list[_Loop]) -> npt.NDArray[np.complex128]:
    """Unscaled B_x - i B_y of each loop, with its phase, (channel, ...)."""
    unit = (points_mm - FORMER_CENTRE_MM) / 100.0
    maps = []
    for loop in loops:
        field = loop_field(points_mm, loop.centre_mm, loop.normal, radius_mm=loop.radius_mm)
        curved = np.einsum("...i,ij,...j->...", unit, loop.phase_curvature, unit)
        phase = loop.phase_rad + unit @ loop.phase_slope + curved
        maps.append((field[..., 0] - 1j * field[..., 1]) * np.exp(1j * phase))
    return np.stack(maps)


def _noise_covariance(loops: list[_Loop], rng: np.random.Generator) -> npt.NDArray[np.complex128]:
    """Noise correlations that decrease exponentially with distance, with random phases."""
    centres = np.stack([loop.centre_mm for loop in loops])
    distance = np.linalg.norm(centres[:, None] - centres, axis=-1)
    if len(loops) == 1:
        return np.ones((1, 1), dtype=np.complex128)
    nearest = np.median(np.sort(distance, axis=1)[:, 1])
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi, len(loops)))
    correlation: npt.NDArray[np.complex128] = (
        NEIGHBOUR_CORRELATION ** (distance / nearest) * turn[:, None] * turn.conj()
    )
    return correlation


def _head_points() -> Array:
    """Points inside a head centred in the coil, (point, 3)."""
    lines = [np.arange(-90.0, 91.0, 12.0)] * 3
    offsets = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
    inside = ((offsets / HEAD_SEMI_AXES_MM) ** 2).sum(-1) < 1
    points: Array = offsets[inside] + FORMER_CENTRE_MM
    return points


def _coarse_points(grid: Grid) -> tuple[Array, tuple[Array, Array, Array]]:
    """Coarse points that cover the grid, (x, y, z, 3), and indices of the grid in them."""
    steps = [max(1.0, COARSE_SPACING_MM / size) for size in grid.voxel_size_mm]
    counts = [int(np.ceil((n - 1) / s)) + 5 for n, s in zip(grid.shape, steps, strict=True)]
    lines = [(np.arange(c) - 2) * s for c, s in zip(counts, steps, strict=True)]
    voxels = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1)
    points = voxels @ grid.matrix[:3, :3].T + grid.matrix[:3, 3]
    x, y, z = (np.arange(n) / s + 2 for n, s in zip(grid.shape, steps, strict=True))
    return points, (x, y, z)
