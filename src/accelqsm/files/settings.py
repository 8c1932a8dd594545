"""Settings of a command: its defaults, what a settings file says, and what was given on top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from accelqsm.errors import InputError
from accelqsm.files.toml import read_settings
from accelqsm.options.setting import Settings
from accelqsm.options.table import check_table, from_table, merge_tables

RECORDS = ("command", "source", "inputs", "software")
"""Parts of a ``settings.toml`` that say what was, and set nothing."""

Record = TypeVar("Record", bound=Settings)


def read_settings_tables(path: Path | None, *sections: str) -> dict[str, Any]:
    """Read a settings file; refuse tables that the command does not use.

    Args:
        path: of ``settings.toml``; None gives an empty record.
        sections: tables that the command uses.

    Raises:
        InputError: a file that is not TOML, or a table or key that the command does not use.
    """
    if path is None:
        return {}
    record = read_settings(path)
    for name in record:
        if name not in (*sections, *RECORDS):
            used = ", ".join(f"[{section}]" for section in sections)
            raise InputError(f"{path}: expected {used} alone, found {name}, which is not used here")
    return record


def settings_from(
    record: type[Record],
    section: str,
    *,
    path: Path | None = None,
    file: Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> Record:
    """A settings record from a table of a file and from what was given on top of it.

    Args:
        record: the kind of settings.
        section: name of the table, for messages.
        path: of the file, for messages.
        file: the table.
        given: a table of what was given on the command line.

    Raises:
        InputError: a setting that does not exist, a value of another type or out of range, or
            settings that do not belong together.
    """
    table = dict(file or {})
    try:
        check_table(record, table)
    except InputError as error:
        raise InputError(f"{path}: [{section}] {error}") from error
    return from_table(record, merge_tables(record, table, given or {}))
