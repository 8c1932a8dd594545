"""What users are meant to read: a single line, without a traceback."""

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
    """Input that is used, at a loss.

    The message is one line that names the file and says what is lost. The command line prints it
    on stderr and goes on.
    """


@contextmanager
def naming(path: object) -> Iterator[None]:
    """Put a file before the message of an ``InputError`` that names no file."""
    try:
        yield
    except InputError as error:
        message = str(error)
        named = message.startswith(str(path)) or Path(message.partition(": ")[0]).is_file()
        raise InputError(message if named else f"{path}: {message}") from error
