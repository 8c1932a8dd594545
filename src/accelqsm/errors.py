"""Errors and warnings about input, each a single line that users read without a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """Input that cannot be used.

    The message is one line that names the file or argument, the value found and the value
    expected. The command line prints it and exits with status 65 (EX_DATAERR).
    """


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
