"""Check that the files of a result are those that one run wrote."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from accelqsm.errors import InputError, InputWarning
from accelqsm.results.integrity.seal import check_sum, sealed_files, sha256
from accelqsm.results.names import CORRECTED, LATER, RESULTS, owner_of, results_in
from accelqsm.results.records import SETTINGS, UNFINISHED
from accelqsm.runtime.reading import LARGEST_TABLE_BYTES, check_size

_BOUNDED = (".tsv", ".json", ".toml")
_WRITTEN_HERE: set[Path] = set()
"""Folders that this process is writing in place, and may read from before they are finished."""


@contextmanager
def written_here(folder: Path) -> Iterator[None]:
    """Context manager of a run that reads its own unfinished results."""
    _WRITTEN_HERE.add(folder.resolve())
    try:
        yield
    finally:
        _WRITTEN_HERE.discard(folder.resolve())


def check_folder(folder: Path) -> list[str]:
    """Check that a folder holds the results of one run, unaltered.

    Returns:
        The files that the run wrote and that are gone since, relative to the folder.

    Raises:
        InputError: an unfinished run, or a file that is not as its run left it, with its name and
            the checksum found and expected.

    Warns:
        InputWarning: files that are gone, or results of a version that recorded no checksums.
    """
    return check_folders([folder])


def check_folders(folders: Iterable[Path]) -> list[str]:
    """Check several folders as ``check_folder``, and tell once of those without checksums."""
    old: list[Path] = []
    gone = [str(path) for folder in folders for path in _check(folder, old)]
    if old:
        more = f" and {len(old) - 1} more" if len(old) > 1 else ""
        _warn(
            f"{old[0]}{more}: no checksums, as earlier versions recorded none; whether the files "
            "belong together is not checked"
        )
    if gone:
        _warn(f"{', '.join(gone)}: recorded by the run, but no such file; left out")
    return gone


def check_file(path: Path) -> None:
    """Check a file that is read alone, if it is one of the results of a run.

    Raises:
        InputError: of an unfinished run, or not as its run left it.

    Warns:
        InputWarning: the same of a mask, labels or their lookup, which people correct by hand.
    """
    folder = path.parent
    own = folder.resolve() in _WRITTEN_HERE
    if (folder / UNFINISHED).is_file() and not own and path in results_in(folder, ""):
        raise _unfinished(folder)
    for record in (folder / SETTINGS, path.with_suffix(".toml")):
        if path == record or not record.is_file():
            continue
        expected = _files_named(record).get(path.name)
        if expected is None or (found := _sum_of(path)) == expected:
            continue
        if path.name not in CORRECTED:
            check_sum(path, found, expected)
        _warn(f"{path}: altered since {record.name} was written; used as it is")


def _sum_of(path: Path) -> str:
    """SHA-256 of a file; a table or a record that no reader takes is refused for its size first."""
    if path.suffix in _BOUNDED:
        check_size(path, LARGEST_TABLE_BYTES)
    return sha256(path)


def _files_named(record: Path) -> dict[str, str]:
    """Files of a record; none if it is no record of a run."""
    try:
        return sealed_files(record) or {}
    except InputError:
        if record.name == SETTINGS and owner_of(record.parent):
            raise
        return {}


def _check(folder: Path, old: list[Path]) -> list[Path]:
    """Files that are gone; folders without checksums are added to ``old``."""
    record = folder / SETTINGS
    if (folder / UNFINISHED).is_file() or not record.is_file():
        raise _unfinished(folder)
    named = sealed_files(record)
    if named is None:
        old.append(record)
        return []
    gone = []
    for name, expected in named.items():
        path = folder / name
        if not path.is_file():
            gone.append(path)
            continue
        check_sum(path, _sum_of(path), expected)
        if path.name == SETTINGS:
            gone += _check(path.parent, old)
    _check_no_others(folder, set(named))
    return gone


def _check_no_others(folder: Path, named: set[str]) -> None:
    """Refuse a file of the same command that the run did not write."""
    for pattern in RESULTS.get(owner_of(folder) or "", ()):
        if "/" in pattern or pattern in LATER or pattern == SETTINGS:
            continue
        for path in folder.glob(pattern):
            if path.name not in named:
                raise InputError(
                    f"{path}: expected no result that {SETTINGS} does not name, found one of "
                    "another run"
                )


def _unfinished(folder: Path) -> InputError:
    found = UNFINISHED if (folder / UNFINISHED).is_file() else f"no {SETTINGS}"
    return InputError(
        f"{folder}: unfinished: expected {SETTINGS}, which a run writes last, found {found}; run "
        "the command again"
    )


def _warn(text: str) -> None:
    warnings.warn(InputWarning(text), stacklevel=4)
