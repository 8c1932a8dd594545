"""Background removal by dipoles inside and outside, against fields whose parts are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from accelqsm.conjugate import conjugate_gradients
from accelqsm.dipole import forward_field
from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.qsm.background.dipole_fit import dipole_fit

OBLIQUE: Triple = (0.36, -0.48, 0.8)


def ball(shape: tuple[int, int, int], radius_mm: float, size_mm: Triple, centre: Triple) -> Tensor:
    axes = (
        (torch.arange(n, dtype=torch.float64) - n // 2) * s - c
        for n, s, c in zip(shape, size_mm, centre, strict=True)
    )
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= radius_mm**2


def smooth(volume: Tensor) -> Tensor:
    """Without the highest frequency, at which an oblique kernel jumps and rings."""
    for axis in range(3):
        volume = volume / 2 + (volume.roll(1, axis) + volume.roll(-1, axis)) / 4
    return volume


def parts(
    size_mm: Triple, direction: Triple, shape: tuple[int, int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Mask, local field and background of a head with one nucleus and air beside it."""
    mask = ball(shape, 36, size_mm, (0, 0, 0))
    source = 0.1 * ball(shape, 8, size_mm, (5, 0, 0)).double()
    source -= mask * source[mask].mean()
    air = 9.0 * ball(shape, 7, size_mm, (0, 47, 0)).double()
    local, background = (
        forward_field(smooth(chi), voxel_size_mm=size_mm, b0_direction=direction)
        for chi in (source, air)
    )
    return mask, local, background


@pytest.mark.slow
@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), OBLIQUE])
@pytest.mark.parametrize(
    ("size_mm", "shape"), [((1.5, 1.5, 3.0), (64, 80, 32)), ((3.0, 3.0, 3.0), (32, 40, 32))]
)
def test_air_beside_the_mask_goes_and_the_nucleus_stays(
    size_mm: Triple, shape: tuple[int, int, int], direction: Triple
) -> None:
    mask, local, background = parts(size_mm, direction, shape)
    found = dipole_fit(local + background, mask, voxel_size_mm=size_mm, b0_direction=direction)
    assert torch.equal(found.mask, mask)
    assert (found.field_ppm[~mask] == 0).all()
    # At the very edge, no data tell a source inside from one outside.
    core = ball(shape, 26, size_mm, (0, 0, 0))
    error = found.field_ppm - local
    assert error[core].norm() < 0.16 * local[core].norm()
    assert error[mask].norm() < 0.5 * local[mask].norm()


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), OBLIQUE])
def test_background_alone_leaves_next_to_nothing(direction: Triple) -> None:
    size_mm: Triple = (2.0, 2.0, 2.0)
    mask, _, background = parts(size_mm, direction, (48, 60, 48))
    found = dipole_fit(background, mask, voxel_size_mm=size_mm, b0_direction=direction)
    assert found.field_ppm[mask].norm() < 0.02 * background[mask].norm()


def test_a_local_field_alone_comes_back() -> None:
    size_mm: Triple = (2.0, 2.0, 2.0)
    mask, local, _ = parts(size_mm, (0, 0, 1), (48, 60, 48))
    found = dipole_fit(local, mask, voxel_size_mm=size_mm, b0_direction=(0, 0, 1))
    core = ball((48, 60, 48), 26, size_mm, (0, 0, 0))
    assert (found.field_ppm - local)[core].norm() < 0.13 * local[core].norm()


def test_a_voxel_without_weight_does_not_matter() -> None:
    size_mm: Triple = (2.0, 2.0, 2.0)
    mask, local, background = parts(size_mm, (0, 0, 1), (48, 60, 48))
    field = local + background
    weight = torch.ones_like(field)
    weight[20, 30, 24] = 0
    broken = field.clone()
    broken[20, 30, 24] += 100.0
    first, second = (
        dipole_fit(f, mask, weight, voxel_size_mm=size_mm, b0_direction=(0, 0, 1)).field_ppm
        for f in (field, broken)
    )
    second[20, 30, 24] -= 100.0
    torch.testing.assert_close(second, first, atol=1e-9, rtol=0)


def test_no_field_gives_no_local_field() -> None:
    mask = ball((16, 16, 16), 10, (2, 2, 2), (0, 0, 0))
    found = dipole_fit(
        torch.zeros(16, 16, 16), mask, voxel_size_mm=(2, 2, 2), b0_direction=(0, 0, 1)
    )
    assert (found.field_ppm == 0).all()


def test_bad_input_is_refused() -> None:
    mask = torch.ones(8, 8, 8, dtype=torch.bool)
    with pytest.raises(InputError, match="expected field and mask of one shape"):
        dipole_fit(torch.zeros(8, 8, 7), mask, voxel_size_mm=(1, 1, 1), b0_direction=(0, 0, 1))
    with pytest.raises(InputError, match="expected some voxels, found none"):
        dipole_fit(torch.zeros(8, 8, 8), ~mask, voxel_size_mm=(1, 1, 1), b0_direction=(0, 0, 1))


def test_conjugate_gradients_end_after_as_many_steps_as_unknowns() -> None:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    matrix = root @ root.T + torch.eye(6, dtype=torch.float64)
    wanted = torch.randn(6, generator=generator, dtype=torch.float64)
    start = torch.ones(6, dtype=torch.float64)
    found = conjugate_gradients(lambda x: matrix @ x, wanted, start, n_iterations=7)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, wanted))
    assert (start == 1).all()
