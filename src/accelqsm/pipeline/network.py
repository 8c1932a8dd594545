"""Selection of the network of a reconstruction, with its record for the result."""

from __future__ import annotations

from pathlib import Path

from accelqsm.recon.network.protocol import Network
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.weights import chosen_weights, network_of, weights_checksum
from accelqsm.runtime.device import best_device


def network_for(
    recon: ReconSettings, network: Network | None = None
) -> tuple[Network | None, dict[str, str]]:
    """Network of a reconstruction: the given one, that of the weights, or the default; else None.

    Args:
        recon: method, weights and consistency.
        network: a network to use instead of weights.

    Returns:
        The network (None for methods without one), and ``consistency``, ``weights`` and
        ``weights_sha256`` for the record of the result.

    Raises:
        InputError: weights that cannot be used, or of another consistency than asked for.
    """
    if "network" not in RECONSTRUCTIONS[recon.method].uses:
        return None, {}
    if network is not None:
        return network, {"consistency": network.consistency}
    device = best_device()
    network = network_of(recon, device=device)
    weights = chosen_weights(recon, on_gpu=device.type == "cuda")
    known = {
        "consistency": network.consistency,
        "weights": Path(weights).name,
        "weights_sha256": weights_checksum(weights),
    }
    return network, known
