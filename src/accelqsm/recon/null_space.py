"""What a reconstruction put into an image that no sample tells of, and what that does to phase.

Images that differ in the null space of the sampling have the same samples: that part is the
network's alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.recon.sense import Encoding, least_squares

ITERATIONS, WEIGHT = 4, 1e-2
"""Conjugate gradients, and Tikhonov weight, of the image that its own samples give back."""

PHASE_PER_SHARE_RAD = 0.42
"""Error of the phase over the null-space share about a voxel, of the joint ReconNet3D on two
digital heads at AF 3, 5 and 8 and a signal-to-noise ratio of 100, where it is 0.36 to 0.49."""

NEIGHBOURHOOD = 3
"""Voxels along each axis over which shares are averaged: an image's own dark voxels say little."""


def null_part(encoding: Encoding, images: Tensor) -> Tensor:
    """Part of images that their own samples, of all channels, do not give back.

    x - argmin_z ||A (x - z)||^2 + 0.01 ||z||^2, by a few conjugate gradients. What samples tell so
    weakly that these do not find it counts as not told.

    Args:
        encoding: A, with sensitivities of norm one.
        images: complex (echo, x, y, z).
    """
    told = least_squares(encoding, encoding.normal(images), weight=WEIGHT, n_iterations=ITERATIONS)
    return images - told


def null_part_of_channel(images: Tensor, sampled: Tensor) -> Tensor:
    """Part of one channel's images at the positions of k-space that were not sampled.

    Args:
        images: complex (echo, x, y, z).
        sampled: bool (ky, kz), or (echo, 1, ky, kz).
    """
    return ifft(fft(images, PHASE_ENCODES) * ~sampled, PHASE_ENCODES)


def null_share(null_power: Tensor, power: Tensor) -> Tensor:
    """Null-space share about each voxel: root of the mean null power over the mean power there.

    Args:
        null_power: |null part|^2 summed over channels, (echo, x, y, z).
        power: |image|^2 likewise.

    Returns:
        (echo, x, y, z) in 0 to 1; zero where there is no signal.
    """
    smallest = torch.finfo(power.dtype).tiny
    share = _around(null_power) / _around(power).clamp_min(smallest)
    return share.clamp(0, 1).sqrt()


def phase_sd_rad(share: Tensor) -> Tensor:
    """Standard deviation of the phase that a reconstruction adds to noise, from the share."""
    return PHASE_PER_SHARE_RAD * share


def _around(values: Tensor) -> Tensor:
    """Mean over the neighbours of each voxel that there are."""
    size, padding = NEIGHBOURHOOD, NEIGHBOURHOOD // 2
    return functional.avg_pool3d(
        values[:, None], size, stride=1, padding=padding, count_include_pad=False
    )[:, 0]
