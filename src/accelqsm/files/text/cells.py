"""Cells of a text table, with detection of the delimiter and row numbers for messages."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.runtime.reading import LARGEST_TABLE_BYTES, read_bytes

DELIMITERS = ("\t", ";", ",")
NAMES = {"\t": "tab", ";": "semicolon", ",": "comma"}
_BINARY = {b"PK\x03\x04": "a zip or Excel file", b"\xd0\xcf\x11\xe0": "an Excel file",
           b"\x1f\x8b": "a gzip file", b"%PDF": "a PDF"}  # fmt: skip
_CHOSEN = re.compile(r"sep=(.)\s*$")
_NUMBERS = re.compile(r"[+-]([\d., ()±%–-]|\d[eE][+-]?\d)*")
"""A number, or several such as ``-0.9 (0.04)``: without a name that a spreadsheet could call."""
_FORMULA = re.compile(r"'*[=+\-@]")
_BREAKS = re.compile(r"[\t\n\v\f]+")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What no name has: control characters, and those that turn the direction of writing."""


@dataclass(frozen=True)
class Cells:
    """A table of text cells.

    Attributes:
        path: where it came from, for messages.
        header: names of the columns.
        rows: cells of each row, as many as the header has, without spaces at their ends.
        numbers: of each row; the first below the header is 1, blank ones count.
        delimiter: between cells.
    """

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[int, ...]
    delimiter: str = "\t"

    def column(self, name: str) -> list[str]:
        """Cells of one column."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def with_column(self, name: str, cells: Sequence[str]) -> Cells:
        """The same table with other cells in one column."""
        place = self.header.index(name)
        rows = zip(self.rows, cells, strict=True)
        return replace(self, rows=tuple((*r[:place], c, *r[place + 1 :]) for r, c in rows))

    def renamed(self, names: Mapping[str, str]) -> Cells:
        """The same table with other names (old to new); a column of the new name goes.

        Raises:
            InputError: a column that is not there.
        """
        for name in names:
            if name not in self.header:
                found = ", ".join(filter(None, self.header))
                raise InputError(f"{self.path}: expected a column {name}, found {found}")
        taken = {new for old, new in names.items() if old != new}
        header = (names.get(n, "" if n in taken else n) for n in self.header)
        return replace(self, header=tuple(header))

    def without_unnamed(self) -> Cells:
        """The same table without columns that have no name, such as row numbers."""
        kept = [i for i, name in enumerate(self.header) if name]
        return replace(
            self,
            header=tuple(self.header[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )

    @property
    def text(self) -> str:
        """Tab-separated, quoted where it must be."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, delimiter="\t", lineterminator="\n")
        writer.writerows([self.header, *self.rows])
        return buffer.getvalue()


def inert(cell: str) -> str:
    """A cell that no spreadsheet runs as a formula: with an apostrophe first. Numbers stay."""
    runs = _FORMULA.match(cell) and not _NUMBERS.fullmatch(cell)
    return f"'{cell}" if runs else cell


def as_meant(cell: str) -> str:
    """The cell that ``inert`` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def read_cells(path: Path, columns: Sequence[str] = ()) -> Cells:
    """Read a table that is separated by tabs, semicolons or commas, quoted or not.

    Args:
        path: text in UTF-8 or, with a byte order mark, UTF-16; any line ends.
        columns: that it should have, by which the delimiter is found; named as here where the
            case of their letters alone differs.

    Raises:
        InputError: missing or empty file, no text, control characters, rows longer than the
            header, or a name that two columns have.
    """
    text = text_of(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if chosen := _CHOSEN.match(first):
        text = text.partition(first)[2]
        delimiter = chosen[1]
    else:
        delimiter = _delimiter(first, columns)
    try:
        lines = list(csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise InputError(f"{path}: not a tab-separated table ({error})") from error
    stripped = [[_cleaned(cell) for cell in line] for line in lines]
    start = next((i for i, line in enumerate(stripped) if any(line)), None)
    if start is None:
        raise InputError(f"{path}: not a tab-separated table (no columns in it)")
    header = _header(path, stripped[start], columns)
    rows, numbers = [], []
    for number, line in enumerate(stripped[start + 1 :], start=1):
        if any(line):
            rows.append(_row(path, line, number, len(header)))
            numbers.append(number)
    return Cells(path, header, tuple(rows), tuple(numbers), delimiter)


def text_of(path: Path) -> str:
    """Text of a file in UTF-8 or, with a byte order mark, UTF-16; lines end with one character.

    Raises:
        InputError: no file, or no text.
    """
    if path.is_dir():
        raise InputError(f"{path}: expected a table, found a folder")
    raw = read_bytes(path, LARGEST_TABLE_BYTES)
    for start, what in _BINARY.items():
        if raw.startswith(start):
            raise InputError(f"{path}: expected a table as text (.tsv or .csv), found {what}")
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a tab-separated table in UTF-8 ({error})") from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if found := _CONTROL.search(text):
        number = text.count("\n", 0, found.start())
        raise InputError(
            f"{path}: expected text without control characters, found U+{ord(found[0]):04X} in "
            f"{f'row {number}' if number else 'the header'}"
        )
    return text


def _cleaned(cell: str) -> str:
    """A cell in one line, without spaces at its ends and what kept it from being a formula."""
    return as_meant(_BREAKS.sub(" ", cell).strip())


def _delimiter(line: str, columns: Sequence[str]) -> str:
    """Delimiter that gives most of the expected columns, then most columns."""
    wanted = {name.casefold() for name in columns}

    def merit(delimiter: str) -> tuple[int, int, int]:
        names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
        found = wanted & {name.strip().casefold() for name in names}
        return len(found), len(names), -DELIMITERS.index(delimiter)

    return max(DELIMITERS, key=merit)


def _header(path: Path, names: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    kept = list(names)
    while kept and not kept[-1]:
        kept.pop()
    for column in columns:
        alike = [i for i, name in enumerate(kept) if name.casefold() == column.casefold()]
        if column not in kept and len(alike) == 1:
            kept[alike[0]] = column
    twice = next((name for name in kept if name and kept.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"{path}: expected every column once, found {twice} twice")
    return tuple(kept)


def _row(path: Path, line: Sequence[str], number: int, n_columns: int) -> tuple[str, ...]:
    if any(line[n_columns:]):
        raise InputError(
            f"{path}: expected {n_columns} cells in row {number} as in the header, found "
            f"{len(line)}"
        )
    return (*line[:n_columns], *[""] * (n_columns - len(line)))
