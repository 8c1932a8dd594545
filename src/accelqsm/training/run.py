"""Training run: from digital heads or scans to weights and validation errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from accelqsm.figures.learning_curve import learning_curve
from accelqsm.files.atomic import whole_file
from accelqsm.files.settings import read_settings_tables, settings_from
from accelqsm.files.toml import write_settings
from accelqsm.options.table import plain
from accelqsm.recon.method_settings import JOINT
from accelqsm.recon.registry import NETWORKS
from accelqsm.recon.weights import save_network, untrained, weights_checksum
from accelqsm.training.loop import LOG, train
from accelqsm.training.processes import first_process, joined_processes, wait_for_all
from accelqsm.training.settings import (
    DATA,
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    FORMER_TABLE,
    TRAINING,
    DataSettings,
    TrainingSettings,
    training_table,
)
from accelqsm.training.validation import write_errors
from accelqsm.training.volumes.digital import cached_volumes
from accelqsm.training.volumes.measured import Scans, cached_scans, find_scans
from accelqsm.training.volumes.volumes import Kind, Volumes

ERRORS = "errors.csv"
CURVE = "learning_curve.png"
SETTINGS = "settings.toml"


def read_training_settings(path: Path | None) -> tuple[TrainingSettings, DataSettings]:
    """Settings of a run from the tables ``[training]`` and ``[data]``.

    Args:
        path: path of ``settings.toml``; None gives the defaults.

    Raises:
        InputError: a file that is not TOML, names a setting that does not exist, or holds a value
            of another type or out of range.
    """
    tables = read_settings_tables(path, TRAINING, DATA, FORMER_TABLE)
    table = training_table(tables, path)
    training = settings_from(TrainingSettings, TRAINING, path=path, file=table)
    return training, settings_from(DataSettings, DATA, path=path, file=tables.get(DATA))


def training_tables(settings: TrainingSettings, data: DataSettings) -> dict[str, dict[str, Any]]:
    """Tables of the settings, in the form that ``read_training_settings`` reads."""
    return {TRAINING: plain(settings), DATA: plain(data)}


def weights_name(network: str) -> str:
    """Name of the weights file of a run, by the network that it trains."""
    return f"{network}.safetensors"


@joined_processes()
def train_network(
    out: Path,
    *,
    settings: TrainingSettings,
    data: DataSettings,
    validate_every: int = 200,
) -> Path:
    """Train a network on digital heads or fully sampled scans, resuming from ``out``.

    Args:
        out: folder for volumes (``heads/``), checkpoint, log, learning curve, weights, errors and
            ``settings.toml``, with which the run can be repeated.
        settings: settings that determine the weights, together with the data.
        data: training and validation data.
        validate_every: steps between validations and checkpoints.

    Returns:
        The weights file; ``errors.csv`` in its folder lists the errors of every validation slab.

    Raises:
        InputError: data that cannot be used, or a checkpoint of other settings.
    """
    scans = None
    if data.scans:
        scans = find_scans(Path(data.scans), n_validation=data.validation_heads, seed=settings.seed)
    if first_process():
        out.mkdir(parents=True, exist_ok=True)
        write_settings(out / SETTINGS, training_tables(settings, data))
        _volumes(out, settings, data, scans)
    wait_for_all()
    training, validation = _volumes(out, settings, data, scans)
    file = out / weights_name(settings.network)
    network = train(out, training, validation, settings=settings, validate_every=validate_every)
    if first_process():
        write_errors(out / ERRORS, network, validation)
        with whole_file(out / CURVE) as temporary:
            temporary.write_bytes(learning_curve(pd.read_csv(out / LOG)))
        about = _about(settings, data, scans)
        save_network(network, file, about=about, half=settings.half_weights)
    wait_for_all()
    return file


def _volumes(
    out: Path, settings: TrainingSettings, data: DataSettings, scans: Scans | None
) -> tuple[list[Volumes], list[Volumes]]:
    """Training and validation volumes, from the cache if they exist."""
    with torch.device("meta"):
        consistency = untrained(settings.network, settings.network_settings).consistency
    kind = Kind(
        data.volumes_per_head,
        all_channels=consistency == JOINT,
        echoes_of_one_scan=NETWORKS[settings.network].joins_echoes,
    )
    folder = out / "heads"
    if scans is not None:
        training, validation = (
            cached_scans(folder, files, kind) for files in (scans.training, scans.validation)
        )
        return training, validation
    ranges = (
        range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + data.heads),
        range(FIRST_VALIDATION_SEED, FIRST_VALIDATION_SEED + data.validation_heads),
    )
    training, validation = (cached_volumes(folder, seeds, kind) for seeds in ranges)
    return training, validation


def _about(settings: TrainingSettings, data: DataSettings, scans: Scans | None) -> dict[str, str]:
    """Entries of the header of the weights file about their training."""
    if scans is not None:
        learned = ", ".join(path.name for path in scans.training)
    else:
        learned = f"digital heads {FIRST_TRAINING_SEED}-{FIRST_TRAINING_SEED + data.heads - 1}"
    about = {"training": json.dumps(plain(settings)), "learned_from": learned}
    if settings.start:
        about["start_sha256"] = weights_checksum(settings.start)
    return about
