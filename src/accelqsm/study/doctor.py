"""Is this installation sound?"""

from __future__ import annotations

from accelqsm.recon.weights import load_network, weights_checksum
from accelqsm.study.provenance import device, software


def report_installation() -> str:
    """Versions, device and verified weights, one a line.

    Raises:
        InputError: weights missing or damaged.
    """
    lines = [f"{name:<10s} {version}" for name, version in software().items()]
    lines.append(f"{'device':<10s} {device()}")
    load_network()
    lines.append(f"{'weights':<10s} sha256 {weights_checksum()} (verified)")
    return "\n".join(lines)
