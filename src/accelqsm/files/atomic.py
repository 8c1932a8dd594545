"""Atomic writing of files, so that no partial output is left behind."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial-"
"""What names of temporary files begin with."""

RANDOM, LONGEST_ENDING = 8, 200
"""Random characters of such a name, and bytes of the file's own; a name may have 255."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path, renamed to ``path`` when the block succeeds.

    After an exception the temporary file is removed and an existing file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=_ending(path), dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partial(path: Path) -> None:
    """Remove what killed processes left of ``path``, which no other process may be writing."""
    for left in path.parent.glob(f"{PARTIAL}{'?' * RANDOM}{glob.escape(_ending(path))}"):
        left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _ending(path: Path) -> str:
    """What names of temporary files of ``path`` end with."""
    return "-" + os.fsencode(path.name)[-LONGEST_ENDING:].decode(errors="ignore")


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
