"""Fields of digital heads: closed forms, what surrounds the grid, and the shim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.simulate.field import _least_squares, field_map, induced_field_ppm
from accelqsm.simulate.heads.head import Head, digital_head, draw_anatomy, head_on_grid
from accelqsm.simulate.heads.shapes import rotation_matrix
from accelqsm.units import larmor_hz_per_ppm

RADIUS_MM = 20.0


def phantom(grid: Grid, chi_ppm: torch.Tensor) -> Head:
    """A head of one tissue whose susceptibility is ``chi_ppm``."""
    ones = torch.ones(grid.shape)
    labels = torch.zeros(grid.shape, dtype=torch.int16)
    return Head(grid, chi_ppm, 20 * ones, 0.85 * ones, 0.7 * ones, labels, ones > 0)


def sphere(grid: Grid, offset_ppm: float = 0.0) -> Head:
    """A paramagnetic sphere of 1 ppm in the middle, with partial volumes."""
    radius = torch.from_numpy(np.linalg.norm(grid.world_mm(), axis=0))
    return phantom(grid, offset_ppm + (0.5 + (RADIUS_MM - radius) / 2.0).clamp(0, 1))


def sphere_field(grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """Closed-form field of the sphere outside it, B0 along world z, and the radius."""
    x, y, z = torch.from_numpy(grid.world_mm()).double()
    radius = (x**2 + y**2 + z**2).sqrt().clamp_min(1e-6)
    return (RADIUS_MM / radius) ** 3 * (3 * (z / radius) ** 2 - 1) / 3, radius


# With the field oblique to the axes the kernel jumps at the edge of k-space, and rings.
@pytest.mark.parametrize(("tilt_deg", "tolerance"), [(0.0, 0.02), (30.0, 0.03)])
def test_sphere_has_a_dipole_field(tilt_deg: float, tolerance: float) -> None:
    grid = centred_grid((50, 50, 48), (2.0, 2.0, 2.0))
    turned = np.eye(4)
    turned[:3, :3] = rotation_matrix((tilt_deg, 0.0, 0.0)).numpy()
    grid = Grid(grid.shape, as_affine(turned @ grid.matrix))
    field = induced_field_ppm(sphere(grid, offset_ppm=-3.0))
    expected, radius = sphere_field(grid)
    outside = (radius > RADIUS_MM + 4) & (radius < 44)
    assert (field - expected)[outside].abs().max() < tolerance * 2 / 3
    assert field[radius < RADIUS_MM - 5].abs().max() < 0.02


def test_field_map_is_in_hz_and_positive_above_the_sphere() -> None:
    grid = centred_grid((50, 50, 50), (2.0, 2.0, 2.0))
    field_hz = field_map(sphere(grid), field_strength_t=3.0, seed=1, shim=False)
    above = field_hz[25, 25, 41]
    expected = sphere_field(grid)[0][25, 25, 41] * larmor_hz_per_ppm(3.0)
    assert above == pytest.approx(float(expected), rel=0.03)
    assert field_hz[25, 25, 9] > 0 > field_hz[41, 25, 25]


@pytest.mark.slow
def test_edges_of_the_grid_make_no_cut() -> None:
    """Grids that end in different tissue agree about the field where both are."""
    person = draw_anatomy(seed=3, deformed=False)
    large = centred_grid((62, 62, 54), (2.0, 2.0, 2.0), centre_mm=(0, -17, 30))
    small = centred_grid((46, 46, 38), (2.0, 2.0, 2.0), centre_mm=(0, -17, 30))
    shared = tuple(slice(8, 8 + n) for n in small.shape)
    seen = head_on_grid(person, small)
    difference = induced_field_ppm(seen) - induced_field_ppm(head_on_grid(person, large))[shared]
    difference -= difference.median()
    # The last voxels border on surroundings that are known at 4 mm only.
    assert difference[4:-4, 4:-4, 4:-4].abs().max() < 0.012
    assert difference.std() < 0.012


def test_shim_removes_second_order_and_leaves_a_little() -> None:
    grid = centred_grid((24, 24, 24), (4.0, 4.0, 4.0))
    x, y, z = torch.from_numpy(grid.world_mm())
    chi = torch.exp(-((x - 18) ** 2 + (y + 5) ** 2 + (z - 11) ** 2) / 400)
    head = phantom(grid, chi)
    shimmed = field_map(head, field_strength_t=3.0, seed=2)
    raw = field_map(head, field_strength_t=3.0, seed=2, shim=False)
    u, v, w = (axis.flatten().double() / 40 for axis in (x, y, z))
    first = torch.stack([torch.ones_like(u), u, v, w], dim=1)
    harmonics = torch.stack([u * v, v * w, w * u, u**2 - v**2, 2 * w**2 - u**2 - v**2], dim=1)
    basis = torch.cat([first, harmonics], dim=1)
    removed = (raw - shimmed).flatten().double()
    fit = torch.linalg.lstsq(basis, removed[:, None]).solution
    assert (removed - (basis @ fit)[:, 0]).abs().max() < 1e-2
    left = torch.linalg.lstsq(basis, shimmed.flatten().double()[:, None]).solution[:, 0]
    assert left[:4].abs().max() < 1.0
    residual = (harmonics @ left[4:]).std()
    assert 0.5 < residual < 9.0
    assert not torch.allclose(shimmed, field_map(head, field_strength_t=3.0, seed=3))


def test_shim_needs_a_brain() -> None:
    grid = centred_grid((8, 8, 8), (4.0, 4.0, 4.0))
    head = phantom(grid, torch.zeros(grid.shape))
    empty = Head(**{**head.__dict__, "brain": torch.zeros(grid.shape, dtype=torch.bool)})
    with pytest.raises(InputError, match="brain"):
        field_map(empty, field_strength_t=3.0, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("tilt_deg", [0.0, 20.0])
def test_background_is_smooth_deep_in_the_brain(tilt_deg: float) -> None:
    grid = centred_grid((68, 80, 64), (2.5, 2.5, 2.5), centre_mm=(0, -17, 5))
    turned = np.eye(4)
    turned[:3, :3] = rotation_matrix((tilt_deg, 0.0, 0.0)).numpy()
    head = digital_head(Grid(grid.shape, as_affine(turned @ grid.matrix)), seed=3)
    outside = dataclasses.replace(head, chi_ppm=torch.where(head.brain, 0, head.chi_ppm))
    field = induced_field_ppm(outside)
    for axis in range(3):  # what the highest frequency rings with, voxels average out
        field = field / 2 + (field.roll(1, axis) + field.roll(-1, axis)) / 4
    laplacian = sum(field.roll(1, a) + field.roll(-1, a) - 2 * field for a in range(3))
    deep = torch.from_numpy(ndimage.binary_erosion(head.brain.numpy(), iterations=6))
    assert laplacian[deep].std() < 5e-4 * field[deep].std()


def test_a_fit_does_not_depend_on_where_its_arrays_lie() -> None:
    """Two runs of a study are to give the same bytes, wherever memory was free."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.randn(20_000, 9, generator=generator, dtype=torch.float64)
    wanted = torch.randn(20_000, generator=generator, dtype=torch.float64)
    found = {
        _least_squares(_placed(basis, first), _placed(wanted, second)).numpy().tobytes()
        for first in (0, 8, 16, 32, 48)
        for second in (0, 8, 16, 32)
    }
    assert len(found) == 1


def _placed(values: Tensor, offset: int) -> Tensor:
    """The same values, so many bytes behind a multiple of 64."""
    memory = torch.empty(8 * values.numel() + 128, dtype=torch.uint8)
    start = -memory.data_ptr() % 64 + offset
    there = memory[start : start + 8 * values.numel()].view(values.dtype).view(values.shape)
    return there.copy_(values)
