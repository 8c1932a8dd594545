"""Train ReconNet3D: one step after another, validated, resumable to the byte."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.network.reconnet3d import Architecture, ReconNet3D
from accelqsm.recon.network.weights import HEADER
from accelqsm.runtime.device import on_device
from accelqsm.runtime.progress import track
from accelqsm.training.data import Pair, training_pair, validation_pairs
from accelqsm.training.loss import loss
from accelqsm.training.muon import Muon
from accelqsm.training.processes import (
    average_gradients,
    average_loss,
    first_process,
    multiplies_half_the_bits,
    n_drawing,
    share_of,
    training_device,
)
from accelqsm.training.volumes import Volumes

VALIDATION_ACCELERATIONS = (3.0, 4.0, 5.0)
LARGEST_GRADIENT = 1.0
CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"


@dataclass(frozen=True)
class TrainingSettings:
    """What determines the weights, together with the training heads.

    Attributes:
        architecture: shape of the network.
        seed: draws the initial weights and every pair.
        steps: steps of the whole run; the learning rate falls to zero by a cosine at its end.
        readouts: readout positions of a training slab.
        items: slabs of a step, shared out among the processes of a distributed run.
        learning_rate: of the convolutions, after the warm-up; consistency learns at half of it.
        warm_up_steps: over which the learning rate rises linearly.
        averaging: decay of the exponential average of the weights, which is what is kept.
    """

    architecture: Architecture = field(default_factory=Architecture)
    seed: int = 0
    steps: int = 4000
    readouts: int = 8
    items: int = 2
    learning_rate: float = 0.02
    warm_up_steps: int = 60
    averaging: float = 0.997

    def __post_init__(self) -> None:
        if self.steps < 1 or self.readouts < 1 or not self.learning_rate > 0:
            raise InputError(
                "training: expected steps >= 1, readouts >= 1 and a learning rate > 0, found "
                f"{self.steps}, {self.readouts} and {self.learning_rate:g}"
            )

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine."""
        warm = min(1.0, (step + 1) / max(self.warm_up_steps, 1))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


class State:
    """Everything that a step changes: weights, their average, the optimiser and the step count."""

    def __init__(self, settings: TrainingSettings) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.device = training_device()
        self.network = ReconNet3D(settings.architecture).to(self.device)
        self.network.half_on_cpu = multiplies_half_the_bits()
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        kernels = [p for p in self.network.parameters() if p.dim() > 1]
        self.optimisers: tuple[tuple[str, torch.optim.Optimizer, float], ...] = (
            ("muon", Muon(kernels), 1.0),
            ("adam", torch.optim.Adam([self.network.log_weights], lr=0.0), 0.5),
        )
        self.step = 0

    def advance(self, pair: Pair) -> float:
        """Take one step on a pair; returns the loss before it."""
        settings = self.settings
        self.network.zero_grad(set_to_none=True)
        pair = on_device(share_of(pair), self.device)
        value = loss(self.network(pair.measured, pair.sampled, pair.maps), pair)
        value.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.network)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        for _, optimiser, share in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = share * settings.rate(self.step)
            optimiser.step()
        self.step += 1
        decay = min(settings.averaging, self.step / (self.step + 10))
        for name, current in self.network.state_dict().items():
            self.average[name].lerp_(current, 1 - decay)
        return average_loss(value.detach())

    def averaged_network(self) -> ReconNet3D:
        """The network with the averaged weights."""
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
        # One entry, as several have no fixed order: the same state gives the same bytes.
        record = {"step": self.step, "settings": asdict(self.settings)}
        partial = path.with_suffix(".part")
        save_file(
            {k: v.contiguous() for k, v in tensors.items()}, partial, {HEADER: json.dumps(record)}
        )
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        """Continue from a checkpoint of the same settings (the number of steps may differ).

        Raises:
            InputError: a checkpoint of other settings.
        """
        with safe_open(path, framework="pt") as file:
            record = json.loads(file.metadata()[HEADER])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        found, expected = record["settings"], _plain(self.settings)
        for name in (f.name for f in fields(self.settings) if f.name != "steps"):
            if found[name] != expected[name]:
                raise InputError(
                    f"{path}: {name} is {found[name]}, expected {expected[name]} to resume"
                )
        self.network.load_state_dict(_below(tensors, "weights/"))
        self.average = {k: v.to(self.device) for k, v in _below(tensors, "average/").items()}
        for kind, optimiser, _ in self.optimisers:
            state = optimiser.state_dict()
            n_moments = sum(len(group["params"]) for group in optimiser.param_groups)
            state["state"] = {i: _below(tensors, f"{kind}/{i}/") for i in range(n_moments)}
            optimiser.load_state_dict(state)
        self.step = int(record["step"])


