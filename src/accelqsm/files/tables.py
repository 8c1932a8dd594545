"""Reader and writer of tab-separated tables (BIDS: ``n/a`` where there is no value)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text


def read_table(
    path: Path, *, columns: Sequence[str] = (), text: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a tab-separated table that has at least ``columns``.

    Columns named in ``text`` are read as strings: "01" does not become 1.

    Raises:
        InputError: missing or empty file, unreadable text, or a column that is not there.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = pd.read_csv(
            path,
            sep="\t",
            na_values=["n/a"],
            keep_default_na=False,
            dtype=dict.fromkeys(text, str),
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not a tab-separated table ({reason})") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise InputError(
            f"{path}: expected the tab-separated column(s) {', '.join(missing)}, found {found}"
        )
    return table


def table_text(table: pd.DataFrame) -> str:
    """Format a table as tab-separated text with six significant digits and ``n/a``."""
    buffer = io.StringIO()
    table.to_csv(
        buffer, sep="\t", index=False, na_rep="n/a", float_format="%.6g", lineterminator="\n"
    )
    return buffer.getvalue()


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a tab-separated table atomically."""
    write_text(path, table_text(table))


def write_described_table(
    path: Path, table: pd.DataFrame, columns: Mapping[str, Mapping[str, str]]
) -> None:
    """Write a table with a BIDS JSON sidecar that describes its columns."""
    meanings = {name: dict(meaning) for name, meaning in columns.items()}
    text = json.dumps(meanings, indent=2, ensure_ascii=False)
    write_text(path.with_suffix(".json"), text + "\n")
    write_table(path, table)
