"""Reconstruction of complex images of every echo from under-sampled k-space, in blocks."""

from __future__ import annotations

from collections.abc import Iterator

from accelqsm.errors import InputError
from accelqsm.kspace import KSpace
from accelqsm.options.setting import one_of
from accelqsm.recon.blocks import ImageBlock
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.network.run import reconstruct_network
from accelqsm.recon.network.sample_weight import weighed
from accelqsm.recon.registry import RECONSTRUCTIONS, NetworkReconstruction
from accelqsm.recon.settings import ReconSettings, as_recon
from accelqsm.recon.weights import network_of


def reconstruct(
    kspace: KSpace,
    method: str | ReconSettings,
    *,
    network: Network | None = None,
    null_space: bool = False,
) -> Iterator[ImageBlock]:
    """Reconstruct the images of a scan, block by block.

    Args:
        kspace: samples, whitened by ``prewhiten`` where a noise scan exists; everything is
            computed on the device of its pattern (``KSpace.on``).
        method: name of a reconstruction, or its settings.
        network: for a network method, instead of the weights that ``method`` names. Where neither
            it nor ``method`` has a weight of the samples, the noise decides.
        null_space: tell of a network method's images what no sample tells of.

    Returns:
        Blocks of complex64 (channel, echo, x, y, z): images of every channel, or one joint image
        of all channels with ESPIRiT sensitivities of virtual channels.

    Raises:
        InputError: an unknown method, settings or a network that it does not use, weights that
            cannot be used, or a pattern that the method cannot use.
    """
    settings = as_recon(method)
    row = RECONSTRUCTIONS[settings.method]
    if row.shared_pattern and not kspace.shared_pattern:
        users = one_of(other.name for other in RECONSTRUCTIONS if not other.shared_pattern)
        raise InputError(
            f"{kspace.name}: expected one sampling pattern for all echoes with method {row.name}, "
            f"found one for each; use {users}"
        )
    if isinstance(row, NetworkReconstruction):
        if row.joins_echoes and kspace.acquisition.n_echoes < 2:
            raise InputError(
                f"{kspace.name}: expected two echoes or more with method {row.name}, found one"
            )
        chosen = network_of(settings, device=kspace.sampled.device, network=network)
        chosen = weighed(chosen, kspace)
        return reconstruct_network(
            kspace, settings, chosen, joins_echoes=row.joins_echoes, null_space=null_space
        )
    if network is not None:
        raise InputError(f"network: expected with a network, found method {settings.method}")
    blocks: Iterator[ImageBlock] = row.load()(kspace, settings)
    return blocks
