"""Arguments and preparation that the commands of a study have in common."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.errors import InputError
from accelqsm.options.arguments import add_settings, given_table
from accelqsm.study.settings import Study, StudySettings, read_study, study_text

if TYPE_CHECKING:
    from accelqsm.files.bids.dataset import Dataset
    from accelqsm.study.context import Context
    from accelqsm.study.plan import Selection

STUDY_FILE = "study.toml"


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of dataset, folder of the study and settings."""
    parser.add_argument("bids", type=Path, metavar="BIDS", help="folder of the BIDS dataset")
    parser.add_argument(
        "out", type=Path, metavar="OUT", help="folder of the study, a BIDS derivative dataset"
    )


def add_study_settings(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the settings file and of the settings of [study]."""
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="TOML",
        help=f"settings of all steps, as of accelqsm init; by default OUT/{STUDY_FILE}, which is "
        "written by the first run",
    )
    add_settings(parser, StudySettings)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose participants, sessions and protocols."""
    for flag, what in (
        ("participant-label", "participants, with or without sub-"),
        ("session-label", "sessions, with or without ses-"),
        ("protocol", "protocols, labels of acq-"),
    ):
        names = {f"--{flag}": None, f"--{flag.replace('-', '_')}": None}
        parser.add_argument(
            *names, nargs="+", default=[], metavar="LABEL", help=f"{what}; by default all"
        )


def selection_of(options: argparse.Namespace, until: str) -> Selection:
    """The selection of a command line."""
    from accelqsm.study.plan import Selection

    return Selection(
        tuple(label.removeprefix("sub-") for label in options.participant_label),
        tuple(label.removeprefix("ses-") for label in options.session_label),
        tuple(label.removeprefix("acq-") for label in options.protocol),
        until,
    )


def open_study(options: argparse.Namespace, *, write: bool) -> Context:
    """Dataset and settings of a study; what was assumed is said on stderr.

    Args:
        options: of the command line.
        write: write the settings into the folder of the study.

    Raises:
        InputError: no dataset, or settings that cannot be used.
    """
    from accelqsm.files.atomic import write_text
    from accelqsm.files.bids.dataset import read_dataset
    from accelqsm.study.context import Context

    dataset = read_dataset(options.bids)
    _check_out(options.out, dataset)
    path = options.out / STUDY_FILE
    study, notes = _settings(options, dataset, path)
    if write and not (path.is_file() and read_study(path) == study):
        write_text(path, study_text(study, notes))
    return Context(dataset, study, options.out)


def given_study(options: argparse.Namespace) -> Study:
    """Settings of a study from the command line alone."""
    from accelqsm.options.table import from_table

    return Study(study=from_table(StudySettings, given_table(options, StudySettings)))


def _settings(
    options: argparse.Namespace, dataset: Dataset, path: Path
) -> tuple[Study, dict[str, str]]:
    """Complete settings, and what was assumed; those of the last run where none are given."""
    from accelqsm.study.defaults import complete

    source = options.settings or (path if path.is_file() else None)
    given = given_table(options, StudySettings)
    stored = given_study(options) if source is None else read_study(source, given)
    study, notes = complete(stored, dataset)
    for note in (*notes.values(), *dataset.notes):
        print(f"accelqsm: {note}", file=sys.stderr)
    return study, notes


def _check_out(out: Path, dataset: Dataset) -> None:
    if out.resolve() == dataset.root.resolve():
        raise InputError(f"{out}: expected another folder than that of the dataset, found the same")
