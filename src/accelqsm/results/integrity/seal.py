"""Checksums of all files of a result, in its record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.bids.description import IGNORED
from accelqsm.files.toml import read_settings
from accelqsm.results.records import CHECKSUMS, FILES, SETTINGS, UNFINISHED
from accelqsm.results.study import REPORT
from accelqsm.runtime.reading import check_regular

UNSEALED = (REPORT, UNFINISHED)
"""What a later command makes anew from the others, and what goes when all are there."""


def seal(record: Path, files: Iterable[Path]) -> None:
    """Name the SHA-256 of files in the record of a result, in its table ``[files]``.

    Of a folder with a record of its own, that record alone is named. The last line is the SHA-256
    of the record itself, of all that is above.

    Args:
        record: TOML file of the result.
        files: in its folder and below.
    """
    import tomli_w

    folder = record.parent
    named = {
        path.relative_to(folder).as_posix(): sha256(path)
        for path in sorted(files)
        if _is_named(path, record)
    }
    kept = {k: v for k, v in read_settings(record).items() if k not in (CHECKSUMS, FILES)}
    text = tomli_w.dumps({CHECKSUMS: "SHA-256", **kept, FILES: named})
    write_text(record, f'{text}"{record.name}" = "{hashlib.sha256(text.encode()).hexdigest()}"\n')


def seal_folders(files: Iterable[Path]) -> None:
    """Seal every folder of results among files that has a record, the innermost first."""
    known = list(files)
    records = (path for path in known if path.name == SETTINGS)
    for record in sorted(records, key=lambda path: -len(path.parts)):
        seal(record, (path for path in known if record.parent in path.parents))


def sealed_files(record: Path) -> dict[str, str] | None:
    """Relative path -> SHA-256 of the files that a record names; None if it has no checksums.

    Raises:
        InputError: a record that is not TOML, or was altered since it was written.
    """
    written = read_settings(record)
    table = written.get(FILES)
    if not isinstance(table, dict):
        if CHECKSUMS in written:
            raise InputError(f"{record}: expected the table [{FILES}] at its end, found none: cut")
        return None
    above, _, last = record.read_bytes().removesuffix(b"\n").rpartition(b"\n")
    found = hashlib.sha256(above + b"\n").hexdigest()
    check_sum(record, found, str(table.pop(record.name, "none")))
    if last != f'"{record.name}" = "{found}"'.encode():
        raise InputError(f"{record}: expected its own checksum in the last line, found {last!r}")
    return {str(name): str(digest) for name, digest in table.items()}


def check_sum(path: Path, found: str, expected: str) -> None:
    """Refuse a file of another checksum.

    Raises:
        InputError: with both.
    """
    if found != expected:
        raise InputError(
            f"{path}: expected SHA-256 {expected} as its run recorded, found {found}: altered or "
            "of another run"
        )


def sha256(path: Path) -> str:
    """SHA-256 of a regular file, in hexadecimal digits; InputError for any other."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_named(path: Path, record: Path) -> bool:
    hidden = path.name.startswith(".") and path.name != IGNORED
    if path == record or path.name in UNSEALED or hidden:
        return False
    below = [above for above in path.parents if record.parent in above.parents]
    owned = [above / SETTINGS for above in below if (above / SETTINGS).is_file()]
    return not owned or path == owned[-1]
