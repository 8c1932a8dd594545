"""Multi-dimensional integration against its closed forms and the Cramer-Rao bound."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field import (
    LagProducts,
    field_sd_hz,
    lag1_field,
    lag_products,
    multilag_field,
    phase_coherence,
    r2star_per_s,
)

EIGHT_ECHOES_S = tuple(0.0033 + 0.0031 * k for k in range(8))
UNEVEN_S = (0.003, 0.0071, 0.0099, 0.0166, 0.0231)


def images(
    field_hz: Tensor,
    *,
    echo_times_s: tuple[float, ...],
    n_channels: int = 8,
    t2star_s: float = 0.03,
    noise_sd: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """Complex128 images (channel, echo, x, y, z) of unit combined magnitude at time zero."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.complex128, generator=generator) * math.sqrt(2)

    coils = draw(n_channels, 1, *field_hz.shape)
    coils = coils / coils.abs().square().sum(0).sqrt()
    times = torch.tensor(echo_times_s, dtype=torch.float64).view(-1, 1, 1, 1)
    signal = torch.exp(-times / t2star_s + 2j * math.pi * field_hz * times)
    clean = coils * signal
    return clean + noise_sd * draw(*clean.shape)


def frequencies(lowest: float, highest: float) -> Tensor:
    return torch.linspace(lowest, highest, 60, dtype=torch.float64).reshape(3, 4, 5)


def estimate(products: LagProducts) -> Tensor:
    return multilag_field(products, lag1_field(products))


@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, UNEVEN_S, (0.004, 0.009)])
def test_the_field_is_exact_without_noise(echo_times_s: tuple[float, ...]) -> None:
    truth = frequencies(-95, 95)
    products = lag_products(images(truth, echo_times_s=echo_times_s), echo_times_s=echo_times_s)
    torch.testing.assert_close(estimate(products), truth, atol=1e-9, rtol=0)
    torch.testing.assert_close(phase_coherence(products), torch.ones_like(truth))


def test_even_echoes_have_one_lag_per_distance_and_uneven_ones_all_differences() -> None:
    even = lag_products(
        images(frequencies(0, 1), echo_times_s=EIGHT_ECHOES_S), echo_times_s=EIGHT_ECHOES_S
    )
    assert even.lags_s == pytest.approx([0.0031 * j for j in range(1, 8)])
    uneven = lag_products(images(frequencies(0, 1), echo_times_s=UNEVEN_S), echo_times_s=UNEVEN_S)
    differences = {round(b - a, 5) for a in UNEVEN_S for b in UNEVEN_S if b > a}
    assert sorted(round(lag, 5) for lag in uneven.lags_s) == sorted(differences)


def test_150_hz_is_measured_and_170_hz_wraps_at_3_1_ms() -> None:
    truth = torch.tensor([-170.0, -150.0, 150.0, 170.0], dtype=torch.float64).view(4, 1, 1)
    products = lag_products(images(truth, echo_times_s=EIGHT_ECHOES_S), echo_times_s=EIGHT_ECHOES_S)
    wrap_hz = 1 / 0.0031
    expected = truth + wrap_hz * torch.tensor([1.0, 0, 0, -1], dtype=torch.float64).view(4, 1, 1)
    torch.testing.assert_close(estimate(products), expected, atol=1e-6, rtol=0)


def test_the_phase_and_scale_of_each_channel_cancel() -> None:
    clean = images(frequencies(-100, 100), echo_times_s=EIGHT_ECHOES_S, noise_sd=0.02)
    turn = torch.polar(torch.ones(8), torch.linspace(-3, 3, 8)).to(clean.dtype)
    reference = estimate(lag_products(clean, echo_times_s=EIGHT_ECHOES_S))
    turned = lag_products(clean * turn.view(8, 1, 1, 1, 1), echo_times_s=EIGHT_ECHOES_S)
    torch.testing.assert_close(estimate(turned), reference, atol=1e-6, rtol=0)


