"""Conversion between settings records and TOML tables."""

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
    kind_text,
    kinds,
    nested,
    one_of,
    settings_in,
    short,
)

Record = TypeVar("Record", bound=Settings)


def plain(settings: Settings) -> dict[str, Any]:
    """Convert a record to a TOML table, with nested records as tables and without ``None``."""
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


def check_table(record: type[Settings], table: Mapping[str, Any]) -> None:
    """Check names, types and ranges of a table of settings.

    Raises:
        InputError: names the setting; no table at all.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"expected a table of settings, found {table!r}")
    known, inner = settings_in(record), nested(record)
    rows = {row.name: row.settings for _, row in choices_of(record)}
    here, former = _resolve_names(record, table)
    for name, value in here.items():
        if name in known:
            known[name].check(name, typed(name, value, kinds(record)[name]))
        elif isinstance(value, Mapping) and (name in inner or name in rows):
            check_table(inner.get(name) or rows[name], value)
        else:
            names = ", ".join((*known, *inner, *rows))
            raise InputError(f"expected settings among {names}, found {name}")
    for name, values in former.items():
        if name in rows:
            check_table(rows[name], values)


def from_table(record: type[Record], table: Mapping[str, Any]) -> Record:
    """Convert a table of settings to a record; absent settings have their defaults.

    The settings of a method are in a table with the name of the method.

    Raises:
        InputError: a name that is no setting, a value of another type or out of range, settings
            of a choice that was not made, or no value where one is needed.
    """
    check_table(record, table)
    known, inner = settings_in(record), nested(record)
    here, former = _resolve_names(record, table)
    given: dict[str, Any] = {}
    for name, value in here.items():
        if name in known:
            given[name] = typed(name, value, kinds(record)[name])
        elif name in inner:
            given[name] = from_table(inner[name], value)
    for name, setting in known.items():
        if name not in given and default_of(record, name) is MISSING:
            expected = one_of(setting.offered) if setting.offered else "a value"
            raise InputError(f"{name}: expected {expected}, found none")
    made = record(**given)
    for of, row in choices_of(record):
        chosen = getattr(made, of) == row.name
        if row.name in here and not chosen:
            raise InputError(
                f"{row.name}: expected settings of {of} {getattr(made, of)}, found those of "
                f"{row.name}"
            )
        # Older files hold the settings of all methods, chosen or not.
        own = {**former.get(row.name, {}), **here.get(row.name, {})}
        if chosen and own:
            made = replace(made, **{of + OWN_SETTINGS: from_table(row.settings, own)})
    return made


def merge_tables(
    record: type[Settings], below: Mapping[str, Any], above: Mapping[str, Any]
) -> dict[str, Any]:
    """Merge two tables, ``above`` with priority; where it chooses another method, the settings of
    the method in ``below`` are dropped."""
    merged = dict(below)
    rows = list(choices_of(record))
    for name, known in settings_in(record).items():
        if known.registry is not None and name in above:
            chosen = known.registry[above[name]].name
            for of, row in rows:
                if of == name and row.name != chosen:
                    merged.pop(row.name, None)
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(merged.get(name), Mapping):
            merged[name] = {**merged[name], **value}
        else:
            merged[name] = value
    return merged


def _resolve_names(
    record: type[Settings], table: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Resolve alternative names: the table's own settings, and those of methods by method."""
    names = {old: new for new, known in settings_in(record).items() for old in known.former}
    here: dict[str, Any] = {}
    of_choices: dict[str, dict[str, Any]] = {}
    for name, value in table.items():
        if name in record.FORMER:
            choice, field = record.FORMER[name]
            of_choices.setdefault(choice, {})[field] = value
        else:
            here[names.get(name, name)] = value
    return here, of_choices


def typed(name: str, value: Any, kind: Any) -> Any:
    """Convert a value of a table to the type of its field.

    Raises:
        InputError: another type.
    """
    origin = typing.get_origin(kind) or kind
    if origin is tuple and isinstance(value, list | tuple):
        item, *rest = typing.get_args(kind)
        if rest and rest[0] is not Ellipsis and len(value) != 1 + len(rest):
            raise InputError(f"{name}: expected {1 + len(rest)} values, found {len(value)}")
        return tuple(typed(name, one, item) for one in value)
    if origin is Mapping and isinstance(value, Mapping):
        item = typing.get_args(kind)[1]
        return {key: typed(f"{name} {key}", one, item) for key, one in value.items()}
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise InputError(f"{name}: expected a number, found {short(value)}") from None
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    if origin in (bool, int, str) and type(value) is origin:
        return value
    raise InputError(f"{name}: expected {kind_text(kind)}, found {value!r}")


def simple(value: Any) -> Any:
    """Convert a value to TOML types (None is left out of tables)."""
    if isinstance(value, Mapping):
        return {str(k): simple(v) for k, v in value.items() if v is not None}
    if isinstance(value, tuple | list):
        return [simple(v) for v in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: simple(getattr(value, f.name)) for f in fields(value)}
    return str(value) if isinstance(value, Path) else value
