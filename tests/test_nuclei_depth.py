"""Depth in a label: where its surface runs, whatever the voxels' shape and steps."""

from __future__ import annotations

import numpy as np
import pytest

from accelqsm.grid import Grid, centred_grid
from accelqsm.nuclei.depth import depth_mm
from accelqsm.nuclei.volume import Volume, grid_points, value_at

CUBES = centred_grid((24, 26, 22), (1.0, 1.0, 1.0))
SLABS = centred_grid((30, 32, 12), (0.8, 0.8, 2.0))


def label(values: np.ndarray, grid: Grid) -> Volume:
    return Volume(values.astype(np.float32), grid)


def test_depth_in_a_ball_is_its_distance_from_the_surface() -> None:
    ball = label((grid_points(CUBES) ** 2).sum(0) < 36, CUBES)
    depth = depth_mm(ball)
    expected = np.clip(6.0 - np.sqrt((grid_points(depth.grid) ** 2).sum(0)), -4.0, 4.0)
    assert depth.grid.shape == (19, 19, 19)
    assert np.abs(depth.values - expected).max() < 0.6
    assert np.abs((depth.values - expected).mean()) < 0.1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flat_surface_runs_half_a_voxel_from_the_centres_along_every_axis(axis: int) -> None:
    size = SLABS.voxel_size_mm[axis]
    at = grid_points(SLABS)[axis]
    depth = depth_mm(label(at < 0, SLABS))
    middle = tuple(n // 2 for n in SLABS.shape)
    line = tuple(slice(None) if a == axis else n for a, n in enumerate(middle))
    near = (at[line] > -1.5 * size) & (at[line] < 0.5 * size)
    np.testing.assert_allclose(
        value_at(depth, grid_points(SLABS)[:, *line], outside=-4.0)[near],
        [size / 2, -size / 2],
        atol=1e-3,
    )


@pytest.mark.parametrize("grid", [CUBES, SLABS])
def test_every_voxel_stays_on_its_side_by_a_tenth_of_its_shortest_edge(grid: Grid) -> None:
    inside = np.random.default_rng(1).random(grid.shape) < 0.4
    depth = depth_mm(label(inside, grid)).values
    assert depth.shape == grid.shape
    least = 0.1 * min(grid.voxel_size_mm) - 1e-5
    assert (depth[inside] >= least).all()
    assert (depth[~inside] <= -least).all()


@pytest.mark.parametrize(("grid", "least"), [(CUBES, 0.948), (SLABS, 0.944)])
def test_a_turned_disc_is_found_between_the_voxels(grid: Grid, least: float) -> None:
    normal = np.array([0.8, 0.5, 0.33]) / np.linalg.norm([0.8, 0.5, 0.33])
    between = grid_points(centred_grid((50, 50, 50), (0.35, 0.35, 0.35)))

    def disc(at: np.ndarray, shift_mm: float) -> np.ndarray:
        across = np.tensordot(normal, at, axes=1) - shift_mm
        return (across / 2.0) ** 2 + (at**2).sum(0) / 50 < 1

    overlaps = []
    for shift_mm in (-0.4, -0.2, 0.0, 0.2, 0.4):
        whole = label(disc(grid_points(grid), shift_mm), grid)
        found = value_at(depth_mm(whole), between, outside=-4.0) > 0
        truth = disc(between, shift_mm)
        overlaps.append(2 * (found & truth).sum() / (found.sum() + truth.sum()))
    assert np.mean(overlaps) > least


def test_a_label_that_fills_its_volume_ends_half_a_voxel_beyond() -> None:
    grid = centred_grid((3, 3, 3), (1.0, 1.0, 1.0))
    depth = depth_mm(label(np.ones(grid.shape), grid)).values
    for a in range(3):
        np.testing.assert_allclose(depth, np.flip(depth, a), atol=1e-6)
    assert depth[1, 1].tolist() == pytest.approx([0.5, 1.2, 0.5], abs=0.2)


def test_a_label_without_voxels_is_nowhere() -> None:
    assert (
        depth_mm(label(np.zeros((3, 3, 3)), centred_grid((3, 3, 3), (1.0, 1.0, 1.0)))).values
        == -4.0
    ).all()
