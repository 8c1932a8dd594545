"""The training command: digital heads, then steps until done; goes on where it left off."""

from __future__ import annotations

from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.recon.reconnet3d import Architecture
from accelqsm.recon.weights import save_network
from accelqsm.training.loop import TrainingSettings, train
from accelqsm.training.volumes import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    cached_volumes,
)

VOLUMES_PER_HEAD = 6
WEIGHTS_NAME = "weights.safetensors"


def train_network(
    out: Path, *, steps: int, width: int, seed: int, n_heads: int, n_validation_heads: int
) -> Path:
    """Train ReconNet3D on digital heads and write its weights.

    Heads are simulated once into ``out/heads``; ``out`` also gets a checkpoint and ``log.csv``.
    Run again, it goes on from the checkpoint, and gives the same bytes as an uninterrupted run.

    Args:
        out: folder of everything.
        steps: of the whole run.
        width: channels of the inner layers.
        seed: of the initial weights and of what each step sees.
        n_heads, n_validation_heads: digital heads to learn from, and only to look at.

    Returns:
        The weights, to be used as ``--weights FILE``.

    Raises:
        InputError: settings out of range, or a checkpoint of other settings.
    """
    if n_heads < 1:
        raise InputError(f"--heads: expected 1 or more, found {n_heads}")
    heads = out / "heads"
    training_seeds = range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + n_heads)
    validation_seeds = range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + n_validation_heads)
    training = cached_volumes(heads, seeds=training_seeds, n_volumes=VOLUMES_PER_HEAD)
    validation = cached_volumes(heads, seeds=validation_seeds, n_volumes=VOLUMES_PER_HEAD)
    settings = TrainingSettings(Architecture(width=width), seed=seed, steps=steps)
    network = train(out, training, validation, settings=settings)
    about = {
        "steps": str(steps),
        "seed": str(seed),
        "training_seeds": f"{training_seeds.start}..{training_seeds.stop - 1}",
    }
    save_network(network, out / WEIGHTS_NAME, about=about)
    return out / WEIGHTS_NAME
