"""Settings records as tables of a settings file, and back."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from accelqsm.errors import InputError
from accelqsm.options.setting import (
    OWN_SETTINGS,
    Settings,
    choices_of,
    default_of,
    kinds,
    nested,
    settings_in,
)

Record = TypeVar("Record", bound=Settings)


def plain(settings: Settings) -> dict[str, Any]:
    """The record as TOML can hold it: tables by name for records of their own, no ``None``."""
    table: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for name, known in settings_in(type(settings)).items():
        value = getattr(settings, name)
        if value is None or value == {}:
            continue
        table[name] = simple(value)
        if known.registry is not None:
            own = getattr(settings, name + OWN_SETTINGS, None)
            if own is not None and fields(own):
                tables[value] = plain(own)
    for name in nested(type(settings)):
        tables[name] = plain(getattr(settings, name))
    return table | tables


def from_table(
    record: type[Record], table: Mapping[str, Any], *, onto: Record | None = None
) -> Record:
    """The record that a table of settings says, on top of the defaults or of another record.

    The settings of a choice stand in a table by the name of the choice.

    Raises:
        InputError: a name that is no setting, a value of another type or out of range, settings
            of a choice that was not made, or no value where one is needed.
    """
    known, inner = settings_in(record), nested(record)
    rows = {row.name: (name, row) for name, row in choices_of(record)}
    given: dict[str, Any] = {}
    own: dict[str, Mapping[str, Any]] = {}
    for name, value in table.items():
        if name in known:
            given[name] = typed(name, value, kinds(record)[name])
        elif name in inner and isinstance(value, Mapping):
            base = None if onto is None else getattr(onto, name)
            given[name] = from_table(inner[name], value, onto=base)
        elif name in rows and isinstance(value, Mapping):
            own[name] = value
        else:
            names = ", ".join((*known, *inner, *rows))
            raise InputError(f"{name}: expected one of {names}")
    missing = [n for n in known if n not in given and default_of(record, n) is MISSING]
    if missing and onto is None:
        raise InputError(f"{missing[0]}: expected a value, found none")
    start = replace(onto, **_fresh(onto, given)) if onto is not None else record(**given)
    for name, values in own.items():
        of, row = rows[name]
        if getattr(start, of) != row.name:
            raise InputError(
                f"{name}: expected settings of {of} {getattr(start, of)}, found those of {name}"
            )
        field_name = of + OWN_SETTINGS
        base = getattr(start, field_name)
        start = replace(start, **{field_name: from_table(row.settings, values, onto=base)})
    return start


def typed(name: str, value: Any, kind: Any) -> Any:
    """A value of a table as the type of its field.

    Raises:
        InputError: another type.
    """
    origin = typing.get_origin(kind) or kind
    if origin is tuple and isinstance(value, list | tuple):
        item, *rest = typing.get_args(kind)
        if rest and rest[0] is not Ellipsis and len(value) != 1 + len(rest):
            raise InputError(f"{name}: expected {1 + len(rest)} values, found {len(value)}")
        return tuple(typed(name, one, item) for one in value)
    if origin in (dict, Mapping) or origin is Mapping or origin is type(Mapping):
        if isinstance(value, Mapping):
            return dict(value)
    elif getattr(origin, "__name__", "") == "Mapping" and isinstance(value, Mapping):
        return dict(value)
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if origin in (bool, int, str) and type(value) is origin:
        return value
    raise InputError(f"{name}: expected {_kind_text(kind)}, found {value!r}")


def simple(value: Any) -> Any:
    """A value as TOML can hold it (None is left out of tables)."""
    if isinstance(value, Mapping):
        return {str(k): simple(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [simple(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: simple(getattr(value, f.name)) for f in fields(value)}
    return str(value) if isinstance(value, Path) else value


def _fresh(onto: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """Changed values; where a choice changes, its old settings go."""
    changed = dict(given)
    for name, value in given.items():
        own = name + OWN_SETTINGS
        if hasattr(onto, own) and value != getattr(onto, name):
            changed[own] = None
    return changed


def _kind_text(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        return f"a list such as {typing.get_args(kind)[0].__name__}s"
    texts = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return texts.get(kind, "a table")
