"""Errors and warnings about input, each a single line that users read without a traceback."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that names the file or argument, the value found and the value
    expected. The command line prints it and exits with ``status``.
    """

    status = 65
    """EX_DATAERR of sysexits.h."""


class MissingError(InputError):
    """A data set that is not there."""

    status = 66
    """EX_NOINPUT."""


class OutputError(InputError):
    """A place where results cannot be made: read-only, of others, or below a file."""

    status = 73
    """EX_CANTCREAT."""


class DiskError(OutputError):
    """A disk that is full, over a quota, or fails."""

    status = 74
    """EX_IOERR."""


class PartlyFailed(InputError):
    """Some parts of a run failed, the others are done; one line for each.

    Attributes:
        lines: what failed, and why.
        status: exit status: 1, or 75 where another attempt may end otherwise.
    """

    def __init__(self, lines: Sequence[str], status: int = 1) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)
        self.status = status


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_PLACE = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.ENOENT)


def output_error(what: object, error: OSError) -> InputError | None:
    """The line that says why ``what`` cannot be written; None for another kind of error."""
    # The system's own words: those of HDF5 are several lines.
    why = os.strerror(error.errno or 0).lower() + (f" ({error.filename})" if error.filename else "")
    if error.errno in NO_SPACE:
        return DiskError(f"{what}: expected space to write, found none left: {why}")
    if error.errno == errno.EIO:
        return DiskError(f"{what}: expected a disk that works, found {why}")
    if error.errno in NO_PLACE:
        return OutputError(f"{what}: expected a place to write, found {why}")
    return None


class InputWarning(UserWarning):
    """Input that is used in spite of a defect.

    The message is one line that names the file and says what is ignored or less accurate. The
    command line prints it on stderr and goes on.
    """


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Prefix the message of an ``InputError`` with a file name, unless it names one already."""
    try:
        yield
    except InputError as error:
        message = str(error)
        named = message.startswith(str(path)) or Path(message.partition(": ")[0]).is_file()
        raise InputError(message if named else f"{path}: {message}") from error
