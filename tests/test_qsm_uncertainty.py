"""What the field's uncertainty says against what the field is really wrong by."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.lagnoise import lag_noise
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.field.mdi import lag1_field, multilag_field
from accelqsm.qsm.field.pairs import Table
from accelqsm.qsm.field.relaxation import at_rate, r2star_per_s
from accelqsm.qsm.field.uncertainty import (
    at_most_random_hz,
    field_sd_hz,
    field_uncertainty_hz,
    lag_misfit,
    noise_sd,
)
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

TRUTH_HZ = 21.0
TRAINS = [EIGHT_ECHOES_S, UNEVEN_S, SCATTERED_S, LONG_S, THREE_S]


def field_of(products: LagProducts) -> Tensor:
    return multilag_field(products, lag1_field(products))


def uncertainty_hz(products: LagProducts, field_hz: Tensor, *, noise_sd: float) -> Tensor:
    rate_per_s = r2star_per_s(products, field_hz)
    return field_uncertainty_hz(products, field_hz, rate_per_s, noise_sd=noise_sd)


@pytest.mark.parametrize("n_channels", [1, 8, 32])
@pytest.mark.parametrize("echo_times_s", [*TRAINS, TWO_S])
@pytest.mark.parametrize(("t2star_s", "snr"), [(0.01, 30), (0.02, 15), (0.05, 60)])
def test_of_pure_noise_it_is_the_standard_deviation(
    t2star_s: float, snr: float, echo_times_s: tuple[float, ...], n_channels: int
) -> None:
    noisy = images(
        constant(TRUTH_HZ),
        echo_times_s=echo_times_s,
        t2star_s=t2star_s,
        noise_sd=1 / snr,
        n_channels=n_channels,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    field_hz = field_of(products)
    reported = uncertainty_hz(products, field_hz, noise_sd=1 / snr)
    assert reported.median() == pytest.approx(float(field_hz.std()), rel=0.1)
    assert (reported > 2 * reported.median()).double().mean() < (0.04 if n_channels < 32 else 0.12)


@pytest.mark.parametrize("n_channels", [1, 32])
@pytest.mark.parametrize("echo_times_s", TRAINS)
@pytest.mark.parametrize(("t2star_s", "snr"), [(0.02, 15), (0.05, 60)])
def test_the_misfit_and_the_variance_of_noise_are_those_of_the_table(
    t2star_s: float, snr: float, echo_times_s: tuple[float, ...], n_channels: int
) -> None:
    noisy = images(
        constant(TRUTH_HZ),
        echo_times_s=echo_times_s,
        t2star_s=t2star_s,
        noise_sd=1 / snr,
        n_channels=n_channels,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    field_hz = field_of(products)
    table, rate = lag_noise(echo_times_s), torch.full_like(field_hz, 1 / t2star_s)
    ratio = n_channels / snr**2 * math.exp(2 * echo_times_s[0] / t2star_s)

    def tabulated(values: Table) -> float:
        return float(at_rate(values, rate, echo_times_s)[0, 0, 0])

    expected = tabulated(table.misfit) + ratio * tabulated(table.misfit_of_square)
    misfit = lag_misfit(products, field_hz, rate) * snr**2
    assert misfit.mean() == pytest.approx(expected, rel=0.1)
    if snr > 30:
        assert misfit.median() == pytest.approx(expected * tabulated(table.median), rel=0.1)
    bound = bound_hz(echo_times_s, t2star_s=t2star_s, noise_sd=1 / snr)
    worse = 1 + ratio * tabulated(table.excess)
    assert field_hz.std() == pytest.approx(bound * worse**0.5, rel=0.06)


@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, SCATTERED_S, UNEVEN_S, LONG_S])
@pytest.mark.parametrize("snr", [20, 60])
def test_two_frequencies_in_a_voxel_are_reported(
    echo_times_s: tuple[float, ...], snr: float
) -> None:
    other = torch.polar(torch.ones(1, dtype=torch.float64), math.tau * 40 * column(echo_times_s))
    noisy = images(
        constant(0.0, 500),
        echo_times_s=echo_times_s,
        noise_sd=1 / snr,
        factor=0.6 + 0.4 * other,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    field_hz = field_of(products)
    error_hz = (field_hz - 0.4 * 40).square().mean().sqrt()
    reported = uncertainty_hz(products, field_hz, noise_sd=1 / snr).median()
    assert reported > error_hz / 3
    assert reported > 8 * field_sd_hz(products, noise_sd=1 / snr).median()


def test_a_phase_that_bends_in_time_is_reported() -> None:
    bend = torch.exp(1.5j * (column(EIGHT_ECHOES_S) / EIGHT_ECHOES_S[-1]) ** 2)
    straight = torch.ones(8, 500, 1, 1, dtype=torch.complex128)
    straight[:, 250:] = bend
    noisy = images(
        constant(TRUTH_HZ, 500), echo_times_s=EIGHT_ECHOES_S, noise_sd=1 / 60, factor=straight
    )
    products = lag_products(noisy, echo_times_s=EIGHT_ECHOES_S)
    reported = uncertainty_hz(products, field_of(products), noise_sd=1 / 60)[:, 0, 0]
    assert reported[250:].median() > 3 * reported[:250].median()


def test_tissue_that_departs_a_little_is_not_doubted_at_high_snr() -> None:
    bend = torch.exp(0.05j * (column(EIGHT_ECHOES_S) / EIGHT_ECHOES_S[-1]) ** 2)
    noisy = images(
        constant(TRUTH_HZ, 500), echo_times_s=EIGHT_ECHOES_S, noise_sd=1 / 1000, factor=bend
    )
    products = lag_products(noisy, echo_times_s=EIGHT_ECHOES_S)
    reported = uncertainty_hz(products, field_of(products), noise_sd=1 / 1000)
    bound = bound_hz(EIGHT_ECHOES_S, t2star_s=0.03, noise_sd=1 / 1000)
    assert reported.median() == pytest.approx(bound, rel=0.02)


@pytest.mark.parametrize("n_channels", [1, 8, 32])
@pytest.mark.parametrize("echo_times_s", TRAINS)
@pytest.mark.parametrize(("t2star_s", "snr"), [(0.01, 15), (0.05, 60)])
def test_the_noise_is_found_from_the_sums_alone(
    t2star_s: float, snr: float, echo_times_s: tuple[float, ...], n_channels: int
) -> None:
    noisy = images(
        constant(TRUTH_HZ),
        echo_times_s=echo_times_s,
        t2star_s=t2star_s,
        noise_sd=1 / snr,
        n_channels=n_channels,
    )
    products = lag_products(noisy, echo_times_s=echo_times_s)
    everywhere = torch.ones(2000, 1, 1, dtype=torch.bool)
    found = noise_sd(products, field_of(products), everywhere)
    assert found == pytest.approx(1 / snr, rel=0.12 if snr < 20 else 0.06)


def test_a_background_of_zeros_does_not_change_the_noise() -> None:
    noisy = images(constant(TRUTH_HZ), echo_times_s=EIGHT_ECHOES_S, noise_sd=1 / 30)
    noisy[:, :, 1000:] = 0
    single = noisy.to(torch.complex64) * 1e4
    products = lag_products(single, echo_times_s=EIGHT_ECHOES_S)
    mask = torch.arange(2000).view(2000, 1, 1) < 1000
    field_hz = field_of(products)
    assert noise_sd(products, field_hz, mask) == pytest.approx(1e4 / 30, rel=0.05)
    reported = uncertainty_hz(products, field_hz, noise_sd=1e4 / 30)
    assert reported[mask].isfinite().all()
    assert reported[~mask].isinf().all()


def test_noise_that_cannot_be_told_is_refused() -> None:
    noisy = images(constant(TRUTH_HZ, 10), echo_times_s=TWO_S, noise_sd=1 / 30)
    products = lag_products(noisy, echo_times_s=TWO_S)
    mask = torch.ones(10, 1, 1, dtype=torch.bool)
    with pytest.raises(InputError, match="three or more"):
        noise_sd(products, field_of(products), mask)
    with pytest.raises(InputError, match="positive"):
        uncertainty_hz(products, field_of(products), noise_sd=0.0)
    three = lag_products(images(constant(0.0, 10), echo_times_s=THREE_S), echo_times_s=THREE_S)
    with pytest.raises(InputError, match="some voxels"):
        noise_sd(three, field_of(three), ~mask)


@pytest.mark.parametrize("echo_times_s", [EIGHT_ECHOES_S, LONG_S, THREE_S])
def test_noise_alone_is_doubted_in_three_of_a_thousand_voxels(
    echo_times_s: tuple[float, ...],
) -> None:
    """What three standard deviations of a chi^2 leave, whatever the number of echoes."""
    noisy = images(constant(0.0, 20_000), echo_times_s=echo_times_s, noise_sd=1 / 30)
    products = lag_products(noisy, echo_times_s=echo_times_s)
    found = uncertainty_hz(products, field_of(products), noise_sd=1 / 30)
    bound_hz = field_sd_hz(products, noise_sd=1 / 30)
    doubted = (found / bound_hz > 1.03).double().mean()
    assert 0.001 < doubted < 0.006


def test_no_signal_is_as_uncertain_as_a_phase_of_any_value() -> None:
    products = lag_products(images(constant(0.0, 4), echo_times_s=TWO_S), echo_times_s=TWO_S)
    uniform_hz = (torch.rand(200_000, generator=torch.Generator().manual_seed(0)) - 0.5) / 0.005
    found = at_most_random_hz(torch.tensor([0.5, math.inf]), products)
    assert found[0] == 0.5
    assert found[1] == pytest.approx(float(uniform_hz.std()), rel=0.01)
