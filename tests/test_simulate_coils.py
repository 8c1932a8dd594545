"""Receive coils: Biot-Savart against closed forms, and what does not depend on the grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.grid import centred_grid
from accelqsm.simulate.coils import head_coil, loop_field

GRID = centred_grid((24, 28, 20), (9.0, 9.0, 9.0), centre_mm=(0.0, -17.0, 4.0))


def test_field_on_the_axis_of_a_loop() -> None:
    height = np.array([-80.0, -20.0, 0.0, 15.0, 52.0, 120.0])
    axis = np.array([0.48, -0.6, 0.64])
    centre = np.array([3.0, -5.0, 7.0])
    field = loop_field(centre + height[:, None] * axis, centre, axis, radius_mm=52.0)
    expected = 2 * np.pi * 52.0**2 / (52.0**2 + height**2) ** 1.5
    np.testing.assert_allclose(field @ axis, expected, rtol=0.006)
    np.testing.assert_allclose(np.cross(field, axis), 0, atol=1e-3 * expected.max())


def test_field_far_away_is_a_dipole() -> None:
    away = np.array([[400.0, 0, 0], [0, 0, 400.0], [300.0, -250.0, 200.0]])
    normal = np.array([0.48, -0.6, 0.64])
    field = loop_field(away, np.zeros(3), normal, radius_mm=20.0)
    distance = np.linalg.norm(away, axis=1, keepdims=True)
    unit = away / distance
    moment = np.pi * 20.0**2 * normal
    expected = (3 * unit * (unit @ moment)[:, None] - moment) / distance**3
    np.testing.assert_allclose(field, expected, atol=0.01 * np.abs(expected).max())


@pytest.mark.parametrize("n_channels", [4, 8, 32])
def test_root_sum_of_squares_is_one_in_the_head(n_channels: int) -> None:
    coil = head_coil(GRID, n_channels=n_channels, seed=1)
    assert len(coil) == n_channels
    power = sum(sensitivity.abs().square() for sensitivity in coil)
    world = GRID.world_mm() - np.array([0.0, -17.0, 4.0])[:, None, None, None]
    inside = torch.from_numpy(((world / np.array([72.0, 90, 75])[:, None, None, None]) ** 2).sum(0))
    assert isinstance(power, torch.Tensor)
    head = power.sqrt()[inside < 1]
    assert head.mean() == pytest.approx(1.0, abs=0.03)
    assert head.min() > 0.25


def test_channels_differ() -> None:
    maps = torch.stack(list(head_coil(GRID, n_channels=8, seed=1))).flatten(1)
    maps = maps / maps.norm(dim=1, keepdim=True)
    overlap = (maps @ maps.conj().T).abs()
    assert (overlap - torch.eye(8)).max() < 0.8


def test_finer_grid_sees_the_same_coil() -> None:
    fine = GRID.refined((3, 3, 3))
    coarse_map = head_coil(GRID, n_channels=4, seed=5)[2]
    fine_map = head_coil(fine, n_channels=4, seed=5)[2]
    x, y, z = (slice(n * 3 // 2 - 3 * (n // 2), None, 3) for n in GRID.shape)
    inner = (slice(4, -4),) * 3
    difference = (fine_map[x, y, z] - coarse_map)[inner].abs().max()
    assert difference < 0.02 * coarse_map[inner].abs().max()


def test_noise_correlates_between_neighbours_only() -> None:
    covariance = head_coil(GRID, n_channels=16, seed=3).noise_covariance
    np.testing.assert_allclose(np.diag(covariance), 1)
    np.testing.assert_allclose(covariance, covariance.conj().T)
    assert np.linalg.eigvalsh(covariance).min() > 0.1
    strongest = np.sort(np.abs(covariance), axis=1)[:, -2]
    assert 0.1 < np.median(strongest) < 0.3


def test_seed_repeats_and_matters() -> None:
    one, same, other = (head_coil(GRID, n_channels=4, seed=s)[0] for s in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other)


def test_no_channels_is_refused() -> None:
    with pytest.raises(InputError, match="channels"):
        head_coil(GRID, n_channels=0, seed=1)
    with pytest.raises(IndexError):
        head_coil(GRID, n_channels=4, seed=1)[4]
