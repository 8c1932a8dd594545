"""One scan, end to end: under-sampled k-space in, susceptibility out.

Channels stream: each reconstructed block adds to a few sums per voxel and is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.qsm.chain import DEFAULT, QsmResult, susceptibility
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.field.mdi import zero_products
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.channels import prewhiten
from accelqsm.recon.network.reconnet3d import Consistency, ReconNet3D
from accelqsm.recon.network.weights import default_weights, load_network
from accelqsm.recon.reconstruct import Method, combine, reconstruct
from accelqsm.runtime.device import CPU, best_device, on_device, on_gpu_or_cpu


@dataclass(frozen=True)
class ChannelSums:
    """What is kept of all channels.

    Attributes:
        lags: sums over channels of conj(S_e) S_e', from which the field follows.
        images: complex (echo, x, y, z), channels combined with weights that are the same for
            all echoes.
    """

    lags: LagProducts
    images: Tensor


@dataclass(frozen=True)
class MappedScan:
    """A scan's combined images and its susceptibility with the maps that led to it.

    Attributes:
        images: complex (echo, x, y, z).
        maps: result of the chain from field to susceptibility.
        device: where they were computed.
    """

    images: Tensor
    maps: QsmResult
    device: torch.device


def map_susceptibility(
    kspace: KSpace,
    *,
    method: Method,
    network: ReconNet3D | None = None,
    consistency: Consistency = "channels",
    mask: Tensor | None = None,
    settings: QsmSettings = DEFAULT,
) -> MappedScan:
    """Under-sampled k-space to susceptibility, on the GPU where there is one with the memory.

    Args:
        kspace: samples of every channel and echo.
        method: "zero-filled", "grappa", "cg-sense", "l1-wavelet" or "reconnet3d".
        network, consistency: for "reconnet3d" (``recon.reconstruct``).
        mask: bool (x, y, z) to use instead of a brain extraction; it loses what is incoherent.
        settings: of the chain from field to susceptibility.

    Returns:
        The combined images and the maps, on the CPU.
    """
    acquisition = kspace.acquisition
    if method == "reconnet3d" and network is None:
        # Chosen once: a scan that the GPU leaves to the CPU keeps its network.
        network = load_network(default_weights(consistency, best_device()))

    def mapped(device: torch.device) -> tuple[Tensor, QsmResult]:
        sums = sum_channels(
            kspace.on(device), method=method, network=network, consistency=consistency
        )
        maps = susceptibility(
            sums.lags,
            grid=acquisition.grid,
            field_strength_t=acquisition.field_strength_t,
            mask=mask,
            settings=settings,
        )
        return sums.images.cpu(), on_device(maps, CPU)

    (images, maps), device = on_gpu_or_cpu(mapped)
    return MappedScan(images, maps, device)


def sum_channels(
    kspace: KSpace,
    *,
    method: Method,
    network: ReconNet3D | None = None,
    consistency: Consistency = "channels",
) -> ChannelSums:
    """Reconstruct the channels block by block, and keep only their sums.

    Images are computed, and the sums lie, on the device of the pattern (``KSpace.on``).
    """
    white = prewhiten(kspace)
    device = white.sampled.device
    shape, echo_times_s = white.acquisition.grid.shape, white.acquisition.echo_times_s
    numerator = torch.zeros(len(echo_times_s), *shape, dtype=torch.complex64, device=device)
    power = torch.zeros(shape, device=device)
    lags = zero_products(numerator, echo_times_s=echo_times_s)
    n_channels = white.n_channels
    for block in reconstruct(white, method=method, network=network, consistency=consistency):
        if block.channels is None:
            n_channels = 1
        lag_products(block.images, echo_times_s=echo_times_s, onto=lags.readout(block.x))
        share = combine(block, white)
        numerator[:, block.x] += share.numerator
        power[block.x] += share.power
    smallest = torch.finfo(power.dtype).tiny
    images = numerator / power.clamp_min(smallest).sqrt()
    return ChannelSums(replace(lags, n_channels=n_channels), images)
