"""Centred, orthonormal Fourier transforms over chosen axes.

Image and k-space have the same noise standard deviation, and the zero frequency is at index
``n // 2`` of each transformed axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SPATIAL = (-3, -2, -1)
PHASE_ENCODES = (-2, -1)
READOUT = (-3,)


def fft(image: Tensor, axes: Sequence[int] = SPATIAL) -> Tensor:
    """Centred orthonormal Fourier transform of ``image`` along ``axes``."""
    shifted = torch.fft.ifftshift(image, dim=axes)
    spectrum = torch.fft.fftn(shifted, dim=axes, norm="ortho")
    centred: Tensor = torch.fft.fftshift(spectrum, dim=axes)
    return centred


def cropped_spectrum(image: Tensor, axis: int, size: int) -> Tensor:
    """The middle ``size`` frequencies of ``fft(image, (axis,))``, without shifts of the image.

    A shift of the image by n // 2 is a phase of its spectrum, of which few samples are kept.
    """
    n, below = image.shape[axis], size // 2
    spectrum = torch.fft.fft(image, dim=axis, norm="ortho")
    parts = spectrum.narrow(axis, n - below, below), spectrum.narrow(axis, 0, size - below)
    turns = (torch.arange(-below, size - below, device=image.device) * (n // 2) % n).double() / n
    phases = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns).to(spectrum.dtype)
    shape = [1] * image.ndim
    shape[axis] = size
    return torch.cat(parts, axis).mul_(phases.reshape(shape))


def ifft(kspace: Tensor, axes: Sequence[int] = SPATIAL) -> Tensor:
    """Centred orthonormal inverse Fourier transform of ``kspace`` along ``axes``."""
    shifted = torch.fft.ifftshift(kspace, dim=axes)
    image = torch.fft.ifftn(shifted, dim=axes, norm="ortho")
    centred: Tensor = torch.fft.fftshift(image, dim=axes)
    return centred


def centred_slice(full: int, size: int) -> slice:
    """Slice of ``size`` of ``full`` samples that takes the zero frequency to ``size // 2``."""
    start = full // 2 - size // 2
    return slice(start, start + size)


def hann_window(full: Sequence[int], size: Sequence[int]) -> Tensor:
    """Hann window over the middle ``size`` samples of each axis, zero beyond, float32."""
    window = torch.ones(())
    for n, m in zip(full, size, strict=True):
        line = torch.zeros(n)
        line[centred_slice(n, m)] = torch.hann_window(m + 2, periodic=False)[1:-1]
        window = window[..., None] * line
    return window


def even_fast_size(n: int) -> int:
    """Smallest even number >= ``n`` with no prime factor above 5, a fast size for the FFT."""
    candidate = n + n % 2
    while True:
        rest = candidate
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return candidate
        candidate += 2
