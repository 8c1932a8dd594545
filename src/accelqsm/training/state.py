"""State of a training run: optimiser step and checkpoints for exact resumption."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.atomic import whole_file
from accelqsm.options.table import from_table, plain
from accelqsm.recon.network.protocol import StoredNetwork, TrainableNetwork
from accelqsm.recon.registry import NETWORKS
from accelqsm.recon.weights import HEADER, start_from, untrained
from accelqsm.runtime.device import on_device
from accelqsm.training.data import Pair
from accelqsm.training.loss import loss
from accelqsm.training.muon import Muon
from accelqsm.training.processes import (
    average_in_place,
    average_loss,
    rank_of_group,
    training_device,
)
from accelqsm.training.settings import FORMER_NETWORK, TrainingSettings

LARGEST_GRADIENT = 1.0
NOT_LEARNED = ("steps", "half_weights")
"""Settings that may differ when a run is resumed: its length, and the form of its weights file."""


class State:
    """Training state: weights, their moving average, optimisers and step count."""

    def __init__(self, settings: TrainingSettings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = training_device()
        self.network = self._untrained()
        if settings.start:
            _start(self.network, settings.start)
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        kernels = [p for p in self.network.parameters() if p.dim() > 1]
        others = [p for p in self.network.parameters() if p.dim() <= 1]
        self.optimisers: tuple[tuple[str, torch.optim.Optimizer, float], ...] = (
            ("muon", Muon(kernels), 1.0),
            ("adam", torch.optim.Adam(others, lr=0.0), 0.5),
        )
        self.step = 0

    def _untrained(self) -> TrainableNetwork:
        settings = self.settings
        return untrained(settings.network, settings.network_settings).to(self.device)

    def advance(self, pairs: Sequence[Pair]) -> float:
        """Take one optimiser step on the mean over pairs, and return the loss before it.

        Raises:
            InputError: gradients that are not finite, after which no step would be of use.
        """
        settings = self.settings
        self.network.zero_grad(set_to_none=True)
        joins_echoes = NETWORKS[settings.network].joins_echoes
        own = _of_process(pairs) if joins_echoes else [_items_of_process(p) for p in pairs]
        total = torch.zeros((), device=self.device)
        for pair in own:  # one by one, as a slab of all echoes takes much memory
            here = on_device(pair, self.device)
            value = loss(self.network(here.measured, here.sampled, here.maps), here) / len(own)
            value.backward()  # type: ignore[no-untyped-call]
            total += value.detach()
        average_in_place(p.grad for p in self.network.parameters() if p.grad is not None)
        average_in_place(b for b in self.network.buffers() if b.is_floating_point())
        size = torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        if not bool(size.isfinite()):
            raise InputError(
                f"step {self.step}: expected finite gradients, found {float(size)}; a smaller "
                "--learning-rate may help (the last checkpoint is kept)"
            )
        for _, optimiser, factor in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = factor * settings.rate(self.step)
            optimiser.step()
        self.step += 1
        decay = min(settings.averaging, self.step / (self.step + 10))
        for name, current in self.network.state_dict().items():
            if current.is_floating_point():
                self.average[name].lerp_(current, 1 - decay)
            else:
                self.average[name].copy_(current)
        return average_loss(total)

    def averaged_network(self) -> StoredNetwork:
        """Network with the averaged weights, in evaluation mode."""
        network = self._untrained()
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, path: Path) -> None:
        """Write the state atomically, as safetensors with the settings in its header."""
        tensors = {f"weights/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.items()}
        for kind, optimiser, _ in self.optimisers:
            for index, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"{kind}/{index}/{k}": v for k, v in moments.items()}
        # A single header entry, as several have no fixed order, makes files reproducible.
        record = {"step": self.step, "settings": plain(self.settings)}
        made = save({k: v.contiguous() for k, v in tensors.items()}, {HEADER: json.dumps(record)})
        with whole_file(path) as temporary:
            temporary.write_bytes(made)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of the same settings, but for those in ``NOT_LEARNED``.

        Raises:
            InputError: a checkpoint of other settings, or one that is not whole.
        """
        with whole_checkpoint(path, of="training") as (record, tensors):
            self._resume(path, record, tensors)

    def _resume(self, path: Path, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        table = dict(record["settings"])
        if "architecture" in table:  # of checkpoints from before there was a second network
            table[FORMER_NETWORK] = table.pop("architecture")
        found = from_table(TrainingSettings, table)
        for name in (f.name for f in fields(self.settings) if f.name not in NOT_LEARNED):
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


@contextmanager
def whole_checkpoint(path: Path, *, of: str) -> Iterator[tuple[dict[str, Any], dict[str, Tensor]]]:
    """Record and tensors of a checkpoint; what fails while they are used makes it not whole.

    Args:
        path: the file.
        of: what goes on from it, in a word.

    Raises:
        InputError: a checkpoint that is not whole.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        yield record, tensors
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"{path}: expected a whole checkpoint, found {reason}; without the file {of} "
            "begins anew"
        ) from error


def _start(network: TrainableNetwork, weights: str) -> None:
    """Give a network weights to go on from, and say which of its own these lack.

    Warns:
        InputWarning: tensors that begin untrained.
    """
    if lacking := start_from(weights, network):
        shown = ", ".join(lacking[:3]) + (" and others" if len(lacking) > 3 else "")
        warnings.warn(
            InputWarning(f"{weights}: lacks {shown}, which begin untrained"), stacklevel=4
        )


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _items_of_process(pair: Pair) -> Pair:
    """The items of a pair that this process trains on."""
    return pair.items(_part_of_process(len(pair.truth))) if rank_of_group()[1] > 1 else pair


def _of_process(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """The pairs, each of which holds all echoes of a slab, that this process trains on."""
    return pairs[_part_of_process(len(pairs))]


def _part_of_process(n: int) -> slice:
    """Which of n slabs this process trains on.

    Raises:
        InputError: slabs that cannot be distributed evenly.
    """
    rank, count = rank_of_group()
    if n % count:
        raise InputError(f"training: expected items in a multiple of {count} processes, found {n}")
    each = n // count
    return slice(rank * each, (rank + 1) * each)
