"""Cells of tables: the one place where a number becomes text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

MISSING = "n/a"
MINUS = "\N{MINUS SIGN}"
HYPHEN = re.compile(r"(?<![\w-])-(?=\.?\d)")
UNIT = re.compile(r"(?<=\d) (?=%|ppb\b|min\b)|(?<=\bn) (?== )|(?<=\bn =) (?=\d)")
NUMBER = re.compile(r"[-+<\N{MINUS SIGN}]?[\d.∞]+( [\[(][^\])]*[\])])?")


@dataclass(frozen=True)
class Table:
    """A table with a caption; missing values are shown as n/a.

    Attributes:
        title: short heading.
        frame: the rows, shown without their index; the first column names the row.
        caption: what the columns mean, with units.
        headings: column name -> heading, where they differ.
        formats: column name -> format such as ".1f", or "p" for p-values; ".4g" when absent.
    """

    title: str
    frame: pd.DataFrame
    caption: str = ""
    headings: Mapping[str, str] = field(default_factory=dict)
    formats: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shown:
    """A table as text, the same on the page and in files of other formats.

    Attributes:
        title, caption: as of the table.
        headings: one per column.
        numeric: whether a column holds numbers.
        rows: cells of each row.
        starts: whether a row begins a new group of rows with the same first cell.
    """

    title: str
    caption: str
    headings: Sequence[str]
    numeric: Sequence[bool]
    rows: Sequence[Sequence[str]]
    starts: Sequence[bool]

    @property
    def grouped(self) -> bool:
        """Whether several rows have the same first cell."""
        return sum(self.starts) + 1 < len(self.rows)


def shown(table: Table) -> Shown:
    """Cells of a table as text, rounded."""
    names = [str(column) for column in table.frame.columns]
    rows = [
        [
            show(value, table.formats.get(name, ".4g"))
            for name, value in zip(names, row, strict=True)
        ]
        for row in table.frame.itertuples(index=False, name=None)
    ]
    first = [row[0] if row else "" for row in rows]
    return Shown(
        title=table.title,
        caption=table.caption,
        headings=[table.headings.get(name, name) for name in names],
        numeric=[_is_numeric(table.frame.iloc[:, i]) for i in range(len(names))],
        rows=rows,
        starts=[i > 0 and first[i] != first[i - 1] for i in range(len(rows))],
    )


def show(value: object, spec: str = ".4g") -> str:
    """Format a table cell: rounded, with a minus sign, n/a when missing; ``p`` for p-values."""
    if value is None or value is pd.NA:
        return MISSING
    if isinstance(value, str | bool):
        return str(value)
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return str(value)
    if math.isnan(number):
        return MISSING
    if spec == "p":
        return "<0.001" if number < 0.001 else f"{number:.3f}"
    if math.isinf(number):
        return "∞" if number > 0 else f"{MINUS}∞"
    if spec == ".4g" and number == int(number) and abs(number) < 1e15:
        return str(int(number)).replace("-", MINUS)
    text = format(number, spec)
    # The sign of a rounded zero, "-0.0", has no meaning.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", MINUS)


def typeset(sentence: str) -> str:
    """Sentence with minus signs for hyphens before numbers, and numbers kept with their units."""
    return UNIT.sub("\N{NO-BREAK SPACE}", HYPHEN.sub(MINUS, sentence))


def _is_numeric(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_numeric_dtype(column):
        return True
    texts = [text for text in column.dropna().astype(str) if text != MISSING]
    return bool(texts) and all(NUMBER.fullmatch(text) for text in texts)
