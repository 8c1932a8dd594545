"""Readouts of alternating direction: the phase they leave, found in the sums and taken out."""

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
"""Root mean square over the mask below which a readout phase is left alone."""

LEAST_SIGNIFICANCE = 5.0
LEAST_POWER = 0.05
MOST_VOXELS = 300_000
N_REFITS = 5
N_GUESSES = 3
OUTLIER = 4.7
"""Robust standard deviations at which a voxel no longer counts (Tukey's biweight)."""

BLOCK_VOXELS = 8
"""Edge of the blocks whose scatter gives the standard errors; inside one, errors may be alike."""


@dataclass(frozen=True)
class ReadoutPhase:
    """Phase g that readouts of alternating direction add: -g to echoes 0, 2, ..., +g to 1, 3, ...

    g = offset_rad + sum over axes of slope_rad_per_voxel (index - size // 2).

    Attributes:
        offset_rad: in the middle of the volume.
        slope_rad_per_voxel: along x, y and z; zero along axes that were not fitted.
        offset_sd_rad, slope_sd_rad_per_voxel: standard errors.
        detected: whether g stands out of its error and is large enough to matter.
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
    """Find the phase that alternating readouts add, if there is one.

    Pairs that go from an even to an odd echo are turned by +2 g, those from an odd to an even
    one by -2 g, so that the phases of their sums differ by 4 g. The slopes of g come first, from
    products of neighbouring voxels, then its offset, and both from a robust fit to the rest.
    Valid for slopes below pi / 4 a voxel; the offset is known up to pi / 2 and taken between
    +-pi / 4. Where no lag has both kinds of pair, because the train is uneven, the two lags that
    are most alike are compared, and what the field (within +-1 / (2 dTE)) adds to one more than
    to the other is allowed for.

    Args:
        products: sums over all channels; of two echoes, which cannot tell, nothing is found.
        mask: bool (x, y, z), the voxels to use; by default those of some signal.
        axes: along which g may change; (0,) is the readout alone.

    Returns:
        The phase with its standard errors, and whether it is detected: beyond five of them, and
        0.02 rad root mean square over the mask.

    Source: Li et al. 2015, Magn Reson Mater Phys 28:347, doi 10.1007/s10334-014-0470-3 (g is
    linear in space); the estimate from sums over channels is our own.
    """
    even_to_odd, odd_to_even = _compared(products.echo_times_s)
    if not even_to_odd:
        return UNKNOWN
    inside = _bright(products) if mask is None else mask
    voxels = inside.nonzero()
    voxels = voxels[:: max(1, len(voxels) // MOST_VOXELS)]
    if len(voxels) <= len(axes):
        return UNKNOWN
    found = UNKNOWN
    for _ in range(1 if even_to_odd[0].time_s == odd_to_even[0].time_s else N_GUESSES):
        turned = _turned_by_four(products, even_to_odd, odd_to_even, found)
        found = _plane(turned * inside, voxels, axes)
    return found


def without_readout_phase(products: LagProducts, phase: ReadoutPhase) -> LagProducts:
    """Turn each sum back by what alternating readouts added: as if all had one direction.

    P = (P - F) exp(-2 i g) + F exp(+2 i g), with F the share of the pairs that fall from an odd
    to an even echo. Channels need not be summed again.

    Args:
        products: sums over all channels, over the volume that ``phase`` was found in.
        phase: from ``readout_phase``.

    Returns:
        New sums; ``products`` itself where no readout phase was detected.
    """
    if not phase.detected:
        return products
    twice = 2 * phase.phase_rad(products.echo_power[0])
    back = torch.polar(torch.ones_like(twice), -twice)
    turned, odd_to_even = products.products.clone(), products.odd_to_even.clone()
    shares = iter(odd_to_even)
    for lag, product in zip(lags_of(products.echo_times_s), turned, strict=True):
        if lag.alternates:
            share = next(shares)
            product -= share
            share *= back.conj()
            product *= back
            product += share
        elif lag.turn:
            product *= back if lag.turn > 0 else back.conj()
    return replace(products, products=turned, odd_to_even=odd_to_even)


def _compared(echo_times_s: tuple[float, ...]) -> tuple[list[Lag], list[Lag]]:
    """Lags of even-to-odd and of odd-to-even pairs to be compared; none of two echoes."""
    both = [lag for lag in lags_of(echo_times_s) if lag.alternates]
    if both:
        return [lag.starting_at(0) for lag in both], [lag.starting_at(1) for lag in both]
    even_to_odd = [lag for lag in lags_of(echo_times_s) if lag.turn > 0]
    odd_to_even = [lag for lag in lags_of(echo_times_s) if lag.turn < 0]
    return (even_to_odd[:1], odd_to_even[:1]) if odd_to_even else ([], [])


def _turned_by_four(
    products: LagProducts, even_to_odd: list[Lag], odd_to_even: list[Lag], guess: ReadoutPhase
) -> Tensor:
    """Complex (x, y, z) of phase 4 g and about the power of the signal.

    arg R - arg F = w (t_R - t_F) + 4 g, and arg R + arg F = w (t_R + t_F) up to turns, which the
    shortest lag, freed from the guess of g, tells.
    """
    total = torch.zeros_like(products.products[0])
    sums = dict(products.parts())
    for up, down in zip(even_to_odd, odd_to_even, strict=True):
        turned = sums[up] * sums[down].conj()
        turned /= turned.abs().sqrt().clamp_min(torch.finfo(turned.real.dtype).tiny)
        unlike_s, both_s = up.time_s - down.time_s, up.time_s + down.time_s
        if unlike_s:
            shortest, product = next(iter(sums.items()))
            g = guess.phase_rad(product.real)
            rate = (product.angle() - 2 * shortest.turn * g) / shortest.time_s
            swept = (sums[up] * sums[down]).angle()
            swept += math.tau * ((rate * both_s - swept) / math.tau).round()
            turned = turned * torch.polar(torch.ones_like(g), swept * (-unlike_s / both_s))
        total += turned
    return total


def _plane(turned: Tensor, voxels: Tensor, axes: Sequence[int]) -> ReadoutPhase:
    """Fit 4 g to the phase of ``turned`` (zero outside) at some voxels (n, 3)."""
    design = torch.ones(len(voxels), 1 + len(axes), dtype=torch.float64, device=voxels.device)
    start = torch.zeros(1 + len(axes), dtype=torch.float64, device=voxels.device)
    for column, axis in enumerate(axes, start=1):
        design[:, column] = voxels[:, axis] - turned.shape[axis] // 2
        start[column] = _slope(turned, axis)
    values = turned[tuple(voxels.T)].to(torch.complex128)
    fit, covariance = _robust_plane(values, design, start, _block_of(voxels))
    return _judged(fit / 4, covariance / 16, design, axes)


def _bright(products: LagProducts) -> Tensor:
    """Voxels whose power is not small beside that of the object."""
    power = products.echo_power.sum(0)
    some = power.flatten()[:: max(1, power.numel() // MOST_VOXELS)]
    return power > LEAST_POWER * some.quantile(0.95)


def _slope(turned: Tensor, axis: int) -> float:
    """Median phase step from voxel to voxel along ``axis``, of the voxels that are not zero."""
    size = turned.shape[axis]
    steps = (
        turned.narrow(axis, 1, max(size - 1, 0)) * turned.narrow(axis, 0, max(size - 1, 0)).conj()
    )
    steps = steps[steps != 0]
    if not len(steps):
        return 0.0
    mean = (steps / steps.abs()).sum().angle()
    rest = steps * torch.polar(torch.ones_like(mean), -mean)
    return float(mean + rest.angle().median())


def _block_of(voxels: Tensor) -> Tensor:
    """Number of the block that each voxel (n, 3) lies in, from zero."""
    x, y, z = (voxels // BLOCK_VOXELS).unbind(1)
    place = (x * (y.max() + 1) + y) * (z.max() + 1) + z
    blocks: Tensor = torch.unique(place, return_inverse=True)[1]
    return blocks


def _robust_plane(
    values: Tensor, design: Tensor, start: Tensor, block: Tensor
) -> tuple[Tensor, Tensor]:
    """Coefficients whose phase ``design @ fit`` fits complex ``values``, and their covariance.

    Weighted least squares on the remaining phase, with weights that leave outliers out; the
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


def _judged(fit: Tensor, covariance: Tensor, design: Tensor, axes: Sequence[int]) -> ReadoutPhase:
    """The record of a fit, with the decision whether it is a readout phase."""
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
