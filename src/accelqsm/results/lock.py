"""Lock file for one run at a time, released by the system when its process ends."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelqsm.errors import InputError


class InUse(InputError):
    """Results that another run is writing."""


@contextmanager
def locked(path: Path, what: Path) -> Iterator[None]:
    """Context manager that holds the lock file ``path`` of ``what``.

    The system's lock on the file counts, not the file: one that a killed run left is taken over.
    Where the file system has no locks, the process that the file names is looked for.

    Raises:
        InUse: another run owns ``what``; names its process.
    """
    handle = _owned(path, what)
    try:
        os.truncate(handle, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(handle, f"{os.getpid()} {socket.gethostname()} {started}\n".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _owned(path: Path, what: Path) -> int:
    import fcntl

    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(path, what, handle) from None
        except OSError:
            if _names_a_living_process(handle):
                raise _in_use(path, what, handle) from None
        if _is_still(path, handle):
            return handle
        os.close(handle)  # its owner removed it between opening and locking


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _in_use(path: Path, what: Path, handle: int) -> InUse:
    process, host, started = _owner(handle)
    os.close(handle)
    return InUse(
        f"{what}: expected no other run with this OUT, found process {process or 'of another run'}"
        f"{f' on {host}' if host else ''}{f' since {started}' if started else ''} (lock {path})"
    )


def _owner(handle: int) -> tuple[str, str, str]:
    os.lseek(handle, 0, os.SEEK_SET)
    words = os.read(handle, 1000).decode(errors="replace").split(maxsplit=2)
    process, host, started = (*words, "", "", "")[:3]
    return process, host, started.strip()


def _names_a_living_process(handle: int) -> bool:
    process, host, _ = _owner(handle)
    if host != socket.gethostname():
        return bool(host)
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return int(process) != os.getpid()
