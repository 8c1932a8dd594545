"""What training makes small."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.training.data import Pair

NEIGHBOURHOOD = (3, 9, 9)
FAINT_SIGNAL = 0.3
"""Signal, in units of the slab's mean magnitude, that weighs most in the loss."""
KSPACE_SHARE = 0.1
BANDS = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05)
"""Limits of the bands of spatial frequency, 1 at the end of each axis."""


def loss(image: Tensor, pair: Pair, *, shrinkage_share: float = 0.0) -> Tensor:
    """Weighted L1 of real and imaginary parts, plus shares of two errors of k-space.

    The weight is ``relevance``. The errors of k-space are the L1 of what was not measured, and
    the ``shrinkage`` of detail.

    Args:
        image: complex (batch, x, y, z), what the network made of ``pair.measured``.
        pair: what was measured, and what it should become.
        shrinkage_share: how much the shrinkage of weighted images counts.
    """
    error = image - pair.truth
    weight = relevance(pair.truth)
    unmeasured = torch.view_as_real(fft(error, PHASE_ENCODES) * ~pair.sampled)
    parts = torch.view_as_real(error).abs().sum(-1)
    value = 0.5 * (weight * parts).mean() + KSPACE_SHARE * unmeasured.abs().mean()
    if shrinkage_share > 0:
        value = value + shrinkage_share * shrinkage(weight * image, weight * pair.truth)
    return value


def relevance(truth: Tensor) -> Tensor:
    """Weight of each voxel's error, of mean 1 in each item (batch, x, y, z).

    m / (m^2 + c^2), with m the magnitude averaged over a neighbourhood, makes errors relative to
    the signal about them: the scalp beside a coil is many times brighter than the middle of the
    brain, whose phase matters as much. Beyond c it fades with the signal.
    """
    around = [size // 2 for size in NEIGHBOURHOOD]
    magnitude = functional.avg_pool3d(
        truth.abs()[:, None], NEIGHBOURHOOD, stride=1, padding=around, count_include_pad=False
    )[:, 0]
    weight = magnitude / (magnitude**2 + FAINT_SIGNAL**2)
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)


def shrinkage(image: Tensor, truth: Tensor) -> Tensor:
    """Mean of |1 - slope| of an image against the truth, over bands of spatial frequency.

    The least error is made by showing only as much of a detail as the samples vouch for, which
    takes a little off every small thing that is really there. The slope of a band,
    Re<truth, image> / <truth, truth>, is what is left of it on average.

    Args:
        image: complex (batch, x, y, z).
        truth: likewise; a band that it leaves empty counts nothing.
    """
    expected = fft(truth, PHASE_ENCODES)
    missing = fft(truth - image, PHASE_ENCODES)
    bands = _bands(truth.shape[-2], truth.shape[-1]).to(expected.real)
    lost, whole = (
        _product(spectrum, expected).sum(1).flatten(1) @ bands.T for spectrum in (missing, expected)
    )
    return (lost.abs() / whole.clamp_min(torch.finfo(whole.dtype).tiny)).mean()


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Re(conj(a) b)."""
    return (torch.view_as_real(a) * torch.view_as_real(b)).sum(-1)


def _bands(n_y: int, n_z: int) -> Tensor:
    """Which positions of a plane lie in each band: bool (band, y * z)."""
    along_y, along_z = ((torch.arange(n) - n // 2) / (n / 2) for n in (n_y, n_z))
    radius = torch.hypot(along_y[:, None], along_z[None, :]).flatten()
    lower, upper = (torch.tensor(limits)[:, None] for limits in (BANDS[:-1], BANDS[1:]))
    return (radius >= lower) & (radius < upper)
