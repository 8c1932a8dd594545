"""Training loop with validation and reproducible resumption."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from accelqsm.files.atomic import whole_file
from accelqsm.recon.network.protocol import StoredNetwork
from accelqsm.runtime.progress import track
from accelqsm.training.data import Pair, training_pairs
from accelqsm.training.processes import first_process, n_prefetching
from accelqsm.training.settings import TrainingSettings
from accelqsm.training.state import State
from accelqsm.training.validation import mean_errors
from accelqsm.training.volumes.volumes import Volumes

CHECKPOINT = "checkpoint.safetensors"
LOG = "log.csv"


def train(
    out: Path,
    training: Sequence[Volumes],
    validation: Sequence[Volumes],
    *,
    settings: TrainingSettings,
    validate_every: int = 250,
    stop_after: int | None = None,
) -> StoredNetwork:
    """Train until ``settings.steps``, resuming from a checkpoint in ``out`` if there is one.

    Args:
        out: folder of the checkpoint and of ``log.csv``.
        training: volumes to train on.
        validation: volumes for validation.
        settings: settings that determine the weights.
        validate_every: steps between validations, each of which also writes a checkpoint.
        stop_after: stop at this step, for later resumption.

    Returns:
        The network with averaged weights, in evaluation mode. On a CPU, the same settings and
        heads give the same bytes, with or without interruption.

    Raises:
        InputError: a checkpoint of other settings, or one that is not whole.

    Source: Jordan et al. 2024 (Muon, for the convolutions); Kingma and Ba 2015, ICLR,
    arXiv 1412.6980 (Adam, for everything else).
    """
    out.mkdir(parents=True, exist_ok=True)
    state = State(settings)
    if (out / CHECKPOINT).exists():
        state.load(out / CHECKPOINT)
    last = min(settings.steps, stop_after or settings.steps)
    if first_process():
        _forget_later(out / LOG, state.step)
    running = 0.0
    steps = _Steps(training, settings, range(state.step, last))
    for pairs in track(steps.in_order(n_prefetching(state.device)), "training", len(steps)):
        # Slabs have few sizes, so that a search for the fastest convolutions pays off.
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            value = state.advance(pairs)
        running = value if running == 0.0 else 0.98 * running + 0.02 * value
        if first_process() and (state.step % validate_every == 0 or state.step == last):
            _log(out / LOG, state, running, validation)
            state.save(out / CHECKPOINT)
    return state.averaged_network()


@dataclass(frozen=True)
class _Steps(Dataset[tuple[Pair, ...]]):
    """Training pairs of each of a range of steps."""

    heads: Sequence[Volumes]
    settings: TrainingSettings
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> tuple[Pair, ...]:
        return training_pairs(self.heads, step=self.steps[index], settings=self.settings)

    def in_order(self, n_processes: int) -> Iterator[tuple[Pair, ...]]:
        """Iterate in order, with pairs prefetched by other processes if there are any."""
        if n_processes == 0:
            return map(self.__getitem__, range(len(self)))
        # Spawned instead of forked, as this process may hold a GPU and threads.
        return iter(
            DataLoader(
                self,
                batch_size=None,
                num_workers=n_processes,
                prefetch_factor=1,
                multiprocessing_context="spawn",
            )
        )


def _forget_later(path: Path, step: int) -> None:
    """Remove the lines of a log that follow a step: of a run that was killed after them."""
    if not path.exists():
        return
    with open(path, newline="") as file:
        header, *rows = list(csv.reader(file)) or [[""]]
    whole = [row for row in rows if len(row) == len(header) and row[0].isdecimal()]
    kept = {int(row[0]): row for row in whole if int(row[0]) <= step}
    if not kept:
        path.unlink()
    if not kept or list(kept.values()) == rows:
        return
    with whole_file(path) as temporary, open(temporary, "w", newline="") as file:
        csv.writer(file).writerows([header, *kept.values()])


def _log(path: Path, state: State, running: float, validation: Sequence[Volumes]) -> None:
    """Append a line to the log: step, learning rate, loss, NRMSE of network and zero-filling."""
    row = {
        "step": state.step,
        "learning_rate": state.settings.rate(state.step),
        "loss": running,
    } | mean_errors(state.averaged_network(), validation)
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow({name: f"{value:.6g}" for name, value in row.items()})
