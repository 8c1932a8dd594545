"""Tables of labels with colours, as viewers and segmentation tools write them, without a header.

| Row | Who |
|---|---|
| ``index name R G B A`` | FreeSurfer, 3D Slicer, MRtrix |
| ``index R G B A visible mesh "name"`` | ITK-SNAP |
| ``index name`` | MRtrix, AAL |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.files.text.cells import Cells, text_of

RGB = ("red", "green", "blue")
_HEX_NAMES, _RGB_NAMES = ("color", "colour", "hex"), (RGB, ("r", "g", "b"))
_HEX = re.compile(r"#?([0-9a-fA-F]{6})(?:[0-9a-fA-F]{2})?")
_WORDS = re.compile(r'"[^"]*"|\S+')
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_SNAP = 7
"""Numbers before the name of a row of ITK-SNAP: index, colour, opacity and two switches."""


def read_colour_table(path: Path) -> Cells | None:
    """Index, name and colour of each label of a table without a header; None for another table.

    Lines that begin with ``#`` are comments; the label 0 is the background and left out.

    Raises:
        InputError: a file that is no text.
    """
    lines = list(enumerate(text_of(path).splitlines(), start=1))
    rows = [(n, line) for n, line in lines if line.strip() and not line.lstrip().startswith("#")]
    split = [_words(line) for _, line in rows]
    if not rows or not all(len(w) > 1 and _WHOLE.fullmatch(w[0]) for w in split):
        return None
    if any("," in line or ";" in line for _, line in rows):
        return None
    named = _named(split)
    kept = [(n, row) for (n, _), row in zip(rows, named, strict=True) if int(row[0]) != 0]
    header = ("index", "name", *(RGB if len(named[0]) > 2 else ()))
    return Cells(path, header, tuple(row for _, row in kept), tuple(n for n, _ in kept))


def _words(line: str) -> list[str]:
    words = line.strip().split("\t") if "\t" in line.strip() else _WORDS.findall(line)
    return [word.strip().strip('"').strip() for word in words if word.strip()]


def _named(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """Index, name and, where every row has one, colour."""
    if all(len(row) > _SNAP and all(map(_NUMBER.fullmatch, row[1:_SNAP])) for row in rows):
        return [(row[0], " ".join(row[_SNAP:]), *row[1:4]) for row in rows]
    for n in (4, 3):
        if all(len(row) > n + 1 and all(map(_is_byte, row[-n:])) for row in rows):
            return [(row[0], " ".join(row[1:-n]), *row[-n:][:3]) for row in rows]
    return [(row[0], " ".join(row[1:])) for row in rows]


def _is_byte(word: str) -> bool:
    return bool(_WHOLE.fullmatch(word)) and 0 <= int(word) <= 255


def packed_colours(table: pd.DataFrame) -> npt.NDArray[np.int64] | None:
    """Colour of each row as 65536 R + 256 G + B, -1 where a row has none; None without colours.

    Args:
        table: with columns red, green, blue (r, g, b), or color as #RRGGBB.
    """
    columns = {str(name).casefold(): name for name in table}
    for names in _RGB_NAMES:
        if set(names) <= set(columns):
            parts = table[[columns[name] for name in names]]
            numbers = parts.apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
            usable = ((numbers >= 0) & (numbers <= 255)).all(axis=1)
            packed = np.nan_to_num(numbers) @ (65536, 256, 1)
            return np.where(usable, packed, -1).astype(np.int64)
    for name in _HEX_NAMES:
        if name in columns:
            found = [_HEX.fullmatch(str(cell).strip()) for cell in table[columns[name]]]
            return np.array([int(hit[1], 16) if hit else -1 for hit in found], dtype=np.int64)
    return None
