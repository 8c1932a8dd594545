"""Data consistency over all channels: what parallel imaging knows, added to the network."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.recon.reconnet3d import data_consistency

DEFAULT_WEIGHT = 0.01
DEFAULT_ITERATIONS = 10


def channel_consistency(
    images: Tensor,
    measured: Tensor,
    maps: Tensor,
    *,
    sampled: Tensor,
    weight: float = DEFAULT_WEIGHT,
    n_iterations: int = DEFAULT_ITERATIONS,
) -> Tensor:
    """Let the samples of every channel correct the images of all of them.

    With C_c the receive sensitivities (sum |C_c|^2 = 1), the combined image x0 = sum conj(C_c) S_c
    is moved to min_x sum_c ||M F C_c x - y_c||^2 + weight ||x - x0||^2 by conjugate gradients. Each
    channel becomes its share C_c x of the result, with its own samples put back.

    Args:
        images: complex (channel, ..., x, y, z), reconstructed channel by channel.
        measured: hybrid-space samples of the same shape, zero where nothing was measured, of
            white noise.
        maps: complex (channel, x, y, z), smooth maps proportional to the sensitivities.
        sampled: bool (ky, kz).
        weight: trust in the images against the samples; 0 is plain SENSE.
        n_iterations: of conjugate gradients.

    Returns:
        complex (channel, ..., x, y, z).

    Source: Pruessmann et al. 2001, Magn Reson Med 46:638, doi 10.1002/mrm.1241.
    """
    between = images.ndim - maps.ndim
    power = maps.abs().square().sum(0).clamp_min(torch.finfo(torch.float32).tiny)
    maps = maps / power.sqrt()
    maps = maps.reshape(maps.shape[0], *[1] * between, *maps.shape[1:])

    def received(combined: Tensor) -> Tensor:
        return fft(maps * combined, PHASE_ENCODES) * sampled

    def combine(kspace: Tensor) -> Tensor:
        return (maps.conj() * ifft(kspace, PHASE_ENCODES)).sum(0)

    start = (maps.conj() * images).sum(0)
    # The change is what is solved for, so that its equation has no image in it.
    residual = combine(measured - received(start))
    change = torch.zeros_like(start)
    direction = residual.clone()
    power_left = _power(residual)
    for _ in range(n_iterations):
        turned = combine(received(direction)) + weight * direction
        step = power_left / _inner(direction, turned).clamp_min(_SMALLEST)
        change += step * direction
        residual -= step * turned
        power_before, power_left = power_left, _power(residual)
        direction = residual + power_left / power_before.clamp_min(_SMALLEST) * direction
    zero_filled = ifft(measured, PHASE_ENCODES)
    return data_consistency(maps * (start + change), zero_filled, sampled)


_SMALLEST = 1e-30


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Real inner product over (y, z), which the problems of different x and echo do not share."""
    return (a.conj() * b).real.sum(dim=PHASE_ENCODES, keepdim=True)


def _power(a: Tensor) -> Tensor:
    return _inner(a, a)
