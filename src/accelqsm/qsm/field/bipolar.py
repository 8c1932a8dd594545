"""Bipolar readouts: estimate and remove the phase that alternates between odd and even echoes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.field.lags import LagProducts
from accelqsm.qsm.field.pairs import Lag, lags_of

LEAST_PHASE_RAD = 0.02
"""Root mean square over the mask below which a readout phase is not corrected."""

LEAST_SIGNIFICANCE = 5.0
LEAST_POWER = 0.05
MOST_VOXELS = 300_000
N_REFITS = 5
N_GUESSES = 3
OUTLIER = 4.7
"""Residual in robust standard deviations from which a voxel has zero weight (Tukey's biweight)."""

BLOCK_VOXELS = 8
"""Edge of the blocks of the cluster-robust standard errors; errors may correlate inside a block."""


@dataclass(frozen=True)
class ReadoutPhase:
    """Phase g of bipolar readouts: -g in echoes 0, 2, ..., +g in echoes 1, 3, ...

    g = offset_rad + sum over axes of slope_rad_per_voxel (index - size // 2).

    Attributes:
        offset_rad: in the middle of the volume.
        slope_rad_per_voxel: along x, y and z; zero along axes that were not fitted.
        offset_sd_rad, slope_sd_rad_per_voxel: standard errors.
        detected: whether g is significant and large enough to be corrected.
    """

    offset_rad: float
    slope_rad_per_voxel: Triple
    offset_sd_rad: float
    slope_sd_rad_per_voxel: Triple
    detected: bool

    def phase_rad(self, like: Tensor) -> Tensor:
        """g of every voxel, (x, y, z) of the size, type and device of ``like``."""
        phase = torch.full_like(like, self.offset_rad)
        for axis, slope in enumerate(self.slope_rad_per_voxel):
            index = torch.arange(like.shape[axis], dtype=like.dtype, device=like.device)
            across = [-1 if a == axis else 1 for a in range(3)]
            phase += slope * (index - like.shape[axis] // 2).view(across)
        return phase


UNKNOWN = ReadoutPhase(0.0, (0.0, 0.0, 0.0), math.inf, (math.inf, math.inf, math.inf), False)


def readout_phase(
    products: LagProducts, mask: Tensor | None = None, *, axes: Sequence[int] = (0, 1, 2)
) -> ReadoutPhase:
    """Estimate the phase that bipolar readouts add to even and odd echoes.

    Even-to-odd pairs have the additional phase +2 g, odd-to-even pairs -2 g, so that the phases of
    their sums differ by 4 g. First estimates of the slopes of g come from products of neighbouring
    voxels, then that of its offset; a robust fit to the residual phase refines both.
    Valid for slopes below pi / 4 a voxel; the offset is known modulo pi / 2 and taken between
    +-pi / 4. Where no lag has both kinds of pair, because echoes are unevenly spaced, the two most
    similar lags are compared, and the phase of the field (within +-1 / (2 dTE)) in the difference
    of the two lags is subtracted.

    Args:
        products: sums over all channels; with two echoes g cannot be separated from the field, and
        none is detected.
        mask: bool (x, y, z), the voxels to use; by default those above 5 % of the signal power.
        axes: axes along which g may vary; (0,) is the readout alone.

    Returns:
        The phase with its standard errors, and whether it is detected: beyond five standard errors,
        and more than 0.02 rad root mean square over the mask.

    Source: Li et al. 2015, Magn Reson Mater Phys 28:347, doi 10.1007/s10334-014-0470-3 (g is
    linear in space); the estimate from sums over channels is our own.
    """
    even_to_odd, odd_to_even = _lags_to_compare(products.echo_times_s)
    if not even_to_odd:
        return UNKNOWN
    inside = _bright(products) if mask is None else mask
    voxels = inside.nonzero()
    voxels = voxels[:: max(1, len(voxels) // MOST_VOXELS)]
    if len(voxels) <= len(axes):
        return UNKNOWN
    found = UNKNOWN
    for _ in range(1 if even_to_odd[0].time_s == odd_to_even[0].time_s else N_GUESSES):
        phasor = _phasor_of_four_g(products, even_to_odd, odd_to_even, found)
        found = _fit_plane(phasor * inside, voxels, axes)
    return found


def remove_readout_phase(products: LagProducts, phase: ReadoutPhase) -> LagProducts:
    """Remove the phase of bipolar readouts from the sums, as if all readouts had one direction.

    P <- (P - F) exp(-2 i g) + F exp(+2 i g), with F the sum of the odd-to-even pairs. Channels
    need not be summed again.

    Args:
        products: sums over all channels, over the volume that ``phase`` was estimated in.
        phase: from ``readout_phase``.

    Returns:
        New sums; ``products`` itself where no readout phase was detected.
    """
    if not phase.detected:
        return products
    twice = 2 * phase.phase_rad(products.echo_power[0])
    correction = torch.polar(torch.ones_like(twice), -twice)
    corrected, odd_to_even = products.products.clone(), products.odd_to_even.clone()
    odd_to_even_parts = iter(odd_to_even)
    for lag, product in zip(lags_of(products.echo_times_s), corrected, strict=True):
        if lag.alternates:
            part = next(odd_to_even_parts)
            product -= part
            part *= correction.conj()
            product *= correction
            product += part
        elif lag.turn:
            product *= correction if lag.turn > 0 else correction.conj()
    return replace(products, products=corrected, odd_to_even=odd_to_even)


def _lags_to_compare(echo_times_s: tuple[float, ...]) -> tuple[list[Lag], list[Lag]]:
    """Lags of even-to-odd and of odd-to-even pairs to be compared; empty for two echoes."""
    both = [lag for lag in lags_of(echo_times_s) if lag.alternates]
    if both:
        return [lag.starting_at(0) for lag in both], [lag.starting_at(1) for lag in both]
    even_to_odd = [lag for lag in lags_of(echo_times_s) if lag.turn > 0]
    odd_to_even = [lag for lag in lags_of(echo_times_s) if lag.turn < 0]
    return (even_to_odd[:1], odd_to_even[:1]) if odd_to_even else ([], [])


def _phasor_of_four_g(
    products: LagProducts, even_to_odd: list[Lag], odd_to_even: list[Lag], guess: ReadoutPhase
) -> Tensor:
    """Complex (x, y, z) of phase 4 g and about the power of the signal.

    With R the sum of even-to-odd and F that of odd-to-even pairs, arg R - arg F =
    w (t_R - t_F) + 4 g, and arg R + arg F = w (t_R + t_F) modulo 2 pi, which is unwrapped with
    the phase of the shortest lag, corrected by the guess of g.
    """
    total = torch.zeros_like(products.products[0])
    sums = dict(products.parts())
    for from_even, from_odd in zip(even_to_odd, odd_to_even, strict=True):
        phasor = sums[from_even] * sums[from_odd].conj()
        phasor /= phasor.abs().sqrt().clamp_min(torch.finfo(phasor.real.dtype).tiny)
        difference_s = from_even.time_s - from_odd.time_s
        sum_s = from_even.time_s + from_odd.time_s
        if difference_s:
            shortest, product = next(iter(sums.items()))
            g = guess.phase_rad(product.real)
            rate = (product.angle() - 2 * shortest.turn * g) / shortest.time_s
            field_phase = (sums[from_even] * sums[from_odd]).angle()
            field_phase += math.tau * ((rate * sum_s - field_phase) / math.tau).round()
            phasor = phasor * torch.polar(torch.ones_like(g), field_phase * (-difference_s / sum_s))
        total += phasor
    return total


def _fit_plane(phasor: Tensor, voxels: Tensor, axes: Sequence[int]) -> ReadoutPhase:
    """Fit 4 g to the angle of ``phasor`` (zero outside the mask) at some voxels (n, 3)."""
    design = torch.ones(len(voxels), 1 + len(axes), dtype=torch.float64, device=voxels.device)
    start = torch.zeros(1 + len(axes), dtype=torch.float64, device=voxels.device)
    for column, axis in enumerate(axes, start=1):
        design[:, column] = voxels[:, axis] - phasor.shape[axis] // 2
        start[column] = _slope(phasor, axis)
    values = phasor[tuple(voxels.T)].to(torch.complex128)
    if not values.abs().median() > 0:
        return UNKNOWN  # an echo without signal in most of the voxels
    fit, covariance = _robust_plane(values, design, start, _block_of(voxels))
    return _readout_phase_of(fit / 4, covariance / 16, design, axes)


def _bright(products: LagProducts) -> Tensor:
    """Voxels above 5 % of the 95th percentile of the signal power."""
    power = products.echo_power.sum(0)
    some = power.flatten()[:: max(1, power.numel() // MOST_VOXELS)]
    return power > LEAST_POWER * some.quantile(0.95)


def _slope(phasor: Tensor, axis: int) -> float:
    """Median phase step between neighbouring voxels along ``axis``, over non-zero voxels."""
    size = phasor.shape[axis]
    steps = (
        phasor.narrow(axis, 1, max(size - 1, 0)) * phasor.narrow(axis, 0, max(size - 1, 0)).conj()
    )
    steps = steps[steps != 0]
    if not len(steps):
        return 0.0
    mean = (steps / steps.abs()).sum().angle()
    rest = steps * torch.polar(torch.ones_like(mean), -mean)
    return float(mean + rest.angle().median())


def _block_of(voxels: Tensor) -> Tensor:
    """Index of the block that each voxel (n, 3) lies in, from zero."""
    x, y, z = (voxels // BLOCK_VOXELS).unbind(1)
    place = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    blocks: Tensor = torch.unique(place, return_inverse=True)[1]
    return blocks


def _robust_plane(
    values: Tensor, design: Tensor, start: Tensor, block: Tensor
) -> tuple[Tensor, Tensor]:
    """Robust fit of the phase ``design @ fit`` to complex ``values``, and its covariance.

    Iteratively reweighted least squares on the residual phase with Tukey's biweight; the
    covariance is that of the sums of the score over blocks (Liang and Zeger 1986, Biometrika
    73:13, doi 10.1093/biomet/73.1.13).
    """
    power = values.abs()
    power = power.clamp_max(2 * power.median())
    fit = start.clone()
    fit[0] = (values * torch.exp(-1j * (design @ fit))).sum().angle()
    for _ in range(N_REFITS):
        residual = (values * torch.exp(-1j * (design @ fit))).angle()
        width = OUTLIER * 1.4826 * residual.abs().median().clamp_min(1e-9)
        rest = (1 - (residual / width).square()).clamp_min(0.0)
        weight = power * rest.square()
        score = weight[:, None] * residual[:, None] * design
        fit += torch.linalg.solve(design.T @ (weight[:, None] * design), score.sum(0))
    slope = power * rest * (5 * rest - 4)
    inverse = torch.linalg.inv(design.T @ (slope[:, None] * design))
    sums = torch.zeros(int(block.max()) + 1, len(fit), dtype=fit.dtype, device=fit.device)
    sums.index_add_(0, block, score)
    few = len(sums) / max(len(sums) - len(fit), 1)
    return fit, few * inverse @ (sums.T @ sums) @ inverse


def _readout_phase_of(
    fit: Tensor, covariance: Tensor, design: Tensor, axes: Sequence[int]
) -> ReadoutPhase:
    """The record of a fit, with the decision whether a readout phase is detected."""
    errors = covariance.diagonal().sqrt()
    significant = bool((fit.abs() > LEAST_SIGNIFICANCE * errors).any())
    large = float((design @ fit).square().mean().sqrt()) > LEAST_PHASE_RAD
    slopes, slope_sds = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    for column, axis in enumerate(axes, start=1):
        slopes[axis], slope_sds[axis] = float(fit[column]), float(errors[column])
    return ReadoutPhase(
        offset_rad=float(fit[0]),
        slope_rad_per_voxel=(slopes[0], slopes[1], slopes[2]),
        offset_sd_rad=float(errors[0]),
        slope_sd_rad_per_voxel=(slope_sds[0], slope_sds[1], slope_sds[2]),
        detected=significant and large,
    )
