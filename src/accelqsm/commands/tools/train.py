"""``accelqsm train``: train ReconNet3D on digital heads or fully sampled scans."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.commands.common import SettingsFile, add_settings_file
from accelqsm.options.arguments import add_settings
from accelqsm.recon.network.architecture import Architecture
from accelqsm.training.settings import DataSettings, TrainingSettings

NAME = "train"
HELP = "train ReconNet3D on digital heads or fully sampled scans; resumes"
EXAMPLE = """accelqsm train weights --steps 2000
torchrun --nproc-per-node 4 --module accelqsm.cli train weights --data scans"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of output folder, training, architecture and data."""
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder for checkpoints, curve, errors and weights"
    )
    add_settings_file(parser)
    for record in (TrainingSettings, Architecture, DataSettings):
        add_settings(parser, record)


def run(options: argparse.Namespace) -> None:
    """Train, and print the path of the weights."""
    file = SettingsFile.of(options, "network", "training", "data")
    from dataclasses import replace

    from accelqsm.training.run import train_network

    training = file.settings(TrainingSettings, "training")
    weights = train_network(
        options.out,
        settings=replace(training, architecture=file.settings(Architecture, "network")),
        data=file.settings(DataSettings, "data"),
    )
    print(weights)
