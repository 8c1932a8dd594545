"""Application of a network in slabs along the readout."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.sense import broadcast_maps

VALUES_AT_ONCE = 24_000_000
"""Complex samples of all channels in a slab, or voxels times ``hidden_per_voxel`` / 4."""

QUIET_ABOVE_FLOOR = 1.15
QUIET_BELOW_PEAK = 1e-2


def apply_network(
    network: Network, measured: Tensor, sampled: Tensor, maps: Tensor | None = None
) -> Tensor:
    """Reconstruct images with one network call a slab, with the result of the whole volume.

    The network is positively homogeneous, so that data need no scaling. Slabs overlap by the
    receptive field; a slab that does not fit the memory of a GPU is halved. Readout positions with
    noise only stay zero-filled.

    Args:
        network: in evaluation mode; slabs are moved to its device.
        measured: hybrid-space samples, complex64 (echo, x, ky, kz), or (channel, echo, x, ky, kz)
            with maps.
        sampled: bool (ky, kz), or (echo, 1, ky, kz) for a pattern of each echo.
        maps: sensitivities (channel, x, y, z), weaker where little signal is expected; for
            joint consistency.

    Returns:
        complex64 (echo, x, y, z), on the device of the samples.

    Raises:
        torch.OutOfMemoryError: a GPU that does not hold a single readout position.
    """
    image = ifft(measured, PHASE_ENCODES)
    if maps is not None:
        image = (broadcast_maps(maps, measured).conj() * image).sum(0)
    head = _signal_range(measured.reshape(-1, *measured.shape[-3:]))
    thickness = _thickness(network, measured)
    start = head.start
    with torch.inference_mode():
        while start < head.stop:
            slab = slice(start, min(start + thickness, head.stop))
            try:
                image[:, slab] = _slab(network, measured, sampled, maps, slab)
            except torch.OutOfMemoryError:
                if thickness == 1:
                    raise
                thickness = thickness // 2
                continue
            start = slab.stop
    return image


def _slab(
    network: Network, measured: Tensor, sampled: Tensor, maps: Tensor | None, slab: slice
) -> Tensor:
    """Network image of a slab of readout positions, from the slab and its margins."""
    reach = network.readout_reach
    first = max(slab.start - reach, 0)
    around = slice(first, min(slab.stop + reach, measured.shape[-3]))
    device = network.device
    nearby_maps = None if maps is None else maps[:, around].to(device)
    planes = measured[..., around, :, :].to(device)
    image = network(planes, sampled.to(device), nearby_maps)
    return image[:, slab.start - first : slab.stop - first].to(measured.device)


def _thickness(network: Network, measured: Tensor) -> int:
    """Readout positions of a slab, without its margins."""
    plane = measured.shape[-2] * measured.shape[-1]
    channels, echoes = measured.shape[:2] if measured.ndim == 5 else (1, measured.shape[0])
    hidden = network.hidden_per_voxel / 4
    at_once = int(VALUES_AT_ONCE / max(channels, hidden * echoes)) // plane
    return max(at_once - 2 * network.readout_reach, 1)


def _signal_range(measured: Tensor) -> slice:
    """Slice from the first to the last readout position with energy above the noise."""
    parts = torch.view_as_real(measured)  # magnitudes would take a root each
    energy = parts.square().sum(dim=(0, 2, 3, 4))
    above_floor = energy > QUIET_ABOVE_FLOOR * energy.min()
    near_peak = energy > QUIET_BELOW_PEAK * energy.max()
    loud = (above_floor | near_peak).nonzero()[:, 0]
    return slice(int(loud[0]), int(loud[-1]) + 1) if len(loud) else slice(0, 0)
