"""Markdown that comes from the package itself: commands, settings and choices.

A page asks for it by a line ``<!-- generated: commands -->``.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING
from typing import Any

from accelqsm.agreement.settings import CompareSettings, PlanSettings
from accelqsm.cli import parser
from accelqsm.files.atlases import ATLASES
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.options.arguments import Argument, arguments_of
from accelqsm.options.registry import Registry
from accelqsm.options.setting import Settings
from accelqsm.options.table import simple
from accelqsm.qsm.background.registry import BACKGROUNDS
from accelqsm.qsm.inversion.registry import INVERSIONS
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.reference.registry import REFERENCES
from accelqsm.training.patterns.settings import LearningSettings
from accelqsm.training.settings import DataSettings, TrainingSettings

RECORDS: Mapping[str, tuple[type[Settings], str]] = {
    "recon": (ReconSettings, "`map`, `recon`"),
    "qsm": (QsmSettings, "`map`, `qsm`"),
    "nuclei": (MeasureSettings, "`nuclei`"),
    "syn": (SynSettings, "none: Python alone"),
    "compare": (CompareSettings, "`compare`"),
    "plan": (PlanSettings, "`plan`"),
    "pattern": (PatternSettings, "`pattern`"),
    "learning": (LearningSettings, "`pattern --learn`"),
    "training": (TrainingSettings, "`train`"),
    "data": (DataSettings, "`train`"),
}
"""Table of a settings file -> its record, and the commands that take it."""


def filled(page: str) -> str:
    """A page with what it asks for."""
    return re.sub(r"<!-- generated: (\w+) -->", lambda found: PARTS[found[1]](), page)


def commands() -> str:
    """Every command: what it does, an example, and its arguments."""
    added = next(a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    return "\n\n".join(_command(name, command) for name, command in added.choices.items())


def settings() -> str:
    """Every setting of every record."""
    return "\n\n".join(_record(name, *known) for name, known in RECORDS.items())


def choices(registry: Registry[Any], *columns: str) -> str:
    """The rows of a registry, with some of their attributes."""
    rows = [
        (f"`{row.name}`", row.describe(), *(getattr(row, name) for name in columns))
        for row in registry
    ]
    return _table(("name", "in the methods text", *columns), rows)


PARTS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "reconstructions": lambda: choices(RECONSTRUCTIONS, "pattern", "gives"),
    "backgrounds": lambda: choices(BACKGROUNDS),
    "inversions": lambda: choices(INVERSIONS),
    "references": lambda: choices(REFERENCES),
    "atlases": lambda: choices(ATLASES),
}


def _command(name: str, command: argparse.ArgumentParser) -> str:
    example = "\n".join(line.strip() for line in str(command.epilog).splitlines()[1:])
    parts = [f"## {name}", str(command.description), f"```\n{example}\n```"]
    for group in command._action_groups:
        rows = [
            (_called(action), str(action.help).replace("%%", "%"))
            for action in group._group_actions
            if action.dest != "help"
        ]
        if rows:
            parts += [f"*{group.title}*", _table(("argument", "meaning"), rows)]
    return "\n\n".join(parts)


def _called(action: argparse.Action) -> str:
    formatter = argparse.HelpFormatter("accelqsm")
    values = formatter._format_args(action, action.metavar or "") if action.nargs != 0 else ""
    return " ".join(f"`{name} {values}`".replace(" `", "`") for name in action.option_strings) or (
        f"`{values}`"
    )


def _record(table: str, record: type[Settings], used: str) -> str:
    said = str(record.__doc__).splitlines()[0]
    parts = [f"## [{table}]", f"`{record.__name__}`. {said}", f"Commands: {used}."]
    of = ""
    rows: list[tuple[Any, ...]] = []
    heading = ("key", "flag", "unit", "range", "default", "meaning")
    for argument in (*arguments_of(record), None):
        if argument is None or argument.of != of:
            parts += [_table(heading, rows)] if rows else []
            if argument is not None:
                of, rows = argument.of, []
                parts.append(f"### [{'.'.join((table, *argument.path[:-1]))}]")
        if argument is not None:
            rows.append(_row(argument, flag=table != "syn"))
    return "\n\n".join(parts)


def _row(argument: Argument, *, flag: bool) -> tuple[Any, ...]:
    known, default = argument.setting, argument.default
    shown = "" if default in (None, "", {}) else f"`{simple(default)}`"
    if isinstance(default, bool):
        shown = shown.lower()
    return (
        f"`{argument.path[-1]}`",
        f"`{argument.flag}`" if flag else "",
        known.unit,
        ", ".join(f"`{word}`" for word in known.offered) or known.range_text,
        "must be given" if default is MISSING else shown,
        known.help,
    )


def _table(heading: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(heading), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(c.replace('|', chr(92) + '|') for c in x)} |" for x in lines)
