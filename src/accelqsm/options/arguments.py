"""Command-line arguments from settings records, and tables of settings from arguments."""

from __future__ import annotations

import argparse
import typing
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.options.setting import (
    Setting,
    Settings,
    choices_of,
    default_of,
    is_kind,
    kind_text,
    kinds,
    nested,
    settings_in,
    short,
)
from accelqsm.options.table import simple


@dataclass(frozen=True)
class Argument:
    """Command-line argument of a settings field.

    Attributes:
        path: tables and field, as in a settings file.
        flag: command-line flag with its dashes.
        setting: description of the field.
        kind: type of the field.
        default: default value; ``MISSING`` where a value is required.
        of: the choice that it belongs to, for help; empty for the record itself.
    """

    path: tuple[str, ...]
    flag: str
    setting: Setting
    kind: Any
    default: Any
    of: str


def arguments_of(
    record: type[Settings], path: tuple[str, ...] = (), prefix: str = "", of: str = ""
) -> Iterator[Argument]:
    """Iterate over the arguments of a record, of its nested records and of its choices."""
    for name, known in settings_in(record).items():
        flag = known.flag or f"{prefix}{name}".replace("_", "-")
        yield Argument(
            (*path, name), f"--{flag}", known, kinds(record)[name], default_of(record, name), of
        )
    for name, kind in nested(record).items():
        yield from arguments_of(kind, (*path, name), f"{prefix}{name}-", name)
    for name, row in choices_of(record):
        yield from arguments_of(
            row.settings, (*path, row.name), f"{prefix}{row.name}-", f"{name} {row.name}"
        )


def add_settings(
    parser: argparse._ActionsContainer, record: type[Settings], *, only: tuple[str, ...] = ()
) -> None:
    """Add an argument for every field, or for the fields in ``only``."""
    groups: dict[str, Any] = {"": parser}
    for argument in arguments_of(record):
        if only and argument.path[-1] not in only:
            continue
        if argument.of not in groups:
            groups[argument.of] = parser.add_argument_group(f"settings of {argument.of}")
        _add(groups[argument.of], argument)


def number(kind: type[int] | type[float], **known: Any) -> dict[str, Any]:
    """How ``add_argument`` reads a number that is no setting: its range is as of ``Setting``.

    As of a setting, a number out of range is an ``InputError`` that names the flag; a word that is
    no number is an error of usage.
    """
    within = Setting(help="", **known)

    class InRange(argparse.Action):
        def __call__(self, parser: Any, options: Any, values: Any, flag: str | None = None) -> None:
            for value in values if isinstance(values, list) else [values]:
                if not is_kind(value, kind):
                    raise InputError(f"{flag}: expected {kind_text(kind)}, found {short(value)}")
                within.check(str(flag), value)
            setattr(options, self.dest, values)

    return {"type": _READERS[kind], "action": InRange}


def whole(text: str) -> int | float:
    """A whole number, or another one, such as nan, that its setting refuses by name."""
    try:
        return int(text)
    except ValueError:
        return float(text)


_READERS: dict[Any, Callable[[str], Any]] = {int: whole, float: float, Path: Path}
SEED = number(int, least=0, most=2**32 - 1)
"""How a seed is read."""


def given_table(options: argparse.Namespace, record: type[Settings]) -> dict[str, Any]:
    """Table of the settings given on the command line.

    Raises:
        InputError: a value out of range, with the name of the flag.
    """
    table: dict[str, Any] = {}
    for argument in arguments_of(record):
        value = getattr(options, _destination(argument), None)
        if value is None or value == []:
            continue
        if argument.setting.words is not None:
            value = argument.setting.words(value)
        checked = tuple(value) if isinstance(value, list) else value
        argument.setting.check(argument.flag, checked)
        if not is_kind(checked, argument.kind):
            raise InputError(f"{argument.flag}: expected {kind_text(argument.kind)}, found {value}")
        inside = table
        for name in argument.path[:-1]:
            inside = inside.setdefault(name, {})
        inside[argument.path[-1]] = value
    return table


def _add(group: Any, argument: Argument) -> None:
    known, kind = argument.setting, argument.kind
    flags = (argument.flag, *(f"--{name.replace('_', '-')}" for name in known.former))
    common: dict[str, Any] = {
        "dest": _destination(argument),
        "default": None,
        "help": _help(argument),
    }
    if kind is bool:
        group.add_argument(*flags, action=argparse.BooleanOptionalAction, **common)
        return
    if known.metavar:
        common["metavar"] = known.metavar
    if known.words is not None:
        group.add_argument(*flags, action="append", default=[], **_less(common, "default"))
        return
    if known.offered:
        names = known.offered
        if known.registry is not None:
            names = (*names, *(alias for row in known.registry for alias in row.aliases))
        common["choices"] = (*names, *(known.aliases or ()))
        common["metavar"] = "{" + ",".join(known.offered) + "}"
    if typing.get_origin(kind) is tuple:
        item, *rest = typing.get_args(kind)
        fixed = rest and rest[0] is not Ellipsis
        common["nargs"] = 1 + len(rest) if fixed else "+"
        common["type"] = _READERS.get(item, item)
        common.setdefault("metavar", "N" if item is int else "X")
    else:
        common["type"] = _READERS.get(kind, kind)
        if "choices" not in common:
            common.setdefault("metavar", {int: "N", float: "X"}.get(kind, "WORD"))
    group.add_argument(*flags, **common)


def _less(known: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in known.items() if key != name}


def _destination(argument: Argument) -> str:
    return "setting:" + ".".join(argument.path)


def _help(argument: Argument) -> str:
    known = argument.setting
    facts = [known.unit, known.range_text]
    if argument.default is not MISSING and argument.default not in (None, "", {}, ()):
        shown = simple(argument.default)
        text = " ".join(f"{v:g}" for v in shown) if isinstance(shown, list) else str(shown)
        if isinstance(shown, bool):
            text = "yes" if shown else "no"
        facts.append(f"default {text}")
    said = "; ".join(fact for fact in facts if fact)
    text = known.help + (f" ({said})" if said else "")
    return text.replace("%", "%%")
