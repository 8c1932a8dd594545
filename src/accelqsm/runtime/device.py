"""Choice of the computing device, and transfer of records of tensors to it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from accelqsm.errors import InputError, InputWarning

CPU = torch.device("cpu")
PRECISION_VARIABLE, SINGLE, AUTOMATIC = "ACCELQSM_PRECISION", "single", "automatic"
Value = TypeVar("Value")


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def convolves_in_bfloat16(device: torch.device) -> bool:
    """Whether networks convolve in bfloat16 on a device: on a GPU, and on a CPU with tiles (AMX).

    Other CPUs gain no time. ``ACCELQSM_PRECISION=single`` keeps to float32 everywhere.

    Raises:
        InputError: another value of that variable.
    """
    precision = os.environ.get(PRECISION_VARIABLE, AUTOMATIC)
    if precision not in (AUTOMATIC, SINGLE):
        raise InputError(
            f"{PRECISION_VARIABLE}: expected '{SINGLE}' or '{AUTOMATIC}', found '{precision}'"
        )
    if precision == SINGLE:
        return False
    # Versions of torch that tell nothing of the CPU stay at float32 there.
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return device.type == "cuda" or bool(capabilities.get("amx_bf16", False))


def use_threads(number: int) -> None:
    """Compute on the CPU with so many threads, on which the last digits of sums depend."""
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


def on_gpu_or_cpu(compute: Callable[[torch.device], Value]) -> tuple[Value, torch.device]:
    """Run ``compute(device)`` on the best device, or on the CPU if the GPU's memory is too small.

    Returns:
        The value, and the device that computed it.

    Warns:
        InputWarning: a GPU whose memory does not suffice.
    """
    device = best_device()
    try:
        return compute(device), device
    except RuntimeError as error:
        if not _out_of_memory(error):
            raise
    # Outside the handler, so that the exception does not keep tensors on the GPU alive.
    warnings.warn(
        InputWarning("GPU: its memory does not hold this scan, which is computed on the CPU"),
        stacklevel=2,
    )
    return compute(CPU), CPU


def device_name(device: torch.device) -> str:
    """Device type with the name of the GPU or the number of threads, and bfloat16 if used."""
    known = [
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{torch.get_num_threads()} threads"
    ]
    if convolves_in_bfloat16(device):
        known.append("bfloat16")
    return f"{device.type} ({', '.join(known)})"


def on_device(value: Value, device: torch.device) -> Value:
    """Copy of a dataclass with all of its tensors on a device."""
    moved: dict[str, Any] = {
        field.name: getattr(value, field.name).to(device)
        for field in fields(value)  # type: ignore[arg-type]
        if isinstance(getattr(value, field.name), Tensor)
    }
    return replace(value, **moved)  # type: ignore[type-var]


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether a device ran out of memory; some CUDA libraries say so only in the message."""
    return isinstance(error, torch.OutOfMemoryError) or "ALLOC_FAILED" in str(error)
