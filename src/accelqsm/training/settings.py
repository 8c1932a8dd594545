"""Settings of training: network, optimisation and data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.settings import settings_from
from accelqsm.options.setting import CHOSEN, Settings, setting
from accelqsm.options.table import plain
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.registry import NETWORKS

TRAINING, DATA = "training", "data"
"""Tables of the settings of a run."""

FORMER_TABLE, FORMER_NETWORK = "network", "reconnet3d"
"""Table of older files with the architecture of the one network that there was."""

FIRST_TRAINING_SEED = 1000
FIRST_VALIDATION_SEED = 2000
"""Seeds below ``FIRST_TRAINING_SEED`` are reserved for demonstrations, tests and reports."""


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Settings that determine the weights, together with the data.

    Attributes:
        network_settings: architecture of the network.

    Raises:
        InputError: besides values out of range, noise whose least exceeds its most.
    """

    network: str = setting("reconnet3d", registry=NETWORKS, help="network to train")
    network_settings: Settings = CHOSEN
    start: str = setting(
        "",
        metavar="WEIGHTS",
        help="weights to go on from, a name or a file: those of the same network, or of one whose "
        "kernels it has among others (echo-joint has those of a joint reconnet3d); random weights "
        "unless given",
    )
    seed: int = setting(
        0, least=0, most=2**32 - 1, help="seed of the initial weights and the training pairs"
    )
    steps: int = setting(
        4000,
        least=1,
        most=10**9,
        help="optimiser steps of the whole run, at the end of which the learning rate is zero",
    )
    readouts: int = setting(8, least=1, most=4096, help="readout positions of a training slab")
    items: int = setting(
        2,
        least=1,
        most=4096,
        help="slabs of a step, distributed over the processes of a distributed run; for a network "
        "of all echoes a slab has several",
    )
    accelerations: tuple[float, ...] = setting(
        (3.0, 5.0),
        least=1,
        most=64,
        help="accelerations, one of which is drawn at each step",
    )
    fixed_patterns: bool = setting(
        False,
        help="one sampling pattern for each plane and acceleration (for each echo, for a network "
        "of all echoes), as a scanner has it, instead of a new one at each step",
    )
    half_weights: bool = setting(
        False, help="kernels of the weights file in half precision, which halves its size"
    )
    noise: tuple[float, float] = setting(
        (0.002, 0.03),
        above=0,
        most=1,
        help="least and most noise per real component of a channel, in units of the 99.9 "
        "percentile of the magnitude (the inverse of the signal-to-noise ratio there)",
    )
    learning_rate: float = setting(
        0.02,
        above=0,
        most=10,
        help="learning rate of the convolutions after the warm-up; that of the weights of data "
        "consistency is half of it",
    )
    warm_up_steps: int = setting(
        60, least=0, most=10**9, help="steps over which the learning rate rises linearly"
    )
    averaging: float = setting(
        0.997, least=0, below=1, help="decay of the exponential moving average of the weights"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.accelerations:
            raise InputError("accelerations: expected one or more, found none")
        check_noise(self.noise)

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine."""
        warm = min(1.0, (step + 1) / max(self.warm_up_steps, 1))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def check_noise(noise: tuple[float, float]) -> None:
    """Refuse a range of noise whose least exceeds its most.

    Raises:
        InputError: as said.
    """
    if noise[0] > noise[1]:
        raise InputError(f"noise: expected the least first, found {noise[0]:g} {noise[1]:g}")


@dataclass(frozen=True)
class DataSettings(Settings):
    """Settings of the training and validation data."""

    scans: str = setting(
        "",
        flag="data",
        metavar="DIR",
        help="folder of fully sampled MRD files; digital heads unless given",
    )
    heads: int = setting(
        14,
        least=1,
        most=FIRST_VALIDATION_SEED - FIRST_TRAINING_SEED,
        help="digital heads to train on",
    )
    validation_heads: int = setting(
        4, least=1, most=1000, help="digital heads, or subjects of the folder, for validation"
    )
    volumes_per_head: int = setting(
        6,
        least=2,
        most=1000,
        help="volumes of each head or scan: contrasts, and channels if per-coil; for a network of "
        "all echoes the echoes of one contrast, of which each slab has two or more",
    )


def training_table(tables: Mapping[str, Any], path: Path | None) -> dict[str, Any]:
    """Table ``[training]`` of a settings file, with what older files hold apart from it.

    Args:
        tables: of the file.
        path: the file, for messages.

    Raises:
        InputError: a former table ``[network]`` that cannot be used.
    """
    table = dict(tables.get(TRAINING, {}))
    former = tables.get(FORMER_TABLE)
    if former is None:
        return table
    architecture = settings_from(Architecture, FORMER_TABLE, path=path, file=former)
    return {FORMER_NETWORK: plain(architecture), **table}
