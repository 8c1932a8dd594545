"""The field offset that a head causes in the scanner, shimmed."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from accelqsm.dipole import forward_field
from accelqsm.errors import InputError
from accelqsm.grid import Grid, Shape, as_affine
from accelqsm.simulate.head import Anatomy, Head, lay_out
from accelqsm.simulate.lattice import cubic_resample
from accelqsm.simulate.tissue import TISSUES
from accelqsm.units import ppm_to_hz

COARSE_SPACING_MM = 4.0
HEAD_LOWER_MM = (-125.0, -155.0, -235.0)
HEAD_UPPER_MM = (125.0, 130.0, 115.0)
SHIM_RESIDUAL_HZ = 3.0
SHIM_SAMPLES = 40_000


def field_map(head: Head, *, field_strength_t: float, seed: int, shim: bool = True) -> Tensor:
    """Frequency offset of every voxel: gamma_bar B0 (D * chi), less its fit by the shim coils.

    Sources outside the grid (neck, vertex, air) count: the field of the grid's own voxels is
    computed as if periodic, and the difference between the periodic and the true surroundings,
    which is smooth inside, is added from a coarser and larger grid.

    Args:
        head: tissue on its grid.
        field_strength_t: main field along scanner z, in tesla.
        seed: draws the shim's imperfection.
        shim: remove the second-order fit over the brain and add a small second-order residual.

    Returns:
        (x, y, z) in Hz, positive where the induced field adds to the main field.

    Raises:
        InputError: shim without brain voxels.

    Source: Marques and Bowtell 2005, Concepts Magn Reson B 25:65, doi 10.1002/cmr.b.20034.
    """
    field_hz = ppm_to_hz(induced_field_ppm(head), field_strength_t)
    return _shimmed(field_hz, head, seed=seed) if shim else field_hz


def induced_field_ppm(head: Head) -> Tensor:
    """Field offset D * chi of the head and its surroundings, (x, y, z) in ppm."""
    grid = head.grid
    factors = _factors(grid)
    coarse_shape = _coarse_shape(grid.shape, factors)
    far_ppm = float(head.chi_ppm[0, 0, 0]) if head.anatomy is None else TISSUES["air"].chi_ppm
    missing = [n * f - m for n, f, m in zip(coarse_shape, factors, grid.shape, strict=True)]
    padding = [amount for pad in reversed(missing) for amount in (0, pad)]
    padded = functional.pad(head.chi_ppm - far_ppm, padding)
    blocks = functional.avg_pool3d(padded[None, None], factors)[0, 0]
    field = forward_field(
        padded, voxel_size_mm=grid.voxel_size_mm, b0_direction=grid.b0_direction, padding=1.0
    )[tuple(slice(n) for n in grid.shape)]
    correction = _beyond_the_grid_ppm(head, blocks, factors, far_ppm)
    positions = [(np.arange(n) + 0.5) / f - 0.5 for n, f in zip(grid.shape, factors, strict=True)]
    return field + cubic_resample(correction, (positions[0], positions[1], positions[2]))


def _beyond_the_grid_ppm(head: Head, blocks_ppm: Tensor, factors: Shape, far_ppm: float) -> Tensor:
    """True less periodic field of the coarse blocks, on the blocks."""
    coarse = _block_grid(head.grid, factors)
    sizes = coarse.voxel_size_mm
    direction = coarse.b0_direction
    periodic = forward_field(blocks_ppm, voxel_size_mm=sizes, b0_direction=direction, padding=1.0)
    whole, inside = blocks_ppm, tuple(slice(n) for n in blocks_ppm.shape)
    if head.anatomy is not None:
        whole, inside = _whole_head(head.anatomy, coarse, blocks_ppm, far_ppm)
        covered = tuple(
            slice(s.start, s.start + n // f)
            for s, n, f in zip(inside, head.grid.shape, factors, strict=True)
        )
        whole[covered] = blocks_ppm[
            tuple(slice(n // f) for n, f in zip(head.grid.shape, factors, strict=True))
        ]
    true = forward_field(whole, voxel_size_mm=sizes, b0_direction=direction)
    return true[inside] - periodic


def _whole_head(
    person: Anatomy, coarse: Grid, blocks_ppm: Tensor, far_ppm: float
) -> tuple[Tensor, tuple[slice, slice, slice]]:
    """Susceptibility over the whole head on the coarse lattice, and where the blocks lie in it."""
    corners = np.stack(
        np.meshgrid(*zip(HEAD_LOWER_MM, HEAD_UPPER_MM, strict=True), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    inverse = np.linalg.inv(coarse.matrix)
    indices = corners @ inverse[:3, :3].T + inverse[:3, 3]
    lower = np.minimum(np.floor(indices.min(0)), 0).astype(int)
    upper = np.maximum(np.ceil(indices.max(0)) + 1, blocks_ppm.shape).astype(int)
    matrix = coarse.matrix
    matrix[:3, 3] += matrix[:3, :3] @ lower
    x, y, z = (int(n) for n in upper - lower)
    whole = lay_out(person, Grid((x, y, z), as_affine(matrix))).chi_ppm - far_ppm
    a, b, c = (
        slice(int(-low), int(-low) + n) for low, n in zip(lower, blocks_ppm.shape, strict=True)
    )
    return whole, (a, b, c)


def _shimmed(field_hz: Tensor, head: Head, *, seed: int) -> Tensor:
    """Remove the fit of degree <= 2 over the brain; add what a real shim leaves of degree 2."""
    voxels = head.brain.nonzero()
    if not len(voxels):
        raise InputError("shim: expected a head with brain voxels, found none")
    voxels = voxels[:: max(1, len(voxels) // SHIM_SAMPLES)]
    matrix = torch.from_numpy(head.grid.matrix)
    centre = voxels.double().mean(0)
    basis = _shim_terms((voxels - centre) @ matrix[:3, :3].T)
    wanted = field_hz[tuple(voxels.T)].double()
    coefficients = torch.linalg.lstsq(basis, wanted[:, None]).solution[:, 0]
    rng = np.random.default_rng([seed, 5])
    drawn = torch.from_numpy(rng.normal(0, SHIM_RESIDUAL_HZ / math.sqrt(5), 5))
    coefficients[4:] -= drawn / basis[:, 4:].std(0).clamp_min(1e-9)
    shimmed = field_hz.clone()
    lines = [
        torch.arange(n, dtype=torch.float64) - c
        for n, c in zip(head.grid.shape, centre.tolist(), strict=True)
    ]
    for x, plane in zip(lines[0], shimmed, strict=True):
        y, z = torch.meshgrid(lines[1], lines[2], indexing="ij")
        offsets = torch.stack([x.expand_as(y), y, z], dim=-1) @ matrix[:3, :3].T
        plane -= (_shim_terms(offsets) @ coefficients).to(plane)
    return shimmed


def _shim_terms(offset_mm: Tensor) -> Tensor:
    """The solid harmonics of degree 0 to 2 at (..., 3), in units of 100 mm: (..., 9)."""
    x, y, z = (offset_mm / 100.0).unbind(-1)
    second = [x * y, y * z, z * x, x**2 - y**2, 2 * z**2 - x**2 - y**2]
    return torch.stack([torch.ones_like(x), x, y, z, *second], dim=-1)


def _factors(grid: Grid) -> Shape:
    x, y, z = (max(1, round(COARSE_SPACING_MM / size)) for size in grid.voxel_size_mm)
    return x, y, z


def _coarse_shape(shape: Shape, factors: Shape) -> Shape:
    """Even 5-smooth numbers of blocks that cover the grid, which FFTs are fast at."""
    x, y, z = (_smooth(math.ceil(n / f)) for n, f in zip(shape, factors, strict=True))
    return x, y, z


def _smooth(n: int) -> int:
    candidate = n + n % 2
    while True:
        rest = candidate
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return candidate
        candidate += 2


def _block_grid(grid: Grid, factors: Shape) -> Grid:
    """The grid of the blocks of ``factors`` voxels, from the grid's first voxel on."""
    matrix = grid.matrix
    matrix[:3, 3] += matrix[:3, :3] @ ((np.asarray(factors) - 1) / 2)
    matrix[:3, :3] *= np.asarray(factors)
    return Grid(_coarse_shape(grid.shape, factors), as_affine(matrix))
