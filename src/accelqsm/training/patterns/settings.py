"""Settings of a learned sampling pattern."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.options.setting import Settings, setting
from accelqsm.recon.method_settings import JOINT
from accelqsm.training.settings import (
    FIRST_TRAINING_SEED,
    FIRST_VALIDATION_SEED,
    TrainingSettings,
    check_noise,
)

LEARNING = "learning"
"""Table of the settings of a learned pattern."""


@dataclass(frozen=True)
class LearningSettings(Settings):
    """Settings that determine a learned pattern, together with those of a pattern.

    Raises:
        InputError: besides values out of range, noise whose least exceeds its most.
    """

    weights: str = setting(
        JOINT,
        metavar="WEIGHTS",
        help="network that the pattern is learned for, a name or a file: of all channels (joint), "
        "and for patterns of each echo preferably one of all echoes",
    )
    steps: int = setting(
        400, least=1, most=10**9, help="optimiser steps of the whole run, each of one slab"
    )
    heads: int = setting(
        8,
        least=1,
        most=FIRST_VALIDATION_SEED - FIRST_TRAINING_SEED,
        help="digital heads to learn from",
    )
    validation_heads: int = setting(
        2, least=1, most=1000, help="other digital heads, on which patterns are compared"
    )
    echoes_per_head: int = setting(
        3, least=2, most=64, help="echoes of each head where all have one pattern"
    )
    readouts: int = setting(4, least=1, most=4096, help="readout positions of a slab")
    noise: tuple[float, float] = setting(
        TrainingSettings().noise,
        above=0,
        most=1,
        help="least and most noise per real component of a channel, in units of the 99.9 "
        "percentile of the magnitude",
    )
    learning_rate: float = setting(
        0.05, above=0, most=10, help="of Adam, for the logits of the sampling probability"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_noise(self.noise)
