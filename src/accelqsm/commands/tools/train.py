"""``accelqsm train``: train a network on digital heads or fully sampled scans."""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext

from accelqsm.commands.common import SettingsFile, add_out, add_settings_file
from accelqsm.options.arguments import add_settings
from accelqsm.training.settings import (
    DATA,
    FORMER_TABLE,
    TRAINING,
    DataSettings,
    TrainingSettings,
    training_table,
)

NAME = "train"
HELP = "train a reconstruction network on digital heads or fully sampled scans; resumes"
EXAMPLE = """accelqsm train weights --steps 2000
torchrun --nproc-per-node 4 --module accelqsm.cli train weights --data scans"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of output folder, training, architectures and data."""
    add_out(
        parser,
        "folder for checkpoints, curve, errors and weights; resumes what an earlier run left",
    )
    add_settings_file(parser)
    for record in (TrainingSettings, DataSettings):
        add_settings(parser, record)


def run(options: argparse.Namespace) -> None:
    """Train, and print the path of the weights."""
    file = SettingsFile.of(options, TRAINING, DATA, FORMER_TABLE)
    from accelqsm.results.folder import folder_in_place

    table = training_table(file.record, options.settings)
    settings = file.settings(TrainingSettings, TRAINING, table)
    data = file.settings(DataSettings, DATA)
    first = os.environ.get("RANK", "0") == "0"  # of torchrun's processes, one owns the folder
    owned = folder_in_place(options.out, NAME, overwrite=options.overwrite, resume=True)
    with owned if first else nullcontext():
        from accelqsm.training.run import train_network

        print(train_network(options.out, settings=settings, data=data))
