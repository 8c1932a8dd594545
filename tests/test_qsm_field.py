"""Multi-dimensional integration against its closed forms and the Cramer-Rao bound."""

from __future__ import annotations

import cmath
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.lags import LagProducts, LagSums, lag_products
from accelqsm.qsm.field.mdi import lag1_field, multilag_field, phase_coherence
from accelqsm.qsm.field.relaxation import r2star_per_s
from accelqsm.qsm.field.uncertainty import field_sd_hz
from echo_phantom import (
    EIGHT_ECHOES_S,
    LONG_S,
    SCATTERED_S,
    THREE_S,
    TWO_S,
    UNEVEN_S,
    bound_hz,
    constant,
    images,
)

TRUTH_HZ = 37.0


def frequencies(lowest: float, highest: float) -> Tensor:
    return torch.linspace(lowest, highest, 60, dtype=torch.float64).reshape(3, 4, 5)


def estimate(products: LagProducts) -> Tensor:
    return multilag_field(products, lag1_field(products))


def near_truth(products: LagProducts) -> Tensor:
    """The field of lag 1 on the branch that its neighbours would choose."""
    wrapped_hz = lag1_field(products)
    return wrapped_hz - ((wrapped_hz - TRUTH_HZ) * products.spacing_s).round() / products.spacing_s


@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, UNEVEN_S, SCATTERED_S, THREE_S, TWO_S])
def test_the_field_is_exact_without_noise(echo_times_s: tuple[float, ...]) -> None:
    truth = frequencies(-0.49, 0.49) / min(b - a for a, b in pairwise(echo_times_s))
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


