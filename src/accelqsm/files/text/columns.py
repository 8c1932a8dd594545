"""Columns of a table of values as people name them: asked for, and told from crossed headers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from accelqsm.errors import InputError
from accelqsm.files.text.cells import Cells
from accelqsm.nomenclature import FULL_NAMES

MEANINGS: Mapping[str, str] = {
    "subject": "who was scanned",
    "protocol": "by which scan",
    "region": "in which nucleus",
    "value_ppb": "susceptibility in ppb; value_ppm in ppm",
    "value_ppm": "susceptibility in ppm",
}
USUAL: Mapping[str, tuple[str, ...]] = {
    "subject": ("id", "subj", "subjectid", "participant", "participantid", "patient", "patientid",
                "person", "case", "volunteer", "proband"),
    "protocol": ("scan", "sequence", "acquisition", "acq", "method", "technique", "acceleration",
                 "recon", "reconstruction", "protokoll"),
    "region": ("roi", "nucleus", "nuclei", "structure", "label", "area", "kern"),
    "value_ppb": ("value", "chi", "chippb", "qsm", "susceptibility", "meanppb", "ppb", "mean",
                  "qsmmean", "meanqsm", "chimean", "meanchi", "meansusceptibility"),
    "value_ppm": ("chippm", "meanppm", "ppm"),
}  # fmt: skip
"""Names in use, without case, spaces and signs."""
BETWEEN = re.compile(r"[_\-./:| ]+")
SHORT_NAMES = ("Put", "Cau", "Caud", "Caudate", "CN", "Th", "Thal", "Thalamus", "Pallidum")
"""Of nuclei, in use besides the abbreviations of ``FULL_NAMES`` and the names themselves."""
SIDES = ("l", "r", "left", "right", "lh", "rh")


def check_meant(cells: Cells, columns: Sequence[str]) -> None:
    """Refuse a table of values that lacks a column, and say how its own may be named.

    Raises:
        InputError: with what is missing in words, what there is, and the option for the columns
            that by their names may be meant.
    """
    missing = [name for name in columns if name not in cells.header]
    if not missing:
        return
    wanted = ", ".join(f"{name} ({MEANINGS[name]})" for name in missing)
    found = [name for name in cells.header if name]
    message = f"{cells.path}: expected column(s) {wanted}, found {', '.join(found)}"
    spare = [name for name in found if name not in columns]
    if len(spare) < len(missing):
        raise InputError(message)
    meant = [option for name in missing if (option := _option(name, spare))]
    words = " ".join(meant or [f"{name}=NAME" for name in missing])
    raise InputError(f"{message}; say which is which: --columns {words}")


def crossed(columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Region and protocol in headers such as "SNc_PI" or "AF5 - left Pu".

    Known nuclei tell which words are protocols, and these which other words are regions.

    Args:
        columns: headers of columns of numbers; those without either are left out.

    Returns:
        Header -> region, protocol; empty with fewer than two protocols, or where two headers name
        the same.
    """
    known = {pair for column in columns for pair in _splits(column) if _is_region(pair[0])}
    protocols = {name for _, name in known if not (_is_region(name) or _has_side(name))}
    found: dict[str, tuple[str, str]] = {}
    for column in columns:
        pairs = [pair for pair in _splits(column) if pair[1] in protocols]
        named = [pair for pair in pairs if _is_region(pair[0])] or pairs
        if named:
            found[column] = named[0]
    return found if len(protocols) > 1 and len(set(found.values())) == len(found) else {}


def _splits(column: str) -> list[tuple[str, str]]:
    """Both orders of the two parts of a header, for each place where it may be split."""
    parts = [
        (column[: mark.start()], column[mark.end() :])
        for mark in BETWEEN.finditer(column)
        if mark.start() > 0 and mark.end() < len(column)
    ]
    return [pair for first, last in parts for pair in ((first, last), (last, first))]


def _has_side(text: str) -> bool:
    return any(word.casefold() in SIDES for word in BETWEEN.split(text))


def _is_region(text: str) -> bool:
    known = {_plain(name) for name in (*FULL_NAMES, *FULL_NAMES.values(), *SHORT_NAMES)}
    words = [word for word in BETWEEN.split(text) if word.casefold() not in SIDES]
    return _plain("".join(words)) in known


def _option(name: str, spare: Sequence[str]) -> str:
    """How to name the one column that may be meant; empty where there is none."""
    names = (name, "value_ppm") if name == "value_ppb" else (name,)
    for ours in names:
        usual = [one for one in spare if _plain(one) in USUAL[ours]]
        if len(usual) == 1:
            return f"{ours}={_quoted(usual[0])}"
    return ""


def _quoted(column: str) -> str:
    return f"'{column}'" if " " in column else column


def _plain(text: str) -> str:
    return re.sub(r"[\W_]", "", text).casefold()
