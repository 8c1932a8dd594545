"""Is this installation sound?"""

from __future__ import annotations

from accelqsm.recon.network.weights import load_network, packaged_weights, weights_checksum
from accelqsm.results.provenance import device_name, software
from accelqsm.runtime.device import best_device


def report_installation() -> str:
    """Versions, device and verified weights, one a line.

    Raises:
        InputError: weights missing or damaged.
    """
    lines = [f"{name:<10s} {version}" for name, version in software().items()]
    lines.append(f"{'device':<10s} {device_name(best_device())}")
    for name in packaged_weights():
        load_network(name)
        lines.append(f"weights of '{name}': sha256 {weights_checksum(name)} (verified)")
    return "\n".join(lines)