# Beyond first order noise meets noise, once for each channel whose sensitivity must be found in
# the same voxel; no estimator from one voxel reaches the bound there (the most likely frequency
# of the whole echo matrix is at 1.08 for eight channels of SCATTERED_S at SNR 15, T2* 10 ms).
@pytest.mark.parametrize("n_channels", [1, 8])
@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, UNEVEN_S, SCATTERED_S, TWO_S])
@pytest.mark.parametrize(("t2star_s", "snr"), [(0.01, 15), (0.01, 60), (0.05, 15), (0.02, 30)])
def test_noise_of_the_field_is_near_the_cramer_rao_bound(
    echo_times_s: tuple[float, ...], t2star_s: float, snr: float, n_channels: int
) -> None:
    noisy = images(
        constant(TRUTH_HZ),
        echo_times_s=echo_times_s,
        t2star_s=t2star_s,
        noise_sd=1 / snr,
        n_channels=n_channels,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    bound = bound_hz(echo_times_s, t2star_s=t2star_s, noise_sd=1 / snr)
    error_hz = multilag_field(products, near_truth(products)) - TRUTH_HZ
    assert 0.96 < error_hz.std() / bound < 1.15
    assert abs(error_hz.mean()) < 4.5 * error_hz.std() / 2000**0.5
    expected_sd = field_sd_hz(products, noise_sd=1 / snr).median()
    assert expected_sd == pytest.approx(bound, rel=0.1)


def test_the_published_lag_has_more_noise() -> None:
    noisy = images(constant(TRUTH_HZ), echo_times_s=EIGHT_ECHOES_S, noise_sd=1 / 30)
    products = lag_products(noisy, echo_times_s=EIGHT_ECHOES_S)
    assert lag1_field(products).std() > 1.3 * estimate(products).std()


@pytest.mark.parametrize(
    ("echo_times_s", "worst"), [(EIGHT_ECHOES_S, 1.25), (SCATTERED_S, 1.4), (LONG_S, 1.65)]
)
def test_32_weak_channels_lose_no_more_than_noise_on_noise_takes(
    echo_times_s: tuple[float, ...], worst: float
) -> None:
    # The most likely frequency of the whole echo matrix: 1.16, 1.25 and 1.27 of the bound.
    noisy = images(
        constant(TRUTH_HZ),
        echo_times_s=echo_times_s,
        t2star_s=0.01,
        noise_sd=1 / 15,
        n_channels=32,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    error_hz = multilag_field(products, near_truth(products)) - TRUTH_HZ
    assert error_hz.std() < worst * bound_hz(echo_times_s, t2star_s=0.01, noise_sd=1 / 15)


def test_a_mask_limits_the_refinement() -> None:
    noisy = images(frequencies(-100, 100), echo_times_s=SCATTERED_S, noise_sd=0.05)
    products = lag_products(noisy, echo_times_s=SCATTERED_S)
    mask = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(0)) > 0.5
    some = multilag_field(products, lag1_field(products), mask)
    torch.testing.assert_close(some[mask], estimate(products)[mask])
    torch.testing.assert_close(some[~mask], lag1_field(products)[~mask], atol=0, rtol=0)


def test_channels_stream_in_any_order_and_any_slab() -> None:
    clean = images(frequencies(-100, 100), echo_times_s=EIGHT_ECHOES_S, noise_sd=0.05)
    whole = lag_products(clean, echo_times_s=EIGHT_ECHOES_S)
    shape, dtype = clean.shape[-3:], clean.dtype
    sums = LagSums(shape, echo_times_s=EIGHT_ECHOES_S, dtype=dtype).add(clean[5:])
    for channel in range(5):
        sums.add(clean[channel : channel + 1])
    streamed = sums.products()
    added = lag_products(clean[:3], echo_times_s=EIGHT_ECHOES_S) + lag_products(
        clean[3:], echo_times_s=EIGHT_ECHOES_S
    )
    sums = LagSums(shape, echo_times_s=EIGHT_ECHOES_S, dtype=dtype)
    for x in (slice(0, 2), slice(2, 3)):
        sums.add(clean[:, :, x], x)
    slabs = sums.products()
    for other in (streamed, added, slabs):
        torch.testing.assert_close(other.products, whole.products)
        torch.testing.assert_close(other.odd_to_even, whole.odd_to_even)
        torch.testing.assert_close(other.echo_power, whole.echo_power)
    assert streamed.n_channels == added.n_channels == slabs.n_channels == 8


@pytest.mark.parametrize(
    "echo_times_s",
    [EIGHT_ECHOES_S, UNEVEN_S, (0.003, 0.0064, 0.0099, 0.0131, 0.017, 0.0202, 0.0241, 0.028)],
)
def test_all_sums_of_a_large_scan_stay_below_1_2_gb(echo_times_s: tuple[float, ...]) -> None:
    sums = LagSums((1, 1, 1), echo_times_s=echo_times_s).products()
    tensors = (sums.products, sums.odd_to_even, sums.echo_power)
    assert 300 * 280 * 80 * sum(t.numel() * t.element_size() for t in tensors) < 1.2e9


def test_a_long_uneven_train_loses_little_by_keeping_few_lags() -> None:
    times_s = (0.003, 0.0064, 0.0099, 0.0131, 0.017, 0.0202, 0.0241, 0.028)
    noisy = images(constant(TRUTH_HZ), echo_times_s=times_s, t2star_s=0.05, noise_sd=1 / 40)
    error_hz = estimate(lag_products(noisy, echo_times_s=times_s)) - TRUTH_HZ
    assert error_hz.std() < 1.07 * bound_hz(times_s, t2star_s=0.05, noise_sd=1 / 40)


def test_a_lag_that_contradicts_the_shorter_ones_is_left_out() -> None:
    truth = frequencies(-100, 100)
    clean = images(truth, echo_times_s=EIGHT_ECHOES_S)
    products = lag_products(clean, echo_times_s=EIGHT_ECHOES_S)
    products.products[6] *= cmath.exp(2j)
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
        LagSums(clean.shape[-3:], echo_times_s=(0.02,), dtype=clean.dtype).add(clean).add(clean)
    with pytest.raises(InputError, match="R2"):
        r2star_per_s(products)


@pytest.mark.parametrize("shape", [(1, 4, 2, 2, 2), (5, 2, 2, 2)])
def test_images_that_do_not_fit_the_echo_times_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="5 echoes"):
        lag_products(torch.zeros(shape, dtype=torch.complex64), echo_times_s=UNEVEN_S)


def test_late_echoes_weigh_most_in_their_magnitude() -> None:
    images = torch.tensor([[3.0, 1.0j], [4.0j, 0.0]])[..., None, None, None]
    products = lag_products(images, echo_times_s=(0.01, 0.02))
    assert products.late_magnitude_s.item() == pytest.approx(math.sqrt(0.05**2 + 0.02**2))
