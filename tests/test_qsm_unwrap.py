"""SPUN: congruence always, and the true phase wherever the data decide it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.unwrap import unwrap_spun

SHAPE = (24, 20, 16)


def axes(shape: tuple[int, int, int] = SHAPE) -> tuple[Tensor, Tensor, Tensor]:
    x, y, z = torch.meshgrid(*(torch.arange(n) - n // 2.0 for n in shape), indexing="ij")
    return x, y, z


def wrapped(phase_rad: Tensor) -> Tensor:
    return torch.angle(torch.polar(torch.ones_like(phase_rad), phase_rad))


def everywhere(volume: Tensor) -> Tensor:
    return torch.ones_like(volume, dtype=torch.bool)


def wrong_turns(unwrapped_rad: Tensor, truth_rad: Tensor, mask: Tensor) -> Tensor:
    """Whole turns by which each voxel of the mask differs from the truth, up to one for all."""
    turns = ((unwrapped_rad - truth_rad)[mask] / math.tau).round()
    return turns - turns.median()


def assert_congruent(unwrapped_rad: Tensor, wrapped_rad: Tensor) -> None:
    turns = (unwrapped_rad - wrapped_rad) / math.tau
    torch.testing.assert_close(turns, turns.round(), atol=2e-5, rtol=0)


x, y, z = axes()
TRUE_PHASES = {
    "ramp along x": 0.9 * math.pi * x,
    "ramp along z": -0.9 * math.pi * z,
    "diagonal ramp": 0.9 * math.pi * (x + y - z),
    "bowl": 0.035 * math.pi * (x**2 + y**2 + 2 * z**2),
    "saddle": 0.06 * (x**2 - y**2) + 0.15 * x * z,
}


@pytest.mark.parametrize("name", TRUE_PHASES)
def test_a_smooth_phase_comes_back_exactly(name: str) -> None:
    truth = TRUE_PHASES[name]
    phase = wrapped(truth)
    before = phase.clone()
    result = unwrap_spun(phase, torch.ones_like(phase), everywhere(phase))
    assert_congruent(result, phase)
    assert not wrong_turns(result, truth, everywhere(phase)).any()
    assert abs(result.median()) <= math.pi
    torch.testing.assert_close(phase, before, atol=0, rtol=0)


def test_a_phase_that_steepens_is_followed_beyond_half_a_turn_a_voxel() -> None:
    x = axes((26, 12, 10))[0]
    truth = 0.06 * math.pi * x**2
    assert truth.diff(dim=0).abs().max() > 1.4 * math.pi
    phase = wrapped(truth)
    result = unwrap_spun(phase, torch.ones_like(phase), everywhere(phase))
    assert_congruent(result, phase)
    assert not wrong_turns(result, truth, everywhere(phase)).any()


def test_noise_of_0_4_rad_leaves_fewer_than_one_error_in_a_thousand() -> None:
    x, y, z = axes((48, 40, 32))
    truth = 0.4 * x - 0.3 * y + 0.01 * z**2
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    noisy = truth + 0.4 * noise
    result = unwrap_spun(wrapped(noisy), torch.ones_like(truth), everywhere(truth))
    assert_congruent(result, wrapped(noisy))
    assert wrong_turns(result, noisy, everywhere(truth)).ne(0).float().mean() < 1e-3


def test_noise_outside_the_object_does_not_reach_into_it() -> None:
    truth = 0.8 * x + 0.02 * y**2
    object_ = x**2 + y**2 + z**2 < 49
    generator = torch.Generator().manual_seed(2)
    random = (torch.rand(truth.shape, generator=generator) - 0.5) * math.tau
    phase = torch.where(object_, wrapped(truth), random)
    magnitude = torch.where(object_, 1.0, 0.03)
    result = unwrap_spun(phase, magnitude, everywhere(truth))
    assert_congruent(result, phase)
    assert not wrong_turns(result, truth, object_).any()


def test_a_bridge_of_low_quality_is_crossed_last_and_does_not_join_wrongly() -> None:
    truth = 0.5 * x + 1.1 * y
    middle = x.abs() <= 2
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(truth.shape, generator=generator) * torch.where(middle, 0.8, 0.0)
    magnitude = torch.where(middle, 0.1, 1.0)
    phase = wrapped(truth + noise)
    result = unwrap_spun(phase, magnitude, everywhere(truth))
    assert_congruent(result, phase)
    assert not wrong_turns(result, truth, ~middle).any()


def test_parts_that_do_not_touch_take_the_branch_across_the_gap() -> None:
    truth = 0.45 * x
    mask = x.abs() > 1
    phase = wrapped(truth)
    # The best seeds lie on both sides far from the gap, a turn away from each other.
    magnitude = torch.where(x.abs() > 6, 1.0, 0.5)
    result = unwrap_spun(phase, magnitude, mask)
    assert not wrong_turns(result, truth, mask).any()
    torch.testing.assert_close(result[~mask], phase[~mask], atol=0, rtol=0)


def test_a_residue_loop_does_not_spread() -> None:
    # Two vortex lines of opposite sense: the phase jumps on a cut between them, nowhere else.
    x, y, _ = axes((40, 40, 8))
    turning = torch.atan2(y + 0.5, x - 4.5) - torch.atan2(y + 0.5, x + 4.5)
    far = (x**2 + y**2) > 15**2
    near_cores = torch.minimum((x - 4.5).abs(), (x + 4.5).abs()).square() + (y + 0.5) ** 2 < 9
    magnitude = torch.where(near_cores | ((y + 0.5).abs() < 2) & (x.abs() < 5), 0.2, 1.0)
    phase = wrapped(turning + 0.3 * x)
    result = unwrap_spun(phase, magnitude, everywhere(phase))
    assert_congruent(result, phase)
    truth = wrapped(turning) + 0.3 * x
    assert not wrong_turns(result, truth, far).any()


def test_voxels_without_phase_or_signal_do_no_harm() -> None:
    truth = 0.7 * x + 0.2 * z
    phase, magnitude = wrapped(truth), torch.ones_like(truth)
    missing = torch.zeros_like(truth, dtype=torch.bool)
    missing[5, 5, 5] = missing[0, 0, 0] = missing[10:12, 8, 3] = True
    phase[missing] = torch.nan
    magnitude[12, 4:6, 4:6] = 0
    magnitude[14, 4, 4] = torch.nan
    result = unwrap_spun(phase, magnitude, everywhere(truth))
    assert result[missing].isnan().all()
    assert_congruent(result[~missing], phase[~missing])
    assert not wrong_turns(result, truth, ~missing & magnitude.isfinite()).any()


def test_masks_of_one_voxel_and_of_none() -> None:
    phase = wrapped(2.0 + 0.9 * math.pi * x)
    one = torch.zeros_like(phase, dtype=torch.bool)
    torch.testing.assert_close(unwrap_spun(phase, torch.ones_like(phase), one), phase)
    one[3, 4, 5] = True
    torch.testing.assert_close(unwrap_spun(phase, torch.ones_like(phase), one), phase)
    torch.testing.assert_close(unwrap_spun(phase, torch.zeros_like(phase), one), phase)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_is_kept_and_two_pi_is_added_once(dtype: torch.dtype) -> None:
    phase = wrapped(0.9 * math.pi * axes((200, 3, 3))[0].to(torch.float64)).to(dtype)
    result = unwrap_spun(phase, torch.ones_like(phase), everywhere(phase))
    assert result.dtype == dtype
    turns = ((result.double() - phase.double()) / math.tau).round()
    torch.testing.assert_close(result, (phase.double() + math.tau * turns).to(dtype))


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(InputError, match="one shape"):
        unwrap_spun(
            torch.zeros(2, 2, 2), torch.zeros(2, 2, 3), torch.ones(2, 2, 2, dtype=torch.bool)
        )
