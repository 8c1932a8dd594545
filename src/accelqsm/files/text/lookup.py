"""Reader of lookup tables with index and name of labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.tables import check_columns, frame_of
from accelqsm.files.text.cells import read_cells
from accelqsm.files.text.colours import read_colour_table
from accelqsm.files.text.numbers import MISSING

COLUMNS = ("index", "name")


def read_lookup(path: Path, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read a lookup table of labels.

    Args:
        path: table with columns index and name, or a colour table (``read_colour_table``).
        names: what the file calls them.

    Returns:
        Index as int64, name as text, other columns as they are.

    Raises:
        InputError: a table that cannot be read or has no rows, an index that is no whole number or
            comes twice, or an empty cell; names the row.
    """
    given = dict(names or {})
    unknown = next((ours for ours in given if ours not in COLUMNS), None)
    if unknown is not None:
        raise InputError(f"--columns: expected index or name, found {unknown}")
    cells = None if given else read_colour_table(path)
    if cells is None:
        cells = read_cells(path, [given.get(name, name) for name in COLUMNS])
    cells = cells.renamed({theirs: ours for ours, theirs in given.items()})
    check_columns(cells, COLUMNS, hint=True)
    if not cells.rows:
        raise InputError(f"{path}: expected at least one row, found none")
    for column in COLUMNS:
        for number, cell in zip(cells.numbers, cells.column(column), strict=True):
            if cell in ("", MISSING):
                raise InputError(
                    f"{path}: expected an index and a name in every row, found no {column} in row "
                    f"{number}"
                )
    table = frame_of(cells, text=COLUMNS)
    return table.assign(index=whole_numbers(table["index"], str(path), cells.numbers))


def whole_numbers(
    values: Iterable[object], name: str, rows: Sequence[int] | None = None
) -> np.ndarray:
    """Convert label numbers such as "1", 1 or 1.0 to int64.

    Args:
        values: the column.
        name: of its table, for messages.
        rows: of the values, for messages.

    Raises:
        InputError: what is no whole number, or comes twice.
    """
    found: dict[int, int] = {}
    for place, value in enumerate(values):
        row = place + 1 if rows is None else rows[place]
        number = _whole(value)
        if number is None or abs(number) >= 2**63:
            raise InputError(f"{name}: index: expected whole numbers, found {value!r} in row {row}")
        if number in found:
            raise InputError(
                f"{name}: expected each index once, found {number} twice (rows {found[number]} "
                f"and {row})"
            )
        found[number] = row
    return np.asarray(list(found), dtype=np.int64)


def _whole(value: object) -> int | None:
    text = str(value)
    try:
        return int(text)  # first, because floats round beyond 2^53
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    return int(number) if number.is_integer() else None
