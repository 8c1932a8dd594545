"""Checksums of all files of a result, in its record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.files.toml import read_settings
from accelqsm.results.records import FILES, SETTINGS
from accelqsm.results.study import REPORT

UNSEALED = (REPORT,)
"""Files that a later command makes anew from the others."""


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
    kept = sorted(path for path in files if _is_named(path, record))
    named = {path.relative_to(folder).as_posix(): sha256(path) for path in kept}
    table = {name: value for name, value in read_settings(record).items() if name != FILES}
    text = tomli_w.dumps({**table, FILES: named})
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
    table = read_settings(record).get(FILES)
    if not isinstance(table, dict):
        return None
    lines = record.read_bytes().rstrip(b"\n").rpartition(b"\n")
    found = hashlib.sha256(lines[0] + b"\n").hexdigest()
    check_sum(record, found, str(table.pop(record.name, "none")))
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
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_named(path: Path, record: Path) -> bool:
    if path == record or path.name in UNSEALED or path.name.startswith("."):
        return False
    below = [above for above in path.parents if record.parent in above.parents]
    owned = [above / SETTINGS for above in below if (above / SETTINGS).is_file()]
    return not owned or path == owned[-1]
