"""Distributed training processes, and process pools for simulation.

Under ``torchrun`` every process draws the same pair and trains on some of its slabs; gradients
are averaged, so that the weights are those of a single process.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, distributed

Value = TypeVar("Value")

MOST_DRAWING = 12
"""Largest number of processes that draw pairs for a GPU."""


@contextmanager
def joined_processes() -> Iterator[None]:
    """Join the process group of ``torchrun`` within the context, if started by it.

    The group is destroyed here and not at interpreter exit, when threads that still release
    tensors would crash the process. After an exception it is not destroyed, as other processes may
    be waiting; ``torchrun`` then ends them.
    """
    if "WORLD_SIZE" not in os.environ or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    yield
    distributed.destroy_process_group()


def first_process() -> bool:
    """Whether this is the process of rank 0, which writes files."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait_for_all() -> None:
    """Barrier for all processes."""
    if distributed.is_initialized():
        distributed.barrier()


def training_device() -> torch.device:
    """GPU of this process if there is one, else the CPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def n_prefetching(device: torch.device) -> int:
    """Number of processes that prefetch pairs: several for a GPU, none on a CPU."""
    if device.type == "cpu":
        return 0
    here = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return max(1, min(MOST_DRAWING, n_cores() // here - 1))


def rank_of_group() -> tuple[int, int]:
    """Rank of this process, and number of processes."""
    if not distributed.is_initialized():
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def average_in_place(tensors: Iterable[Tensor]) -> None:
    """Replace every tensor by its mean over processes."""
    if not distributed.is_initialized():
        return
    for tensor in tensors:
        distributed.all_reduce(tensor)
        tensor /= distributed.get_world_size()


def average_loss(value: Tensor) -> float:
    """Mean of a loss over processes."""
    if distributed.is_initialized():
        distributed.all_reduce(value)
        value /= distributed.get_world_size()
    return float(value)


def n_cores() -> int:
    """Number of CPU cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_processes(
    function: Callable[[int], Value], seeds: Sequence[int], *, each_bytes: int
) -> Iterator[Value]:
    """Map a function over seeds in parallel processes, one per core.

    Args:
        function: a picklable function.
        seeds: seeds in the order of the results; a single one is computed in this process.
        each_bytes: memory of a process.
    """
    n_processes = min(len(seeds), n_cores(), _memory_bytes() // each_bytes)
    if n_processes < 2:
        yield from map(function, seeds)
        return
    # Spawned, as a fork of a process with threads may deadlock.
    with ProcessPoolExecutor(
        n_processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
    ) as pool:
        yield from pool.map(function, seeds)


def _memory_bytes() -> int:
    """Memory of the machine, or 8 GB if unknown."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 8 * 10**9
