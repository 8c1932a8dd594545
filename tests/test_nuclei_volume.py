"""Volumes in the world: centres, slabs, interpolation, crops and grids have closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.nuclei import volume
from accelqsm.nuclei.volume import (
    Volume,
    affine_transform,
    box_around,
    centre_of,
    check_perpendicular,
    crop_to_nonzero,
    grid_points,
    isotropic_grid,
    resample_to,
    slabs,
    value_at,
)


def turned(shape: tuple[int, int, int]) -> Grid:
    """Voxels of 1 x 2 x 3 mm along exchanged, partly flipped axes, away from the origin."""
    matrix = [[0.0, -2.0, 0.0, 7.0], [1.0, 0.0, 0.0, -4.0], [0.0, 0.0, 3.0, 11.0], [0, 0, 0, 1]]
    return Grid(shape, as_affine(np.array(matrix)))


def impulse(size: int = 21) -> Volume:
    values = np.zeros((size,) * 3, dtype=np.float32)
    values[size // 2, size // 2, size // 2] = 1
    return Volume(values, centred_grid((size,) * 3, (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("shape", [(4, 5, 6), (7, 2, 1)])
def test_the_centre_is_the_mean_of_all_voxel_centres(shape: tuple[int, int, int]) -> None:
    grid = turned(shape)
    np.testing.assert_allclose(centre_of(grid), grid_points(grid).reshape(3, -1).mean(1))


@pytest.mark.parametrize(("at_once", "thickness"), [(1, 1), (89, 2), (90, 3), (10**6, 7)])
def test_slabs_hold_every_plane_once_and_few_points(
    at_once: int, thickness: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "POINTS_AT_ONCE", at_once)
    grid = centred_grid((7, 5, 6), (1.0, 1.0, 1.0))
    found = slabs(grid)
    assert [x for start, stop in found for x in range(start, stop)] == list(range(7))
    assert found[0] == (0, thickness)
    values = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    same = resample_to(Volume(values, grid), grid).values
    np.testing.assert_allclose(same, values, atol=1e-5)


def test_halfway_between_voxels_both_interpolations_have_their_closed_form() -> None:
    """Cubic: the cardinal spline of degree 3 at one half, (10 - 3 sqrt 3) / 8 and its next lobe."""
    points = np.array([[0.5, 0, 0], [0, -0.5, 0], [0, 0, 1.5]]).T
    linear = value_at(impulse(), points)
    np.testing.assert_allclose(linear, [0.5, 0.5, 0.0], atol=1e-6)
    cubic = value_at(impulse(), points, order=3)
    root = math.sqrt(3)
    pole = root - 2
    lobe = root * (23 * (pole + pole**2) + 1 + pole**3) / 48
    np.testing.assert_allclose(cubic[:2], (10 - 3 * root) / 8, atol=1e-5)
    assert cubic[2] == pytest.approx(lobe, abs=1e-5)


@pytest.mark.parametrize("order", [1, 3])
def test_beyond_the_volume_is_what_was_asked_for(order: int) -> None:
    points = np.array([[40.0, 0, 0], [0, 0, 0]]).T
    np.testing.assert_allclose(
        value_at(impulse(), points, order=order, outside=-3.0), [-3, 1], atol=1e-5
    )


def test_linear_values_end_at_the_last_voxel_and_cubic_ones_fade() -> None:
    image = Volume(np.ones((9, 9, 9)), centred_grid((9, 9, 9), (1.0, 1.0, 1.0)))
    last = image.grid.matrix @ [8, 4, 4, 1]
    points = np.stack([last[:3], last[:3] + np.array([0.4, 0, 0])]).T
    np.testing.assert_allclose(value_at(image, points, outside=-3.0), [1, -3], atol=1e-6)
    at_last, beyond = value_at(image, points, order=3, outside=-3.0)
    assert at_last == pytest.approx(1, abs=1e-5)
    assert -2 < beyond < 0.5


def test_a_crop_holds_what_is_there_with_its_margin_and_no_more() -> None:
    grid = turned((20, 16, 12))
    values = np.zeros(grid.shape)
    values[8:11, 7, 5:7] = 1
    values[9, 7, 6] = 2
    crop = crop_to_nonzero(Volume(values, grid), margin_mm=2.5)
    # Along voxels of 1, 2 and 3 mm the margin is 3, 2 and 1 of them on either side.
    assert crop.values.shape == (3 + 6, 1 + 4, 2 + 2)
    assert crop.grid == box_around(Volume(values, grid), margin_mm=2.5)
    assert crop.values.sum() == values.sum()
    place = np.argwhere(crop.values == 2)[0][:, None].astype(float)
    np.testing.assert_allclose(
        affine_transform(crop.grid.matrix)(place),
        affine_transform(grid.matrix)(np.array([[9.0], [7.0], [6.0]])),
    )
    assert crop_to_nonzero(Volume(values, grid), margin_mm=99).values.shape == grid.shape
    with pytest.raises(InputError, match=r"^labels: expected labelled voxels, found none$"):
        crop_to_nonzero(Volume(0 * values, grid), margin_mm=2.5)


def test_cubic_voxels_keep_centre_axes_and_field_of_view() -> None:
    grid = turned((20, 16, 12))
    found = isotropic_grid(grid, 1.5)
    assert found.shape == (13, 21, 24)  # 20, 32 and 36 mm
    assert found.voxel_size_mm == pytest.approx((1.5, 1.5, 1.5))
    np.testing.assert_allclose(centre_of(found), centre_of(grid))
    np.testing.assert_allclose(found.rotation, grid.rotation)
    assert isotropic_grid(grid, 500.0).shape == (1, 1, 1)


def test_a_shear_within_rounding_is_none() -> None:
    matrix = np.diag([2.0, 2.0, -3.0, 1.0])
    for shear, refused in ((9e-4, False), (1.1e-3, True)):
        matrix[0, 1] = 2 * shear
        grid = Grid((4, 4, 4), as_affine(matrix))
        if refused:
            with pytest.raises(InputError, match=r"^map: expected perpendicular voxel axes"):
                check_perpendicular(grid, "map")
        else:
            check_perpendicular(grid, "map")


def test_values_have_the_shape_of_their_grid() -> None:
    with pytest.raises(InputError, match=r"expected the grid's shape \(4, 5, 6\), found \(4, 6, 5"):
        Volume(np.zeros((4, 6, 5)), turned((4, 5, 6)))
