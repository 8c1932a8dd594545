"""The network of a reconstruction, chosen once for a scan, and what is recorded of it."""

from __future__ import annotations

from pathlib import Path

from accelqsm.recon.network.protocol import Network
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.weights import default_weights, network_of, weights_checksum
from accelqsm.runtime.device import best_device


def network_for(
    recon: ReconSettings, network: Network | None = None
) -> tuple[Network | None, dict[str, str]]:
    """The network given, that of the weights named, or the package's; None for other methods.

    Args:
        recon: method, weights and consistency.
        network: one that is there already.

    Returns:
        The network, and ``consistency``, ``weights`` and ``weights_sha256`` as they are recorded.

    Raises:
        InputError: weights that cannot be used, or of another consistency than asked for.
    """
    if "network" not in RECONSTRUCTIONS[recon.method].uses:
        return None, {}
    if network is not None:
        return network, {"consistency": network.consistency}
    device = best_device()
    network = network_of(recon, device=device)
    weights = recon.network.weights or default_weights(network.consistency, device)
    known = {
        "consistency": network.consistency,
        "weights": Path(weights).name,
        "weights_sha256": weights_checksum(weights),
    }
    return network, known
