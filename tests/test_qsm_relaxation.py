"""R2* from the sums: exact without noise, unbiased and near the Cramer-Rao bound with it."""

from __future__ import annotations

import math

import pytest
import torch

from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.field.mdi import lag1_field, multilag_field
from accelqsm.qsm.field.relaxation import _closed_form, r2star_per_s
from echo_phantom import (
    EIGHT_ECHOES_S,
    LONG_S,
    SCATTERED_S,
    THREE_S,
    TWO_S,
    UNEVEN_S,
    bound_hz,
    column,
    constant,
    images,
)

TRAINS = [EIGHT_ECHOES_S, UNEVEN_S, SCATTERED_S, LONG_S, THREE_S, TWO_S]


@pytest.mark.parametrize("echo_times_s", TRAINS)
def test_the_rate_is_exact_without_noise(echo_times_s: tuple[float, ...]) -> None:
    rate = torch.linspace(2, 140, 40, dtype=torch.float64).view(40, 1, 1)
    decay = torch.exp(-column(echo_times_s) * rate)
    truth_hz = torch.linspace(-60, 60, 40, dtype=torch.float64).view(40, 1, 1)
    clean = images(truth_hz, echo_times_s=echo_times_s, t2star_s=math.inf, factor=decay)
    products = lag_products(clean, echo_times_s=echo_times_s)
    torch.testing.assert_close(r2star_per_s(products), rate, atol=1e-7, rtol=0)
    torch.testing.assert_close(r2star_per_s(products, truth_hz), rate, atol=1e-7, rtol=0)


# The project's own figures to reach: 50.1 ms of 50 at SNR 60, 30.3 ms of 30 at SNR 15.
@pytest.mark.parametrize(
    ("t2star_s", "snr", "tolerance"),
    [(0.05, 60, 0.006), (0.03, 15, 0.02), (0.05, 15, 0.02), (0.02, 15, 0.02), (0.01, 15, 0.03)],
)
def test_noise_leaves_no_bias_and_need_not_be_known(
    t2star_s: float, snr: float, tolerance: float
) -> None:
    noisy = images(constant(37.0), echo_times_s=EIGHT_ECHOES_S, t2star_s=t2star_s, noise_sd=1 / snr)
    products = lag_products(noisy, echo_times_s=EIGHT_ECHOES_S)
    field_hz = multilag_field(products, lag1_field(products))
    found_s = 1 / r2star_per_s(products, field_hz).median()
    assert found_s == pytest.approx(t2star_s, rel=tolerance)


@pytest.mark.parametrize("n_channels", [1, 8])
@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, SCATTERED_S, THREE_S, TWO_S])
@pytest.mark.parametrize(("t2star_s", "snr"), [(0.01, 15), (0.02, 30), (0.05, 60)])
def test_noise_of_the_rate_is_near_the_cramer_rao_bound(
    t2star_s: float, snr: float, echo_times_s: tuple[float, ...], n_channels: int
) -> None:
    noisy = images(
        constant(0.0),
        echo_times_s=echo_times_s,
        t2star_s=t2star_s,
        noise_sd=1 / snr,
        n_channels=n_channels,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    rate = r2star_per_s(products, torch.zeros(2000, 1, 1, dtype=torch.float64))
    bound = math.tau * bound_hz(echo_times_s, t2star_s=t2star_s, noise_sd=1 / snr)
    assert rate.std() < 1.18 * bound
    assert rate.median() == pytest.approx(1 / t2star_s, rel=0.045)


def test_magnitudes_alone_are_biased_only_where_the_signal_is_gone() -> None:
    for t2star_s, tolerance in ((0.02, 0.02), (0.01, 0.07)):
        noisy = images(
            constant(0.0), echo_times_s=EIGHT_ECHOES_S, t2star_s=t2star_s, noise_sd=1 / 15
        )
        products = lag_products(noisy, echo_times_s=EIGHT_ECHOES_S)
        assert 1 / r2star_per_s(products).median() == pytest.approx(t2star_s, rel=tolerance)


def test_a_signal_that_does_not_decay_has_rate_zero() -> None:
    clean = images(constant(5.0, 4), echo_times_s=UNEVEN_S, t2star_s=-0.1)
    rate = r2star_per_s(lag_products(clean, echo_times_s=UNEVEN_S))
    torch.testing.assert_close(rate, torch.zeros_like(rate), atol=0, rtol=0)


@pytest.mark.parametrize("t2star_s", [0.02, 0.05])
@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, UNEVEN_S, LONG_S, THREE_S])
def test_the_first_estimate_combines_the_lags_by_their_noise(
    t2star_s: float, echo_times_s: tuple[float, ...]
) -> None:
    """Near the Cramer-Rao bound already, so that two steps are enough."""
    noisy = images(constant(0.0), echo_times_s=echo_times_s, t2star_s=t2star_s, noise_sd=1 / 30)
    rate = _closed_form(lag_products(noisy, echo_times_s=echo_times_s))
    bound = math.tau * bound_hz(echo_times_s, t2star_s=t2star_s, noise_sd=1 / 30)
    assert rate.std() < 1.06 * bound
    assert rate.mean() == pytest.approx(1 / t2star_s, rel=0.03)
