"""What has been done of a study: the state of every step, failures, and a log of what ran."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.toml import read_settings
from accelqsm.results.records import SETTINGS
from accelqsm.study.context import Context
from accelqsm.study.keys import intact, result_sums
from accelqsm.study.plan import Step

FAILED_ENDING, LOG_ENDING = ".failed.json", ".log.jsonl"
KEY = "step_key"


class State(Enum):
    """State of a step."""

    FINISHED = "finished"
    TO_DO = "to do"
    FAILED = "failed"
    WAITS = "waits"
    MISSING = "missing"


@dataclass(frozen=True)
class Status:
    """State of one step.

    Attributes:
        step: the step.
        state: "finished", "to do", "failed" when it was last run, "waits" for another step, or
            "missing" what it needs.
        key: its key, where all inputs are there.
        why: reason in one line; "" where it is finished.
    """

    step: Step
    state: State
    key: str = ""
    why: str = ""


def states(context: Context, steps: Iterable[Step]) -> dict[Path, Status]:
    """State of steps by folder; each after those that it needs.

    Raises:
        InputError: settings of the study that cannot be used.
    """
    found: dict[Path, Status] = {}
    for step in steps:
        found[step.folder] = state_of(context, step, found)
    return found


def state_of(context: Context, step: Step, known: Mapping[Path, Status]) -> Status:
    """State of one step, given those of the steps that it needs."""
    if step.missing:
        return Status(step, State.MISSING, why=step.missing)
    open_needs = [known[n] for n in step.needs.values() if known[n].state != State.FINISHED]
    if open_needs:
        blocked = next((s for s in open_needs if s.state != State.TO_DO), open_needs[0])
        why = f": {blocked.why}" if blocked.state in (State.MISSING, State.FAILED) else ""
        return Status(step, State.WAITS, why=f"needs {blocked.step.label}{why}")
    folder = context.folder(step)
    try:
        sums = {role: result_sums(context.out / need) or {} for role, need in step.needs.items()}
        key = context.key(step, sums)
    except InputError as error:
        return Status(step, State.MISSING, why=str(error))
    done = finished_key(folder)
    if done == key and intact(folder, context.sums):
        return Status(step, State.FINISHED, key)
    line = failure_of(context, step)
    if line:
        return Status(step, State.FAILED, key, line)
    if done is None:
        return Status(step, State.TO_DO, key, "not run")
    why = "its files were altered" if done == key else "inputs, settings or code have changed"
    return Status(step, State.TO_DO, key, why)


def finished_key(folder: Path) -> str | None:
    """Key in the record of a result; None without a record."""
    try:
        source = read_settings(folder / SETTINGS).get("source", {})
    except (InputError, OSError):
        return None
    return str(source.get(KEY, "")) if isinstance(source, dict) else None


def failure_of(context: Context, step: Step) -> str:
    """Line of the error with which a step failed when it was last run; "" if it did not."""
    try:
        stored = json.loads(_beside(context, step, FAILED_ENDING).read_text(encoding="utf-8"))
        return str(stored["line"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def note_failure(context: Context, step: Step, line: str) -> None:
    """Keep the line of an error, or remove it with ""."""
    path = _beside(context, step, FAILED_ENDING)
    if line:
        write_text(path, json.dumps({"line": line}, ensure_ascii=False) + "\n")
    else:
        path.unlink(missing_ok=True)


def log(context: Context, step: Step, event: str, **known: Any) -> None:
    """Append a line to the log of a step: "begin" or "end", when, and in which process."""
    path = _beside(context, step, LOG_ENDING)
    path.parent.mkdir(parents=True, exist_ok=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    line = {"time": now, "event": event, "step": str(step.folder), "process": os.getpid()} | known
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _beside(context: Context, step: Step, ending: str) -> Path:
    folder = context.folder(step)
    return folder.with_name(f"{folder.name}{ending}")
