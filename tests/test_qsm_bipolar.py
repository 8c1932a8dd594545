"""Alternating readouts: their phase is found, taken out, and never invented."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from accelqsm.qsm.field.bipolar import (
    BLOCK_VOXELS,
    _block_of,
    _robust_plane,
    _slope,
    readout_phase,
    remove_readout_phase,
)
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.field.mdi import lag1_field, multilag_field
from echo_phantom import EIGHT_ECHOES_S, LONG_S, SCATTERED_S, THREE_S, TWO_S, column, images

SHAPE = (32, 24, 16)
EVEN_TRAINS = [EIGHT_ECHOES_S, LONG_S, THREE_S]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Volumes are so small that threads only wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


def axes() -> tuple[Tensor, ...]:
    lines = [torch.arange(n, dtype=torch.float64) - n // 2 for n in SHAPE]
    return torch.meshgrid(*lines, indexing="ij")


def field_hz() -> Tensor:
    """A strong gradient and a bowl: up to half a turn between neighbouring voxels in the train."""
    x, y, z = axes()
    return 3.0 * x - 1.5 * y + 0.1 * z**2


def alternating(
    echo_times_s: tuple[float, ...], offset_rad: float, slopes_rad: tuple[float, float, float]
) -> Tensor:
    """exp(-+ i g) by echo, complex (echo, x, y, z)."""
    g = sum((s * a for s, a in zip(slopes_rad, axes(), strict=True)), torch.full(SHAPE, offset_rad))
    signs = torch.tensor([1.0 - 2 * (e % 2 == 0) for e in range(len(echo_times_s))])
    return torch.exp(1j * signs.view(-1, 1, 1, 1) * g.double())


def flow(echo_times_s: tuple[float, ...]) -> Tensor:
    """One voxel in a hundred has a phase of 3 rad at the last echo that grows with TE^2."""
    chosen = torch.rand(SHAPE, generator=torch.Generator().manual_seed(7)) < 0.01
    return torch.exp(3j * chosen * (column(echo_times_s) / echo_times_s[-1]) ** 2)


def scan(
    echo_times_s: tuple[float, ...], factor: Tensor | None, *, noise_sd: float, n_channels: int = 8
) -> LagProducts:
    """Every voxel and channel has a phase of its own."""
    clean = images(
        field_hz(),
        echo_times_s=echo_times_s,
        n_channels=n_channels,
        noise_sd=noise_sd,
        factor=factor,
        seed=11,
    )
    return lag_products(clean, echo_times_s=echo_times_s)


@pytest.mark.parametrize("echo_times_s", EVEN_TRAINS)
@pytest.mark.parametrize(
    ("offset_rad", "slopes_rad"),
    [(0.3, (0.02, 0.0, 0.0)), (-0.7, (-0.1, 0.01, 0.003)), (0.1, (0.6, 0.0, -0.3))],
)
def test_the_phase_is_recovered_exactly_without_noise(
    offset_rad: float,
    slopes_rad: tuple[float, float, float],
    echo_times_s: tuple[float, ...],
) -> None:
    factor = alternating(echo_times_s, offset_rad, slopes_rad)
    products = scan(echo_times_s, factor, noise_sd=0.0)
    found = readout_phase(products)
    assert found.detected
    assert found.offset_rad == pytest.approx(offset_rad, abs=1e-6)
    assert found.slope_rad_per_voxel == pytest.approx(slopes_rad, abs=1e-7)
    monopolar = scan(echo_times_s, None, noise_sd=0.0)
    corrected = remove_readout_phase(products, found)
    torch.testing.assert_close(corrected.products, monopolar.products, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(corrected.odd_to_even, monopolar.odd_to_even, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("echo_times_s", [*EVEN_TRAINS, SCATTERED_S])
def test_noise_and_flow_leave_it_within_its_standard_error(
    echo_times_s: tuple[float, ...],
) -> None:
    factor = alternating(echo_times_s, -0.2, (0.02, 0.004, 0.0)) * flow(echo_times_s)
    found = readout_phase(scan(echo_times_s, factor, noise_sd=1 / 30))
    assert found.detected
    assert found.offset_sd_rad < 1e-3
    assert abs(found.offset_rad + 0.2) < 5 * found.offset_sd_rad
    for slope, truth, error in zip(
        found.slope_rad_per_voxel, (0.02, 0.004, 0.0), found.slope_sd_rad_per_voxel, strict=True
    ):
        assert error < 1e-4
        assert abs(slope - truth) < 4.5 * error


@pytest.mark.parametrize("echo_times_s", [*EVEN_TRAINS, SCATTERED_S])
def test_the_field_is_then_that_of_monopolar_readouts(echo_times_s: tuple[float, ...]) -> None:
    factor = alternating(echo_times_s, 0.3, (0.02, 0.0, 0.0))
    bipolar = scan(echo_times_s, factor, noise_sd=1 / 40)
    monopolar = scan(echo_times_s, None, noise_sd=1 / 40)
    corrected = remove_readout_phase(bipolar, readout_phase(bipolar))

    def error_hz(products: LagProducts) -> Tensor:
        branch = (lag1_field(products) - field_hz()) * products.spacing_s
        lag1_hz = field_hz() + (branch - branch.round()) / products.spacing_s
        return multilag_field(products, lag1_hz) - field_hz()

    noise_hz = error_hz(monopolar).std()
    assert error_hz(corrected).std() < 1.05 * noise_hz
    assert abs(error_hz(corrected).mean()) < 0.05 * noise_hz
    assert error_hz(bipolar).square().mean().sqrt() > 1.3 * noise_hz


@pytest.mark.parametrize("noise_sd", [0.0, 1 / 40])
@pytest.mark.parametrize("echo_times_s", [*EVEN_TRAINS, SCATTERED_S, TWO_S, (0.02,)])
def test_monopolar_data_come_back_bit_by_bit(
    echo_times_s: tuple[float, ...], noise_sd: float
) -> None:
    n_channels = 1 if len(echo_times_s) == 1 else 8
    products = scan(echo_times_s, flow(echo_times_s), noise_sd=noise_sd, n_channels=n_channels)
    before = replace(products, products=products.products.clone())
    found = readout_phase(products)
    assert not found.detected
    assert remove_readout_phase(products, found) is products
    assert torch.equal(before.products, products.products)


def test_two_echoes_cannot_tell() -> None:
    factor = alternating(TWO_S, 0.3, (0.02, 0.0, 0.0))
    found = readout_phase(scan(TWO_S, factor, noise_sd=0.0))
    assert not found.detected
    assert math.isinf(found.offset_sd_rad)


def test_a_mask_and_one_axis_are_enough() -> None:
    products = scan(THREE_S, alternating(THREE_S, 0.3, (0.02, 0.0, 0.0)), noise_sd=1 / 40)
    products.products[:, :16] *= torch.polar(torch.ones(16, 24, 16), 9 * torch.rand(16, 24, 16))
    mask = torch.zeros(SHAPE, dtype=torch.bool)
    mask[18:] = True
    found = readout_phase(products, mask, axes=(0,))
    assert found.offset_rad == pytest.approx(0.3, abs=0.005)
    assert found.slope_rad_per_voxel[0] == pytest.approx(0.02, abs=5e-4)
    assert found.slope_rad_per_voxel[1:] == (0.0, 0.0)


def test_a_block_holds_the_voxels_of_one_cube() -> None:
    voxels = torch.stack(torch.meshgrid(*map(torch.arange, (26, 40, 18)), indexing="ij"), -1)
    voxels = voxels.reshape(-1, 3)
    block = _block_of(voxels)
    cubes = torch.unique(voxels // BLOCK_VOXELS, dim=0, return_inverse=True)[1]
    assert int(block.max()) + 1 == int(cubes.max()) + 1 > 1
    assert len(torch.unique(torch.stack([block, cubes], -1), dim=0)) == int(cubes.max()) + 1


def test_a_plane_is_fitted_from_the_offset_that_its_start_leaves() -> None:
    """Of a slope whose own sum is negative: from the wrong side the fit would stay half a turn."""
    x = torch.arange(-7.5, 8.0, dtype=torch.float64).repeat(30)
    design = torch.stack([torch.ones_like(x), x], -1)
    slope, offset = 0.27, 0.3
    assert torch.cos(2 * slope * x).sum() < -1
    noise = 0.1 * torch.randn(len(x), generator=torch.Generator().manual_seed(1)).double()
    values = torch.exp(1j * (offset + slope * x + noise))
    start = torch.tensor([0.0, slope], dtype=torch.float64)
    fit, covariance = _robust_plane(values, design, start, torch.arange(len(x)) // 16)
    errors = covariance.diagonal().sqrt()
    assert abs(fit[0] - offset) < 4 * errors[0] < 0.05
    assert abs(fit[1] - slope) < 4 * errors[1] < 0.01


def test_a_few_bright_voxels_with_a_phase_of_their_own_do_not_lead() -> None:
    """One in a hundred, thirty times as bright; and in any unit of the images."""
    generator = torch.Generator().manual_seed(3)
    bright = torch.rand(SHAPE, generator=generator) < 0.01
    g = 0.3 + 0.02 * axes()[0] + 0.1 * bright
    signs = torch.tensor([1.0 - 2 * (e % 2 == 0) for e in range(5)]).view(-1, 1, 1, 1)
    factor = torch.exp(1j * signs * g) * torch.where(bright, 30.0, 1.0)
    for scale in (0.1, 1.0, 10.0):
        noise_sd = scale / 15
        products = scan(LONG_S, scale * factor, noise_sd=noise_sd)
        found = readout_phase(products, torch.ones(SHAPE, dtype=torch.bool), axes=(0,))
        assert found.offset_rad == pytest.approx(0.3, abs=0.005)
        assert found.slope_rad_per_voxel[0] == pytest.approx(0.02, abs=5e-4)


@pytest.mark.parametrize("slope", [0.6, 3.1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_slope_is_that_of_most_voxels_and_not_of_the_brightest(axis: int, slope: float) -> None:
    """Also near half a turn, about which noise wraps."""
    generator = torch.Generator().manual_seed(5)
    size = (20, 18, 16)
    index = torch.arange(size[axis], dtype=torch.float64).view([-1 if a == axis else 1
                                                                for a in range(3)])  # fmt: skip
    noise = 0.1 * torch.randn(size, generator=generator, dtype=torch.float64)
    phasor = torch.exp(1j * (slope * index + noise))
    corner = (slice(0, 6),) * 3
    phasor[corner] = 1000 * torch.exp(1j * ((slope + math.pi) * index + noise))[corner]
    assert math.remainder(_slope(phasor, axis) - slope, math.tau) == pytest.approx(0, abs=0.02)
    assert _slope(torch.zeros_like(phasor), axis) == 0
    assert _slope(phasor.narrow(axis, 0, 1), axis) == 0
