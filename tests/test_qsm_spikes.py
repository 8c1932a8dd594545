"""Voxels that stand out of all their neighbours."""

from __future__ import annotations

import pytest
import torch

from accelqsm.qsm.spikes import spike_weight


def test_single_voxels_a_turn_wrong_lose_their_weight_wherever_they_are() -> None:
    generator = torch.Generator().manual_seed(2)
    mask = torch.zeros(20, 20, 20, dtype=torch.bool)
    mask[3:17, 3:17, 3:17] = True  # corners and edges have neighbours on one side alone
    smooth = 0.01 * torch.arange(20.0).view(-1, 1, 1).expand(20, 20, 20)
    wrong = mask & (torch.rand(mask.shape, generator=generator) < 0.01)
    weight = spike_weight(smooth + 1.26 * wrong, mask)
    assert (weight[wrong] < 0.05).all()
    assert (weight[mask & ~wrong] == 1).all()
    assert (weight[~mask] == 0).all()


def test_vessels_sheets_and_noise_keep_theirs() -> None:
    generator = torch.Generator().manual_seed(3)
    mask = torch.ones(12, 12, 12, dtype=torch.bool)
    noise = 0.02 * torch.randn(12, 12, 12, generator=generator)
    vessel, sheet = noise.clone(), noise.clone()
    vessel[:, 4, 5] += 0.12
    sheet[8] -= 0.5
    assert (spike_weight(vessel, mask) == 1).all()
    assert (spike_weight(sheet, mask) == 1).all()


def test_the_weight_falls_with_the_square_of_the_height() -> None:
    mask = torch.ones(5, 5, 5, dtype=torch.bool)
    field = torch.zeros(5, 5, 5)
    field[2, 2, 2] = -0.6
    assert spike_weight(field, mask)[2, 2, 2].item() == pytest.approx(1 / 9, rel=1e-5)


def test_three_wrong_voxels_in_a_corner_do_not_hide_each_other() -> None:
    mask = torch.ones(8, 8, 8, dtype=torch.bool)
    field = torch.zeros(8, 8, 8)
    corner = [(3, 3, 3), (4, 3, 3), (3, 4, 3)]
    for voxel in corner:
        field[voxel] = 1.26
    weight = spike_weight(field, mask)
    assert all(weight[voxel] < 0.05 for voxel in corner)
    assert (weight < 1).sum() == 3
