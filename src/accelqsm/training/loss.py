"""Training loss: weighted L1 error of the image and of unmeasured k-space."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.training.data import Pair

NEIGHBOURHOOD = (3, 9, 9)
FAINT_SIGNAL = 0.3
"""Signal with the largest weight in the loss, in units of the slab's mean magnitude."""
KSPACE_WEIGHT = 0.1


def loss(image: Tensor, pair: Pair) -> Tensor:
    """Weighted L1 loss of an image, plus a tenth of the L1 error of unmeasured k-space.

    L1 norm of real and imaginary parts, with the weights ``relevance`` of each voxel.

    Args:
    image: complex (batch, x, y, z), output of the network for ``pair.measured``.
    pair: measured samples and ground truth.
    """
    error = image - pair.truth
    unmeasured = torch.view_as_real(fft(error, PHASE_ENCODES) * ~pair.sampled)
    return image_loss(image, pair.truth) + KSPACE_WEIGHT * unmeasured.abs().mean()


def image_loss(image: Tensor, truth: Tensor) -> Tensor:
    """Weighted L1 error of an image (batch, x, y, z), which no sampling pattern enters."""
    parts = torch.view_as_real(image - truth).abs().sum(-1)
    return 0.5 * (relevance(truth) * parts).mean()


def relevance(truth: Tensor) -> Tensor:
    """Weight of each voxel in the loss, of mean 1 in each item (batch, x, y, z).

    m / (m^2 + c^2), with m the magnitude averaged over a neighbourhood, makes errors relative to
    the local signal: the scalp near a coil is many times brighter than the centre of the brain,
    whose phase is equally important. Below c the weight decreases with the signal.
    """
    # A neighbourhood is no larger than the slab.
    around = [
        (min(size, n) - 1) // 2 for size, n in zip(NEIGHBOURHOOD, truth.shape[1:], strict=True)
    ]
    magnitude = functional.avg_pool3d(
        truth.abs()[:, None],
        [2 * n + 1 for n in around],
        stride=1,
        padding=around,
        count_include_pad=False,
    )[:, 0]
    weight = magnitude / (magnitude**2 + FAINT_SIGNAL**2)
    return weight / weight.mean(dim=(1, 2, 3), keepdim=True)
