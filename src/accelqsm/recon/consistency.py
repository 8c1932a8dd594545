"""Data consistency over all channels: what parallel imaging knows, added to the network."""

from __future__ import annotations

from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.reconnet3d import data_consistency
from accelqsm.recon.sense import between, cg_sense, unit_maps

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
    maps = between(unit_maps(maps), measured)
    start = (maps.conj() * images).sum(0)
    combined = cg_sense(
        measured, maps, sampled=sampled, start=start, weight=weight, n_iterations=n_iterations
    )
    zero_filled = ifft(measured, PHASE_ENCODES)
    return data_consistency(maps * combined, zero_filled, sampled)
