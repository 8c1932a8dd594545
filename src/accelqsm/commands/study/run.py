"""``accelqsm run``: a whole study, of a BIDS dataset (BIDS App)."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from accelqsm.commands.common import say
from accelqsm.commands.study.common import (
    add_selection,
    add_study,
    add_study_settings,
    open_study,
    selection_of,
)
from accelqsm.errors import PartlyFailed

if TYPE_CHECKING:
    from accelqsm.study.context import Context
    from accelqsm.study.plan import Selection

NAME = "run"
HELP = "a study: all scans of a BIDS dataset to maps and nuclei, then compared"
EXAMPLE = """accelqsm run bids out participant
accelqsm run bids out participant --participant-label 01 02 --dry-run
accelqsm run bids out group"""
KINDS = ("map", "registration", "nuclei")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of dataset, level, selection and settings."""
    add_study(parser)
    parser.add_argument(
        "level",
        choices=("participant", "group"),
        help="participant: maps and nuclei of each scan; group: their comparison and the report",
    )
    add_selection(parser)
    parser.add_argument(
        "--until", choices=KINDS, default=KINDS[-1], help="last step of each scan (default nuclei)"
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what is finished, what would run and what is missing, and why; run nothing",
    )
    add_study_settings(parser)


def run(options: argparse.Namespace) -> None:
    """Run or plan a level of a study."""
    selection = selection_of(options, options.until)
    context = open_study(options, write=not options.dry_run)
    if options.dry_run:
        _print_plan(context, selection)
    elif options.level == "participant":
        _run_participants(context, selection)
    else:
        _run_group(context, selection)


def _run_participants(context: Context, selection: Selection) -> None:
    from accelqsm.study.run import run_participants

    outcome = run_participants(context, selection)
    say(context.out, f"{len(outcome.ran)} steps run, {len(outcome.failed)} not done")
    if outcome.failed:
        lines = [f"{label}: {line}" for label, line in outcome.failed.items()]
        raise PartlyFailed(lines, outcome.status)


def _run_group(context: Context, selection: Selection) -> None:
    from accelqsm.study.group import run_group

    made = run_group(context, selection)
    print(made.page)
    if made.left_out:
        raise PartlyFailed([f"{scan}: left out: {why}" for scan, why in made.left_out.items()], 1)


def _print_plan(context: Context, selection: Selection) -> None:
    from accelqsm.study.run import plan_states

    found = plan_states(context, selection)
    width = max((len(status.step.label) for status in found), default=0)
    for status in found:
        print(f"{status.step.label:<{width}}  {status.state.value:<8}  {status.why}".rstrip())
    counts = Counter(status.state.value for status in found)
    print(", ".join(f"{number} {state}" for state, number in counts.items()) or "nothing to do")
