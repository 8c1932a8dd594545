"""One process or several: groups that train together, and pools that simulate or draw.

Under ``torchrun`` every process draws the same pair and trains on some of its slabs; gradients
are averaged, so that the weights are those of a single process.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

Value = TypeVar("Value")

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


def cpu_has_bfloat16() -> bool:
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


def rank_of_group() -> tuple[int, int]:
    """Number of this process in the group, from 0 on, and number of processes."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


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


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    function: Callable[[int], Value], seeds: Sequence[int], *, each_bytes: int
) -> Iterator[Value]:
    """``function`` of every seed, one process a core; in this process where there is one to do.

    Args:
        function: can be sent to another process.
        seeds: in the order of the results.
        each_bytes: memory that a process takes.
    """
    n_processes = min(len(seeds), n_cores(), _memory_bytes() // each_bytes)
    if n_processes < 2:
        yield from map(function, seeds)
        return
    # Started afresh: a copy of a process whose libraries have threads may wait for them forever.
    with ProcessPoolExecutor(
        n_processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        yield from pool.map(function, seeds)


def _memory_bytes() -> int:
    """Of the machine, or 8 GB where it does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * 10**9