@pytest.mark.parametrize("scale", [1e-9, 1e6])
def test_the_unit_of_the_signal_does_not_matter(scale: float) -> None:
    clean = images(frequencies(-100, 100), echo_times_s=EIGHT_ECHOES_S, noise_sd=0.02)
    single = clean.to(torch.complex64)
    reference = lag_products(single, echo_times_s=EIGHT_ECHOES_S)
    scaled = lag_products(single * scale, echo_times_s=EIGHT_ECHOES_S)
    torch.testing.assert_close(estimate(scaled), estimate(reference), atol=1e-3, rtol=0)
    torch.testing.assert_close(r2star_per_s(scaled), r2star_per_s(reference), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    "echo_times_s", [EIGHT_ECHOES_S, tuple(0.004 + 0.006 * k for k in range(5))]
)
@pytest.mark.parametrize(("t2star_s", "snr"), [(0.02, 15), (0.02, 60), (0.05, 15), (0.05, 60)])
def test_noise_of_the_field_is_near_the_cramer_rao_bound(
    echo_times_s: tuple[float, ...], t2star_s: float, snr: float
) -> None:
    truth = torch.full((20, 20, 20), 37.0, dtype=torch.float64)
    noisy = images(
        truth, echo_times_s=echo_times_s, t2star_s=t2star_s, noise_sd=1 / snr, n_channels=8
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    times = torch.tensor(echo_times_s, dtype=torch.float64)
    power = torch.exp(-2 * times / t2star_s)
    mean = (power * times).sum() / power.sum()
    bound = 1 / (snr * 2 * math.pi * (power * (times - mean) ** 2).sum().sqrt())
    multilag, published = estimate(products), lag1_field(products)
    assert multilag.std() / bound < 1.08
    assert published.std() > 1.05 * multilag.std()
    assert abs(multilag.mean() - 37.0) < 4 * multilag.std() / 8000**0.5 + 0.05 * bound
    expected_sd = field_sd_hz(products, noise_sd=1 / snr).median()
    assert expected_sd == pytest.approx(float(bound), rel=0.03)


def test_r2star_is_free_of_noise_bias_when_the_noise_is_known() -> None:
    truth = torch.zeros(20, 20, 20, dtype=torch.float64)
    noisy = images(truth, echo_times_s=EIGHT_ECHOES_S, t2star_s=0.05, noise_sd=1 / 15)
    products = lag_products(noisy, echo_times_s=EIGHT_ECHOES_S)
    assert r2star_per_s(products, noise_sd=1 / 15).median() == pytest.approx(20, rel=0.04)
    assert r2star_per_s(products).median() > 22


def test_channels_stream_in_any_order_and_any_slab() -> None:
    clean = images(frequencies(-100, 100), echo_times_s=UNEVEN_S, noise_sd=0.05)
    whole = lag_products(clean, echo_times_s=UNEVEN_S)
    streamed = lag_products(clean[5:], echo_times_s=UNEVEN_S)
    for channel in range(5):
        streamed = lag_products(clean[channel : channel + 1], echo_times_s=UNEVEN_S, onto=streamed)
    added = lag_products(clean[:3], echo_times_s=UNEVEN_S) + lag_products(
        clean[3:], echo_times_s=UNEVEN_S
    )
    slab = lag_products(clean[:, :, 1:2], echo_times_s=UNEVEN_S)
    for other in (streamed, added):
        torch.testing.assert_close(other.products, whole.products)
        torch.testing.assert_close(other.echo_power, whole.echo_power)
        assert other.n_channels == 8
    torch.testing.assert_close(slab.products, whole.products[:, 1:2])


def test_a_lag_that_contradicts_the_shorter_ones_is_left_out() -> None:
    truth = frequencies(-100, 100)
    clean = images(truth, echo_times_s=EIGHT_ECHOES_S)
    products = lag_products(clean, echo_times_s=EIGHT_ECHOES_S)
    products.products[6] *= -1
    torch.testing.assert_close(estimate(products), truth, atol=1e-9, rtol=0)


def test_voxels_without_signal_stay_finite() -> None:
    clean = images(frequencies(-100, 100), echo_times_s=UNEVEN_S).to(torch.complex64)
    clean[:, :, 0] = 0
    products = lag_products(clean, echo_times_s=UNEVEN_S)
    for result in (estimate(products), r2star_per_s(products), phase_coherence(products)):
        assert torch.isfinite(result).all()
        assert (result[0] == 0).all()


def test_a_single_echo_of_one_channel_counts_its_phase_from_time_zero() -> None:
    truth = frequencies(-20, 20)
    clean = torch.polar(torch.full_like(truth, 0.5), 2 * math.pi * truth * 0.02)[None, None]
    products = lag_products(clean, echo_times_s=(0.02,))
    torch.testing.assert_close(estimate(products), truth, atol=1e-9, rtol=0)
    with pytest.raises(InputError, match="expected two or more for several channels"):
        lag_products(clean, echo_times_s=(0.02,), onto=products)
    with pytest.raises(InputError, match="R2"):
        r2star_per_s(products)


@pytest.mark.parametrize("shape", [(1, 4, 2, 2, 2), (5, 2, 2, 2)])
def test_images_that_do_not_fit_the_echo_times_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="5 echoes"):
        lag_products(torch.zeros(shape, dtype=torch.complex64), echo_times_s=UNEVEN_S)
