"""Standard deviation of the field map: thermal noise, and misfit of the signal model."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.lagnoise import lag_noise
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.relaxation import at_rate, demodulate, r2star_per_s, weighted_parts

SIGNIFICANT = 3.0
"""Standard deviations of the misfit of pure noise above which a misfit counts as model error."""

TOLERATED = 0.05
"""Departure from linear phase and exponential decay, over the signal, allowed in tissue."""


def field_sd_hz(products: LagProducts, *, noise_sd: float | None = None) -> Tensor:
    """Cramer-Rao bound of the standard deviation of the field, with a free phase offset.

    sd = noise_sd / (2 pi sqrt(sum_e A_e^2 (TE_e - TE')^2)), with TE' the mean of TE weighted by
    A_e^2, the signal power of echo e summed over channels.

    Args:
        products: sums over all channels.
        noise_sd: standard deviation of the noise in the real part of a channel image; if absent,
            the result is relative, up to one factor for the whole volume.

    Returns:
        (x, y, z) in Hz (relative without ``noise_sd``); infinite where there is no signal.
    """
    sigma = 1.0 if noise_sd is None else noise_sd
    noise_power = 0.0 if noise_sd is None else 2 * noise_sd**2 * products.n_channels
    if len(products.echo_times_s) == 1:
        power = (products.echo_power[0] - noise_power).clamp_min(0.0)
        return sigma / (2 * math.pi * products.spacing_s * power.sqrt())
    middle_s = sum(products.echo_times_s) / len(products.echo_times_s)
    moments = products.echo_power.new_zeros(3, *products.echo_power.shape[1:])
    for echo_time_s, power in zip(products.echo_times_s, products.echo_power, strict=True):
        # Not clamped: noise on both sides of zero leaves no bias in the sum.
        signal = power - noise_power
        for order, moment in enumerate(moments):
            moment += signal * (echo_time_s - middle_s) ** order
    whole, first, second = moments.unbind()
    spread_s2 = second - first.square() / whole.clamp_min(torch.finfo(whole.dtype).tiny)
    return sigma / (2 * math.pi * spread_s2.clamp_min(0.0).sqrt())


def sd_of_phases_hz(phase_sd_rad: Tensor, products: LagProducts) -> Tensor:
    """Standard deviation of the field from one of each echo's phase, independent of the others.

    sd^2 = sum_e (A_e^2 (TE_e - TE') sd_e)^2 / (2 pi sum_e A_e^2 (TE_e - TE')^2)^2, the field being
    the slope of the phases with the weights A_e^2 of ``field_sd_hz``.

    Args:
        phase_sd_rad: (echo, x, y, z).
        products: sums over all channels.

    Returns:
        (x, y, z) in Hz; zero where there is no signal, or a single echo's phase over its time.
    """
    times_s = phase_sd_rad.new_tensor(products.echo_times_s)[:, None, None, None]
    if len(times_s) == 1:
        return phase_sd_rad[0] / (2 * math.pi * products.spacing_s)
    power = products.echo_power
    smallest = torch.finfo(power.dtype).tiny
    middle_s = (power * times_s).sum(0) / power.sum(0).clamp_min(smallest)
    weight = power * (times_s - middle_s)
    slope = (weight * (times_s - middle_s)).sum(0)
    spread = (weight * phase_sd_rad).square().sum(0).sqrt()
    return torch.where(slope > 0, spread / (2 * math.pi * slope.clamp_min(smallest)), 0)


def at_most_random_hz(sd_hz: Tensor, products: LagProducts) -> Tensor:
    """Standard deviation of the field, at most that of a phase that may be anything.

    Where there is no signal the field is uniform over the turn 1 / dTE of the smallest lag, whose
    standard deviation is 1 / (sqrt(12) dTE): no bound of noise can be above it.

    Args:
        sd_hz: (x, y, z), which may be infinite.
        products: sums over all channels, of which the smallest lag is used.
    """
    return sd_hz.clamp_max(1 / (math.sqrt(12) * products.spacing_s))


def field_uncertainty_hz(
    products: LagProducts, field_hz: Tensor, rate_per_s: Tensor, *, noise_sd: float
) -> Tensor:
    """Standard deviation of the field map from noise and from misfit of the signal model.

    sd^2 = bound^2 (1 + n noise_sd^2 / A^2 excess + U), with ``field_sd_hz`` for the bound and
    ``LagNoise.excess`` for n channels of unknown sensitivities. U is the misfit of the echoes to
    linear phase and exponential decay, in units of the noise variance, beyond what noise
    (``SIGNIFICANT``) and tissue (``TOLERATED``) cause: the part of the model error that biases the
    field is taken to be as large as the part that shows as misfit. Flow and partial volume near
    air raise it.

    Args:
        products: sums over all channels.
        field_hz: (x, y, z) in Hz, ``multilag_field``.
        rate_per_s: (x, y, z) in 1/s, ``r2star_per_s`` (unused for a single echo).
        noise_sd: standard deviation of the noise in the real part of a channel image.

    Returns:
        (x, y, z) in Hz; infinite where there is no signal. Two echoes always fit: U is 0.

    Raises:
        InputError: noise that is not positive.
    """
    if not noise_sd > 0:
        raise InputError(f"noise: expected a positive standard deviation, found {noise_sd}")
    bound_hz = field_sd_hz(products, noise_sd=noise_sd)
    times_s = products.echo_times_s
    if len(times_s) < 2:
        return bound_hz
    squared = _noise_over_signal(products, rate_per_s, noise_sd)
    factor = 1 + squared * at_rate(lag_noise(times_s).excess, rate_per_s, times_s)
    if len(times_s) > 2:
        factor += _excess_misfit(products, field_hz, rate_per_s, noise_sd)
    return bound_hz * factor.sqrt()


def noise_sd(products: LagProducts, field_hz: Tensor, mask: Tensor) -> float:
    """Noise standard deviation of a channel image, estimated from the phase misfit between lags.

    The misfit of ``lag_misfit`` over its expectation for unit noise is a variance; its median in
    the mask, over the median of a chi^2 of the same degrees of freedom, is the noise variance. No
    air background is needed, which scanners may set to zero, nor a smooth magnitude. The estimate
    is too large where the phase of most voxels is not linear in TE.

    Args:
        products: sums over all channels, of three echoes or more.
        field_hz: (x, y, z) in Hz, ``multilag_field``.
        mask: bool (x, y, z), the voxels to use.

    Returns:
        Standard deviation of the noise in the real part of a channel image.

    Raises:
        InputError: fewer than three echoes, or an empty mask.

    Source: our own; effective degrees of freedom of chi^2 after Satterthwaite 1946, Biometrics
    Bull 2:110, doi 10.2307/3002019.
    """
    times_s, table = products.echo_times_s, lag_noise(products.echo_times_s)
    if len(times_s) < 3:
        raise InputError(
            f"echo times: expected three or more to estimate noise, found {len(times_s)}"
        )
    if not bool(mask.any()):
        raise InputError("mask: expected some voxels, found none")
    rate_per_s = r2star_per_s(products, field_hz)
    misfit = lag_misfit(products, field_hz, rate_per_s)
    misfit /= at_rate(table.median, rate_per_s, times_s)
    expected = at_rate(table.misfit, rate_per_s, times_s)
    # Products of noise with noise raise the misfit by about the factor by which noise raises the
    # power.
    power = products.echo_power.sum(0).clamp_min(torch.finfo(misfit.dtype).tiny)
    expected += 2 * len(times_s) * products.n_channels * misfit / power
    return float((misfit / expected)[mask].median().sqrt())


def lag_misfit(products: LagProducts, field_hz: Tensor, rate_per_s: Tensor) -> Tensor:
    """Phase misfit over all lags, sum_j w_j |P_j| r_j^2, with r_j the residual phase of lag j."""
    misfit = torch.zeros_like(field_hz)
    for lag, product, share in weighted_parts(products, rate_per_s):
        residual_rad = torch.angle(demodulate(product, field_hz, lag.time_s))
        misfit += share * product.abs() * residual_rad.square()
    return misfit


def _excess_misfit(
    products: LagProducts, field_hz: Tensor, rate_per_s: Tensor, noise_sd: float
) -> Tensor:
    """Misfit of phase and magnitude in noise variances, beyond that of noise and tissue (U)."""
    times_s, table = products.echo_times_s, lag_noise(products.echo_times_s)
    squared = _noise_over_signal(products, rate_per_s, noise_sd)
    expected = at_rate(table.misfit, rate_per_s, times_s)
    expected += squared * at_rate(table.misfit_of_square, rate_per_s, times_s)
    freedom = len(times_s) - 2
    phase = lag_misfit(products, field_hz, rate_per_s) / noise_sd**2 * freedom / expected
    magnitude = _magnitude_misfit(products, rate_per_s, noise_sd) / noise_sd**2
    variance = 2 / at_rate(table.freedom, rate_per_s, times_s) + 2 / freedom
    noise = freedom * (2 + SIGNIFICANT * variance.sqrt())
    tissue = products.echo_power.sum(0) * (TOLERATED / noise_sd) ** 2
    return (phase + magnitude - noise - tissue).clamp_min(0.0)


def _magnitude_misfit(products: LagProducts, rate_per_s: Tensor, noise_sd: float) -> Tensor:
    """Magnitude misfit to exponential decay, sum_e (E_e - A_e^2)^2 / 4 (A_e^2 + n s^2).

    Its mean is s^2 (echoes - 2) where the signal decays exponentially.
    """
    times_s, noise_power = products.echo_times_s, products.n_channels * noise_sd**2
    first_power = noise_power / _noise_over_signal(products, rate_per_s, noise_sd)
    misfit = torch.zeros_like(rate_per_s)
    for echo_time_s, power in zip(times_s, products.echo_power, strict=True):
        expected = first_power * torch.exp(-2 * (echo_time_s - times_s[0]) * rate_per_s)
        excess = power - 2 * noise_power - expected
        misfit += excess.square() / (4 * (expected + noise_power))
    return misfit


def _noise_over_signal(products: LagProducts, rate_per_s: Tensor, noise_sd: float) -> Tensor:
    """Inverse signal-to-noise ratio, n noise_sd^2 / A^2, with A^2 the first echo's signal power."""
    noise_power = products.n_channels * noise_sd**2
    times_s = products.echo_times_s
    whole = at_rate(lag_noise(times_s).power, rate_per_s, times_s)
    signal = (products.echo_power.sum(0) - 2 * len(times_s) * noise_power) / whole
    # At most 1, beyond which the expansion in this ratio does not hold.
    return noise_power / signal.clamp_min(noise_power)
