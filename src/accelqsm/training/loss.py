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


def loss(image: Tensor, pair: Pair) -> Tensor:
    """L1 of real and imaginary parts, each voxel weighted by ``relevance``, plus a tenth of that of
    the unmeasured k-space.

    Args:
        image: complex (batch, x, y, z), what the network made of ``pair.measured``.
        pair: what was measured, and what it should become.
    """
    error = image - pair.truth
    unmeasured = torch.view_as_real(fft(error, PHASE_ENCODES) * ~pair.sampled)
    parts = torch.view_as_real(error).abs().sum(-1)
    relative = 0.5 * (relevance(pair.truth) * parts).mean()
    return relative + KSPACE_SHARE * unmeasured.abs().mean()


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
