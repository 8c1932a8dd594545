"""Selection of the network of a reconstruction, with its record for the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelqsm.kspace import KSpace
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.weights import chosen_weights, network_of, weights_checksum
from accelqsm.runtime.device import best_device


def network_for(
    kspace: KSpace, recon: ReconSettings, network: Network | None = None
) -> tuple[Network | None, dict[str, Any]]:
    """Network of a reconstruction: the given one, that of the weights, or the default; else None.

    Args:
        kspace: samples, whose noise decides how much they count where nothing else does.
        recon: method, weights and consistency.
        network: a network to use instead of weights.

    Returns:
        The network (None for methods without one), and ``consistency``, ``sample_weight`` (of
        networks that have one), ``weights`` and ``weights_sha256`` for the record of the result.

    Raises:
        InputError: weights that cannot be used, or of another consistency than asked for.
    """
    if "network" not in RECONSTRUCTIONS[recon.method].uses:
        return None, {}
    from accelqsm.recon.network.sample_weight import weighed
    from accelqsm.recon.network.unrolled import CascadeNetwork

    given = network is not None
    device = best_device() if network is None else network.device
    network = weighed(network_of(recon, device=device, network=network), kspace)
    known: dict[str, Any] = {"consistency": network.consistency}
    if isinstance(network, CascadeNetwork) and network.sample_weight is not None:
        known["sample_weight"] = round(network.sample_weight, 2)
    if given:
        return network, known
    weights = chosen_weights(recon, on_gpu=device.type == "cuda")
    known |= {"weights": Path(weights).name, "weights_sha256": weights_checksum(weights)}
    return network, known
