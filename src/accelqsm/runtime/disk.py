"""Space on disks, asked for before it is needed."""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from accelqsm.errors import NO_SPACE, DiskError, output_error

MIB = 2**20


def free_bytes(folder: Path) -> int:
    """Free space where ``folder`` is, or the nearest folder above that exists."""
    while not folder.is_dir():
        folder = folder.parent
    usage = shutil.disk_usage(folder)
    return usage.free if usage.total else sys.maxsize  # some network file systems do not say


def no_space(error: OSError) -> bool:
    """Whether an error is of a disk that is full, closed or fails, and not of an input."""
    return error.errno in (*NO_SPACE, errno.EIO, errno.EROFS)


def check_free(folder: Path, n_bytes: int, *, name: object, use: str) -> None:
    """Check that there is enough disk space.

    Args:
        folder: where it is needed.
        n_bytes: how much.
        name: of the folder, for the message.
        use: what for, such as "the results".

    Raises:
        DiskError: less than that.
    """
    free = free_bytes(folder)
    if free < n_bytes:
        raise DiskError(
            f"{name}: expected {-(-n_bytes // MIB)} MiB of free space for {use}, found "
            f"{free // MIB} MiB"
        )


def check_temporary(n_bytes: int, use: str) -> None:
    """Check that there is enough space for temporary files.

    Raises:
        DiskError: less than ``n_bytes``, or no folder for temporary files.
    """
    folder = _temporary_folder(use)
    check_free(folder, n_bytes, name=_named(folder), use=use)


def reserve(file: IO[bytes], n_bytes: int) -> None:
    """Make a file as long as ``n_bytes`` and its space on the disk its own.

    Raises:
        OSError: no space for it.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, n_bytes)


@contextmanager
def reserved_file(n_bytes: int, use: str) -> Iterator[IO[bytes]]:
    """Context manager of an unnamed temporary file of zeros, whose space on the disk is its own.

    A file that is only made long ends a program without a word (SIGBUS) when the disk is full by
    the time that its mapped pages are written.

    Raises:
        DiskError: no space for it.
    """
    folder = _temporary_folder(use)
    check_free(folder, n_bytes, name=_named(folder), use=use)
    try:
        with tempfile.TemporaryFile() as file:
            reserve(file, n_bytes)
            yield file
    except OSError as error:
        raise output_error(f"{_named(folder)}: {use}", error) or error from error


def _temporary_folder(use: str) -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:  # all are full or closed
        raise DiskError(f"TMPDIR: expected a folder for {use}, found none to write in") from error


def _named(folder: Path) -> str:
    return f"{folder} (TMPDIR names another)"
