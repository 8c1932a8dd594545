"""Network reconstruction of a scan, per coil or joint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, all_readouts, readout_slabs
from accelqsm.recon.channels import compress_channels
from accelqsm.recon.method_settings import PER_COIL, SharedSettings
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.network.slabs import apply_network
from accelqsm.recon.null_space import null_part, null_part_of_channel
from accelqsm.recon.sense import Encoding
from accelqsm.recon.sensitivities.estimate import estimate_in_slabs
from accelqsm.runtime.progress import track

READOUTS_OF_A_BLOCK, READOUTS_OF_ALL_ECHOES = 96, 48
"""Most readout positions of a block, whose samples of one echo or of all are in memory; margins of
the receptive field about each block are reconstructed twice."""


def reconstruct_network(
    kspace: KSpace,
    settings: SharedSettings,
    network: Network,
    *,
    joins_echoes: bool = False,
    null_space: bool = False,
) -> Iterator[ImageBlock]:
    """Reconstruct a scan with a network.

    Args:
        kspace: whitened samples; with a fully sampled centre for joint consistency.
        settings: settings of the sensitivities, for joint consistency.
        network: the network; its consistency decides between per-coil and joint reconstruction.
        joins_echoes: whether the network takes all echoes in one call, instead of one by one.
        null_space: whether blocks tell of the part of the images that no sample tells of.

    Returns:
        Blocks of images of every channel (per-coil), or of one joint image of all channels.

    Raises:
        InputError: a centre smaller than the calibration kernel.
    """
    if network.consistency == PER_COIL:
        blocks = _per_coil(kspace, network, joins_echoes)
        return (_with_null_of_channel(block, kspace) for block in blocks) if null_space else blocks
    few = compress_channels(kspace, settings.sensitivities.n_virtual)
    found = estimate_in_slabs(few, settings.sensitivities)
    blocks = _joint(few, found.supported, network, joins_echoes)
    return (_with_null(block, few, found.maps) for block in blocks) if null_space else blocks


def _per_coil(kspace: KSpace, network: Network, joins_echoes: bool) -> Iterator[ImageBlock]:
    """Reconstruct each channel separately."""
    for channel in track(range(kspace.n_channels), "network", kspace.n_channels):
        chosen = slice(channel, channel + 1)
        planes = kspace.planes(chosen)[0]
        echoes = [
            apply_network(network, planes[some], _patterns(kspace, some))
            for some in _calls(kspace, joins_echoes)
        ]
        yield ImageBlock(chosen, all_readouts(kspace), torch.cat(echoes)[None])


def _joint(few: KSpace, maps: Tensor, network: Network, joins_echoes: bool) -> Iterator[ImageBlock]:
    """Reconstruct a joint image in slabs along the readout, extended by the receptive field."""
    reach = network.readout_reach
    n_x = few.acquisition.grid.shape[0]
    slabs = readout_slabs(few, READOUTS_OF_ALL_ECHOES if joins_echoes else READOUTS_OF_A_BLOCK)
    for x in track(slabs, "network", len(slabs)):
        around = slice(max(x.start - reach, 0), min(x.stop + reach, n_x))
        echoes = [
            apply_network(
                network,
                few.planes(x=around, echoes=some),
                _patterns(few, some),
                maps[:, around],
            )[:, x.start - around.start : x.stop - around.start]
            for some in _calls(few, joins_echoes)
        ]
        yield ImageBlock(None, x, torch.cat(echoes)[None])


def _with_null(block: ImageBlock, kspace: KSpace, maps: Tensor) -> ImageBlock:
    """A block of a joint image with the power that no sample tells of."""
    encoding = Encoding(maps[:, None, block.x], _patterns(kspace, slice(None)))
    power = null_part(encoding, block.images[0]).abs().square()
    return replace(block, null_power=power)


def _with_null_of_channel(block: ImageBlock, kspace: KSpace) -> ImageBlock:
    """A block of channels with the power that no sample tells of."""
    patterns = _patterns(kspace, slice(None))
    parts = [null_part_of_channel(images, patterns) for images in block.images]
    return replace(block, null_power=torch.stack(parts).abs().square().sum(0))


def _calls(kspace: KSpace, joins_echoes: bool) -> list[slice]:
    """The echoes of each call of a network: one, or all of them."""
    n, each = kspace.acquisition.n_echoes, kspace.acquisition.n_echoes if joins_echoes else 1
    return [slice(echo, echo + each) for echo in range(0, n, each)]


def _patterns(kspace: KSpace, echoes: slice) -> Tensor:
    """Pattern of some echoes: bool (ky, kz), or (echo, 1, ky, kz) where each has its own."""
    return kspace.sampled if kspace.shared_pattern else kspace.sampled[echoes][:, None]
