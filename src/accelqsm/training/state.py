"""State of a training run: optimiser step and checkpoints for exact resumption."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.files.atomic import whole_file
from accelqsm.options.table import from_table
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.weights import HEADER
from accelqsm.runtime.device import on_device
from accelqsm.training.data import Pair
from accelqsm.training.loss import loss
from accelqsm.training.muon import Muon
from accelqsm.training.processes import (
    average_gradients,
    average_loss,
    cpu_has_bfloat16,
    rank_of_group,
    training_device,
)
from accelqsm.training.settings import TrainingSettings

LARGEST_GRADIENT = 1.0


class State:
    """Training state: weights, their moving average, optimisers and step count."""

    def __init__(self, settings: TrainingSettings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = training_device()
        self.network = ReconNet3D(settings.architecture).to(self.device)
        self.network.half_on_cpu = cpu_has_bfloat16()
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        kernels = [p for p in self.network.parameters() if p.dim() > 1]
        self.optimisers: tuple[tuple[str, torch.optim.Optimizer, float], ...] = (
            ("muon", Muon(kernels), 1.0),
            ("adam", torch.optim.Adam([self.network.log_weights], lr=0.0), 0.5),
        )
        self.step = 0

    def advance(self, pair: Pair) -> float:
        """Take one optimiser step on a pair and return the loss before it."""
        settings = self.settings
        self.network.zero_grad(set_to_none=True)
        pair = on_device(_items_of_process(pair), self.device)
        value = loss(self.network(pair.measured, pair.sampled, pair.maps), pair)
        value.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.network)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        for _, optimiser, factor in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * settings.rate(self.step)
            optimiser.step()
        self.step += 1
        decay = min(settings.averaging, self.step / (self.step + 10))
        for name, current in self.network.state_dict().items():
            self.average[name].lerp_(current, 1 - decay)
        return average_loss(value.detach())

    def averaged_network(self) -> ReconNet3D:
        """Network with the averaged weights."""
        network = ReconNet3D(self.settings.architecture).to(self.device)
        network.load_state_dict(self.average)
        return network

    def save(self, path: Path) -> None:
        """Write the state atomically, as safetensors with the settings in its header."""
        tensors = {f"weights/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.items()}
        for kind, optimiser, _ in self.optimisers:
            for index, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"{kind}/{index}/{k}": v for k, v in moments.items()}
        # A single header entry, as several have no fixed order, makes files reproducible.
        record = {"step": self.step, "settings": asdict(self.settings)}
        made = save({k: v.contiguous() for k, v in tensors.items()}, {HEADER: json.dumps(record)})
        with whole_file(path) as temporary:
            temporary.write_bytes(made)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of the same settings (the number of steps may differ).

        Raises:
            InputError: a checkpoint of other settings, or one that is not whole.
        """
        try:
            with safe_open(path, framework="pt") as file:
                record = json.loads((file.metadata() or {})[HEADER])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            self._resume(path, record, tensors)
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"{path}: expected a whole checkpoint, found {reason}; without the file training "
                "begins anew"
            ) from error

    def _resume(self, path: Path, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        table = dict(record["settings"])
        architecture = from_table(Architecture, table.pop("architecture"))
        found = replace(from_table(TrainingSettings, table), architecture=architecture)
        for name in (f.name for f in fields(self.settings) if f.name != "steps"):
            stored, expected = getattr(found, name), getattr(self.settings, name)
            if stored != expected:
                raise InputError(f"{path}: {name} is {stored}, expected {expected} to resume")
        self.network.load_state_dict(_below(tensors, "weights/"))
        average = _below(tensors, "average/")
        self.average = {name: average[name].to(self.device) for name in self.average}
        for kind, optimiser, _ in self.optimisers:
            state = optimiser.state_dict()
            n_moments = sum(len(group["params"]) for group in optimiser.param_groups)
            state["state"] = {i: _below(tensors, f"{kind}/{i}/") for i in range(n_moments)}
            if not all(state["state"].values()):
                raise KeyError(f"no moments of {kind}")
            optimiser.load_state_dict(state)
        self.step = int(record["step"])


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _items_of_process(pair: Pair) -> Pair:
    """The items of a pair that this process trains on.

    Raises:
        InputError: items that cannot be distributed evenly.
    """
    rank, count = rank_of_group()
    n = len(pair.truth)
    if count == 1:
        return pair
    if n % count:
        raise InputError(f"training: expected items in a multiple of {count} processes, found {n}")
    each = n // count
    return pair.items(slice(rank * each, (rank + 1) * each))
