"""Decay rate of the magnitude, free of the bias that noise gives to magnitudes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.pairs import Lag, Table, decay_rates_per_s, matched_share

N_STEPS = 2


def r2star_per_s(products: LagProducts, field_hz: Tensor | None = None) -> Tensor:
    """Decay rate from how the power of echoes falls, compared with what they have in common.

    Two echoes of rate R2* and distance t obey E - E' = 2 |P| sinh(R2* t), where E, E' are their
    powers and P the sum of their products. Noise adds the same to E and E' and nothing to P, so
    that it leaves no bias and need not be known. Over all lags j the rate solves
    sum_j w_j t_j ((E_j - E_j') / 2 - |P_j| sinh(R2* t_j)) / cosh(R2* t_j) = 0, which has the
    noise of the most likely exponential.

    Args:
        products: sums over all channels, of two echoes or more.
        field_hz: (x, y, z) in Hz, unwrapped. With it Re(P_j exp(-2 pi i f t_j)) takes the place
            of |P_j|, which noise makes too large where the signal is gone before the last echo.

    Returns:
        (x, y, z) in 1/s, from zero to ten over the length of the train; zero without signal.

    Raises:
        InputError: a single echo, which has no decay.

    Source: Ye et al. 2019, Proc ISMRM 27:4392 (T2* from ratios of sums over channels); the
    difference of powers is our own.
    """
    if len(products.echo_times_s) < 2:
        raise InputError("echo times: expected two or more for R2*, found one")
    rate = _closed_form(products)
    for _ in range(N_STEPS):
        rate = _step(products, rate, field_hz)
    return rate


def weighed_parts(
    products: LagProducts, rate_per_s: Tensor
) -> Iterator[tuple[Lag, Tensor, Tensor]]:
    """The parts of the sums, each with its ``matched_share`` at the decay rate of each voxel."""
    nearest = _nearest(rate_per_s, products.echo_times_s)
    for lag, product in products.parts():
        share = torch.from_numpy(matched_share(lag, products.echo_times_s)).to(rate_per_s)
        yield lag, product, share[nearest]


def at_rate(table: Table, rate_per_s: Tensor, echo_times_s: tuple[float, ...]) -> Tensor:
    """Values of a table over ``decay_rates_per_s`` at the nearest rate of each voxel."""
    return torch.from_numpy(table).to(rate_per_s)[_nearest(rate_per_s, echo_times_s)]


def turned_back(product: Tensor, field_hz: Tensor, lag_s: float) -> Tensor:
    """P exp(-2 pi i f t), which is real where the field explains the phase of the sum."""
    phase_rad = field_hz * (-2 * math.pi * lag_s)
    return product * torch.polar(torch.ones_like(phase_rad), phase_rad)


def _nearest(rate_per_s: Tensor, echo_times_s: tuple[float, ...]) -> Tensor:
    """Index of the tabulated rate that is nearest."""
    rates = decay_rates_per_s(echo_times_s)
    place = rate_per_s * float((len(rates) - 1) / rates[-1])
    return place.round().clamp(0, len(rates) - 1).int()


def _closed_form(products: LagProducts) -> Tensor:
    """The mean over lags of arsinh((E - E') / 2 |P|) / t, weighted as for T2* = TE_last."""
    total = torch.zeros_like(products.echo_power[0])
    weights = torch.zeros_like(total)
    smallest = torch.finfo(total.dtype).tiny
    typical = torch.full_like(total[:1, :1, :1], 1 / products.echo_times_s[-1])
    for lag, product, share in weighed_parts(products, typical):
        common = product.abs()
        rate = torch.asinh(_half_fall(products, lag) / common.clamp_min(smallest)) / lag.time_s
        weight = common * (share * lag.time_s**2)
        total += rate * weight
        weights += weight
    return _limited(total / weights.clamp_min(smallest), products)


def _step(products: LagProducts, rate_per_s: Tensor, field_hz: Tensor | None) -> Tensor:
    """One Newton step towards the rate at which falls and common parts agree over all lags."""
    residual, slope = torch.zeros_like(rate_per_s), torch.zeros_like(rate_per_s)
    for lag, product, share in weighed_parts(products, rate_per_s):
        turned = product if field_hz is None else turned_back(product, field_hz, lag.time_s)
        common = product.abs() if field_hz is None else turned.real
        decay = torch.exp(rate_per_s * -lag.time_s)
        # fall / cosh(R t) - common tanh(R t)
        square = decay.square()
        fall = 2 * decay * _half_fall(products, lag) - common * (1 - square)
        residual += share * fall / (1 + square) * lag.time_s
        slope += share * common.clamp_min(0.0) * lag.time_s**2
    step = residual / slope.clamp_min(torch.finfo(slope.dtype).tiny)
    return _limited(rate_per_s + step, products)


def _half_fall(products: LagProducts, lag: Lag) -> Tensor:
    """(E - E') / 2, the weighted sum over the pairs of a lag of the fall of their power."""
    fall = torch.zeros_like(products.echo_power[0])
    for (earlier, later), weight in zip(lag.pairs, lag.weights, strict=True):
        fall += products.echo_power[earlier] * (weight / 2)
        fall -= products.echo_power[later] * (weight / 2)
    return fall


def _limited(rate_per_s: Tensor, products: LagProducts) -> Tensor:
    """Rates that the echo train can show."""
    return rate_per_s.clamp(0.0, float(decay_rates_per_s(products.echo_times_s)[-1]))
