"""Where to compute, and taking there what is computed with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

Value = TypeVar("Value")


def best_device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_gpu_or_cpu(compute: Callable[[torch.device], Value]) -> Value:
    """What ``compute(device)`` gives on the best device, or on the CPU where that is too small."""
    try:
        return compute(best_device())
    except torch.OutOfMemoryError:
        return compute(torch.device("cpu"))


def on_device(value: Value, device: torch.device) -> Value:
    """A dataclass with all of its tensors on a device; the rest of it is shared."""
    there: dict[str, Any] = {
        field.name: getattr(value, field.name).to(device)
        for field in fields(value)  # type: ignore[arg-type]
        if isinstance(getattr(value, field.name), Tensor)
    }
    return replace(value, **there)  # type: ignore[type-var]
