"""Bibliography of reports, by the keys of the BibTeX file next to this module.

A key may also be a whole BibTeX entry, so that a registered method can have its own citation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from accelqsm.errors import InputError

ENTRY = re.compile(r"@\w+\{(?P<key>[^,]+),(?P<body>.*?)\n\}", re.DOTALL)
FIELD = re.compile(r"^\s*(?P<name>\w+)\s*=\s*\{(?P<value>.*)\},?\s*$", re.MULTILINE)


def references(keys: Iterable[str]) -> list[str]:
    """Format works as lines of a reference list, in the order of the keys, without duplicates.

    Raises:
        InputError: a key that is not in the bibliography.
    """
    return [_line(_entry(key)) for key in dict.fromkeys(keys)]


def bibtex(keys: Iterable[str]) -> str:
    """BibTeX entries of works, in the order of the keys, without duplicates."""
    return "\n\n".join(_entry(key)["bibtex"] for key in dict.fromkeys(keys)) + "\n"


@cache
def _entries() -> dict[str, dict[str, str]]:
    return _parse(files("accelqsm.reports").joinpath("citations.bib").read_text("utf-8"))


def _parse(text: str) -> dict[str, dict[str, str]]:
    """Parse BibTeX: key -> fields, with the entry itself as "bibtex"."""
    return {
        found["key"]: {
            **{field["name"]: field["value"] for field in FIELD.finditer(found["body"])},
            "bibtex": found[0],
        }
        for found in ENTRY.finditer(text)
    }


def _entry(key: str) -> dict[str, str]:
    entry = next(iter(_parse(key).values()), None) if key.startswith("@") else _entries().get(key)
    if entry is None:
        raise InputError(f"citation: expected a key of citations.bib, found '{key}'")
    return entry


def _line(entry: dict[str, str]) -> str:
    """Reference line of an entry: authors, year, title, journal, volume, pages, doi."""
    *first, last = entry["author"].split(" and ")
    authors = f"{', '.join(first)} and {last}" if first else last
    authors = authors.replace(" and others", " et al.")
    where = entry["journal"]
    if "volume" in entry:
        where += f" {entry['volume']}:{entry['pages']}"
    link = f" doi {entry['doi']}" if "doi" in entry else ""
    link = link or (f" {entry['url']}" if "url" in entry else "")
    return f"{authors} {entry['year']}. {entry['title']}. {where}.{link}"
