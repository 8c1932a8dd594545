"""Simulate heads, train on them, keep the weights and say how good they are."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.recon.reconnet3d import ReconNet3D
from accelqsm.recon.weights import save_network
from accelqsm.training.loop import (
    VALIDATION_ACCELERATIONS,
    TrainingSettings,
    relative_errors,
    train,
)
from accelqsm.training.volumes import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    Volumes,
    cached_volumes,
)

WEIGHTS = "reconnet3d.safetensors"
ERRORS = "errors.csv"


def train_network(
    out: Path,
    *,
    settings: TrainingSettings,
    n_heads: int = 14,
    n_validation_heads: int = 4,
    volumes_per_head: int = 6,
    validate_every: int = 200,
) -> Path:
    """Train a network from nothing but digital heads; resumes where ``out`` left off.

    Args:
        out: folder for the simulated heads (``heads/``), checkpoint, log, weights and errors.
        settings: what determines the weights, together with the heads.
        n_heads: people to learn from.
        n_validation_heads: other people, only looked at.
        volumes_per_head: contrasts and channels of each.
        validate_every: steps between validations and checkpoints.

    Returns:
        The file of weights; ``errors.csv`` beside it lists every validation slab.

    Raises:
        InputError: no heads, fewer than two volumes of each, or a checkpoint of other settings.
    """
    span = FIRST_VALIDATION_SEED - FIRST_TRAINING_SEED
    if not (1 <= n_heads <= span and n_validation_heads >= 1 and volumes_per_head >= 2):
        raise InputError(
            f"training: expected 1 to {span} heads, 1 or more for validation and 2 or more volumes "
            f"of each, found {n_heads}, {n_validation_heads} and {volumes_per_head}"
        )
    training, validation = (
        cached_volumes(
            out / "heads",
            seeds=range(first, first + n),
            n_volumes=volumes_per_head,
            all_channels=settings.architecture.consistency == "channels",
        )
        for first, n in (
            (FIRST_TRAINING_SEED, n_heads),
            (FIRST_VALIDATION_SEED, n_validation_heads),
        )
    )
    network = train(out, training, validation, settings=settings, validate_every=validate_every)
    write_errors(out / ERRORS, network, validation)
    about = {
        "training": json.dumps(asdict(settings)),
        "training_seeds": f"{FIRST_TRAINING_SEED}-{FIRST_TRAINING_SEED + n_heads - 1}",
    }
    save_network(network, out / WEIGHTS, about=about)
    return out / WEIGHTS


def write_errors(path: Path, network: ReconNet3D, heads: Sequence[Volumes]) -> None:
    """One line per acceleration and validation slab: echo time, NRMSE, NRMSE of zero-filling."""
    pairs_per_head = min(len(head.images) for head in heads) // 2
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["acceleration", "echo_time_ms", "nrmse", "nrmse_zero_filled"])
        for acceleration in VALIDATION_ACCELERATIONS:
            for error in relative_errors(
                network, heads, acceleration=acceleration, pairs_per_head=pairs_per_head
            ):
                writer.writerow(
                    [
                        f"{acceleration:g}",
                        f"{1000 * error.echo_time_s:.2f}",
                        f"{error.network:.4f}",
                        f"{error.zero_filled:.4f}",
                    ]
                )
