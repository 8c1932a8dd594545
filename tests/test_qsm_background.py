"""vSHARP: harmonic fields vanish, fields of inner sources stay, and the mask says what is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Shape, Triple
from accelqsm.qsm.background.settings import VsharpSettings
from accelqsm.qsm.background.vsharp import ball_weights, vsharp

SHAPE: Shape = (56, 56, 40)
SIZE_MM: Triple = (1.0, 1.0, 1.5)
RADII_MM = (8.0, 6.0, 4.0, 3.0)
BALLS = VsharpSettings(radii_mm=RADII_MM)


def positions_mm(
    shape: Shape = SHAPE, size_mm: Triple = SIZE_MM, centre_mm: Triple = (0, 0, 0)
) -> tuple[Tensor, Tensor, Tensor]:
    x, y, z = torch.meshgrid(
        *(
            (torch.arange(n, dtype=torch.float64) - n // 2) * size - c
            for n, size, c in zip(shape, size_mm, centre_mm, strict=True)
        ),
        indexing="ij",
    )
    return x, y, z


def ball(radius_mm: float) -> Tensor:
    return sum(axis**2 for axis in positions_mm()) <= radius_mm**2


def sphere_field(radius_mm: float, centre_mm: Triple) -> Tensor:
    """Field of a sphere of unit susceptibility, B0 along z: zero inside (Lorentz-corrected)."""
    x, y, z = positions_mm(centre_mm=centre_mm)
    square = x**2 + y**2 + z**2
    outside = (
        (radius_mm**2 / square.clamp_min(1e-9)) ** 1.5 / 3 * (3 * z**2 / square.clamp_min(1e-9) - 1)
    )
    return torch.where(square > radius_mm**2, outside, 0)


MASK = ball(24.0)
CORE = ball(14.0)
x, y, z = positions_mm()
HARMONICS = {
    "constant": torch.ones_like(x),
    "x": x / 24,
    "z": z / 24,
    "xy": x * y / 24**2,
    "xz": x * z / 24**2,
    "x2-y2": (x**2 - y**2) / 24**2,
    "r2P2": (2 * z**2 - x**2 - y**2) / (2 * 24**2),
}


@pytest.mark.parametrize("name", HARMONICS)
def test_harmonics_up_to_degree_2_leave_less_than_a_thousandth(name: str) -> None:
    result = vsharp(HARMONICS[name], MASK, voxel_size_mm=SIZE_MM, settings=BALLS)
    assert result.field_ppm[CORE & result.mask].abs().max() < 1e-3


@pytest.mark.parametrize("size_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.0), (1.5, 1.5, 2.0)])
@pytest.mark.parametrize("radius_mm", [3.0, 8.0])
def test_the_ball_has_unit_sum_and_isotropic_second_moments(
    size_mm: Triple, radius_mm: float
) -> None:
    weights = torch.from_numpy(ball_weights(radius_mm, size_mm))
    assert weights.sum() == pytest.approx(1)
    shape = (weights.shape[0], weights.shape[1], weights.shape[2])
    for axis in positions_mm(shape, size_mm):
        assert (weights * axis**2).sum() == pytest.approx(radius_mm**2 / 5)
        assert abs((weights * axis).sum()) < 1e-12
    assert weights.min() >= 0


@pytest.mark.parametrize("size_mm", [(1.0, 1.0, 1.0), (1.5, 1.0, 2.0)])
@pytest.mark.parametrize("radius_mm", [2.5, 5.0])
def test_voxels_at_the_edge_of_a_ball_count_by_their_part_in_it(
    size_mm: Triple, radius_mm: float
) -> None:
    """Up to one polynomial a + b x^2 + c y^2 + d z^2 for the whole ball."""
    weights = ball_weights(radius_mm, size_mm)
    axes = positions_mm((weights.shape[0], weights.shape[1], weights.shape[2]), size_mm)
    within = (np.arange(15) + 0.5) / 15 - 0.5
    square = sum(
        (axis.numpy()[..., None, None, None] + size * np.expand_dims(within, [a for a in range(3)
                                                                             if a != n])) ** 2
        for n, (axis, size) in enumerate(zip(axes, size_mm, strict=True))
    )  # fmt: skip
    fraction = (square <= radius_mm**2).mean((3, 4, 5))
    assert (weights[fraction > 0.05] > 0).all()
    assert (weights[fraction < 0.005] == 0).all()
    large = fraction > 0.2
    terms = np.stack([np.ones(large.sum()), *(axis.numpy()[large] ** 2 for axis in axes)], -1)
    scaled = terms * fraction[large, None]
    fit = scaled @ np.linalg.lstsq(scaled, weights[large], rcond=None)[0]
    assert np.abs(fit - weights[large]).max() < 0.06 * weights.max()


def test_a_dipole_outside_is_suppressed_by_more_than_95_percent() -> None:
    field = sphere_field(6.0, (4.0, -3.0, 36.0))
    result = vsharp(field, MASK, voxel_size_mm=SIZE_MM, settings=BALLS)
    core = CORE & result.mask
    assert result.field_ppm[core].norm() < 0.05 * field[core].norm()


def test_the_field_of_a_sphere_inside_is_recovered() -> None:
    field = sphere_field(4.0, (1.0, 2.0, 0.0))
    result = vsharp(
        field,
        MASK,
        voxel_size_mm=SIZE_MM,
        settings=VsharpSettings(radii_mm=RADII_MM, threshold=0.02),
    )
    near = ball(10.0) & (field.abs() > 0.02)
    slope = (result.field_ppm * field)[near].sum() / (field * field)[near].sum()
    assert slope == pytest.approx(1, abs=0.06)


def test_the_mask_is_eroded_by_the_smallest_ball_and_nothing_else() -> None:
    mask = MASK.clone()
    mask[20, 30, 15] = False
    result = vsharp(torch.ones_like(x), mask, voxel_size_mm=SIZE_MM, settings=BALLS)
    element = ball_weights(RADII_MM[-1], SIZE_MM) > 0
    eroded = torch.from_numpy(ndimage.binary_erosion(mask.numpy(), element))
    assert torch.equal(result.mask, eroded)
    assert (result.field_ppm[~eroded] == 0).all()


def test_what_lies_outside_the_mask_has_no_influence() -> None:
    field = sphere_field(4.0, (1.0, 2.0, 0.0))
    other = torch.where(MASK, field, torch.nan)
    reference = vsharp(field, MASK, voxel_size_mm=SIZE_MM, settings=BALLS)
    result = vsharp(other, MASK, voxel_size_mm=SIZE_MM, settings=BALLS)
    torch.testing.assert_close(result.field_ppm, reference.field_ppm)


def test_the_order_of_the_radii_and_the_unit_of_the_field_do_not_matter() -> None:
    field = sphere_field(4.0, (1.0, 2.0, 0.0)).float()
    reference = vsharp(field, MASK, voxel_size_mm=SIZE_MM, settings=BALLS)
    result = vsharp(
        field * 128, MASK, voxel_size_mm=SIZE_MM, settings=VsharpSettings(radii_mm=RADII_MM[::-1])
    )
    torch.testing.assert_close(result.field_ppm / 128, reference.field_ppm, atol=1e-6, rtol=1e-4)
    assert result.field_ppm.dtype == torch.float32


def test_a_mask_without_room_and_radii_below_half_a_voxel_are_refused() -> None:
    field = torch.zeros(12, 12, 12)
    small = torch.zeros_like(field, dtype=torch.bool)
    with pytest.raises(InputError, match="found none"):
        vsharp(field, small, voxel_size_mm=(1, 1, 1))
    small[5:7, 5:7, 5:7] = True
    with pytest.raises(InputError, match="room for a ball of 3 mm"):
        vsharp(field, small, voxel_size_mm=(1, 1, 1))
    with pytest.raises(InputError, match="half a voxel"):
        vsharp(field, small, voxel_size_mm=(1, 1, 3), settings=VsharpSettings(radii_mm=(4.0, 1.0)))
