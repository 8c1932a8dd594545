"""Reader and writer of tab-separated tables (BIDS: ``n/a`` where there is no value)."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.text.cells import Cells, inert, read_cells
from accelqsm.files.text.numbers import with_numbers, with_points

DIGITS = "%.6g"
"""How numbers are written."""


def read_table(
    path: Path,
    *,
    columns: Sequence[str] = (),
    text: Sequence[str] = (),
    numbers: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Read a table that has at least ``columns``; tabs, semicolons or commas between its cells.

    Columns named in ``text`` are read as strings: "01" does not become 1.

    Args:
        path: the table.
        columns: names that it must have.
        text: names of labels.
        numbers: names of columns of numbers, in which other words for ``n/a`` are told by row.
        names: what the file calls a column, by the name that it is to have here.

    Raises:
        InputError: missing or empty file, unreadable text, a column that is not there, or a cell
            in ``numbers`` that is no number.

    Warns:
        InputWarning: missing values that are not ``n/a``, and decimal commas.
    """
    given = dict(names or {})
    cells = read_cells(path, [given.get(name, name) for name in columns])
    cells = cells.renamed({theirs: ours for ours, theirs in given.items()})
    check_columns(cells, columns, hint=names is not None)
    return frame_of(with_numbers(cells, numbers), text=text)


def check_columns(cells: Cells, columns: Sequence[str], *, hint: bool = False) -> None:
    """Refuse a table that lacks a column.

    Args:
        cells: the table.
        columns: that it must have.
        hint: say how a column of another name can be used, where there is one to spare.

    Raises:
        InputError: with what it has.
    """
    missing = [name for name in columns if name not in cells.header]
    if missing:
        found = [name for name in cells.header if name]
        spare = len(set(found) - set(columns)) >= len(missing)
        how = f"; --columns {missing[0]}=NAME says which it is" if hint and spare else ""
        raise InputError(
            f"{cells.path}: expected the tab-separated column(s) {', '.join(missing)}, found "
            f"{', '.join(found)}{how}"
        )


def frame_of(cells: Cells, *, text: Sequence[str] = ()) -> pd.DataFrame:
    """The table with numbers where a column holds numbers alone, and NaN for ``n/a``.

    Raises:
        InputError: what pandas cannot read.
    """
    try:
        return pd.read_csv(
            io.StringIO(with_points(cells, text).text),
            sep="\t",
            na_values=["n/a"],
            keep_default_na=False,
            dtype=dict.fromkeys(text, str),
            skip_blank_lines=False,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{cells.path}: not a tab-separated table ({reason})") from error


def as_written(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its numbers as ``table_text`` writes them, for which others round them."""
    numbers = table.select_dtypes("float").columns
    return table.assign(**{name: table[name].map(lambda x: float(DIGITS % x)) for name in numbers})


def table_text(table: pd.DataFrame) -> str:
    """Format a table as tab-separated text with six significant digits and ``n/a``.

    Text that a spreadsheet would run as a formula is written ``inert``.
    """
    buffer = io.StringIO()
    safe = table.map(lambda cell: inert(cell) if isinstance(cell, str) else cell)
    safe.columns = [inert(str(name)) for name in table.columns]
    safe.to_csv(
        buffer, sep="\t", index=False, na_rep="n/a", float_format=DIGITS, lineterminator="\n"
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
