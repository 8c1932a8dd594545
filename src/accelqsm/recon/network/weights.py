"""Trained weights: find them, verify them, build the network that they belong to."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from accelqsm.errors import InputError
from accelqsm.recon.network.reconnet3d import Architecture, ReconNet3D, check_consistency

FOLDER = Path(__file__).parents[2] / "weights"
REGISTRY = FOLDER / "registry.toml"
HEADER = "accelqsm"
FORMAT = "reconnet3d-1"


def packaged_weights() -> tuple[str, ...]:
    """Names of the weights that come with the package."""
    return tuple(_registry())


def default_weights(consistency: str, device: torch.device) -> str:
    """Name of the packaged weights: of the wide network, if there is one, on a GPU.

    Raises:
        InputError: a consistency that no network has.
    """
    check_consistency(consistency)
    wide = f"{consistency}-wide"
    return wide if device.type == "cuda" and wide in _registry() else consistency


def load_network(weights: str | Path = "channels") -> ReconNet3D:
    """The trained network, in evaluation mode.

    Args:
        weights: name of weights that come with the package, whose SHA-256 must be that of the
            registry, or a safetensors file of one's own.

    Raises:
        InputError: neither name nor file, wrong checksum, or a file of another architecture.
    """
    file = _file_of(weights)
    try:
        with safe_open(file, framework="pt") as opened:
            record = json.loads((opened.metadata() or {}).get(HEADER, "{}"))
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{file}: expected safetensors, found {error}") from None
    if record.get("format") != FORMAT:
        raise InputError(f"{file}: expected format {FORMAT}, found {record.get('format')}")
    settings = record["architecture"]
    kernels = tuple(settings["readout_kernels"])
    try:
        architecture = Architecture(**(settings | {"readout_kernels": kernels}))
    except TypeError as error:
        raise InputError(f"{file}: expected the settings of an architecture, {error}") from None
    network = ReconNet3D(architecture)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    if {key: tuple(value.shape) for key, value in tensors.items()} != shapes:
        raise InputError(f"{file}: expected the tensors of {architecture}, found others")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def save_network(network: ReconNet3D, path: Path, *, about: Mapping[str, str]) -> None:
    """Write weights and architecture as safetensors, whole or not at all.

    Args:
        network: what to keep.
        path: the file.
        about: facts to keep in the header, such as how the network was trained.
    """
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    record = {**about, "format": FORMAT, "architecture": asdict(network.architecture)}
    partial = path.with_suffix(".part")
    # Safetensors writes its entries in no fixed order: one entry keeps the bytes the same.
    save_file(tensors, partial, {HEADER: json.dumps(record, sort_keys=True)})
    partial.chmod(0o644)
    os.replace(partial, path)


def weights_checksum(weights: str | Path = "channels") -> str:
    """SHA-256 of weights as ``load_network`` takes, to be written beside results.

    Raises:
        InputError: neither name nor file, or wrong checksum.
    """
    return _sha256(_file_of(weights))


def _file_of(weights: str | Path) -> Path:
    """The file of a name, after its checksum was compared with the registry's, or the file."""
    registry = _registry()
    if weights not in registry:
        if not Path(weights).is_file():
            known = " ".join(sorted(registry)) or "none"
            raise InputError(
                f"{weights}: expected a file of network weights or one of {known}, found none"
            )
        return Path(weights)
    file = FOLDER / str(registry[str(weights)]["file"])
    found, expected = _sha256(file), registry[str(weights)]["sha256"]
    if found != expected:
        raise InputError(f"{file}: expected SHA-256 {expected}, found {found}")
    return file


def _registry() -> dict[str, dict[str, str]]:
    return tomllib.loads(REGISTRY.read_text()) if REGISTRY.is_file() else {}


def _sha256(file: Path) -> str:
    if not file.is_file():
        raise InputError(f"{file}: expected a file of network weights, found none")
    return hashlib.sha256(file.read_bytes()).hexdigest()
