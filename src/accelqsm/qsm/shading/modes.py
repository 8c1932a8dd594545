"""Polynomials of susceptibility whose field is harmonic, so that background removal takes it."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from accelqsm.grid import Triple

DEGREE = 4
UNIT_MM = 60.0
"""Unit of the coordinates, in which powers of them are about one in a brain."""


def positions(mask: Tensor, *, voxel_size_mm: Triple, b0_direction: Triple) -> Tensor:
    """Where the voxels of a mask are: two axes across the main field, and one along it.

    Args:
        mask: bool (x, y, z).
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.

    Returns:
        float64 (3, voxel), in units of 60 mm from the centre of the voxels.
    """
    index = mask.nonzero().double()
    offset_mm = (index - index.mean(0)) * index.new_tensor(voxel_size_mm)
    along = index.new_tensor(b0_direction)
    least = torch.zeros_like(along)
    least[along.abs().argmin()] = 1
    across = least - (least @ along) * along
    across /= torch.linalg.vector_norm(across)
    axes = torch.stack([across, torch.linalg.cross(along, across), along])
    return axes @ offset_mm.T / UNIT_MM


def harmonic_modes(position: Tensor) -> Tensor:
    """Susceptibilities that a field known inside alone does not tell from sources outside.

    With b the direction of the main field, the field of chi is harmonic where
    chi_uu + chi_vv = 2 chi_bb (the Laplacian of the dipole's field is chi_rr / 3 - chi_bb), and
    sources outside make any harmonic field. Of polynomials, there are 2 n + 1 of each degree n:
    r^2 is one of them, a bowl.

    Args:
        position: (3, voxel), (u, v, b).

    Returns:
        (mode, voxel), of degrees 1 to 4: 24 modes.
    """
    powers, weights = _polynomials()
    u, v, b = ([axis**power for power in range(DEGREE + 1)] for axis in position)
    monomials = torch.stack([u[i] * v[j] * b[k] for i, j, k in powers])
    return weights.to(position) @ monomials


@cache
def _polynomials() -> tuple[tuple[tuple[int, int, int], ...], Tensor]:
    """Powers of (u, v, b) of every monomial, and the weights of them in each mode."""
    orders = range(DEGREE + 1)
    powers = [(i, j, k) for i in orders for j in orders for k in orders if 0 < i + j + k <= DEGREE]
    place: dict[tuple[int, ...], int] = {power: number for number, power in enumerate(powers)}
    place[0, 0, 0] = len(powers)
    equation = np.zeros((len(place), len(powers)))
    for column, power in enumerate(powers):
        for axis, factor in enumerate((1.0, 1.0, -2.0)):
            if (n := power[axis]) >= 2:
                left = tuple(p - 2 * (a == axis) for a, p in enumerate(power))
                equation[place[left], column] = factor * n * (n - 1)
    degree = np.array([sum(power) for power in powers])
    modes = []
    for n in range(1, DEGREE + 1):
        of_degree = np.flatnonzero(degree == n)
        _, sizes, basis = np.linalg.svd(equation[:, of_degree])
        for solution in basis[np.count_nonzero(sizes > 1e-9) :]:
            mode = np.zeros(len(powers))
            mode[of_degree] = solution
            modes.append(mode)
    return tuple(powers), torch.from_numpy(np.stack(modes))