def train(
    out: Path,
    training: Sequence[Volumes],
    validation: Sequence[Volumes],
    *,
    settings: TrainingSettings,
    validate_every: int = 250,
    stop_after: int | None = None,
) -> ReconNet3D:
    """Train until ``settings.steps``, or go on where a checkpoint in ``out`` left off.

    Args:
        out: folder of the checkpoint and of ``log.csv``.
        training: heads to learn from.
        validation: heads that are only looked at.
        settings: what determines the weights.
        validate_every: steps between validations, each of which also writes a checkpoint.
        stop_after: leave at this step, to be resumed.

    Returns:
        The network with averaged weights. On a CPU, the same settings and heads give the same
        bytes, interrupted or not.

    Raises:
        InputError: a checkpoint of other settings.

    Source: Jordan et al. 2024 (Muon, for the convolutions); Kingma and Ba 2015, ICLR,
    arXiv 1412.6980 (Adam, for the weights of the consistency).
    """
    out.mkdir(parents=True, exist_ok=True)
    state = State(settings)
    if (out / CHECKPOINT).exists():
        state.load(out / CHECKPOINT)
    last = min(settings.steps, stop_after or settings.steps)
    running = 0.0
    pairs = _Pairs(training, settings, range(state.step, last))
    for pair in track(pairs.in_order(n_drawing(state.device)), "training", len(pairs)):
        # Slabs have few sizes, for each of which the fastest convolutions are worth finding.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            value = state.advance(pair)
        running = value if running == 0.0 else 0.98 * running + 0.02 * value
        if first_process() and (state.step % validate_every == 0 or state.step == last):
            _log(out / LOG, state, running, validation)
            state.save(out / CHECKPOINT)
    return state.averaged_network()


@dataclass(frozen=True)
class _Pairs(Dataset[Pair]):
    """The pairs of some steps of a run."""

    heads: Sequence[Volumes]
    settings: TrainingSettings
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Pair:
        return training_pair(
            self.heads,
            readouts=self.settings.readouts,
            seed=self.settings.seed,
            step=self.steps[index],
            items=self.settings.items,
        )

    def in_order(self, n_processes: int) -> Iterator[Pair]:
        """One after another, drawn ahead by other processes if there are any."""
        if n_processes == 0:
            return map(self.__getitem__, range(len(self)))
        # Not copies of this process, which may hold a GPU and threads.
        return iter(
            DataLoader(
                self,
                batch_size=None,
                num_workers=n_processes,
                prefetch_factor=1,
                multiprocessing_context="spawn",
            )
        )


@dataclass(frozen=True)
class RelativeError:
    """Complex NRMSE ||image - truth|| / ||truth|| of one validation slab."""

    echo_time_s: float
    network: float
    zero_filled: float


def relative_errors(
    network: ReconNet3D,
    heads: Sequence[Volumes],
    *,
    acceleration: float,
    readouts: int = 12,
    pairs_per_head: int = 1,
) -> list[RelativeError]:
    """Errors against the images without noise, of volumes that were never trained on.

    Args:
        network: any weights.
        heads: validation heads.
        acceleration: of the patterns.
        readouts: readout positions of a slab.
        pairs_per_head: pairs of volumes of each head.
    """
    found = []
    for pair in validation_pairs(
        heads, readouts=readouts, acceleration=acceleration, pairs_per_head=pairs_per_head
    ):
        device = network.log_weights.device
        with torch.inference_mode():
            there = on_device(pair, device)
            images = network(there.measured, there.sampled, there.maps).cpu()
        plain = ifft(pair.measured, PHASE_ENCODES)
        if pair.maps is not None:
            plain = (pair.maps.conj() * plain).sum(0)
        for echo_time_s, image, zero_filled, truth in zip(
            pair.echo_times_s, images, plain, pair.truth, strict=True
        ):
            found.append(
                RelativeError(echo_time_s, _nrmse(image, truth), _nrmse(zero_filled, truth))
            )
    return found


def _nrmse(image: Tensor, truth: Tensor) -> float:
    return float(torch.linalg.vector_norm(image - truth) / torch.linalg.vector_norm(truth))


def _log(path: Path, state: State, running: float, validation: Sequence[Volumes]) -> None:
    """Append a line: step, learning rate, loss, NRMSE of the network and of zero-filling."""
    row: dict[str, float] = {
        "step": state.step,
        "learning_rate": state.settings.rate(state.step),
        "loss": running,
    }
    network = state.averaged_network()
    for acceleration in VALIDATION_ACCELERATIONS if validation else ():
        errors = relative_errors(network, validation, acceleration=acceleration)
        row[f"nrmse_af{acceleration:g}"] = fmean(e.network for e in errors)
        row[f"zero_filled_af{acceleration:g}"] = fmean(e.zero_filled for e in errors)
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})


def _plain(settings: TrainingSettings) -> dict[str, object]:
    """The settings as JSON gives them back."""
    plain: dict[str, object] = json.loads(json.dumps(asdict(settings)))
    return plain


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
