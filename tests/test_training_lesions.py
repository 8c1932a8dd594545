"""Spots of training heads: the field of a magnetised ball, and nothing where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from accelqsm.grid import centred_grid
from accelqsm.training.volumes.lesions import Spot, add_spots, draw_spots

GRID = centred_grid((48, 40, 44), (0.5, 0.6, 0.8), centre_mm=(3.0, -2.0, 1.0))


def _offset(spot: Spot) -> torch.Tensor:
    lines = [torch.arange(n, dtype=torch.float64) for n in GRID.shape]
    index = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
    matrix = torch.from_numpy(GRID.matrix)
    return index @ matrix[:3, :3].T + matrix[:3, 3] - torch.tensor(spot.centre_mm).double()


def test_a_magnetic_spot_is_a_dipole_outside_and_a_hole_inside() -> None:
    spot = Spot((3.2, -2.1, 1.3), 2.5, 0.5, 100.0, 20.0)
    image = torch.ones(GRID.shape, dtype=torch.complex64)
    found = add_spots(image, GRID, (spot,), echo_time_s=0.01)
    offset = _offset(spot)
    radius = offset.square().sum(-1).sqrt()
    # The field of a magnetised ball is uniform inside; with the sphere of Lorentz it is zero.
    assert (found[radius < 2.0].angle() == 0).all()
    inside, outside = radius < 2.0, (radius > 3.1) & (radius < 9.0)
    assert torch.allclose(found[inside].abs(), torch.tensor(0.5 * np.exp(-1.0)).float())
    cosine = offset[..., 2] / radius
    field_hz = 20.0 * (2.5 / radius) ** 3 * (3 * cosine**2 - 1) / 2
    expected = 2 * np.pi * 0.01 * field_hz[outside]
    assert (found[outside].angle() - expected).abs().max() < 1e-4
    assert torch.equal(image, torch.ones_like(image))
    # The axis of B0 sees twice the equator's field, of the other sign.
    along = (radius > 3.5) & (cosine.abs() > 0.99)
    across = (radius > 3.5) & (cosine.abs() < 0.05)
    assert found[along].angle().mean() > 0 > found[across].angle().mean()


def test_spots_without_field_change_magnitude_inside_alone() -> None:
    spot = Spot((3.0, -2.0, 1.0), 2.0, 1.5, 0.0, 0.0)
    found = add_spots(torch.ones(GRID.shape, dtype=torch.complex64), GRID, (spot,), echo_time_s=1)
    radius = _offset(spot).square().sum(-1).sqrt()
    assert (found[radius > 3.0] == 1).all()
    assert torch.allclose(found[radius < 1.5], torch.tensor(1.5 + 0j))


def test_spots_at_the_edge_of_the_view_are_cut() -> None:
    corner = GRID.matrix @ [0, 0, 0, 1]
    spot = Spot(tuple(corner[:3]), 3.0, 0.4, 0.0, 30.0)  # type: ignore[arg-type]
    found = add_spots(torch.ones(GRID.shape, dtype=torch.complex64), GRID, (spot,), echo_time_s=1)
    assert float(found[0, 0, 0].abs()) == pytest.approx(0.4, rel=1e-3)
    assert found[-1, -1, -1] == 1


def test_drawn_spots_lie_in_the_view() -> None:
    spots = [s for seed in range(20) for s in draw_spots(GRID, np.random.default_rng(seed))]
    assert 80 < len(spots) < 160
    inverse = np.linalg.inv(GRID.matrix)
    index = np.array([(inverse @ [*s.centre_mm, 1])[:3] for s in spots])
    assert (index > 0).all()
    assert (index < np.array(GRID.shape) - 1).all()
    assert 0.3 < np.mean([s.shift_hz != 0 for s in spots]) < 0.7
