"""From heads or scans to weights, and how good they are."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.settings import settings_from
from accelqsm.files.toml import write_settings
from accelqsm.recon.network.reconnet3d import Architecture, ReconNet3D
from accelqsm.recon.network.weights import save_network
from accelqsm.training.curve import draw_curve
from accelqsm.training.loop import (
    LOG,
    VALIDATION_ACCELERATIONS,
    TrainingSettings,
    relative_errors,
    train,
)
from accelqsm.training.measured import Scans, cached_scans, find_scans
from accelqsm.training.processes import first_process, joined_processes, wait_for_all
from accelqsm.training.volumes import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    Volumes,
    cached_volumes,
)

WEIGHTS = "reconnet3d.safetensors"
ERRORS = "errors.csv"
CURVE = "learning_curve.png"
SETTINGS = "settings.toml"


@dataclass(frozen=True)
class DataSettings:
    """What is learned from.

    Attributes:
        scans: folder of fully sampled MRD files; empty for digital heads.
        heads: digital heads to learn from.
        validation_heads: other heads, or subjects of the folder, that are only looked at.
        volumes_per_head: contrasts, and channels where each is received by one, of a head.
    """

    scans: str = ""
    heads: int = 14
    validation_heads: int = 4
    volumes_per_head: int = 6

    def __post_init__(self) -> None:
        span = FIRST_VALIDATION_SEED - FIRST_TRAINING_SEED
        if not 1 <= self.heads <= span or self.validation_heads < 1 or self.volumes_per_head < 2:
            raise InputError(
                f"training: expected 1 to {span} heads, 1 or more for validation and 2 or more "
                f"volumes of each, found {self.heads}, {self.validation_heads} and "
                f"{self.volumes_per_head}"
            )


def read_training_settings(path: Path | None) -> tuple[TrainingSettings, DataSettings]:
    """Settings of a run from the tables ``[network]``, ``[training]`` and ``[data]``.

    Raises:
        InputError: a file that is not TOML, or names a setting that does not exist.
    """
    architecture = settings_from(path, "network", Architecture())
    training = settings_from(path, "training", TrainingSettings(architecture))
    return training, settings_from(path, "data", DataSettings())


@joined_processes()
def train_network(
    out: Path,
    *,
    settings: TrainingSettings,
    data: DataSettings,
    validate_every: int = 200,
) -> Path:
    """Train a network on digital heads or fully sampled scans; resumes where ``out`` left off.

    Args:
        out: folder for volumes (``heads/``), checkpoint, log, learning curve, weights, errors and
            ``settings.toml``, with which the run can be replayed.
        settings: what determines the weights, together with the data.
        data: what is learned from.
        validate_every: steps between validations and checkpoints.

    Returns:
        The file of weights; ``errors.csv`` beside it lists every validation slab.

    Raises:
        InputError: data that cannot be used, or a checkpoint of other settings.
    """
    everywhere = settings.architecture.consistency == "channels"
    scans = None
    if data.scans:
        scans = find_scans(Path(data.scans), n_validation=data.validation_heads, seed=settings.seed)
    if first_process():
        out.mkdir(parents=True, exist_ok=True)
        write_settings(out / SETTINGS, _tables(settings, data))
        _volumes(out, data, scans, all_channels=everywhere)
    wait_for_all()
    training, validation = _volumes(out, data, scans, all_channels=everywhere)
    network = train(out, training, validation, settings=settings, validate_every=validate_every)
    if first_process():
        write_errors(out / ERRORS, network, validation)
        draw_curve(out / LOG, out / CURVE)
        save_network(network, out / WEIGHTS, about=_about(settings, data, scans))
    wait_for_all()
    return out / WEIGHTS


def _volumes(
    out: Path, data: DataSettings, scans: Scans | None, *, all_channels: bool
) -> tuple[list[Volumes], list[Volumes]]:
    """What is learned from and what is looked at, from the cache where it is there already."""
    folder, n = out / "heads", data.volumes_per_head
    if scans is not None:
        return (
            cached_scans(folder, scans.training, n_volumes=n, all_channels=all_channels),
            cached_scans(folder, scans.validation, n_volumes=n, all_channels=all_channels),
        )
    ranges = (
        range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + data.heads),
        range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + data.validation_heads),
    )
    training, validation = (
        cached_volumes(folder, seeds=seeds, n_volumes=n, all_channels=all_channels)
        for seeds in ranges
    )
    return training, validation


def _tables(settings: TrainingSettings, data: DataSettings) -> Mapping[str, Any]:
    """The settings as the tables that ``read_training_settings`` reads."""
    training = asdict(settings)
    network = training.pop("architecture")
    network["readout_kernels"] = list(network["readout_kernels"])
    return {"network": network, "training": training, "data": asdict(data)}


def _about(settings: TrainingSettings, data: DataSettings, scans: Scans | None) -> dict[str, str]:
    """What the header of the weights says of their training."""
    if scans is not None:
        learned = ", ".join(path.name for path in scans.training)
    else:
        learned = f"digital heads {FIRST_TRAINING_SEED}-{FIRST_TRAINING_SEED + data.heads - 1}"
    return {"training": json.dumps(asdict(settings)), "learned_from": learned}


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
