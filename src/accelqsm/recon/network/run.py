"""Network reconstruction of a scan, per coil or joint."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, all_readouts, readout_slabs
from accelqsm.recon.channels import compress_channels
from accelqsm.recon.espirit import espirit_in_slabs
from accelqsm.recon.method_settings import PER_COIL, SensitivitySettings, SharedSettings
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.network.slabs import apply_network
from accelqsm.runtime.progress import track

READOUTS_OF_A_BLOCK, READOUTS_OF_ALL_ECHOES = 64, 32
"""Readout positions of a block, whose samples of one echo or of all are in memory."""


def reconstruct_network(
    kspace: KSpace, settings: SharedSettings, network: Network, *, joins_echoes: bool = False
) -> Iterator[ImageBlock]:
    """Reconstruct a scan with a network.

    Args:
        kspace: whitened samples; with a fully sampled centre for joint consistency.
        settings: settings of the sensitivities, for joint consistency.
        network: the network; its consistency decides between per-coil and joint reconstruction.
        joins_echoes: whether the network takes all echoes in one call, instead of one by one.

    Returns:
        Blocks of images of every channel (per-coil), or of one joint image of all channels.

    Raises:
        InputError: a centre smaller than the calibration kernel.
    """
    if network.consistency == PER_COIL:
        return _per_coil(kspace, network, joins_echoes)
    return _joint(kspace, settings.sensitivities, network, joins_echoes)


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


def _joint(
    kspace: KSpace, sensitivities: SensitivitySettings, network: Network, joins_echoes: bool
) -> Iterator[ImageBlock]:
    """Reconstruct a joint image in slabs along the readout, extended by the receptive field."""
    few = compress_channels(kspace, sensitivities.n_virtual)
    maps, reach = espirit_in_slabs(few, sensitivities).supported, network.readout_reach
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


def _calls(kspace: KSpace, joins_echoes: bool) -> list[slice]:
    """The echoes of each call of a network: one, or all of them."""
    n, each = kspace.acquisition.n_echoes, kspace.acquisition.n_echoes if joins_echoes else 1
    return [slice(echo, echo + each) for echo in range(0, n, each)]


def _patterns(kspace: KSpace, echoes: slice) -> Tensor:
    """Pattern of some echoes: bool (ky, kz), or (echo, 1, ky, kz) where each has its own."""
    return kspace.sampled if kspace.shared_pattern else kspace.sampled[echoes][:, None]
