"""Field map by multi-dimensional integration: channels and echoes meet in a few sums per voxel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.acquisition import check_echo_times
from accelqsm.errors import InputError

SAME_LAG = 0.01
"""Echo-time differences closer than this share of the smallest one are the same lag."""

LARGEST_RESIDUAL_CYCLES = 0.25
Pair = tuple[int, int]


@dataclass(frozen=True)
class LagProducts:
    """Sums over channels and echo pairs from which field, R2* and magnitude follow.

    The phase of a channel is the same in all its echoes, so it cancels in conj(S_e) S_e'. All
    sums are additive over channels, and any part of the volume can be summed by itself.

    Attributes:
        echo_times_s: echo times in seconds.
        lags_s: distinct echo-time differences in seconds, increasing.
        products: complex (lag, x, y, z), sum over channels and pairs of conj(S_e) S_e'.
        echo_power: (echo, x, y, z), sum over channels of |S|^2.
        n_channels: how many channels were summed.
    """

    echo_times_s: tuple[float, ...]
    lags_s: tuple[float, ...]
    products: Tensor
    echo_power: Tensor
    n_channels: int

    def __add__(self, other: LagProducts) -> LagProducts:
        """The sums over the channels of both."""
        if self.echo_times_s != other.echo_times_s:
            raise InputError(
                f"echo times: expected {self.echo_times_s} in both sums, found {other.echo_times_s}"
            )
        return replace(
            self,
            products=self.products + other.products,
            echo_power=self.echo_power + other.echo_power,
            n_channels=self.n_channels + other.n_channels,
        )

    def readout(self, x: slice) -> LagProducts:
        """A view of some readout positions; what is added to it in place is added to the whole."""
        return replace(self, products=self.products[:, x], echo_power=self.echo_power[:, x])

    @property
    def spacing_s(self) -> float:
        """The smallest echo-time difference, whose inverse is the frequency that wraps."""
        return self.lags_s[0]

    @property
    def energy(self) -> Tensor:
        """Sum over channels and all echoes but the last of |S|^2, (x, y, z)."""
        return self.echo_power[:-1].sum(0)

    @property
    def magnitude(self) -> Tensor:
        """Root of the sum of squares over channels, of each echo, (echo, x, y, z)."""
        return self.echo_power.sqrt()


def lag_products(
    images: Tensor, *, echo_times_s: tuple[float, ...], onto: LagProducts | None = None
) -> LagProducts:
    """Sum conj(S_ce) S_ce' over channels c and the echo pairs of each lag TE_e' - TE_e.

    A single echo of one (combined) channel is compared with its own magnitude at time zero: the
    lag is then TE, and a phase offset at excitation is taken for field.

    Args:
        images: complex (channel, echo, x, y, z).
        echo_times_s: increasing echo times in seconds, evenly spaced or not.
        onto: sums over other channels; these are added to in place, and must not be used again.

    Returns:
        The sums over these channels and those of ``onto``.

    Raises:
        InputError: shapes that do not fit, or a single echo of several channels, whose phases
            cannot be told from the field.

    Source: Ye et al. 2019, Proc ISMRM 27:4392 (multi-dimensional integration).
    """
    check_echo_times(echo_times_s)
    if images.ndim != 5 or images.shape[1] != len(echo_times_s) or not images.is_complex():
        raise InputError(
            f"channel images: expected complex (channel, {len(echo_times_s)} echoes, x, y, z), "
            f"found {images.dtype} {tuple(images.shape)}"
        )
    lags = _pairs_of_each_lag(echo_times_s)
    if onto is None:
        onto = no_channels(images[0], echo_times_s=echo_times_s)
    total = replace(onto, n_channels=onto.n_channels + images.shape[0])
    if not lags and total.n_channels > 1:
        raise InputError("echo times: expected two or more for several channels, found one")
    if total.products.shape[1:] != images.shape[2:] or total.echo_times_s != echo_times_s:
        raise InputError(
            f"channel images: expected the grid {tuple(total.products.shape[1:])} and echo times "
            f"of the other channels, found {tuple(images.shape[2:])}"
        )
    for channel in images:
        _add_channel(total, channel, lags)
    return total


def no_channels(volume: Tensor, *, echo_times_s: tuple[float, ...]) -> LagProducts:
    """Sums over no channel yet, to add the parts of a volume to.

    Args:
        volume: complex (..., x, y, z), of which only sizes, type and device are used.
        echo_times_s: increasing echo times in seconds; a single echo has the lag from time zero.

    Returns:
        Zeros.
    """
    lags_s = tuple(_pairs_of_each_lag(echo_times_s)) or echo_times_s
    shape = volume.shape[-3:]
    return LagProducts(
        echo_times_s=echo_times_s,
        lags_s=lags_s,
        products=volume.new_zeros(len(lags_s), *shape),
        echo_power=volume.real.new_zeros(len(echo_times_s), *shape),
        n_channels=0,
    )


def lag1_phase_rad(products: LagProducts) -> Tensor:
    """Phase that the field adds in the smallest lag, arg P_1, in (-pi, pi], (x, y, z)."""
    return torch.angle(products.products[0])


def lag1_field(products: LagProducts) -> Tensor:
    """The published estimate, f = arg(P_1) / (2 pi dTE), wrapped to +-1 / (2 dTE).

    Args:
        products: sums over all channels.

    Returns:
        (x, y, z) in Hz, wrapped.

    Source: Ye et al. 2019, Proc ISMRM 27:4392.
    """
    return lag1_phase_rad(products) / (2 * math.pi * products.spacing_s)


def multilag_field(products: LagProducts, unwrapped_lag1_hz: Tensor) -> Tensor:
    """Refine the field with the longer lags, f = sum w_j f_j / sum w_j, w_j = (t_j |P_j|)^2.

    f_j is the frequency of lag t_j on the branch nearest to the mean of the shorter lags; a lag
    further than a quarter cycle from it is left out. The pairs of an echo train give the least
    squares line through its phases when pair (e, e') weighs (A_e A_e' t)^2, hence the square.

    Args:
        products: sums over all channels.
        unwrapped_lag1_hz: (x, y, z) in Hz, ``lag1_field`` after unwrapping.

    Returns:
        (x, y, z) in Hz.
    """
    field_hz = unwrapped_lag1_hz.clone()
    smallest = torch.finfo(field_hz.dtype).tiny
    # Squares of raw signal units leave the range of float32.
    largest = products.products[0].abs().max().clamp_min(smallest)
    weight_so_far = (products.products[0].abs() / largest * products.spacing_s) ** 2
    for lag_s, product in zip(products.lags_s[1:], products.products[1:], strict=True):
        residual_cycles = torch.angle(product) / (2 * math.pi) - field_hz * lag_s
        residual_cycles -= residual_cycles.round()
        weight = (product.abs() / largest * lag_s) ** 2
        weight *= residual_cycles.abs() < LARGEST_RESIDUAL_CYCLES
        weight_so_far += weight
        share = weight / weight_so_far.clamp_min(smallest)
        field_hz += share * residual_cycles / lag_s
    return field_hz


def r2star_per_s(products: LagProducts, *, noise_sd: float = 0.0) -> Tensor:
    """Decay rate of the magnitude, R2* = -ln(|P_j| / E_j) / t_j, averaged with w_j = t_j^2 |P_j|.

    E_j is the power of the earlier echo of each pair of lag t_j. Noise adds 2 noise_sd^2 to it
    per channel and pair, which is subtracted; otherwise R2* is too large.

    Args:
        products: sums over all channels, of two echoes or more.
        noise_sd: standard deviation of the noise in the real part of a channel image (0: unknown).

    Returns:
        (x, y, z) in 1/s, not negative; zero where there is no signal.

    Raises:
        InputError: a single echo, which has no decay.

    Source: Ye et al. 2019, Proc ISMRM 27:4392.
    """
    lags = _pairs_of_each_lag(products.echo_times_s)
    if not lags:
        raise InputError("echo times: expected two or more for R2*, found one")
    rate = torch.zeros_like(products.echo_power[0])
    weights = torch.zeros_like(rate)
    smallest = torch.finfo(rate.dtype).tiny
    for (lag_s, pairs), product in zip(lags.items(), products.products, strict=True):
        power = products.echo_power[[first for first, _ in pairs]].sum(0)
        power -= 2 * noise_sd**2 * products.n_channels * len(pairs)
        usable = (power > smallest) & (product.abs() > smallest)
        decay = -torch.log(product.abs() / power.clamp_min(smallest)) / lag_s
        weight = product.abs() * lag_s**2 * usable
        rate += torch.where(usable, decay * weight, torch.zeros_like(decay))
        weights += weight
    return (rate / weights.clamp_min(smallest)).clamp_min(0.0)


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
    spread_s2 = torch.zeros_like(products.echo_power[0])
    if len(products.echo_times_s) == 1:
        spread_s2 += (products.echo_power[0] - noise_power).clamp_min(0.0) * products.spacing_s**2
        return sigma / (2 * math.pi * spread_s2.sqrt())
    total_power, mean_s = torch.zeros_like(spread_s2), torch.zeros_like(spread_s2)
    for echo_time_s, power in zip(products.echo_times_s, products.echo_power, strict=True):
        signal = (power - noise_power).clamp_min(0.0)
        total_power += signal
        share = signal / total_power.clamp_min(torch.finfo(signal.dtype).tiny)
        distance_s = echo_time_s - mean_s
        mean_s += share * distance_s
        spread_s2 += signal * (1 - share) * distance_s**2
    return sigma / (2 * math.pi * spread_s2.sqrt())


def phase_coherence(products: LagProducts) -> Tensor:
    """How well channels and echoes agree on the field, |P_1| / sqrt(E_1 E_1').

    E_1 and E_1' are the power of the earlier and the later echo of each pair of the smallest
    lag, so that 1 is perfect agreement; noise of n channel pairs gives about 1 / sqrt(n).

    Args:
        products: sums over all channels.

    Returns:
        (x, y, z) in 0 to 1; zero where there is no signal.
    """
    lags = _pairs_of_each_lag(products.echo_times_s)
    pairs = lags.get(products.spacing_s, [(0, 0)])
    earlier = products.echo_power[[first for first, _ in pairs]].sum(0)
    later = products.echo_power[[second for _, second in pairs]].sum(0)
    bound = (earlier * later).sqrt().clamp_min(torch.finfo(earlier.dtype).tiny)
    return (products.products[0].abs() / bound).clamp_max(1.0)


def _pairs_of_each_lag(echo_times_s: tuple[float, ...]) -> dict[float, list[Pair]]:
    """Echo pairs by their time difference in seconds, smallest first; empty for one echo."""
    n_echoes = len(echo_times_s)
    pairs = [(first, second) for second in range(n_echoes) for first in range(second)]
    difference_s = {(a, b): echo_times_s[b] - echo_times_s[a] for a, b in pairs}
    pairs.sort(key=lambda pair: difference_s[pair])
    groups: list[list[Pair]] = []
    for pair in pairs:
        tolerance_s = SAME_LAG * difference_s[pairs[0]]
        if groups and difference_s[pair] - difference_s[groups[-1][0]] < tolerance_s:
            groups[-1].append(pair)
        else:
            groups.append([pair])
    return {sum(difference_s[p] for p in group) / len(group): group for group in groups}


def _add_channel(total: LagProducts, channel: Tensor, lags: dict[float, list[Pair]]) -> None:
    """Add the products and powers of one channel (echo, x, y, z) to ``total`` in place."""
    for power, echo in zip(total.echo_power, channel, strict=True):
        power.addcmul_(echo.real, echo.real).addcmul_(echo.imag, echo.imag)
    if not lags:
        total.products[0] += channel[0] * channel[0].abs()
        return
    conjugate = channel.conj().resolve_conj()
    for product, pairs in zip(total.products, lags.values(), strict=True):
        for first, second in pairs:
            product.addcmul_(conjugate[first], channel[second])
