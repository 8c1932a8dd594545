"""Sums over channels and echo pairs: all that field, decay and their noise are found from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from torch import Tensor

from accelqsm.acquisition import check_echo_times
from accelqsm.errors import InputError
from accelqsm.qsm.field.pairs import Lag, lags_of


@dataclass(frozen=True)
class LagProducts:
    """Sums over channels and echo pairs from which field, R2* and magnitude follow.

    The phase of a channel is the same in all its echoes, so it cancels in conj(S_e) S_e'. All
    sums are additive over channels, and any part of the volume can be summed by itself.

    Attributes:
        echo_times_s: echo times in seconds.
        lags_s: distinct echo-time differences in seconds, increasing.
        products: complex (lag, x, y, z), sum over channels and pairs of conj(S_e) S_e', pairs
            weighted as in ``lags_of``.
        odd_to_even: complex (some lags, x, y, z), the share of the pairs that go from an odd to an
            even echo, of every lag that also has pairs from an even to an odd one. The two
            differ where the readout alternates its direction.
        echo_power: (echo, x, y, z), sum over channels of |S|^2.
        n_channels: how many channels were summed.
    """

    echo_times_s: tuple[float, ...]
    lags_s: tuple[float, ...]
    products: Tensor
    odd_to_even: Tensor
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
            odd_to_even=self.odd_to_even + other.odd_to_even,
            echo_power=self.echo_power + other.echo_power,
            n_channels=self.n_channels + other.n_channels,
        )

    def readout(self, x: slice) -> LagProducts:
        """A view of some readout positions; what is added to it in place is added to the whole."""
        return replace(
            self,
            products=self.products[:, x],
            odd_to_even=self.odd_to_even[:, x],
            echo_power=self.echo_power[:, x],
        )

    def inside(self, mask: Tensor) -> LagProducts:
        """The sums of the voxels of a bool (x, y, z) in a row, as a volume (voxel, 1, 1)."""
        return replace(
            self,
            products=self.products[:, mask][..., None, None],
            odd_to_even=self.odd_to_even[:, mask][..., None, None],
            echo_power=self.echo_power[:, mask][..., None, None],
        )

    def parts(self) -> Iterator[tuple[Lag, Tensor]]:
        """Each sum with its pairs, shortest lag first; a lag that alternates gives two sums."""
        odd_to_even = iter(self.odd_to_even)
        for lag, product in zip(lags_of(self.echo_times_s), self.products, strict=True):
            if lag.alternates:
                share = next(odd_to_even)
                yield lag.starting_at(0), product - share
                yield lag.starting_at(1), share
            else:
                yield lag, product

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

    @property
    def late_magnitude_s(self) -> Tensor:
        """Root of the sum over channels and echoes of |TE S|^2, in which late echoes weigh most."""
        times_s = self.echo_power.new_tensor(self.echo_times_s)
        return (times_s.square() @ self.echo_power.flatten(1)).view(self.echo_power[0].shape).sqrt()


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
    if onto is None:
        onto = zero_products(images[0], echo_times_s=echo_times_s)
    total = replace(onto, n_channels=onto.n_channels + images.shape[0])
    if len(echo_times_s) == 1 and total.n_channels > 1:
        raise InputError("echo times: expected two or more for several channels, found one")
    if total.products.shape[1:] != images.shape[2:] or total.echo_times_s != echo_times_s:
        raise InputError(
            f"channel images: expected the grid {tuple(total.products.shape[1:])} and echo times "
            f"of the other channels, found {tuple(images.shape[2:])}"
        )
    for channel in images:
        _add_channel(total, channel)
    return total


def zero_products(volume: Tensor, *, echo_times_s: tuple[float, ...]) -> LagProducts:
    """Sums over no channel yet, to add the parts of a volume to.

    Args:
        volume: complex (..., x, y, z), of which only sizes, type and device are used.
        echo_times_s: increasing echo times in seconds; a single echo has the lag from time zero.

    Returns:
        Zeros: for 8 even echoes 112 bytes a voxel, for any train at most 144 and 4 an echo.
    """
    lags = lags_of(echo_times_s)
    lags_s = tuple(lag.time_s for lag in lags) or echo_times_s
    shape = volume.shape[-3:]
    return LagProducts(
        echo_times_s=echo_times_s,
        lags_s=lags_s,
        products=volume.new_zeros(len(lags_s), *shape),
        odd_to_even=volume.new_zeros(sum(lag.alternates for lag in lags), *shape),
        echo_power=volume.real.new_zeros(len(echo_times_s), *shape),
        n_channels=0,
    )


def _add_channel(total: LagProducts, channel: Tensor) -> None:
    """Add the products and powers of one channel (echo, x, y, z) to ``total`` in place."""
    for power, echo in zip(total.echo_power, channel, strict=True):
        power.addcmul_(echo.real, echo.real).addcmul_(echo.imag, echo.imag)
    lags = lags_of(total.echo_times_s)
    if not lags:
        total.products[0] += channel[0] * channel[0].abs()
        return
    conjugate = channel.conj().resolve_conj()
    odd_to_even = iter(total.odd_to_even)
    for lag, product in zip(lags, total.products, strict=True):
        share = next(odd_to_even) if lag.alternates else None
        for (first, second), weight in zip(lag.pairs, lag.weights, strict=True):
            product.addcmul_(conjugate[first], channel[second], value=weight)
            if share is not None and first % 2:
                share.addcmul_(conjugate[first], channel[second], value=weight)
