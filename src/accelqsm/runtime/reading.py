"""Files from outside: regular ones, of bounded size, and bounded in what they decompress to.

Nothing is read or allocated before the size is known, and no pipe or device is waited for.
"""

from __future__ import annotations

import gzip
import os
import stat
from io import BufferedReader
from pathlib import Path

from accelqsm.errors import InputError

LARGEST_JSON_BYTES = LARGEST_TABLE_BYTES = 2**24
LARGEST_TOML_BYTES = 2**21
GZIP = b"\x1f\x8b"
LARGEST_RATIO = 250
"""Of decompressed to compressed bytes, above ``ALWAYS_BYTES``: no image shrinks as much."""

ALWAYS_BYTES = 2**30
MOST_TRAILING_BYTES = 2**26
_CHUNK_BYTES = 2**20
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket",
          stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}  # fmt: skip


def check_regular(path: str | Path) -> int:
    """Size in bytes of a regular file.

    Raises:
        InputError: no such file, or a folder, pipe, socket or device in its place.
    """
    try:
        state = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: expected a file that can be read, found {reason}") from None
    kind = stat.S_IFMT(state.st_mode)
    if kind != stat.S_IFREG:
        found = _KINDS.get(kind, "something else")
        raise InputError(f"{path}: expected a file, found {found}")
    return state.st_size


def check_size(path: str | Path, most_bytes: int) -> None:
    """Refuse more than ``most_bytes``.

    Raises:
        InputError: as ``check_regular``, or a larger file.
    """
    size = check_regular(path)
    if size > most_bytes:
        raise InputError(
            f"{path}: expected at most {most_bytes / 2**20:g} MiB, found {size / 2**20:.0f} MiB"
        )


def read_bytes(path: str | Path, most_bytes: int) -> bytes:
    """Bytes of a regular file.

    Raises:
        InputError: as ``check_regular``, more than ``most_bytes``, or a file that cannot be read.
    """
    check_size(path, most_bytes)
    try:
        with Path(path).open("rb") as file:
            return file.read(most_bytes)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InputError(f"{path}: expected a file that can be read, found {reason}") from None


def first_bytes(path: Path, n_bytes: int) -> bytes:
    """The first bytes of a regular file, decompressed if it is gzip.

    Raises:
        InputError: as ``check_regular``.
        EOFError, OSError, zlib.error: damage.
    """
    check_regular(path)
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
    with gzip.open(path) if zipped else path.open("rb") as file:
        return file.read(n_bytes)


def declared_bytes(path: Path, n_bytes: int, what: str) -> bytearray:
    """The first ``n_bytes`` of a file, decompressed if it is gzip, whose checksum is verified.

    Args:
        path: a file.
        n_bytes: that its own header declares.
        what: what has this size, for messages.

    Raises:
        InputError: as ``check_regular``, a file that does not hold as much, or a gzip file that
            expands to far more.
        EOFError, OSError, zlib.error: damage.
    """
    size = check_regular(path)
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP
    most = max(ALWAYS_BYTES, LARGEST_RATIO * size) if zipped else size
    if n_bytes > most:
        holds = f"a gzip file of {size}" if zipped else str(size)
        raise InputError(f"{path}: expected {n_bytes} bytes for {what}, found {holds}")
    data = bytearray(n_bytes)
    with gzip.open(path) if zipped else path.open("rb") as file:
        n_found = _fill(data, file)
        if zipped and _n_left(file, MOST_TRAILING_BYTES) >= MOST_TRAILING_BYTES:
            raise InputError(
                f"{path}: expected {n_bytes} bytes for {what}, found a gzip file that expands to "
                f"more than {n_bytes + MOST_TRAILING_BYTES}"
            )
    if n_found < n_bytes:
        raise InputError(f"{path}: expected {n_bytes} bytes for {what}, found {n_found}")
    return data


def _fill(data: bytearray, file: gzip.GzipFile | BufferedReader) -> int:
    """Read in pieces into one buffer, so that it is not held twice; how many bytes there were."""
    at, whole = 0, memoryview(data)
    while n_bytes := file.readinto(whole[at : at + _CHUNK_BYTES]):
        at += n_bytes
    return at


def _n_left(file: gzip.GzipFile | BufferedReader, most: int) -> int:
    """Bytes to the end of a file, where its checksum is verified, or ``most``."""
    n_left = 0
    while n_left < most and (piece := file.read(_CHUNK_BYTES)):
        n_left += len(piece)
    return n_left


def memory_bytes() -> int:
    """Memory of this machine, in bytes; very large where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**62
