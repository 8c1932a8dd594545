"""Sums over channels and echo pairs, from which field, R2* and noise are estimated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.acquisition import check_echo_times
from accelqsm.errors import InputError
from accelqsm.morphology import Box
from accelqsm.qsm.field.pairs import Lag, lags_of


@dataclass(frozen=True)
class LagProducts:
    """Sums over channels and echo pairs, sufficient for field, R2* and magnitude.

    The phase of a channel is the same in all its echoes, so it cancels in conj(S_e) S_e'. All
    sums are additive over channels, and any part of the volume can be summed by itself.

    Attributes:
        echo_times_s: echo times in seconds.
        lags_s: distinct echo-time differences in seconds, increasing.
        products: complex (lag, x, y, z), sum over channels and pairs of conj(S_e) S_e', pairs
            weighted as in ``lags_of``.
        odd_to_even: complex (some lags, x, y, z), the part of ``products`` from odd-to-even pairs,
            for every lag that also has even-to-odd pairs. The phases of the two differ for
            bipolar readouts.
        echo_power: (echo, x, y, z), sum over channels of |S|^2.
        n_channels: number of channels summed.
    """

    echo_times_s: tuple[float, ...]
    lags_s: tuple[float, ...]
    products: Tensor
    odd_to_even: Tensor
    echo_power: Tensor
    n_channels: int

    def __add__(self, other: LagProducts) -> LagProducts:
        """Sums over the channels of both."""
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

    def inside(self, mask: Tensor) -> LagProducts:
        """Sums of the voxels in a mask, bool (x, y, z), as a volume (voxel, 1, 1)."""
        return replace(
            self,
            products=self.products[:, mask][..., None, None],
            odd_to_even=self.odd_to_even[:, mask][..., None, None],
            echo_power=self.echo_power[:, mask][..., None, None],
        )

    def crop(self, box: Box) -> LagProducts:
        """Sums of a part of the volume, which share the memory."""
        here = (slice(None), *box)
        return replace(
            self,
            products=self.products[here],
            odd_to_even=self.odd_to_even[here],
            echo_power=self.echo_power[here],
        )

    def parts(self) -> Iterator[tuple[Lag, Tensor]]:
        """Iterate over (lag, sum), shortest lag first, odd-to-even pairs in a sum of their own."""
        odd_to_even = iter(self.odd_to_even)
        for lag, product in zip(lags_of(self.echo_times_s), self.products, strict=True):
            if lag.alternates:
                part = next(odd_to_even)
                yield lag.starting_at(0), product - part
                yield lag.starting_at(1), part
            else:
                yield lag, product

    @property
    def spacing_s(self) -> float:
        """Smallest echo-time difference in s, whose inverse is the period of the wrapped field."""
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
        """TE-weighted magnitude, the root of the sum over channels and echoes of |TE S|^2."""
        times_s = self.echo_power.new_tensor(self.echo_times_s)
        return (times_s.square() @ self.echo_power.flatten(1)).view(self.echo_power[0].shape).sqrt()


class LagSums:
    """Accumulator of the sums over channels and echo pairs, block by block.

    Args:
        shape: of the whole volume.
        echo_times_s: increasing echo times in seconds, evenly spaced or not; a single echo has
            the lag from time zero.
        dtype, device: of the images.

    Memory: for 8 even echoes 112 bytes a voxel, for any train at most 144 and 4 an echo.

    Raises:
        InputError: echo times that do not increase.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        echo_times_s: tuple[float, ...],
        dtype: torch.dtype = torch.complex64,
        device: torch.device | None = None,
    ) -> None:
        check_echo_times(echo_times_s)
        self._echo_times_s = echo_times_s
        self._lags = lags_of(echo_times_s)
        n_lags, n_mixed = len(self._lags) or 1, sum(lag.alternates for lag in self._lags)
        self._products = torch.zeros(n_lags, *shape, dtype=dtype, device=device)
        self._odd_to_even = torch.zeros(n_mixed, *shape, dtype=dtype, device=device)
        self._echo_power = torch.zeros(
            len(echo_times_s), *shape, dtype=dtype.to_real(), device=device
        )
        self._readouts = 0

    def add(self, images: Tensor, x: slice = slice(None)) -> LagSums:
        """Add a block of channels at some readout positions.

        Args:
            images: complex (channel, echo, x, y, z).
            x: readout positions of the block.

        Returns:
            These sums.

        Raises:
            InputError: shapes that do not fit, or a single echo of several channels, whose phases
                cannot be told from the field.
        """
        n_echoes = len(self._echo_times_s)
        if images.ndim != 5 or images.shape[1] != n_echoes or not images.is_complex():
            raise InputError(
                f"channel images: expected complex (channel, {n_echoes} echoes, x, y, z), "
                f"found {images.dtype} {tuple(images.shape)}"
            )
        power = self._echo_power[:, x]
        if power.shape[1:] != images.shape[2:]:
            raise InputError(
                f"channel images: expected the grid {tuple(power.shape[1:])} of the other "
                f"channels, found {tuple(images.shape[2:])}"
            )
        self._readouts += images.shape[0] * images.shape[2]
        if n_echoes == 1 and self._n_channels > 1:
            raise InputError("echo times: expected two or more for several channels, found one")
        for channel in images:
            self._add_channel(channel, self._products[:, x], self._odd_to_even[:, x], power)
        return self

    @property
    def _n_channels(self) -> int:
        """Channels added so far; an incomplete channel counts as one."""
        return -(-self._readouts // self._echo_power.shape[1])

    def products(self) -> LagProducts:
        """Record of the sums so far, which shares their memory."""
        return LagProducts(
            echo_times_s=self._echo_times_s,
            lags_s=tuple(lag.time_s for lag in self._lags) or self._echo_times_s,
            products=self._products,
            odd_to_even=self._odd_to_even,
            echo_power=self._echo_power,
            n_channels=self._n_channels,
        )

    def _add_channel(
        self, channel: Tensor, products: Tensor, odd_to_even: Tensor, powers: Tensor
    ) -> None:
        """Add one channel (echo, x, y, z) to the sums, in place."""
        for power, echo in zip(powers, channel, strict=True):
            power.addcmul_(echo.real, echo.real).addcmul_(echo.imag, echo.imag)
        if not self._lags:
            products[0] += channel[0] * channel[0].abs()
            return
        conjugate = channel.conj().resolve_conj()
        mixed = iter(odd_to_even)
        for lag, product in zip(self._lags, products, strict=True):
            part = next(mixed) if lag.alternates else None
            for (first, second), weight in zip(lag.pairs, lag.weights, strict=True):
                product.addcmul_(conjugate[first], channel[second], value=weight)
                if part is not None and first % 2:
                    part.addcmul_(conjugate[first], channel[second], value=weight)


def lag_products(images: Tensor, *, echo_times_s: tuple[float, ...]) -> LagProducts:
    """Sums of conj(S_ce) S_ce' over channels c and the echo pairs of each lag TE_e' - TE_e.

    A single echo of one (combined) channel is compared with its own magnitude at time zero: the
    lag is then TE, and a phase offset at excitation is taken for field.

    Args:
        images: complex (channel, echo, x, y, z).
        echo_times_s: increasing echo times in seconds, evenly spaced or not.

    Raises:
        InputError: shapes that do not fit, or a single echo of several channels, whose phases
            cannot be told from the field.

    Source: Ye et al. 2019, Proc ISMRM 27:4392 (multi-dimensional integration).
    """
    sums = LagSums(
        images.shape[-3:], echo_times_s=echo_times_s, dtype=images.dtype, device=images.device
    )
    return sums.add(images).products()
