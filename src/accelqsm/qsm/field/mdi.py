"""Field map by multi-dimensional integration over channels and echo pairs."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.pairs import lags_of
from accelqsm.qsm.field.relaxation import demodulate, r2star_per_s, weighted_parts
from accelqsm.runtime.progress import staged

LEAST_AGREEMENT = 0.9
TRIALS_PER_TURN = 4


def lag1_phase_rad(products: LagProducts) -> Tensor:
    """Wrapped phase evolution over the smallest lag, arg P_1, in (-pi, pi], (x, y, z)."""
    return torch.angle(products.products[0])


def lag1_field(products: LagProducts) -> Tensor:
    """Wrapped field map of the smallest lag, f = arg(P_1) / (2 pi dTE), as published.

    Args:
        products: sums over all channels.

    Returns:
        (x, y, z) in Hz, wrapped.

    Source: Ye et al. 2019, Proc ISMRM 27:4392.
    """
    return lag1_phase_rad(products) / (2 * math.pi * products.spacing_s)


@staged("Field of all echoes")
def multilag_field(
    products: LagProducts, unwrapped_lag1_hz: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Maximum-likelihood field map from all lags, on the branch of the unwrapped first lag.

    J(f) = sum_j w_j Re(P_j exp(-2 pi i f t_j)), with w_j from the decay of the voxel, is the
    power of the echo train at frequency f, sum_c |sum_e A_e S_ce exp(-2 pi i f TE_e)|^2: its
    maximum is the most likely field. Lags are averaged from short to long, each unwrapped to the
    branch nearest to the mean of the shorter ones; where they disagree, the maximum of J is
    searched on a grid within half a turn of lag 1; a Newton step refines the result. In that step
    a lag further than a quarter cycle from the field has no weight.

    Args:
        products: sums over all channels.
        unwrapped_lag1_hz: (x, y, z) in Hz, ``lag1_field`` after unwrapping.
        mask: bool (x, y, z), where to refine the field; everywhere if absent.

    Returns:
        (x, y, z) in Hz.

    Source: Rife and Boorstyn 1974, IEEE Trans Inf Theory 20:591, doi 10.1109/TIT.1974.1055282
    (the most likely frequency is the peak of the periodogram).
    """
    field_hz = unwrapped_lag1_hz.clone()
    if len(products.lags_s) < 2:
        return field_hz
    if mask is not None:
        row = multilag_field(products.inside(mask), unwrapped_lag1_hz[mask][:, None, None])
        field_hz[mask] = row[:, 0, 0]
        return field_hz
    rate_per_s = r2star_per_s(products)
    field_hz = _average_lags(products, unwrapped_lag1_hz, rate_per_s)
    inconsistent = _lags_disagree(products, field_hz, rate_per_s)
    if bool(inconsistent.any()):
        field_hz[inconsistent] = _grid_search(products, unwrapped_lag1_hz, rate_per_s, inconsistent)
    return field_hz + _newton_step(products, field_hz, rate_per_s)


def phase_coherence(products: LagProducts) -> Tensor:
    """Phase coherence of channels and echoes, |P_1| / sqrt(E_1 E_1').

    E_1 and E_1' are the power of the earlier and the later echo of each pair of the smallest
    lag, so that 1 is perfect agreement; noise of n channel pairs gives about 1 / sqrt(n).

    Args:
        products: sums over all channels.

    Returns:
        (x, y, z) in 0 to 1; zero where there is no signal.
    """
    lags = lags_of(products.echo_times_s)
    pairs = lags[0].pairs if lags else ((0, 0),)
    earlier = products.echo_power[[first for first, _ in pairs]].sum(0)
    later = products.echo_power[[second for _, second in pairs]].sum(0)
    bound = (earlier * later).sqrt().clamp_min(torch.finfo(earlier.dtype).tiny)
    return (products.products[0].contiguous().abs() / bound).clamp_max(1.0)


def _average_lags(products: LagProducts, lag1_hz: Tensor, rate_per_s: Tensor) -> Tensor:
    """Weighted mean of the fields of all lags, each unwrapped to the mean of the shorter lags."""
    field_hz = lag1_hz.clone()
    weights = torch.zeros_like(field_hz)
    smallest = torch.finfo(field_hz.dtype).tiny
    for lag, product, weight in weighted_parts(products, rate_per_s):
        residual = demodulate(product, field_hz, lag.time_s)
        weight = weight * residual.real.clamp_min(0.0) * lag.time_s**2
        weights += weight
        turn = 2 * math.pi * lag.time_s
        field_hz += weight / weights.clamp_min(smallest) * torch.angle(residual) / turn
    return field_hz


def _lags_disagree(products: LagProducts, field_hz: Tensor, rate_per_s: Tensor) -> Tensor:
    """Voxels where J is below 90 % of its value for perfectly consistent lags, bool (x, y, z)."""
    found, bound = torch.zeros_like(field_hz), torch.zeros_like(field_hz)
    for lag, product, weight in weighted_parts(products, rate_per_s):
        found += weight * demodulate(product, field_hz, lag.time_s).real
        bound += weight * product.abs()
    return found < LEAST_AGREEMENT * bound


def _grid_search(
    products: LagProducts, lag1_hz: Tensor, rate_per_s: Tensor, chosen: Tensor
) -> Tensor:
    """Trial frequency of largest J within half a turn of lag 1, in Hz, of the chosen voxels."""
    longest_s, shortest_s = products.lags_s[-1], products.lags_s[0]
    n_trials = 2 * math.ceil(TRIALS_PER_TURN * longest_s / shortest_s / 2) + 1
    step_hz = 1 / (shortest_s * (n_trials - 1))
    start_hz = lag1_hz[chosen] - step_hz * (n_trials // 2)
    power = torch.zeros(n_trials, len(start_hz), dtype=start_hz.dtype, device=start_hz.device)
    for lag, product, weight in weighted_parts(products, rate_per_s):
        phasor = weight[chosen] * demodulate(product[chosen], start_hz, lag.time_s)
        angle = torch.tensor(-2 * math.pi * step_hz * lag.time_s)
        for trial in power:
            trial += phasor.real
            phasor = phasor * torch.polar(torch.ones_like(angle), angle)
    return start_hz + step_hz * power.argmax(0)


def _newton_step(products: LagProducts, field_hz: Tensor, rate_per_s: Tensor) -> Tensor:
    """Newton step in Hz from ``field_hz`` to the maximum of J, over lags within a quarter cycle."""
    slope, curvature = torch.zeros_like(field_hz), torch.zeros_like(field_hz)
    for lag, product, weight in weighted_parts(products, rate_per_s):
        residual = demodulate(product, field_hz, lag.time_s)
        weight = weight * (residual.real > 0) * lag.time_s
        slope += weight * residual.imag
        curvature += weight * residual.real * lag.time_s
    return slope / curvature.clamp_min(torch.finfo(curvature.dtype).tiny) / (2 * math.pi)
