"""``accelqsm init``: the settings of a study, each with its help."""

from __future__ import annotations

import argparse
from pathlib import Path

from accelqsm.commands.study.common import STUDY_FILE, given_study
from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings
from accelqsm.study.settings import StudySettings, study_text

NAME = "init"
HELP = "settings of a study, as a TOML file in which each is explained"
EXAMPLE = "accelqsm init bids study.toml --reference pi"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of dataset, file and the settings of [study]."""
    parser.add_argument("bids", type=Path, metavar="BIDS", help="folder of the BIDS dataset")
    parser.add_argument(
        "out",
        type=Path,
        metavar="TOML",
        nargs="?",
        default=Path(STUDY_FILE),
        help=f"the file (default {STUDY_FILE}); one that is there is not replaced",
    )
    add_settings(parser, StudySettings)


def run(options: argparse.Namespace) -> None:
    """Write the settings that a run would use."""
    from accelqsm.files.atomic import write_text
    from accelqsm.files.bids.dataset import read_dataset
    from accelqsm.study.defaults import complete

    if options.out.exists():
        raise InputError(f"{options.out}: expected no file, found one")
    study, notes = complete(given_study(options), read_dataset(options.bids))
    write_text(options.out, study_text(study, notes))
    print(options.out)
    for note in notes.values():
        print(f"  {note}")
