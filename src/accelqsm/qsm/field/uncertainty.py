"""How far the field may be wrong: noise, and what echoes disagree on beyond it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.qsm.field.lagnoise import lag_noise
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.relaxation import at_rate, r2star_per_s, turned_back, weighed_parts

SIGNIFICANT = 3.0
"""Standard deviations of the misfit of pure noise beyond which a voxel is doubted."""

TOLERATED = 0.05
"""Departure from a line and an exponential, relative to the signal, that tissue may have."""


def field_sd_hz(products: LagProducts, *, noise_sd: float | None = None) -> Tensor:
    """Cramer-Rao bound of the field for a free phase offset.

    sd = noise_sd / (2 pi sqrt(sum_e A_e^2 (TE_e - TE')^2)), with TE' the mean of TE weighted by
    A_e^2, the signal power of echo e summed over channels.

    Args:
        products: sums over all channels.
        noise_sd: standard deviation of the noise in the real part of a channel image; without
            it the result is known up to one factor for the whole volume.

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
        # Not clamped: noise that stays on both sides of zero leaves no bias in the sum.
        signal = power - noise_power
        for order, moment in enumerate(moments):
            moment += signal * (echo_time_s - middle_s) ** order
    whole, first, second = moments.unbind()
    spread_s2 = second - first.square() / whole.clamp_min(torch.finfo(whole.dtype).tiny)
    return sigma / (2 * math.pi * spread_s2.clamp_min(0.0).sqrt())


def field_uncertainty_hz(
    products: LagProducts, field_hz: Tensor, rate_per_s: Tensor, *, noise_sd: float
) -> Tensor:
    """Standard deviation of the field: noise, and a model that does not fit the echoes.

    sd^2 = bound^2 (1 + n noise_sd^2 / A^2 excess + U), with ``field_sd_hz`` for the bound and
    ``LagNoise.excess`` for n channels whose sensitivities are not known. U is the misfit of the
    echoes to one line in phase and one exponential in magnitude, in units of the noise variance,
    beyond what noise (``SIGNIFICANT``) and tissue (``TOLERATED``) do: as much of the
    misfit is taken to look like field as does not. Flow and partial volume beside air raise it.

    Args:
        products: sums over all channels.
        field_hz: (x, y, z) in Hz, ``multilag_field``.
        rate_per_s: (x, y, z) in 1/s, ``r2star_per_s`` (not read for a single echo).
        noise_sd: standard deviation of the noise in the real part of a channel image.

    Returns:
        (x, y, z) in Hz; infinite where there is no signal. Two echoes fit always: U is 0.

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
        factor += _unexplained(products, field_hz, rate_per_s, noise_sd)
    return bound_hz * factor.sqrt()


def noise_sd(products: LagProducts, field_hz: Tensor, mask: Tensor) -> float:
    """Noise of a channel image from what the lags of a voxel disagree on, where no scan tells it.

    The misfit of ``field_uncertainty_hz`` over what unit noise would leave is a variance; its
    median in the mask, over the median of a chi^2 of as many degrees of freedom, is that of the
    noise. It needs no background, which scanners may have set to zero, and no smooth magnitude.
    Where most voxels have a phase that is not linear in TE it is too large.

    Args:
        products: sums over all channels, of three echoes or more.
        field_hz: (x, y, z) in Hz, ``multilag_field``.
        mask: bool (x, y, z), the voxels to ask.

    Returns:
        Standard deviation of the noise in the real part of a channel image.

    Raises:
        InputError: fewer than three echoes, or an empty mask.

    Source: our own; chi^2 of as many degrees after Satterthwaite 1946, Biometrics Bull 2:110,
    doi 10.2307/3002019.
    """
    times_s, table = products.echo_times_s, lag_noise(products.echo_times_s)
    if len(times_s) < 3:
        raise InputError(f"echo times: expected three or more to tell noise, found {len(times_s)}")
    if not bool(mask.any()):
        raise InputError("mask: expected some voxels, found none")
    rate_per_s = r2star_per_s(products, field_hz)
    misfit = lag_misfit(products, field_hz, rate_per_s)
    misfit /= at_rate(table.median, rate_per_s, times_s)
    expected = at_rate(table.misfit, rate_per_s, times_s)
    # Products of noise with noise raise the misfit about as much as noise raises the power.
    power = products.echo_power.sum(0).clamp_min(torch.finfo(misfit.dtype).tiny)
    expected += 2 * len(times_s) * products.n_channels * misfit / power
    return float((misfit / expected)[mask].median().sqrt())


def lag_misfit(products: LagProducts, field_hz: Tensor, rate_per_s: Tensor) -> Tensor:
    """sum_j w_j |P_j| r_j^2, with r_j the phase that the field leaves of lag j."""
    misfit = torch.zeros_like(field_hz)
    for lag, product, share in weighed_parts(products, rate_per_s):
        residual_rad = torch.angle(turned_back(product, field_hz, lag.time_s))
        misfit += share * product.abs() * residual_rad.square()
    return misfit


def _unexplained(
    products: LagProducts, field_hz: Tensor, rate_per_s: Tensor, noise_sd: float
) -> Tensor:
    """Misfit of phase and magnitude over the noise variance, less what noise and tissue explain."""
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
    """sum_e (E_e - A_e^2)^2 / 4 (A_e^2 + n s^2), of mean s^2 (echoes - 2) where A_e decays."""
    times_s, noise_power = products.echo_times_s, products.n_channels * noise_sd**2
    first_power = noise_power / _noise_over_signal(products, rate_per_s, noise_sd)
    misfit = torch.zeros_like(rate_per_s)
    for echo_time_s, power in zip(times_s, products.echo_power, strict=True):
        expected = first_power * torch.exp(-2 * (echo_time_s - times_s[0]) * rate_per_s)
        excess = power - 2 * noise_power - expected
        misfit += excess.square() / (4 * (expected + noise_power))
    return misfit


def _noise_over_signal(products: LagProducts, rate_per_s: Tensor, noise_sd: float) -> Tensor:
    """n noise_sd^2 / A^2, with A^2 the signal power of the first echo in all n channels."""
    noise_power = products.n_channels * noise_sd**2
    times_s = products.echo_times_s
    whole = at_rate(lag_noise(times_s).power, rate_per_s, times_s)
    signal = (products.echo_power.sum(0) - 2 * len(times_s) * noise_power) / whole
    # Never more noise than signal: the expansion in their ratio ends there.
    return noise_power / signal.clamp_min(noise_power)
