"""Noise propagation through sums of echo pairs, tabulated over the decay rate."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaincinv

from accelqsm.qsm.field.pairs import Table, decay_rates_per_s, lags_of, matched_weight, pair_signals


@dataclass(frozen=True)
class LagNoise:
    """Moments of the noise of field and misfit, (rate,) over ``decay_rates_per_s``.

    Noise of variance s^2 per real component in each of n channels, and a first echo of signal
    power A^2 (all channels), give a misfit of mean s^2 (misfit + n s^2 / A^2 misfit_of_square)
    and a field whose variance is larger than the Cramer-Rao bound by 1 + n s^2 / A^2 excess.

    Attributes:
        power: signal power of all echoes over that of the first.
        misfit: mean misfit for noise of unit variance much smaller than the signal.
        misfit_of_square: second-order part of the mean misfit, from products of noise with noise.
        freedom: degrees of freedom of the chi^2 that approximates the distribution of the misfit.
        median: median of the misfit over its mean.
        excess: second-order part of the variance of the field, from products of noise with noise.
    """

    power: Table
    misfit: Table
    misfit_of_square: Table
    freedom: Table
    median: Table
    excess: Table


@lru_cache(maxsize=32)
def lag_noise(echo_times_s: tuple[float, ...]) -> LagNoise:
    """Moments of misfit and field error for noise propagated from the echoes to the fitted field.

    The phase of sum j is, to first order, L_j d with d the phase errors of the echoes, of
    variance s^2 / A_e^2. The field is a fit of a line t_j with weights k_j, which leaves the
    residuals r = (1 - t c') L d with c = k t / sum k t^2, and misfit = sum k_j r_j^2.
    Products of noise with noise add independent errors of variance 2 n s^4 sum g^2 to the sums.

    Args:
        echo_times_s: three echoes or more.
    """
    columns = [_moments(echo_times_s, n) for n in range(len(decay_rates_per_s(echo_times_s)))]
    return LagNoise(*np.array(columns).T)


def _moments(echo_times_s: tuple[float, ...], n: int) -> tuple[float, ...]:
    """Values of the attributes of ``LagNoise`` at the n-th tabulated rate."""
    elapsed_s = np.array(echo_times_s) - echo_times_s[0]
    signal = np.exp(-elapsed_s * decay_rates_per_s(echo_times_s)[n])
    parts = [part for lag in lags_of(echo_times_s) for part in lag.parts()]
    times_s = np.array([part.time_s for part in parts])
    phases = np.zeros((len(parts), len(signal)))
    weights, squares = np.zeros(len(parts)), np.zeros(len(parts))
    for row, part in enumerate(parts):
        pair_weights = np.array(part.weights) * pair_signals(part, echo_times_s)[:, n]
        total = pair_weights.sum()
        for (earlier, later), weight in zip(part.pairs, pair_weights / total, strict=True):
            phases[row, later] += weight
            phases[row, earlier] -= weight
        weights[row] = matched_weight(part, echo_times_s)[n] * total
        squares[row] = 2 * np.square(part.weights).sum() / total**2
    fit = weights * times_s / (weights * times_s**2).sum()
    remainder = np.eye(len(parts)) - np.outer(times_s, fit)
    errors = remainder @ phases / signal
    covariance = weights[:, None] * (errors @ errors.T)
    misfit = covariance.trace()
    freedom = misfit**2 / max((covariance @ covariance).trace(), np.finfo(float).tiny)
    median = 2 * gammaincinv(freedom / 2, 0.5) / freedom
    of_square = weights @ remainder**2 @ squares
    excess = (fit**2 @ squares) / np.square(fit @ phases / signal).sum()
    power = (signal**2).sum()
    return tuple(float(m) for m in (power, misfit, of_square, freedom, median, excess))
