"""Field map of a digital head in the scanner, with shim."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from accelqsm.dipole import forward_field
from accelqsm.errors import InputError
from accelqsm.fourier import even_fast_size
from accelqsm.grid import Grid, Shape, as_affine
from accelqsm.simulate.heads.head import Anatomy, Head, head_on_grid
from accelqsm.simulate.heads.lattice import cubic_resample
from accelqsm.simulate.heads.tissue import TISSUES
from accelqsm.units import ppm_to_hz

COARSE_SPACING_MM = 4.0
MARGIN_BLOCKS = 3
HEAD_LOWER_MM = (-125.0, -155.0, -235.0)
HEAD_UPPER_MM = (125.0, 130.0, 115.0)
SHIM_RESIDUAL_HZ = 3.0
SHIM_SAMPLES = 40_000


def field_map(head: Head, *, field_strength_t: float, seed: int, shim: bool = True) -> Tensor:
    """Field map of a head in Hz: gamma_bar B0 (D * chi), after second-order shim.

    Sources outside the grid (neck, vertex, air) are included: the field of the voxels of the grid
    is computed with periodic boundaries beyond a margin; the difference that the true surroundings
    make is smooth inside, and is computed on a coarser and larger grid.

    Args:
        head: tissue on its grid.
        field_strength_t: main field along scanner z, in tesla.
        seed: seed of the shim residual.
        shim: remove the second-order fit over the brain and add a small second-order residual.

    Returns:
        (x, y, z) in Hz, positive where the induced field adds to the main field.

    Raises:
        InputError: shim without brain voxels.

    Source: Marques and Bowtell 2005, Concepts Magn Reson B 25:65, doi 10.1002/cmr.b.20034.
    """
    field_hz = ppm_to_hz(induced_field_ppm(head), field_strength_t)
    return _shim(field_hz, head, seed=seed) if shim else field_hz


def induced_field_ppm(head: Head) -> Tensor:
    """Field offset D * chi of the head and its surroundings, (x, y, z) in ppm."""
    grid = head.grid
    blocks = _Blocks.around(grid)
    far_ppm = float(head.chi_ppm[0, 0, 0]) if head.anatomy is None else TISSUES["air"].chi_ppm
    chi_ppm = head.chi_ppm - far_ppm
    whole, inside = _whole_head(head.anatomy, blocks, far_ppm)
    covered = tuple(
        slice(part.start + MARGIN_BLOCKS, part.start + MARGIN_BLOCKS + n // f)
        for part, n, f in zip(inside, grid.shape, blocks.factors, strict=True)
    )
    whole[covered] = functional.avg_pool3d(chi_ppm[None, None], blocks.factors)[0, 0]
    near = functional.interpolate(
        whole[inside][None, None], scale_factor=blocks.factors, mode="trilinear"
    )[0, 0]
    own = tuple(
        slice(f * MARGIN_BLOCKS, f * MARGIN_BLOCKS + n)
        for n, f in zip(grid.shape, blocks.factors, strict=True)
    )
    near[own] = chi_ppm
    direction = grid.b0_direction
    field = forward_field(
        near, voxel_size_mm=grid.voxel_size_mm, b0_direction=direction, padding=1.0
    )[own]
    sizes = blocks.grid.voxel_size_mm
    pooled = functional.avg_pool3d(near[None, None], blocks.factors)[0, 0]
    periodic = forward_field(pooled, voxel_size_mm=sizes, b0_direction=direction, padding=1.0)
    true = forward_field(whole, voxel_size_mm=sizes, b0_direction=direction)[inside]
    x, y, z = (
        (np.arange(n) + 0.5) / f - 0.5 + MARGIN_BLOCKS
        for n, f in zip(grid.shape, blocks.factors, strict=True)
    )
    return field + cubic_resample(_remove_nyquist(true - periodic), (x, y, z))


def _remove_nyquist(volume: Tensor) -> Tensor:
    """Remove the Nyquist frequency by smoothing with 1/4, 1/2, 1/4 along every axis.

    In an oblique field the kernel is discontinuous at the Nyquist frequency, where both signs
    coincide; the ringing from it differs between grids and must not enter the smooth correction.
    """
    for axis, n in enumerate(volume.shape):
        index = torch.arange(n)
        before = volume.index_select(axis, (index - 1).clamp_min(0))
        after = volume.index_select(axis, (index + 1).clamp_max(n - 1))
        volume = volume / 2 + (before + after) / 4
    return volume


@dataclass(frozen=True)
class _Blocks:
    """Coarse grid with blocks of ``factors`` voxels that extends beyond a grid."""

    grid: Grid
    factors: Shape

    @classmethod
    def around(cls, grid: Grid) -> _Blocks:
        x, y, z = (max(1, round(COARSE_SPACING_MM / size)) for size in grid.voxel_size_mm)
        factors = np.array([x, y, z])
        shape = tuple(
            even_fast_size(math.ceil(n / f) + 2 * MARGIN_BLOCKS)
            for n, f in zip(grid.shape, (x, y, z), strict=True)
        )
        matrix = grid.matrix
        matrix[:3, 3] += matrix[:3, :3] @ ((factors - 1) / 2 - factors * MARGIN_BLOCKS)
        matrix[:3, :3] *= factors
        return cls(Grid((shape[0], shape[1], shape[2]), as_affine(matrix)), (x, y, z))


def _whole_head(
    anatomy: Anatomy | None, blocks: _Blocks, far_ppm: float
) -> tuple[Tensor, tuple[slice, slice, slice]]:
    """Susceptibility of the whole head in blocks, and the slices of the grid's blocks in it."""
    if anatomy is None:
        a, b, c = (slice(0, n) for n in blocks.grid.shape)
        return torch.zeros(blocks.grid.shape), (a, b, c)
    corners = np.stack(
        np.meshgrid(*zip(HEAD_LOWER_MM, HEAD_UPPER_MM, strict=True), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    matrix = blocks.grid.matrix
    inverse = np.linalg.inv(matrix)
    indices = corners @ inverse[:3, :3].T + inverse[:3, 3]
    lower = np.minimum(np.floor(indices.min(0)), 0).astype(int)
    upper = np.maximum(np.ceil(indices.max(0)) + 1, blocks.grid.shape).astype(int)
    matrix[:3, 3] += matrix[:3, :3] @ lower
    x, y, z = (int(n) for n in upper - lower)
    whole = head_on_grid(anatomy, Grid((x, y, z), as_affine(matrix))).chi_ppm - far_ppm
    a, b, c = (
        slice(int(-low), int(-low) + n) for low, n in zip(lower, blocks.grid.shape, strict=True)
    )
    return whole, (a, b, c)


def _shim(field_hz: Tensor, head: Head, *, seed: int) -> Tensor:
    """Subtract the second-order fit over the brain, and add a random second-order residual."""
    voxels = head.brain.nonzero()
    if not len(voxels):
        raise InputError("shim: expected a head with brain voxels, found none")
    voxels = voxels[:: max(1, len(voxels) // SHIM_SAMPLES)]
    matrix = torch.from_numpy(head.grid.matrix)
    centre = voxels.double().mean(0)
    basis = _shim_terms((voxels - centre) @ matrix[:3, :3].T)
    wanted = field_hz[tuple(voxels.T)].double()
    coefficients = _least_squares(basis, wanted)
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
        plane -= (_shim_terms(offsets) * coefficients).sum(-1).to(plane)
    return shimmed


def _least_squares(basis: Tensor, wanted: Tensor) -> Tensor:
    """Coefficients of a fit. Torch's own are rounded by where the arrays lie in memory."""
    return torch.from_numpy(np.linalg.lstsq(basis.numpy(), wanted.numpy(), rcond=None)[0])


def _shim_terms(offset_mm: Tensor) -> Tensor:
    """Solid harmonics of degree 0 to 2 at (..., 3), in units of 100 mm: (..., 9)."""
    x, y, z = (offset_mm / 100.0).unbind(-1)
    second = [x * y, y * z, z * x, x**2 - y**2, 2 * z**2 - x**2 - y**2]
    return torch.stack([torch.ones_like(x), x, y, z, *second], dim=-1)
