"""A scan through a network: channel by channel, or as one image of all channels."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, all_readouts, readout_slabs
from accelqsm.recon.channels import compress_channels
from accelqsm.recon.espirit import espirit_in_slabs
from accelqsm.recon.method_settings import PER_COIL, SensitivitySettings, SharedSettings
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.network.slabs import apply_network
from accelqsm.runtime.progress import track

READOUTS_OF_A_BLOCK = 64


def reconstruct_network(
    kspace: KSpace, settings: SharedSettings, network: Network
) -> Iterator[ImageBlock]:
    """Images by a network.

    Args:
        kspace: whitened samples; with a fully sampled centre for joint consistency.
        settings: of the sensitivities, which joint consistency needs.
        network: its consistency decides whether every channel is reconstructed by itself.

    Returns:
        Images of every channel (per-coil), or one image of all channels (joint).

    Raises:
        InputError: a centre smaller than the calibration kernel.
    """
    if network.consistency == PER_COIL:
        return _per_coil(kspace, network)
    return _joint(kspace, settings.sensitivities, network)


def _per_coil(kspace: KSpace, network: Network) -> Iterator[ImageBlock]:
    """One channel after another."""
    for channel in track(range(kspace.n_channels), "network", kspace.n_channels):
        chosen = slice(channel, channel + 1)
        planes = kspace.planes(chosen)
        echoes = [apply_network(network, echo, kspace.sampled) for echo in planes[0]]
        yield ImageBlock(chosen, all_readouts(kspace), torch.stack(echoes)[None])


def _joint(
    kspace: KSpace, sensitivities: SensitivitySettings, network: Network
) -> Iterator[ImageBlock]:
    """Many readout positions at a time, with those about them that a result depends on."""
    few = compress_channels(kspace, sensitivities.n_virtual)
    maps, reach = espirit_in_slabs(few, sensitivities).supported, network.readout_reach
    n_x = few.acquisition.grid.shape[0]
    slabs = readout_slabs(few, READOUTS_OF_A_BLOCK)
    for x in track(slabs, "network", len(slabs)):
        around = slice(max(x.start - reach, 0), min(x.stop + reach, n_x))
        echoes = [
            apply_network(
                network,
                few.planes(x=around, echoes=slice(echo, echo + 1))[:, 0],
                few.sampled,
                maps[:, around],
            )[x.start - around.start : x.stop - around.start]
            for echo in range(few.acquisition.n_echoes)
        ]
        yield ImageBlock(None, x, torch.stack(echoes)[None])
