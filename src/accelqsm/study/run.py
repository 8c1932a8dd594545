"""Runs the steps of participants: what is finished is left, what failed is told, others go on."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from accelqsm.errors import DiskError, InputError
from accelqsm.results.lock import InUse, locked
from accelqsm.runtime.disk import no_space
from accelqsm.runtime.progress import step as timed
from accelqsm.study.context import Context
from accelqsm.study.page import write_page
from accelqsm.study.plan import MAP, STEPS, Selection, Step, chosen, scan_folder
from accelqsm.study.publish import publish, publish_dataset
from accelqsm.study.state import State, Status, log, note_failure, state_of, states
from accelqsm.study.steps import do

SOME_FAILED, TRY_AGAIN = 1, 75
"""Exit status: some participants failed; memory, disk space or a lock was wanting."""
Do = Callable[[Context, Step, str], None]


@dataclass
class Outcome:
    """What a run came to.

    Attributes:
        failed: step -> line of its error, or why it could not be done.
        ran: steps that were run and ended well.
        status: exit status.
    """

    failed: dict[str, str] = field(default_factory=dict)
    ran: list[str] = field(default_factory=list)
    status: int = 0

    def fail(self, step: Step, line: str, *, again: bool = False) -> None:
        """Add a failure; one that another attempt may cure counts more."""
        self.failed[step.label] = line
        self.status = TRY_AGAIN if again else max(self.status, SOME_FAILED)


def subjects_of(context: Context, selection: Selection) -> list[str]:
    """Subjects of a selection.

    Raises:
        InputError: a label that no subject, session or protocol has.
    """
    scans = context.dataset.scans
    known = {
        "--participant-label": (
            selection.subjects,
            {s.subject.removeprefix("sub-") for s in scans},
        ),
        "--session-label": (selection.sessions, {s.session.removeprefix("ses-") for s in scans}),
        "--protocol": (selection.protocols, {s.protocol for s in scans}),
    }
    for flag, (wanted, there) in known.items():
        for label in wanted:
            if label not in there:
                some = ", ".join(sorted(there)[:8]) or "none"
                raise InputError(f"{flag}: expected labels of the dataset ({some}), found {label}")
    return list(dict.fromkeys(scan.subject for scan in scans if selection.takes(scan)))


def plan_states(context: Context, selection: Selection) -> list[Status]:
    """State of every step of a selection."""
    found: list[Status] = []
    for subject in subjects_of(context, selection):
        found += states(context, chosen(context.steps(subject), selection)).values()
    return found


def run_participants(
    context: Context, selection: Selection, *, do: Do = do, page: bool = True
) -> Outcome:
    """Run all steps of a selection that are not finished, participant by participant.

    Args:
        context: the study.
        selection: what is run.
        do: computes a step.
        page: write the page of each participant of whom all is run.

    Raises:
        InputError: settings or labels that cannot be used.
    """
    outcome = Outcome()
    publish_dataset(context)
    for subject in subjects_of(context, selection):
        steps = chosen(context.steps(subject), selection)
        try:
            with _locks(context, steps):
                found = _run_steps(context, steps, outcome, do)
                if page and selection.whole:
                    write_page(context, subject, found.values())
        except InUse as error:
            outcome.fail(steps[0], str(error), again=True)
    return outcome


def _run_steps(
    context: Context, steps: Iterable[Step], outcome: Outcome, do: Do
) -> dict[Path, Status]:
    known: dict[Path, Status] = {}
    for step in steps:
        status = state_of(context, step, known)
        if status.state in (State.TO_DO, State.FAILED):
            status = _run_step(context, status, outcome, do)
        elif status.state in (State.MISSING, State.WAITS):
            outcome.fail(step, status.why)
        if status.state == State.FINISHED:
            publish(context, step)
        known[step.folder] = status
    return known


def _run_step(context: Context, status: Status, outcome: Outcome, do: Do) -> Status:
    """Run one step; an error is kept beside its folder, and told."""
    step = status.step
    log(context, step, "begin", key=status.key, why=status.why)
    start = time.perf_counter()
    try:
        with timed(step.label):
            do(context, step, status.key)
    except Exception as error:
        line, again = _line_of(error)
        note_failure(context, step, line)
        log(context, step, "failed", line=line, traceback=traceback.format_exc())
        outcome.fail(step, line, again=again)
        return Status(step, State.FAILED, status.key, line)
    note_failure(context, step, "")
    log(context, step, "end", key=status.key, seconds=round(time.perf_counter() - start, 2))
    outcome.ran.append(step.label)
    return Status(step, State.FINISHED, status.key)


def _line_of(error: Exception) -> tuple[str, bool]:
    """An error in one line, and whether another attempt may end otherwise."""
    line = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, InUse):
        return line, True
    if isinstance(error, InputError):
        return line, isinstance(error, DiskError)
    if isinstance(error, MemoryError) or "out of memory" in line.lower():
        return f"expected enough memory, found too little ({line})", True
    if isinstance(error, OSError) and no_space(error):
        return line, True
    return f"unexpected {type(error).__name__}: {line}", False


@contextmanager
def _locks(context: Context, steps: list[Step]) -> Iterator[None]:
    """Lock the scans of some steps, and the head where more than maps are made.

    Runs that share no scan may go on side by side; the system frees the locks of a dead process.

    Raises:
        InUse: another run has one of them.
    """
    folders = {scan_folder(step.scan) for step in steps}
    if any(step.kind != MAP for step in steps):
        folders |= {Path(STEPS, step.scan.subject, "head") for step in steps}
    with ExitStack() as stack:
        for folder in sorted(folders):
            path = (context.out / folder).with_name(f".{folder.name}.lock")
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(path, context.out / folder))
        yield
