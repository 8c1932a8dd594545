"""The network of a reconstruction, chosen once for a scan, and what is recorded of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.recon.method_settings import NetworkSettings
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
    wanted = recon.network.consistency
    weights = recon.network.weights or default_weights(wanted or "joint", best_device())
    any_consistency = replace(recon, network=NetworkSettings(weights=str(weights)))
    network = network_of(any_consistency, device=best_device())
    if wanted and network.consistency != wanted:
        raise InputError(
            f"{weights}: a network of --consistency {network.consistency}, expected one of {wanted}"
        )
    known = {
        "consistency": network.consistency,
        "weights": Path(weights).name,
        "weights_sha256": weights_checksum(weights),
    }
    return network, known
