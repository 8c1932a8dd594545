"""Numbers in table cells: missing values, decimal commas, and codes for missing values."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.text.cells import Cells

MISSING = "n/a"
SAID_MISSING = frozenset(("nan", "na", "#n/a", "n.a.", "null", "none", "nil", "-", "--", ".", ""))
"""What programs write where there is no value, in small letters; ``n/a`` needs no word."""
CODES = frozenset(
    sign * number for number in (999.0, 9999.0, 99999.0, 999999.0) for sign in (1.0, -1.0)
)
"""Numbers that stand for a missing value and would be averaged."""
MOST_ROWS_SHOWN = 6
_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def with_numbers(cells: Cells, columns: Sequence[str]) -> Cells:
    """Normalise numeric columns: ``n/a`` for missing values, and decimal points.

    Raises:
        InputError: a cell that is no number, a code such as -999, or a comma that may be a decimal
            or a thousands one.

    Warns:
        InputWarning: rows whose values count as missing without ``n/a``, and decimal commas.
    """
    for name in columns:
        if name in cells.header:
            cells = cells.with_column(name, _numbers(cells, name))
    return cells


def with_points(cells: Cells, text: Sequence[str]) -> Cells:
    """Replace decimal commas by points in all columns other than ``text``."""
    for name in cells.header:
        values = [v for v in cells.column(name) if v and v != MISSING]
        comma = [v for v in values if _COMMA.fullmatch(v)]
        if name and name not in text and comma and all(_is_number(v) or v in comma for v in values):
            cells = cells.with_column(name, _points(cells, name))
    return cells


def rows_text(numbers: Sequence[int]) -> str:
    """Text of the first few row numbers."""
    shown = ", ".join(map(str, numbers[:MOST_ROWS_SHOWN]))
    more = len(numbers) - MOST_ROWS_SHOWN
    return f"row{'s' * (len(numbers) > 1)} {shown}" + (f" and {more} more" if more > 0 else "")


def _numbers(cells: Cells, name: str) -> list[str]:
    values = _points(cells, name)
    missing: dict[str, list[int]] = {}
    codes: dict[str, list[int]] = {}
    for place, (number, value) in enumerate(zip(cells.numbers, values, strict=True)):
        if value == MISSING or value.casefold() in SAID_MISSING | {"n/a"}:
            if value != MISSING:
                missing.setdefault(value or "nothing", []).append(number)
            values[place] = MISSING
        elif not _is_number(value):
            raise InputError(
                f"{cells.path}: {name}: expected numbers (n/a where there is none), found "
                f"{value!r} in row {number}"
            )
        elif math.isinf(float(value)):
            raise InputError(
                f"{cells.path}: {name}: expected finite numbers, found infinity in row {number}"
            )
        elif float(value) in CODES:
            codes.setdefault(value, []).append(number)
    for value, rows in codes.items():
        raise InputError(
            f"{cells.path}: {name}: expected n/a where a value is missing, found {value} in "
            f"{rows_text(rows)}"
        )
    if missing:
        told = "; ".join(f"{value} in {rows_text(rows)}" for value, rows in missing.items())
        message = f"{cells.path}: {name}: {told}, taken as missing (n/a)"
        warnings.warn(InputWarning(message), stacklevel=2)
    return values


def _points(cells: Cells, name: str) -> list[str]:
    """Cells of a column with points for decimal commas, where all of its numbers may have them."""
    values = cells.column(name)
    comma = [v for v in values if _COMMA.fullmatch(v)]
    if not comma or any("." in v for v in values if _is_number(v)):
        return values
    place = values.index(comma[0])
    if cells.delimiter != ";" and all(_GROUPED.fullmatch(v) for v in comma):
        raise InputError(
            f"{cells.path}: {name}: expected a decimal point, found {comma[0]!r} in row "
            f"{cells.numbers[place]}, which may be {comma[0].replace(',', '.')} or "
            f"{comma[0].replace(',', '')}"
        )
    message = (
        f"{cells.path}: {name}: commas taken as decimal points, so that {comma[0]} in row "
        f"{cells.numbers[place]} is {comma[0].replace(',', '.')}"
    )
    warnings.warn(InputWarning(message), stacklevel=2)
    return [v.replace(",", ".") if _COMMA.fullmatch(v) else v for v in values]


def _is_number(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return "_" not in value
