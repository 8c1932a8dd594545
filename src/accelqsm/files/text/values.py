"""Reader of tables of values, long, or wide with a column for each protocol or region."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.tables import check_columns, frame_of
from accelqsm.files.text.cells import Cells, read_cells
from accelqsm.files.text.columns import check_meant, crossed
from accelqsm.files.text.numbers import MISSING, SAID_MISSING, with_numbers
from accelqsm.units import PPB_PER_PPM

LABELS = ("subject", "protocol", "region")
VALUE, VALUE_PPM = "value_ppb", "value_ppm"
SCANS = ("session", "run")
"""Labels that a long table may have besides, of repeated scans."""
INTERVAL = ("low_ppb", "high_ppb")
SPREAD = ("region", "protocol")
"""Labels that may stand in the header instead of in a column."""
_NO_VALUES = re.compile(
    r"(?:.*[_ .-])?(?:mean|sd|std|median|iqr|n|voxels|volume|mm3|age|years|sex|weight|height|bmi|"
    r"index|row|id|session|run|side|note)(?:[_ .-].*)?",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")


def read_values(path: Path, names: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Read one value per subject, protocol and region.

    Args:
        path: table with columns subject, protocol, region and value_ppb (or value_ppm); or without
            region or protocol, and one column for each of them.
        names: what the file calls them; ``region`` or ``protocol`` may name several columns,
            separated by commas.

    Returns:
        Columns subject, protocol, region, value_ppb, and others of a long table.

    Raises:
        InputError: a table that cannot be read, or lacks a column.

    Warns:
        InputWarning: a wide table that was recognised, missing values without ``n/a``, decimal
            commas.
    """
    given = dict(names or {})
    _check_names(given)
    spread = next((ours for ours in SPREAD if "," in given.get(ours, "")), None)
    columns = given.pop(spread).split(",") if spread else []
    labels = [name for name in LABELS if name != spread]
    cells = read_cells(path, [given.get(name, name) for name in (*labels, VALUE)])
    cells = cells.renamed({theirs: ours for ours, theirs in given.items()}).without_unnamed()
    if "subject" not in cells.header and "participant_id" in cells.header:
        cells = cells.renamed({"participant_id": "subject"})
    value = VALUE_PPM if VALUE_PPM in cells.header and VALUE not in cells.header else VALUE
    if spread is None and value not in cells.header:
        spread, columns = _recognised(cells)
    if spread is None and value not in cells.header:
        cells = _uncrossed(cells, value)
    if spread is not None:
        check_columns(cells, [*labels[:1], *(n for n in labels[1:] if n != spread), *columns])
        cells = _long(with_numbers(cells, columns), spread, columns, value)
    check_meant(cells, (*LABELS, value))
    numbers = [value, *(name for name in INTERVAL if name in cells.header)]
    table = frame_of(with_numbers(cells, numbers), text=(*LABELS, *SCANS, "note"))
    if value == VALUE_PPM:
        table[VALUE_PPM] = table[VALUE_PPM].astype(float) * PPB_PER_PPM
        table = table.rename(columns={VALUE_PPM: VALUE})
    return table


def _check_names(names: Mapping[str, str]) -> None:
    for ours in names:
        if ours not in (*LABELS, *SCANS, VALUE, VALUE_PPM, *INTERVAL):
            known = ", ".join((*LABELS, *SCANS, VALUE, VALUE_PPM, *INTERVAL))
            raise InputError(f"--columns: expected one of {known}, found {ours}")


def _recognised(cells: Cells) -> tuple[str | None, list[str]]:
    """The label that the header holds, and its columns; None where the table is not wide."""
    missing = [name for name in LABELS if name not in cells.header]
    if len(missing) != 1 or missing[0] not in SPREAD:
        return None, []
    columns = [
        name
        for name in cells.header
        if name not in LABELS and not _NO_VALUES.fullmatch(name) and _holds_numbers(cells, name)
    ]
    if len(columns) < 2:
        return None, []
    left_out = [name for name in cells.header if name not in (*LABELS, *columns)]
    but = f"; not read: {', '.join(left_out)}" if left_out else ""
    message = (
        f"{cells.path}: a column for each {missing[0]} in ppb, so read as {missing[0]}s: "
        f"{', '.join(columns)}{but}"
    )
    warnings.warn(InputWarning(message), stacklevel=2)
    return missing[0], columns


def _uncrossed(cells: Cells, value: str) -> Cells:
    """A long table from one row per subject with a column for each nucleus and protocol."""
    if [name for name in LABELS if name in cells.header] != ["subject"]:
        return cells
    free = [name for name in cells.header if name not in (*LABELS, *SCANS)]
    found = crossed([name for name in free if _holds_numbers(cells, name)])
    if not found:
        return cells
    read = ", ".join(f"{region} under {protocol}" for region, protocol in found.values())
    left_out = [name for name in free if name not in found]
    but = f"; not read: {', '.join(left_out)}" if left_out else ""
    message = f"{cells.path}: a column for each region and protocol in ppb, so read as {read}{but}"
    warnings.warn(InputWarning(message), stacklevel=2)
    cells = with_numbers(cells, list(found))
    kept = [name for name in ("subject", *SCANS) if name in cells.header]
    rows = [
        (*(row[cells.header.index(name)] for name in kept), *pair, row[cells.header.index(column)])
        for row in cells.rows
        for column, pair in found.items()
    ]
    return replace(
        cells,
        header=(*kept, "region", "protocol", value),
        rows=tuple(rows),
        numbers=tuple(number for number in cells.numbers for _ in found),
        delimiter="\t",
    )


def _holds_numbers(cells: Cells, name: str) -> bool:
    filled = [v for v in cells.column(name) if v.casefold() not in SAID_MISSING and v != MISSING]
    return bool(filled) and all(_NUMBER.fullmatch(v) for v in filled)


def _long(cells: Cells, label: str, columns: Sequence[str], value: str) -> Cells:
    """One row for each of the columns."""
    kept = [name for name in (*LABELS, *SCANS) if name in cells.header]
    places = [cells.header.index(name) for name in kept]
    rows, numbers = [], []
    for row, number in zip(cells.rows, cells.numbers, strict=True):
        for column in columns:
            rows.append((*(row[i] for i in places), column, row[cells.header.index(column)]))
            numbers.append(number)
    return replace(
        cells,
        header=(*kept, label, value),
        rows=tuple(rows),
        numbers=tuple(numbers),
        delimiter="\t",
    )
