"""Settings of a stage from a table of ``settings.toml``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from accelqsm.errors import InputError
from accelqsm.files.tables import read_settings

Settings = TypeVar("Settings")


def settings_from(path: Path | None, section: str, defaults: Settings) -> Settings:
    """Defaults, replaced by what a table of a TOML file says.

    Args:
        path: of ``settings.toml``; None gives the defaults.
        section: name of the table, which may be missing.
        defaults: a dataclass; fields that are dataclasses belong to tables of their own.

    Raises:
        InputError: a file that is not TOML, a setting that does not exist, or a value of another
            type.
    """
    if path is None:
        return defaults
    table = read_settings(path).get(section, {})
    known = {
        field.name: getattr(defaults, field.name)
        for field in dataclasses.fields(defaults)  # type: ignore[arg-type]
        if not dataclasses.is_dataclass(getattr(defaults, field.name))
    }
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise InputError(
            f"{path}: expected settings of [{section}] among {', '.join(known)}, "
            f"found {', '.join(unknown)}"
        )
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    for name, value in values.items():
        if type(value) is not type(known[name]):
            raise InputError(
                f"{path}: [{section}] {name}: expected {type(known[name]).__name__} such as "
                f"{known[name]}, found {value!r}"
            )
    changed: Settings = dataclasses.replace(defaults, **values)  # type: ignore[type-var]
    return changed
