"""The part of an image that no sample tells of, and the uncertainty that follows from it."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.grid import centred_grid
from accelqsm.pipeline.scan import map_susceptibility
from accelqsm.qsm.chain import susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.field.uncertainty import sd_of_phases_hz
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.null_space import null_part, null_part_of_channel, null_share, phase_sd_rad
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sense import Encoding, unit_maps
from accelqsm.results.maps import read_maps
from recon_phantom import ECHO_TIMES_S, channel_images, sample

PLANE = (16, 12)
SAMPLED = torch.rand(PLANE, generator=torch.Generator().manual_seed(1)) < 0.4


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def part(images: Tensor, sampled: Tensor) -> Tensor:
    """Of k-space at some positions alone."""
    return ifft(fft(images, PHASE_ENCODES) * sampled, PHASE_ENCODES)


def pattern(images: Tensor) -> Tensor:
    """Every other line along y, and a centre of eight."""
    n = images.shape[-2]
    sampled = torch.zeros(images.shape[-2:], dtype=torch.bool)
    sampled[::2] = True
    sampled[n // 2 - 4 : n // 2 + 4] = True
    return sampled


def test_of_one_channel_it_is_what_lies_at_positions_that_were_not_sampled() -> None:
    images = noise(2, 3, *PLANE)
    expected = part(images, ~SAMPLED)
    torch.testing.assert_close(null_part_of_channel(images, SAMPLED), expected)
    encoding = Encoding(torch.ones(1, 1, 1, 1, 1, dtype=torch.complex64), SAMPLED)
    found = null_part(encoding, images)
    # Of what was sampled, the Tikhonov weight keeps a hundredth.
    torch.testing.assert_close(
        found, expected + part(images, SAMPLED) * 0.01 / 1.01, rtol=0, atol=1e-4
    )


def test_samples_of_channels_tell_of_positions_between() -> None:
    """Unlike channels unfold what one of them cannot: less is left, and never more."""
    images = noise(1, 3, *PLANE, seed=2)
    left = []
    for n_channels in (1, 2, 4, 8):
        maps = unit_maps(noise(n_channels, 3, *PLANE, seed=3))[:, None]
        left.append(float(null_part(Encoding(maps, SAMPLED), images).norm() / images.norm()))
    assert left[0] > 0.5
    assert all(more > 1.3 * less for more, less in pairwise(left))


def test_full_sampling_leaves_nothing() -> None:
    images, maps = noise(2, 3, *PLANE), unit_maps(noise(4, 3, *PLANE, seed=3))[:, None]
    encoding = Encoding(maps, torch.ones(PLANE, dtype=torch.bool))
    assert null_part(encoding, images).norm() < 0.011 * images.norm()


def test_share_is_that_of_the_power_about_a_voxel() -> None:
    power = torch.ones(1, 5, 5, 5)
    null = torch.zeros(1, 5, 5, 5)
    null[0, 2, 2, 2] = 0.54
    share = null_share(null, power)
    assert float(share[0, 2, 2, 2]) == pytest.approx(math.sqrt(0.02))
    assert float(share[0, 1, 3, 2]) == pytest.approx(math.sqrt(0.02))
    assert float(share[0, 0, 2, 2]) == 0
    assert not null_share(null, torch.zeros_like(power)).isnan().any()
    assert float(null_share(2 * power, power).max()) == 1


def test_phases_that_err_independently_spread_the_field_as_said() -> None:
    times_s = (0.004, 0.010, 0.016, 0.022)
    signal = torch.tensor([4.0, 3.0, 2.5, 1.5])[:, None, None, None]
    sd_rad = torch.tensor([0.01, 0.02, 0.015, 0.03])[:, None, None, None]
    generator = torch.Generator().manual_seed(0)
    errors = torch.randn(4, 20_000, 1, 1, generator=generator) * sd_rad
    products = lag_products((signal * torch.polar(torch.ones_like(errors), errors))[None],
                            echo_times_s=times_s)  # fmt: skip
    times = torch.tensor(times_s)[:, None, None, None]
    power = signal.square().expand_as(errors)
    middle = (power * times).sum(0) / power.sum(0)
    slope = (power * (times - middle) * errors).sum(0) / (power * (times - middle) ** 2).sum(0)
    found = sd_of_phases_hz(sd_rad.expand_as(errors), products)
    assert float(found[0]) == pytest.approx(float(slope.std()) / (2 * math.pi), rel=0.03)


def test_no_signal_has_no_spread_of_its_own_and_one_echo_its_phase_over_time() -> None:
    dark = lag_products(torch.zeros(1, 3, 2, 2, 2, dtype=torch.complex64),
                        echo_times_s=(0.004, 0.010, 0.016))  # fmt: skip
    assert torch.equal(sd_of_phases_hz(torch.ones(3, 2, 2, 2), dark), torch.zeros(2, 2, 2))
    one = lag_products(torch.ones(1, 1, 2, 2, 2, dtype=torch.complex64), echo_times_s=(0.02,))
    found = sd_of_phases_hz(torch.full((1, 2, 2, 2), 0.1), one)
    torch.testing.assert_close(found, torch.full((2, 2, 2), 0.1 / (2 * math.pi * 0.02)))


@pytest.mark.parametrize("consistency", ["per-coil", "joint"])
def test_blocks_of_a_network_tell_what_it_put_in_where_asked(consistency: str) -> None:
    torch.manual_seed(0)
    network = ReconNet3D(Architecture(4, 2, (3, 1), consistency=consistency)).eval()
    images = channel_images((12, 32, 24), 4)
    kspace = sample(images, pattern(images))
    asked = list(reconstruct(kspace, "reconnet3d", network=network, null_space=True))
    plain = list(reconstruct(kspace, "reconnet3d", network=network))
    assert all(block.null_power is None for block in plain)
    for block, other in zip(asked, plain, strict=True):
        assert torch.equal(block.images, other.images)
        assert block.null_power is not None
        assert block.null_power.shape == block.images.shape[1:]
        power = block.images.abs().square().sum()
        # Untrained, a network returns what the samples tell.
        assert float(block.null_power.sum() / power) < 1e-2


def test_the_phase_errs_in_proportion_to_the_share() -> None:
    share = torch.tensor([0.0, 0.1, 0.2])
    torch.testing.assert_close(phase_sd_rad(share), 4.2 * torch.tensor([0.0, 0.01, 0.02]))


def test_a_map_holds_the_share_and_is_less_sure_for_it(tmp_path: Path) -> None:
    """The same susceptibility with and without, and a file that is read again."""
    torch.manual_seed(0)
    network = ReconNet3D(Architecture(4, 2, (3, 1), consistency="joint"))
    for kernel in network.blocks.parameters():
        torch.nn.init.normal_(kernel, std=0.05)
    images = channel_images((20, 32, 24), 4)
    kspace = sample(images, pattern(images), noise_sd=0.01)
    mask = images.abs().square().sum((0, 1)) > 1
    found, plain = (
        map_susceptibility(
            kspace, "reconnet3d", network=network.eval(), mask=mask,
            settings=QsmSettings(uncertainty=uncertainty, length_scale=1.0),
        )
        for uncertainty in (True, False)
    )  # fmt: skip
    assert np.array_equal(found.chi_ppm, plain.chi_ppm)
    assert plain.null_share is None
    assert found.null_share is not None
    assert found.null_share[found.mask].max() > 0.02
    again = map_susceptibility(
        kspace, "cg-sense", mask=mask, settings=QsmSettings(length_scale=1.0)
    )
    assert again.null_share is None
    found.save(tmp_path / "out")
    read = read_maps(tmp_path / "out")
    assert read.null_share is not None
    np.testing.assert_allclose(read.null_share, found.null_share, atol=1e-6)


def test_phases_that_err_make_the_field_and_susceptibility_less_sure_and_change_no_map() -> None:
    images = channel_images((20, 32, 24), 1)
    products = lag_products(images + 1e-3 * noise(*images.shape), echo_times_s=ECHO_TIMES_S)
    known = {
        "grid": centred_grid((20, 32, 24), (2.0, 2.0, 2.0)),
        "field_strength_t": 3.0,
        "mask": images.abs().square().sum((0, 1)) > 0.2,
    }
    plain = susceptibility(products, **known)
    phases = torch.full((2, 20, 32, 24), 0.05)
    unsure = susceptibility(products, phase_sd_rad=phases, **known)
    assert torch.equal(plain.chi_ppm, unsure.chi_ppm)
    added = sd_of_phases_hz(phases, products)[plain.brain]
    expected = torch.hypot(plain.field_sd_hz[plain.brain], added)
    torch.testing.assert_close(unsure.field_sd_hz[plain.brain], expected)
    assert plain.chi_sd_ppm is not None
    assert unsure.chi_sd_ppm is not None
    assert (unsure.chi_sd_ppm > plain.chi_sd_ppm)[plain.mask].all()
