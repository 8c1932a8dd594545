"""Under-sampled k-space to complex images of every channel and echo, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace, scratch
from accelqsm.progress import track
from accelqsm.recon.channels import low_resolution
from accelqsm.recon.consistency import channel_consistency
from accelqsm.recon.espirit import espirit_maps
from accelqsm.recon.grappa import grappa
from accelqsm.recon.reconnet3d import ReconNet3D
from accelqsm.recon.sense import cg_sense, l1_wavelet
from accelqsm.recon.weights import load_network

Method = Literal["zero-filled", "grappa", "cg-sense", "l1-wavelet", "reconnet3d"]
Consistency = Literal["channel", "channels"]

VOXELS_AT_ONCE = 4_000_000
"""Voxels that the network sees at a time: 1 GB at width 16."""
READOUTS_AT_ONCE = 4
QUIET_ABOVE_FLOOR = 1.15
QUIET_BELOW_PEAK = 1e-2


@dataclass(frozen=True)
class ImageBlock:
    """Part of the images of a scan; the blocks cover every channel and readout position once.

    Attributes:
        channels: which channels.
        x: which readout positions.
        images: complex64 (channel, echo, x, y, z), all echoes and the whole (y, z) plane.
    """

    channels: slice
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
    consistency: Consistency = "channel",
) -> Iterator[ImageBlock]:
    """Reconstruct a scan; sums over channels can be taken block by block.

    "zero-filled" and "reconnet3d" go channel by channel over all readout positions, "grappa" and
    "cg-sense" go through slabs of readout positions with all channels. "l1-wavelet" takes all
    channels of one echo at a time and keeps one image of each echo.

    Args:
        kspace: samples, whitened by ``prewhiten`` where a noise scan exists.
        method: how missing samples are found.
        network: for "reconnet3d", instead of the weights that come with the package.
        consistency: for "reconnet3d": "channel" leaves each channel to the network, as published;
            "channels" then lets the samples of all channels correct each other.

    Returns:
        Blocks of complex64 (channel, echo, x, y, z).

    Raises:
        InputError: unknown method, or a pattern that the method cannot use.
    """
    if method not in get_args(Method):
        raise InputError(f"method: expected one of {' '.join(get_args(Method))}, found '{method}'")
    if method == "grappa":
        return (ImageBlock(slice(0, kspace.n_channels), x, images) for x, images in grappa(kspace))
    if method == "cg-sense":
        return _sense_blocks(kspace)
    if method == "l1-wavelet":
        return _wavelet_blocks(kspace)
    if consistency not in get_args(Consistency):
        raise InputError(
            f"consistency: expected one of {' '.join(get_args(Consistency))}, found '{consistency}'"
        )
    if method == "reconnet3d":
        blocks = _channel_blocks(kspace, network if network is not None else load_network())
        return blocks if consistency == "channel" else _consistent_blocks(kspace, blocks)
    return _channel_blocks(kspace, None)


def combine(block: ImageBlock, kspace: KSpace) -> CombinedBlock:
    """A block's share of the combined images, sum_c conj(C_c) S_ce and sum_c |C_c|^2.

    C_c is the channel's low-resolution first echo, the same for all echoes, so that phase
    differences between echoes stay those of the channels. Summed over blocks,
    numerator / sqrt(power) is the combined image.

    Args:
        block: images of some channels and readout positions.
        kspace: the samples that the block was reconstructed from.

    Source: Roemer et al. 1990, Magn Reson Med 16:192, doi 10.1002/mrm.1910160203.
    """
    maps = low_resolution(kspace, channels=block.channels, x=block.x)
    numerator = torch.einsum("cxyz,cexyz->exyz", maps.conj(), block.images)
    return CombinedBlock(block.x, numerator, maps.abs().square().sum(0))


def apply_network(network: ReconNet3D, measured: Tensor, sampled: Tensor) -> Tensor:
    """Images of one channel and echo, by slabs whose results are those of the whole volume.

    The network is positively homogeneous, so that data need no scaling. Slabs overlap by as much
    as a result depends on. Readout positions that hold noise alone stay zero-filled.

    Args:
        network: in evaluation mode.
        measured: hybrid-space samples, complex64 (x, ky, kz).
        sampled: bool (ky, kz).

    Returns:
        complex64 (x, y, z).
    """
    head = _signal_range(measured)
    reach = network.architecture.readout_reach
    plane = measured.shape[1] * measured.shape[2]
    thickness = max(VOXELS_AT_ONCE // plane - 2 * reach, 1)
    image = ifft(measured, PHASE_ENCODES)
    with torch.inference_mode():
        for start in range(head.start, head.stop, thickness):
            stop = min(start + thickness, head.stop)
            first, last = max(start - reach, 0), min(stop + reach, len(measured))
            slab = network(measured[None, first:last], sampled)[0]
            image[start:stop] = slab[start - first : stop - first]
    return image


def _consistent_blocks(kspace: KSpace, blocks: Iterator[ImageBlock]) -> Iterator[ImageBlock]:
    """All channels of a few readout positions after another, made consistent with each other."""
    shape = (kspace.n_channels, kspace.acquisition.n_echoes, *kspace.acquisition.grid.shape)
    images = scratch(shape)
    for block in blocks:
        images[block.channels] = block.images.numpy()
    for x in _slabs(kspace):
        consistent = channel_consistency(
            torch.from_numpy(np.ascontiguousarray(images[:, :, x])),
            kspace.planes(x=x),
            low_resolution(kspace, x=x),
            sampled=kspace.sampled,
        )
        yield ImageBlock(slice(0, kspace.n_channels), x, consistent)


def _sense_blocks(kspace: KSpace) -> Iterator[ImageBlock]:
    """All channels of a few readout positions after another, each its share of one image."""
    slabs = _slabs(kspace)
    for x in track(slabs, "CG-SENSE", len(slabs)):
        maps = espirit_maps(kspace, x=x)
        image = cg_sense(kspace.planes(x=x), maps, sampled=kspace.sampled)
        yield ImageBlock(slice(0, kspace.n_channels), x, maps[:, None] * image)


def _wavelet_blocks(kspace: KSpace) -> Iterator[ImageBlock]:
    """One echo after another, since wavelets reach over the readout; then shares by slab."""
    slabs = _slabs(kspace)
    maps = torch.cat(
        [espirit_maps(kspace, x=x) for x in track(slabs, "sensitivities", len(slabs))], dim=1
    )
    n_echoes = kspace.acquisition.n_echoes
    images = torch.stack(
        [
            l1_wavelet(
                kspace.planes(echoes=slice(echo, echo + 1))[:, 0], maps, sampled=kspace.sampled
            )
            for echo in track(range(n_echoes), "L1-wavelet", n_echoes)
        ]
    )
    for x in slabs:
        yield ImageBlock(slice(0, kspace.n_channels), x, maps[:, None, x] * images[:, x])


def _slabs(kspace: KSpace) -> list[slice]:
    n = kspace.acquisition.grid.shape[0]
    return [slice(x, min(x + READOUTS_AT_ONCE, n)) for x in range(0, n, READOUTS_AT_ONCE)]


def _signal_range(measured: Tensor) -> slice:
    """From the first to the last readout position whose energy stands out of the noise."""
    energy = measured.abs().square().sum(dim=(1, 2))
    above_floor = energy > QUIET_ABOVE_FLOOR * energy.min()
    near_peak = energy > QUIET_BELOW_PEAK * energy.max()
    loud = (above_floor | near_peak).nonzero()[:, 0]
    return slice(int(loud[0]), int(loud[-1]) + 1) if len(loud) else slice(0, 0)


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
