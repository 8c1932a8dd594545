"""Settings of training: architecture, optimisation and data."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from accelqsm.options.setting import SEPARATE_TABLE, Settings, setting
from accelqsm.recon.network.architecture import Architecture

FIRST_TRAINING_SEED = 1000
FIRST_VALIDATION_SEED = 2000
"""Seeds below ``FIRST_TRAINING_SEED`` are reserved for demonstrations, tests and reports."""


@dataclass(frozen=True)
class TrainingSettings(Settings):
    """Settings that determine the weights, together with the data.

    Attributes:
        architecture: architecture of the network.
    """

    architecture: Architecture = field(default_factory=Architecture, metadata=SEPARATE_TABLE)
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
        help="slabs of a step, distributed over the processes of a distributed run",
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

    def rate(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then half a cosine."""
        warm = min(1.0, (step + 1) / max(self.warm_up_steps, 1))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.steps))


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
        help="volumes of each head or scan: contrasts, and channels if per-coil",
    )
