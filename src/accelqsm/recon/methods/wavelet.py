"""Orthogonal periodic wavelet transform of complex volumes, with soft thresholding."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from accelqsm.grid import Shape

LEVELS = 3
_ROOT = math.sqrt(3.0)
LOW = tuple(c / (4 * math.sqrt(2.0)) for c in (1 + _ROOT, 3 + _ROOT, 3 - _ROOT, 1 - _ROOT))
"""Daubechies' low-pass filter of two vanishing moments."""

HIGH = (LOW[3], -LOW[2], LOW[1], -LOW[0])


class Wavelet:
    """Daubechies wavelet transform of two vanishing moments over three levels.

    Axes of fewer than 8 voxels are not transformed; other axes are extended to a multiple of 8 by
    mirroring.

    Source: Daubechies 1988, Commun Pure Appl Math 41:909, doi 10.1002/cpa.3160410705.
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.period = 2**LEVELS
        self._axes = [axis for axis, n in enumerate(shape) if n >= self.period]
        self._extra = [-n % self.period if n >= self.period else 0 for n in shape]

    def shrink(self, volume: Tensor, threshold: float, shift: Shape = (0, 0, 0)) -> Tensor:
        """Soft-threshold the detail coefficients of a volume.

        Args:
            volume: complex (x, y, z).
            threshold: in the unit of the volume.
            shift: voxels by which the volume is shifted for the transform.
        """
        axes = (0, 1, 2)
        coefficients = self.forward(volume.roll(shift, axes) if any(shift) else volume)
        coarsest = self._corner(coefficients.shape, LEVELS)
        kept = coefficients[coarsest].clone()
        magnitude = coefficients.abs()
        coefficients *= (magnitude - threshold).clamp_min_(0).div_(magnitude.clamp_min_(1e-30))
        coefficients[coarsest] = kept
        result = self.inverse(coefficients)
        return result.roll([-s for s in shift], axes) if any(shift) else result

    def shifts(self) -> Iterator[Shape]:
        """Random shifts, the same at every call, which make thresholding nearly shift-invariant."""
        generator = torch.Generator().manual_seed(0)
        while True:
            x, y, z = torch.randint(self.period, (3,), generator=generator).tolist()
            yield x, y, z

    def forward(self, volume: Tensor) -> Tensor:
        """Wavelet coefficients, the coarsest at low indices, of the extended size of the volume."""
        coefficients = self._mirror(volume)
        part = coefficients
        for level in range(LEVELS):
            for axis in self._axes:
                part = _split(part, axis)
            coefficients[self._corner(coefficients.shape, level)] = part
            part = coefficients[self._corner(coefficients.shape, level + 1)]
        return coefficients

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Inverse transform, the volume that has these coefficients."""
        volume = coefficients.clone()
        for level in reversed(range(LEVELS)):
            corner = self._corner(volume.shape, level)
            part = volume[corner]
            for axis in self._axes:
                part = _merge(part, axis)
            volume[corner] = part
        x, y, z = self.shape
        return volume[:x, :y, :z]

    def _corner(self, sizes: torch.Size, level: int) -> tuple[slice, ...]:
        """Index range of the low-pass coefficients of a level."""
        return tuple(slice(0, n >> level * (axis in self._axes)) for axis, n in enumerate(sizes))

    def _mirror(self, volume: Tensor) -> Tensor:
        if not any(self._extra):
            return volume.clone()
        for axis, extra in enumerate(self._extra):
            if extra:
                mirrored = volume.narrow(axis, volume.shape[axis] - extra, extra).flip(axis)
                volume = torch.cat([volume, mirrored], axis)
        return volume


def _split(volume: Tensor, axis: int) -> Tensor:
    """Low-pass and high-pass halves along an axis, concatenated."""
    even, odd = (_phase(volume, axis, offset) for offset in (0, 1))
    later_even, later_odd = even.roll(-1, axis), odd.roll(-1, axis)
    halves = [f[0] * even + f[1] * odd + f[2] * later_even + f[3] * later_odd for f in (LOW, HIGH)]
    return torch.cat(halves, axis)


def _merge(volume: Tensor, axis: int) -> Tensor:
    """Inverse of ``_split``."""
    low, high = volume.tensor_split(2, axis)
    before_low, before_high = low.roll(1, axis), high.roll(1, axis)
    even, odd = (
        LOW[k] * low + LOW[k + 2] * before_low + HIGH[k] * high + HIGH[k + 2] * before_high
        for k in (0, 1)
    )
    return torch.stack([even, odd], axis + 1).flatten(axis, axis + 1)


def _phase(volume: Tensor, axis: int, offset: int) -> Tensor:
    index: list[slice] = [slice(None)] * 3
    index[axis] = slice(offset, None, 2)
    return volume[tuple(index)]
