"""Weights files of trained networks: locate, verify, load and save."""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from accelqsm.errors import InputError, naming
from accelqsm.options.setting import one_of
from accelqsm.options.table import from_table
from accelqsm.recon.method_settings import CONSISTENCIES, FORMER_CONSISTENCIES, JOINT
from accelqsm.recon.registry import RECONSTRUCTIONS, NetworkReconstruction
from accelqsm.recon.settings import ReconSettings
from accelqsm.runtime.reading import check_regular

if TYPE_CHECKING:
    import torch

    from accelqsm.recon.network.protocol import Network, StoredNetwork

FOLDER = Path(__file__).parents[1] / "weights"
REGISTRY = FOLDER / "registry.toml"
HEADER = "accelqsm"
LARGEST_WEIGHTS_BYTES = 2**30
FORMAT = "accelqsm-network-2"
FORMER_FORMAT, FORMER_NETWORK = "reconnet3d-1", "reconnet3d"
"""Format and network of older files, which do not name their network."""


def packaged_weights() -> tuple[str, ...]:
    """Names of the weights in the package."""
    return tuple(_registry())


def default_weights(consistency: str, device: torch.device) -> str:
    """Name of the packaged weights for a consistency; on a GPU the wide network, if there is one.

    Raises:
        InputError: a consistency that no network has.
    """
    consistency = FORMER_CONSISTENCIES.get(consistency, consistency)
    if consistency not in CONSISTENCIES:
        raise InputError(f"consistency: expected {one_of(CONSISTENCIES)}, found '{consistency}'")
    wide = f"{consistency}-wide"
    return wide if device.type == "cuda" and wide in _registry() else consistency


def load_network(weights: str | Path = JOINT) -> StoredNetwork:
    """Load a trained network, in evaluation mode.

    Args:
        weights: name of weights in the package, whose SHA-256 must match the registry, or a
            safetensors file of any network in ``RECONSTRUCTIONS``.

    Raises:
        InputError: neither name nor file, wrong checksum, or a file of another architecture.
    """
    file = weights_file(weights)
    try:
        with safe_open(file, framework="pt") as opened:
            record = _record(file, (opened.metadata() or {}).get(HEADER, "{}"))
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{file}: expected safetensors, found {error}") from None
    import torch

    with naming(file):
        with torch.device("meta"):  # nothing is allocated before the shapes are compared
            planned = _build_untrained(record)
        shapes = {key: tuple(value.shape) for key, value in planned.state_dict().items()}
        if {key: tuple(value.shape) for key, value in tensors.items()} != shapes:
            raise InputError(f"expected the tensors of {planned.architecture}, found others")
        if not all(bool(value.isfinite().all()) for value in tensors.values()):
            raise InputError("expected finite weights, found NaN or infinity")
        network = _build_untrained(record)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def _record(file: Path, text: str) -> dict[str, Any]:
    """Our entry of the header of a weights file."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: expected a header in JSON, found {error}") from None
    found = record.get("format") if isinstance(record, dict) else record
    if found not in (FORMAT, FORMER_FORMAT):
        raise InputError(f"{file}: expected format {FORMAT}, found {str(found)[:40]}")
    return dict(record)


def save_network(network: StoredNetwork, path: Path, *, about: Mapping[str, str]) -> None:
    """Write weights, architecture and the name of the network as safetensors, atomically.

    Args:
        network: of a class that a row of ``RECONSTRUCTIONS`` names.
        path: the file.
        about: further entries of the header, such as the training settings.

    Raises:
        InputError: a network of another class.
    """
    from safetensors.torch import save

    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    record = {
        **about,
        "format": FORMAT,
        "network": _row_of(network).name,
        "architecture": asdict(network.architecture),
    }
    # Safetensors writes header entries in no fixed order: a single entry makes files reproducible.
    made = save(tensors, {HEADER: json.dumps(record, sort_keys=True)})
    partial = path.with_suffix(".part")
    try:
        partial.write_bytes(made)
        partial.chmod(0o644)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def weights_checksum(weights: str | Path = JOINT) -> str:
    """SHA-256 of weights (as for ``load_network``), for the record of a result.

    Raises:
        InputError: neither name nor file, or wrong checksum.
    """
    return _sha256(weights_file(weights))


def weights_file(weights: str | Path) -> Path:
    """The file of a name, after its checksum was compared with the registry's, or the file.

    Raises:
        InputError: neither name nor file, or wrong checksum.
    """
    registry = _registry()
    entry = next(
        (e for name, e in registry.items() if weights in (name, *e.get("aliases", ()))), None
    )
    if entry is None:
        if not Path(weights).exists():
            known = " ".join(sorted(registry)) or "none"
            raise InputError(
                f"{weights}: expected a file of network weights or one of {known}, found none"
            )
        if check_regular(weights) > LARGEST_WEIGHTS_BYTES:
            raise InputError(f"{weights}: expected at most 1 GiB of weights, found more")
        return Path(weights)
    file = FOLDER / str(entry["file"])
    found, expected = _sha256(file), entry["sha256"]
    if found != expected:
        raise InputError(f"{file}: expected SHA-256 {expected}, found {found}")
    return file


def network_of(
    settings: ReconSettings, *, device: torch.device, network: Network | None = None
) -> Network:
    """Network of a reconstruction on a device: the given one, or that of the weights.

    Args:
        settings: with weights, a consistency, both or neither.
        device: the device to move it to, if it is a ``torch.nn.Module``.
        network: a network to use instead of weights.

    Raises:
        InputError: weights that cannot be used, those of another method, or another consistency
            than asked for.
    """
    from torch import nn

    wanted, name = settings.network.consistency, "network"
    if network is None:
        weights = settings.network.weights or default_weights(wanted or JOINT, device)
        name = str(weights)
        stored = load_network(weights)
        found = _row_of(stored).name
        if found != settings.method:
            raise InputError(f"{weights}: expected weights of {settings.method}, found {found}")
        network = stored
    if wanted is not None and network.consistency != wanted:
        raise InputError(
            f"{name}: expected a network of --consistency {wanted}, found one of "
            f"{network.consistency}"
        )
    return network.to(device) if isinstance(network, nn.Module) else network


def _build_untrained(record: Mapping[str, Any]) -> StoredNetwork:
    """Construct the network that the header of a weights file names, with random weights."""
    name = record.get("network", FORMER_NETWORK)
    rows = _network_rows()
    if not isinstance(name, str) or name not in rows:
        raise InputError(f"network: expected {one_of(rows)}, found '{str(name)[:40]}'")
    row = rows[name]
    network: StoredNetwork = row.load()(
        from_table(row.architecture, record.get("architecture", {}))
    )
    return network


def _row_of(network: StoredNetwork) -> NetworkReconstruction:
    """Registry row of the class of a network."""
    for row in _network_rows().values():
        if type(network) is row.load():
            return row
    raise InputError(f"network: expected {one_of(_network_rows())}, found {type(network).__name__}")


def _network_rows() -> dict[str, NetworkReconstruction]:
    return {row.name: row for row in RECONSTRUCTIONS if isinstance(row, NetworkReconstruction)}


def _registry() -> dict[str, dict[str, Any]]:
    return tomllib.loads(REGISTRY.read_text()) if REGISTRY.is_file() else {}


def _sha256(file: Path) -> str:
    if not file.exists():
        raise InputError(f"{file}: expected a file of network weights, found none")
    check_regular(file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
