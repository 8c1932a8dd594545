"""Settings of a command from defaults, a settings file and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from accelqsm.errors import InputError
from accelqsm.files.toml import read_settings
from accelqsm.options.setting import Settings
from accelqsm.options.table import check_table, from_table, merge_tables

RECORD_WORDS = ("command", "checksums")
"""Words of a ``settings.toml`` that record a run."""

RECORDS = (*RECORD_WORDS, "source", "inputs", "software", "files")
"""Words and tables of a ``settings.toml`` that record a run and are not settings."""

Record = TypeVar("Record", bound=Settings)


def read_settings_tables(path: Path | None, *sections: str) -> dict[str, Any]:
    """Read a settings file and check that it has settings in the given tables only.

    Args:
        path: path of ``settings.toml``; None gives an empty record.
        sections: tables that the command uses.

    Raises:
        InputError: a file that is not TOML, or a table or key that the command does not use.
    """
    if path is None:
        return {}
    record = read_settings(path)
    for name, value in record.items():
        is_table = name in (*sections, *RECORDS) and name not in RECORD_WORDS
        if is_table and not isinstance(value, dict):
            raise InputError(f"{path}: expected a table [{name}], found {value!r}")
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
    """Settings record from a table of a file and from the command line, which has priority.

    Args:
        record: class of the settings.
        section: name of the table, for messages.
        path: the file, for messages.
        file: the table of the file.
        given: a table of the values on the command line.

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
