"""What has zero susceptibility."""

from __future__ import annotations

import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.qsm.chain import reference_to
from accelqsm.reference.ventricles import csf


def test_the_region_has_zero_mean_and_the_outside_is_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    chi = torch.randn(6, 7, 8, generator=generator, dtype=torch.float64)
    mask = torch.zeros(6, 7, 8, dtype=torch.bool)
    mask[1:5, 1:6, 1:7] = True
    region = torch.zeros_like(mask)
    region[:3] = True  # partly outside the mask, where it does not count
    shifted = reference_to(chi, mask, region)
    assert abs(shifted[region & mask].mean()) < 1e-12
    torch.testing.assert_close((shifted - chi)[mask], -chi[region & mask].mean().expand(120))
    assert (shifted[~mask] == 0).all()
    torch.testing.assert_close(reference_to(chi, mask, None)[mask], chi[mask], atol=0, rtol=0)


def test_a_region_beside_the_mask_is_refused() -> None:
    mask = torch.zeros(4, 4, 4, dtype=torch.bool)
    mask[:2] = True
    with pytest.raises(
        InputError, match="reference region: expected some voxels in the mask, found none"
    ):
        reference_to(torch.zeros(4, 4, 4), mask, ~mask)


def test_fluid_is_slow_decay_in_the_middle_without_its_edge() -> None:
    shape = (60, 60, 40)
    size_mm = (1.5, 1.5, 2.0)
    rate = torch.full(shape, 20.0)
    rate[24:36, 26:34, 16:24] = 2.0  # ventricles
    rate[0:4] = 1.0  # fluid at the surface, beyond the middle
    mask = torch.ones(shape, dtype=torch.bool)
    fluid = torch.from_numpy(csf(mask.numpy(), rate.numpy(), voxel_size_mm=size_mm))
    expected = torch.zeros_like(mask)
    # 1.5 mm take one voxel of 1.5 mm off, and none of 2 mm.
    expected[25:35, 27:33, 16:24] = True
    assert torch.equal(fluid, expected)


def test_too_little_fluid_is_refused() -> None:
    rate = torch.full((20, 20, 20), 20.0)
    with pytest.raises(InputError) as refusal:
        csf((rate > 0).numpy(), rate.numpy(), voxel_size_mm=(1.0, 1.0, 1.0))
    assert str(refusal.value) == (
        "reference csf: expected 0.3 ml or more of R2* below 5 per s near the middle of the brain, "
        "found 0.00 ml"
    )
