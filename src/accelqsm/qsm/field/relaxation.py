"""R2* map without the noise-floor bias of magnitude images."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.pairs import Lag, Table, decay_rates_per_s, matched_weight

N_STEPS = 2


def r2star_per_s(products: LagProducts, field_hz: Tensor | None = None) -> Tensor:
    """R2* map from differences of echo power, unbiased by noise.

    Two echoes of rate R2* and distance t obey E - E' = 2 |P| sinh(R2* t), where E, E' are their
    powers and P the sum of their products. Noise adds the same to E and E' and nothing to P, so
    that it causes no bias and need not be known. Over all lags j the rate solves
    sum_j w_j t_j ((E_j - E_j') / 2 - |P_j| sinh(R2* t_j)) / cosh(R2* t_j) = 0, whose variance is
    that of the maximum-likelihood exponential fit.

    Args:
        products: sums over all channels, of two echoes or more.
        field_hz: (x, y, z) in Hz, unwrapped. With it Re(P_j exp(-2 pi i f t_j)) replaces |P_j|,
            which noise biases upwards where the signal has decayed before the last echo.

    Returns:
        (x, y, z) in 1/s, clamped to 0 ... 10 / (TE_last - TE_first); zero without signal.

    Raises:
        InputError: a single echo, from which no decay can be estimated.

    Source: Ye et al. 2019, Proc ISMRM 27:4392 (T2* from ratios of sums over channels); the
    difference of powers is our own.
    """
    if len(products.echo_times_s) < 2:
        raise InputError("echo times: expected two or more for R2*, found one")
    rate = _closed_form(products)
    for _ in range(N_STEPS):
        rate = _step(products, rate, field_hz)
    return rate


def weighted_parts(
    products: LagProducts, rate_per_s: Tensor
) -> Iterator[tuple[Lag, Tensor, Tensor]]:
    """Iterate over (lag, sum, weight), with the ``matched_weight`` at the rate of each voxel."""
    nearest = _nearest(rate_per_s, products.echo_times_s)
    for lag, product in products.parts():
        table = torch.from_numpy(matched_weight(lag, products.echo_times_s)).to(rate_per_s)
        yield lag, product, table[nearest]


def at_rate(table: Table, rate_per_s: Tensor, echo_times_s: tuple[float, ...]) -> Tensor:
    """Look up a table over ``decay_rates_per_s`` at the nearest rate of each voxel."""
    return torch.from_numpy(table).to(rate_per_s)[_nearest(rate_per_s, echo_times_s)]


def demodulate(product: Tensor, field_hz: Tensor, lag_s: float) -> Tensor:
    """Demodulate a sum, P exp(-2 pi i f t), which is real where the field explains its phase."""
    phase_rad = field_hz * (-2 * math.pi * lag_s)
    return product * torch.polar(torch.ones_like(phase_rad), phase_rad)


def _nearest(rate_per_s: Tensor, echo_times_s: tuple[float, ...]) -> Tensor:
    """Index of the nearest tabulated rate."""
    rates = decay_rates_per_s(echo_times_s)
    place = rate_per_s * float((len(rates) - 1) / rates[-1])
    return place.round().clamp(0, len(rates) - 1).int()


def _closed_form(products: LagProducts) -> Tensor:
    """Weighted mean over lags of arsinh((E - E') / 2 |P|) / t, with weights for T2* = TE_last."""
    total = torch.zeros_like(products.echo_power[0])
    weights = torch.zeros_like(total)
    smallest = torch.finfo(total.dtype).tiny
    typical = torch.full_like(total[:1, :1, :1], 1 / products.echo_times_s[-1])
    for lag, product, share in weighted_parts(products, typical):
        common = product.abs()
        rate = torch.asinh(_half_decrease(products, lag) / common.clamp_min(smallest)) / lag.time_s
        weight = common * (share * lag.time_s**2)
        total += rate * weight
        weights += weight
    return _clamp_rate(total / weights.clamp_min(smallest), products)


def _step(products: LagProducts, rate_per_s: Tensor, field_hz: Tensor | None) -> Tensor:
    """One Newton step towards the root of the estimating equation of ``r2star_per_s``."""
    residual, slope = torch.zeros_like(rate_per_s), torch.zeros_like(rate_per_s)
    for lag, product, share in weighted_parts(products, rate_per_s):
        if field_hz is None:
            common = product.abs()
        else:
            common = demodulate(product, field_hz, lag.time_s).real
        decay = torch.exp(rate_per_s * -lag.time_s)
        # decrease / cosh(R t) - common tanh(R t), times 1 + square
        square = decay.square()
        difference = 2 * decay * _half_decrease(products, lag) - common * (1 - square)
        residual += share * difference / (1 + square) * lag.time_s
        slope += share * common.clamp_min(0.0) * lag.time_s**2
    step = residual / slope.clamp_min(torch.finfo(slope.dtype).tiny)
    return _clamp_rate(rate_per_s + step, products)


def _half_decrease(products: LagProducts, lag: Lag) -> Tensor:
    """(E - E') / 2, weighted sum of half the power difference over the pairs of a lag."""
    decrease = torch.zeros_like(products.echo_power[0])
    for (earlier, later), weight in zip(lag.pairs, lag.weights, strict=True):
        decrease += products.echo_power[earlier] * (weight / 2)
        decrease -= products.echo_power[later] * (weight / 2)
    return decrease


def _clamp_rate(rate_per_s: Tensor, products: LagProducts) -> Tensor:
    """Clamp rates to the tabulated range."""
    return rate_per_s.clamp(0.0, float(decay_rates_per_s(products.echo_times_s)[-1]))
