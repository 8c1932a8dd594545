"""Under-sampled k-space to complex images of every channel and echo, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import compress_channels, low_resolution
from accelqsm.recon.espirit import Sensitivities, espirit
from accelqsm.recon.grappa import grappa
from accelqsm.recon.network.reconnet3d import Consistency, ReconNet3D, check_consistency
from accelqsm.recon.network.slabs import apply_network
from accelqsm.recon.network.weights import default_weights, load_network
from accelqsm.recon.sense import cg_sense, l1_wavelet
from accelqsm.runtime.progress import track

Method = Literal["zero-filled", "grappa", "cg-sense", "l1-wavelet", "reconnet3d"]

READOUTS_AT_ONCE = 4
READOUTS_OF_A_BLOCK = 64
VIRTUAL_CHANNELS = 12
"""Channels that many are compressed to where one image is sought from all of them."""


@dataclass(frozen=True)
class ImageBlock:
    """Part of the images of a scan; the blocks cover every channel and readout position once.

    Attributes:
        channels: which channels; None for the one image that all channels saw.
        x: which readout positions.
        images: complex64 (channel, echo, x, y, z), all echoes and the whole (y, z) plane; one
            "channel" where they were combined.
    """

    channels: slice | None
    x: slice
    images: Tensor


@dataclass(frozen=True)
class CombinedBlock:
    """What a block adds to the combined images.

    Attributes:
        x: which readout positions.
        numerator: complex64 (echo, x, y, z), sum_c conj(C_c) S_ce.
        power: float32 (x, y, z), sum_c |C_c|^2.
    """

    x: slice
    numerator: Tensor
    power: Tensor


def reconstruct(
    kspace: KSpace,
    *,
    method: Method,
    network: ReconNet3D | None = None,
    consistency: Consistency = "channels",
) -> Iterator[ImageBlock]:
    """Reconstruct a scan; sums over channels can be taken block by block.

    "zero-filled", "grappa" and the published "reconnet3d" give the images of every channel.
    "cg-sense", "l1-wavelet" and "reconnet3d" with the consistency of all channels give one image,
    with the sensitivities of at most ``VIRTUAL_CHANNELS`` channels by ESPIRiT.

    Args:
        kspace: samples, whitened by ``prewhiten`` where a noise scan exists; everything is
            computed on the device of its pattern (``KSpace.on``).
        method: how missing samples are found.
        network: for "reconnet3d", instead of the weights that come with the package; it says
            itself whether it takes one channel or all.
        consistency: for "reconnet3d" without a network: "channels" gives one image that the samples
            of all channels agree on; "channel" reconstructs each by itself, as published.

    Returns:
        Blocks of complex64 (channel, echo, x, y, z).

    Raises:
        InputError: unknown method or consistency, or a pattern that the method cannot use.
    """
    if method not in get_args(Method):
        raise InputError(f"method: expected one of {' '.join(get_args(Method))}, found '{method}'")
    check_consistency(consistency)
    if method == "zero-filled":
        return _channel_blocks(kspace, None)
    if method == "grappa":
        return (ImageBlock(slice(0, kspace.n_channels), x, images) for x, images in grappa(kspace))
    if method == "reconnet3d":
        device = kspace.sampled.device
        if network is None:
            network = load_network(default_weights(consistency, device))
        network = network.to(device)
        if network.architecture.consistency == "channel":
            return _channel_blocks(kspace, network)
    few = compress_channels(kspace, VIRTUAL_CHANNELS)
    if method == "cg-sense":
        return _sense_blocks(few)
    if method == "l1-wavelet":
        return _wavelet_blocks(few)
    assert network is not None
    return _network_blocks(few, network)


def combine(block: ImageBlock, kspace: KSpace) -> CombinedBlock:
    """A block's share of the combined images, sum_c conj(C_c) S_ce and sum_c |C_c|^2.

    C_c is the channel's low-resolution first echo, the same for all echoes, so that phase
    differences between echoes stay those of the channels. Summed over blocks,
    numerator / sqrt(power) is the combined image. An image that all channels share is that
    already: the phase of its sensitivities is that of the same low-resolution echo.

    Args:
        block: images of some channels and readout positions.
        kspace: the samples that the block was reconstructed from.

    Source: Roemer et al. 1990, Magn Reson Med 16:192, doi 10.1002/mrm.1910160203.
    """
    if block.channels is None:
        ones = torch.ones_like(block.images[0, 0].real)
        return CombinedBlock(block.x, block.images[0], ones)
    maps = low_resolution(kspace, channels=block.channels, x=block.x)
    numerator = torch.einsum("cxyz,cexyz->exyz", maps.conj(), block.images)
    return CombinedBlock(block.x, numerator, maps.abs().square().sum(0))


def _channel_blocks(kspace: KSpace, network: ReconNet3D | None) -> Iterator[ImageBlock]:
    """One channel after another, by the network or zero-filled."""
    everywhere = slice(0, kspace.acquisition.grid.shape[0])
    description = "zero-filling" if network is None else "network"
    for channel in track(range(kspace.n_channels), description, kspace.n_channels):
        chosen = slice(channel, channel + 1)
        planes = kspace.planes(chosen)
        if network is None:
            images = ifft(planes, PHASE_ENCODES)
        else:
            echoes = [apply_network(network, echo, kspace.sampled) for echo in planes[0]]
            images = torch.stack(echoes)[None]
        yield ImageBlock(chosen, everywhere, images)


def _sense_blocks(kspace: KSpace) -> Iterator[ImageBlock]:
    """A few readout positions after another."""
    slabs = _slabs(kspace)
    for x in track(slabs, "CG-SENSE", len(slabs)):
        found = espirit(kspace, x=x)
        image = cg_sense(kspace.planes(x=x), found.supported, sampled=kspace.sampled)
        yield ImageBlock(None, x, found.support * image[None])


def _wavelet_blocks(kspace: KSpace) -> Iterator[ImageBlock]:
    """One echo after another, since wavelets reach over all readout positions."""
    found, n_echoes = _sensitivities(kspace), kspace.acquisition.n_echoes
    maps = found.supported
    images = maps.new_empty(1, n_echoes, *kspace.acquisition.grid.shape)
    for echo in track(range(n_echoes), "L1-wavelet", n_echoes):
        measured = kspace.planes(echoes=slice(echo, echo + 1))[:, 0]
        image = l1_wavelet(measured, maps, sampled=kspace.sampled)
        images[0, echo] = found.support * image
    yield ImageBlock(None, slice(0, kspace.acquisition.grid.shape[0]), images)


def _network_blocks(kspace: KSpace, network: ReconNet3D) -> Iterator[ImageBlock]:
    """Many readout positions at a time, with those about them that a result depends on."""
    maps, reach = _sensitivities(kspace).supported, network.architecture.readout_reach
    n_x = kspace.acquisition.grid.shape[0]
    slabs = _slabs(kspace, READOUTS_OF_A_BLOCK)
    for x in track(slabs, "network", len(slabs)):
        around = slice(max(x.start - reach, 0), min(x.stop + reach, n_x))
        echoes = [
            apply_network(
                network,
                kspace.planes(x=around, echoes=slice(echo, echo + 1))[:, 0],
                kspace.sampled,
                maps[:, around],
            )[x.start - around.start : x.stop - around.start]
            for echo in range(kspace.acquisition.n_echoes)
        ]
        yield ImageBlock(None, x, torch.stack(echoes)[None])


def _sensitivities(kspace: KSpace) -> Sensitivities:
    """ESPIRiT's of all readout positions."""
    slabs = _slabs(kspace)
    found = [espirit(kspace, x=x) for x in track(slabs, "sensitivities", len(slabs))]
    return Sensitivities(
        torch.cat([each.maps for each in found], dim=1),
        torch.cat([each.support for each in found]),
    )


def _slabs(kspace: KSpace, at_once: int = READOUTS_AT_ONCE) -> list[slice]:
    n = kspace.acquisition.grid.shape[0]
    return [slice(x, min(x + at_once, n)) for x in range(0, n, at_once)]
