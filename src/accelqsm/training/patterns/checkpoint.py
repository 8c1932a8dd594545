"""Checkpoint of a learned pattern: logits, moments of Adam and step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from accelqsm.errors import InputError
from accelqsm.files.atomic import whole_file
from accelqsm.recon.weights import HEADER
from accelqsm.training.patterns.density import Density
from accelqsm.training.state import whole_checkpoint

CHECKPOINT = "checkpoint.safetensors"


def save_checkpoint(
    path: Path, step: int, density: Density, adam: torch.optim.Adam, depends: Mapping[str, Any]
) -> None:
    """Write logits, moments and step atomically.

    Args:
        path: the file.
        step: steps that were taken.
        density: whose logits learn.
        adam: their optimiser.
        depends: what the logits depend on, as JSON has it.
    """
    tensors = {"logits": density.logits.detach(), **adam.state_dict()["state"][0]}
    record = json.dumps({"step": step, "depends": dict(depends)}, sort_keys=True)
    made = save({name: value.contiguous() for name, value in tensors.items()}, {HEADER: record})
    with whole_file(path) as temporary:
        temporary.write_bytes(made)


def load_checkpoint(
    path: Path, density: Density, adam: torch.optim.Adam, depends: Mapping[str, Any]
) -> int:
    """Go on from a checkpoint, if there is one: the steps that were taken.

    Raises:
        InputError: a checkpoint of other settings, or one that is not whole.
    """
    if not path.exists():
        return 0
    with whole_checkpoint(path, of="learning") as (record, tensors):
        _check(path, record["depends"], json.loads(json.dumps(dict(depends))))
        density.logits.data.copy_(tensors.pop("logits"))
        adam.load_state_dict({**adam.state_dict(), "state": {0: tensors}})
        return int(record["step"])


def _check(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuse what other settings have led to, and name the first that differs."""
    for name, value in expected.items():
        if found[name] != value:
            raise InputError(f"{path}: {name} is {found[name]}, expected {value} to resume")
