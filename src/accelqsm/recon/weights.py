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
from accelqsm.options.setting import Settings, one_of
from accelqsm.options.table import from_table
from accelqsm.recon.method_settings import CONSISTENCIES, FORMER_CONSISTENCIES, JOINT
from accelqsm.recon.registry import NETWORKS, NetworkReconstruction
from accelqsm.recon.settings import ReconSettings
from accelqsm.runtime.reading import check_regular

if TYPE_CHECKING:
    import torch

    from accelqsm.recon.network.protocol import Network, StoredNetwork, TrainableNetwork

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


def default_weights(network: str, consistency: str = JOINT, *, on_gpu: bool = False) -> str:
    """Name of the packaged weights of a network; on a GPU those meant for it, if there are any.

    Raises:
        InputError: a consistency that no network has, or no such weights in the package.
    """
    consistency = FORMER_CONSISTENCIES.get(consistency, consistency)
    if consistency not in CONSISTENCIES:
        raise InputError(f"consistency: expected {one_of(CONSISTENCIES)}, found '{consistency}'")
    found = {
        entry.get("device", "cpu"): name
        for name, entry in _registry().items()
        if (entry["network"], entry["consistency"]) == (network, consistency)
    }
    if not found:
        raise InputError(
            f"{network}: expected weights, found none of consistency {consistency} in the package: "
            f"name a file (--weights FILE), or train one (accelqsm train OUT --network {network})"
        )
    return found.get("cuda" if on_gpu else "cpu", next(iter(found.values())))


def chosen_weights(settings: ReconSettings, *, on_gpu: bool = False) -> str:
    """The weights of a reconstruction by a network: a name or file, or those of the package.

    Raises:
        InputError: none were given, and the package has none for the network and consistency.
    """
    given = settings.network
    return given.weights or default_weights(
        settings.method, given.consistency or JOINT, on_gpu=on_gpu
    )


def load_network(weights: str | Path = JOINT) -> StoredNetwork:
    """Load a trained network, in evaluation mode.

    Args:
        weights: name of weights in the package, whose SHA-256 must match the registry, or a
            safetensors file of any network in ``NETWORKS``.

    Raises:
        InputError: neither name nor file, wrong checksum, or a file of another architecture.
    """
    file, record, tensors = _read(weights)
    import torch

    with naming(file):
        name, architecture = _named(record)
        with torch.device("meta"):  # nothing is allocated before the shapes are compared
            planned = untrained(name, architecture)
        shapes = {key: tuple(value.shape) for key, value in planned.state_dict().items()}
        if {key: tuple(value.shape) for key, value in tensors.items()} != shapes:
            raise InputError(f"expected the tensors of {planned.architecture}, found others")
        network = untrained(name, architecture)
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False)


def start_from(weights: str | Path, network: TrainableNetwork) -> tuple[str, ...]:
    """Give a network the weights of another, or of its own kind, to be trained further.

    Args:
        weights: a name or a file, as for ``load_network``.
        network: an untrained network, which keeps what the weights lack.

    Returns:
        Names of the tensors that the weights lack.

    Raises:
        InputError: weights that cannot be read, or of which one has no place in the network.
    """
    file, _, tensors = _read(weights)
    own = network.state_dict()
    for name in tensors:
        expected, found = (tuple(t[name].shape) if name in t else None for t in (own, tensors))
        if found != expected:
            raise InputError(
                f"{file}: expected weights that {name_of(network)} can start from, found "
                f"{name} of shape {found}" + (f" instead of {expected}" if expected else "")
            )
    network.load_state_dict(own | tensors)
    return tuple(name for name in own if name not in tensors)


def _read(weights: str | Path) -> tuple[Path, dict[str, Any], dict[str, torch.Tensor]]:
    """File, our entry of its header, and tensors, all of them finite."""
    file = weights_file(weights)
    try:
        with safe_open(file, framework="pt") as opened:
            record = _record(file, (opened.metadata() or {}).get(HEADER, "{}"))
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{file}: expected safetensors, found {error}") from None
    if not all(bool(value.isfinite().all()) for value in tensors.values()):
        raise InputError(f"{file}: expected finite weights, found NaN or infinity")
    return file, record, tensors


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


def save_network(
    network: StoredNetwork, path: Path, *, about: Mapping[str, str], half: bool = False
) -> None:
    """Write weights, architecture and the name of the network as safetensors, atomically.

    Args:
        network: of a class that a row of ``NETWORKS`` names.
        path: the file.
        about: further entries of the header, such as the training settings.
        half: kernels in half precision, which halves the file; they are loaded as any others.

    Raises:
        InputError: a network of another class.
    """
    from safetensors.torch import save

    tensors = {
        name: (value.half() if half and value.dim() > 1 else value).contiguous()
        for name, value in network.state_dict().items()
    }
    record = {
        **about,
        "format": FORMAT,
        "network": name_of(network),
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
            than asked for, or a weight of the samples for a network that has none.
    """
    from torch import nn

    from accelqsm.recon.network.unrolled import CascadeNetwork

    wanted, name = settings.network.consistency, "network"
    if network is None:
        name = chosen_weights(settings, on_gpu=device.type == "cuda")
        network = load_network(name)
    found = _row_of(network)
    if found is not None and found.name != settings.method:
        raise InputError(f"{name}: expected weights of {settings.method}, found {found.name}")
    if wanted is not None and network.consistency != wanted:
        raise InputError(
            f"{name}: expected a network of --consistency {wanted}, found one of "
            f"{network.consistency}"
        )
    weight = settings.network.sample_weight
    if weight is not None and isinstance(network, CascadeNetwork):
        network = network.weighing(weight)
    elif weight not in (None, 1):
        raise InputError(
            "--sample-weight: expected 1 with a network whose data consistency has no weights, "
            f"found {weight:g} with {name}"
        )
    return network.to(device) if isinstance(network, nn.Module) else network


def untrained(name: str, architecture: Settings) -> TrainableNetwork:
    """The network of a name and an architecture, with random weights.

    Raises:
        InputError: a name that no network has.
    """
    network: TrainableNetwork = NETWORKS[name].load()(architecture)
    return network


def name_of(network: Network) -> str:
    """Name of the row of a network's class.

    Raises:
        InputError: a class that no row names.
    """
    row = _row_of(network)
    if row is None:
        expected = one_of(NETWORKS.names)
        raise InputError(f"network: expected {expected}, found {type(network).__name__}")
    return row.name


def _named(record: Mapping[str, Any]) -> tuple[str, Settings]:
    """Network and architecture that the header of a weights file names."""
    row = NETWORKS[record.get("network", FORMER_NETWORK)]
    return row.name, from_table(row.architecture, record.get("architecture", {}))


def _row_of(network: Network) -> NetworkReconstruction | None:
    """Row of the class of a network; None for a class of the user's own."""
    return next((row for row in NETWORKS if type(network) is row.load()), None)


def _registry() -> dict[str, dict[str, Any]]:
    return tomllib.loads(REGISTRY.read_text()) if REGISTRY.is_file() else {}


def _sha256(file: Path) -> str:
    if not file.exists():
        raise InputError(f"{file}: expected a file of network weights, found none")
    check_regular(file)
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
