"""``accelqsm doctor``: versions, device and verified weights of the installation."""

from __future__ import annotations

import argparse

NAME = "doctor"
HELP = "versions, device and weights of this installation"
EXAMPLE = "accelqsm doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no arguments."""


def run(options: argparse.Namespace) -> None:
    """Print versions, device and verified weights, one per line."""
    from accelqsm.recon.weights import load_network, packaged_weights, weights_checksum
    from accelqsm.results.provenance import software
    from accelqsm.runtime.device import best_device, device_name

    for name, version in software().items():
        print(f"{name:<10s} {version}")
    print(f"{'device':<10s} {device_name(best_device())}")
    for name in packaged_weights():
        load_network(name)
        print(f"weights of '{name}': sha256 {weights_checksum(name)} (verified)")
