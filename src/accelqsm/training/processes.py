"""One process or several: who trains on what, and where.

Under ``torchrun`` every process draws the same pair and takes its share of the slabs; gradients
are averaged, so that the weights go the way that a single process takes them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn

from accelqsm.errors import InputError
from accelqsm.training.data import Pair
from accelqsm.training.volumes import n_cores

MOST_DRAWING = 12
"""Processes beyond which a GPU waits for no pair."""


@contextmanager
def joined_processes() -> Iterator[None]:
    """Within it, be one of the group that ``torchrun`` started this process in, if it did.

    The group ends here, not with the interpreter: its threads let go of tensors late, and one
    that needs Python for that while Python ends takes the process down. Where something failed,
    the others may be waiting, and ``torchrun`` ends them.
    """
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield
    distributed.destroy_process_group()


def first_process() -> bool:
    """Whether this is the process that writes."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Return when every process has come here."""
    if distributed.is_initialized():
        distributed.barrier()


def training_device() -> torch.device:
    """This process's GPU where there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def multiplies_half_the_bits() -> bool:
    """Whether this CPU multiplies bfloat16 by itself, which halves a training step."""
    if not hasattr(torch.cpu, "get_capabilities"):  # not in every version that will do
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(unit, False) for unit in ("avx512_bf16", "amx_bf16"))


def n_drawing(device: torch.device) -> int:
    """Processes that draw pairs ahead: a GPU would wait for each, a CPU has none to spare."""
    if device.type == "cpu":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, min(MOST_DRAWING, n_cores() // here - 1))


def share_of(pair: Pair) -> Pair:
    """The items of a pair that this process trains on.

    Raises:
        InputError: items that cannot be shared out evenly.
    """
    if not distributed.is_initialized():
        return pair
    count, n = distributed.get_world_size(), len(pair.truth)
    if n % count:
        raise InputError(f"training: expected items in a multiple of {count} processes, found {n}")
    rank, each = distributed.get_rank(), n // count
    return pair.items(slice(rank * each, (rank + 1) * each))


def average_gradients(network: nn.Module) -> None:
    """Replace every gradient by its mean over processes."""
    if not distributed.is_initialized():
        return
    for parameter in network.parameters():
        distributed.all_reduce(parameter.grad)
        assert parameter.grad is not None
        parameter.grad /= distributed.get_world_size()


def average_loss(value: Tensor) -> float:
    """The mean over processes."""
    if distributed.is_initialized():
        distributed.all_reduce(value)
        value /= distributed.get_world_size()
    return float(value)
