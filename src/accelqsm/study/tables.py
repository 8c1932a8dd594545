"""Values of nuclei of many scans in one long table, from files and folders of anyone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd

from accelqsm.api.agreement import values
from accelqsm.errors import InputError
from accelqsm.files.bids.dataset import NO_PROTOCOL, entities_of
from accelqsm.results.nuclei import TABLE
from accelqsm.study.publish import NUCLEI_ENDING

VALUE_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "subject": {"Description": "Label of the participant"},
    "protocol": {"Description": "Label of the acquisition"},
    "region": {"Description": "Nucleus, both sides joined or with its side"},
    "value_ppb": {"Description": "Mean susceptibility", "Units": "ppb"},
    "note": {"Description": "Why there is no value"},
}


def join_tables(
    paths: Iterable[Path], *, subject: str = "", protocol: str = "", sides: bool = False
) -> pd.DataFrame:
    """Join tables of nuclei; who and what they are of is told by names of files and folders.

    Args:
        paths: tables of nuclei, folders of results, or folders above them.
        subject, protocol: labels to use instead of those of ``sub-`` and ``acq-``.
        sides: one value for each side instead of one for both together.

    Returns:
        Columns subject, protocol, region, value_ppb and note.

    Raises:
        InputError: no table, a table without subject or protocol, or two of the same scan.
    """
    found: dict[tuple[str, str], Path] = {}
    for path in paths:
        for table in _tables(path):
            key = (subject or _subject(table), protocol or _protocol(table))
            if key in found:
                raise InputError(
                    f"{table}: expected one table of {key[0]} {key[1]}, found also {found[key]}"
                )
            found[key] = table
    return values(found, sides=sides)


def _tables(path: Path) -> Iterator[Path]:
    """Tables in a folder: those with BIDS names, else those in folders of results."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"{path}: expected a table of nuclei or a folder, found none")
        yield path
        return
    if (path / TABLE).is_file():
        yield path / TABLE
        return
    tables = sorted(path.rglob(f"*{NUCLEI_ENDING}")) or sorted(path.rglob(TABLE))
    if not tables:
        raise InputError(f"{path}: expected {TABLE} or *{NUCLEI_ENDING} in it, found neither")
    yield from tables


def _subject(table: Path) -> str:
    entities = entities_of(table.resolve())
    if "sub" not in entities:
        raise InputError(f"{table}: expected sub- in its path, or --subject, found neither")
    return f"sub-{entities['sub']}"


def _protocol(table: Path) -> str:
    entities = entities_of(table.resolve())
    return entities.get("acq", NO_PROTOCOL)
