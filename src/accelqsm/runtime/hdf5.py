"""Structure of HDF5 files, where the library trusts it: damage that it would never come back from.

Source: HDF5 File Format Specification 3.0, III.E (global heap) and VIII (variable-length values).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError

_COLLECTION = struct.Struct("<4s4xQ")
"""Head of a collection of values: signature, size in bytes with this head."""
_VALUE = struct.Struct("<H6xQ")
"""Head of a value in it: number (0 is the free space at the end), size in bytes."""
_REFERENCE = np.dtype([("length", "<u4"), ("address", "<u8"), ("number", "<u4")])
"""What an element holds of a value: elements of it, address of its collection, number there."""
_MOST_AT_ONCE = 2**20


def check_values(path: Path, dataset: h5py.Dataset) -> None:
    """Check that all variable-length values of a dataset are where and as long as it says.

    HDF5 2.0 reads for ever where the free space of a collection has size zero, as where a part of
    it was overwritten by zeros, and for minutes where a value says that it is longer than it is.
    Compressed datasets and files with a user block are not checked.

    Raises:
        InputError: a collection without an end, or a value that is not there, with the address.
    """
    kind, layout = dataset.id.get_type(), dataset.id.get_create_plist()
    members = _variable(kind)
    if not members or layout.get_nfilters() or dataset.file.userblock_size:
        return
    size = kind.get_size() if isinstance(kind, h5py.h5t.TypeCompoundID) else _REFERENCE.itemsize
    with path.open("rb") as file:
        for place, n_bytes in _places(dataset):
            for elements in _elements(file.fileno(), place, n_bytes, size):
                for at, bytes_each in members.items():
                    _check_references(path, file.fileno(), _references(elements, at), bytes_each)


def _variable(kind: h5py.h5t.TypeID) -> dict[int, int]:
    """Offset of each variable-length value in an element, and bytes of each of its elements."""
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return {
            kind.get_member_offset(n) + at: size
            for n in range(kind.get_nmembers())
            for at, size in _variable(kind.get_member_type(n)).items()
        }
    if isinstance(kind, h5py.h5t.TypeVlenID):
        return {0: kind.get_super().get_size()}
    return {0: 1} if isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str() else {}


def _places(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    """Offset and bytes of each piece of a dataset in its file."""
    if dataset.chunks:
        found: list[tuple[int, int]] = []
        dataset.id.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))
        return found
    offset = dataset.id.get_offset()
    return [] if offset is None else [(offset, dataset.id.get_storage_size())]


def _elements(file: int, place: int, n_bytes: int, size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Bytes of the elements in a piece of a dataset, (element, byte)."""
    step = max(1, _MOST_AT_ONCE // size) * size
    for start in range(0, n_bytes, step):
        raw = os.pread(file, min(step, n_bytes - start), place + start)
        yield np.frombuffer(raw[: len(raw) // size * size], np.uint8).reshape(-1, size)


def _references(elements: npt.NDArray[np.uint8], at: int) -> list[tuple[int, int, int]]:
    """Length, address and number of one value of each element; those that are empty left out."""
    raw = np.ascontiguousarray(elements[:, at : at + _REFERENCE.itemsize])
    found = raw.view(_REFERENCE).ravel()
    references: list[tuple[int, int, int]] = found[found["address"] > 0].tolist()
    return references


def _check_references(
    path: Path, file: int, references: list[tuple[int, int, int]], bytes_each: int
) -> None:
    last, sizes = 0, dict[int, int]()
    for length, address, number in references:
        if address != last:
            last, sizes = address, _sizes(path, file, address)
        if sizes.get(number, -1) < length * bytes_each:
            raise InputError(
                f"{path}: expected a value of {length * bytes_each} bytes among those at byte "
                f"{address}, found {sizes.get(number, 'none')}: damaged"
            )


def _sizes(path: Path, file: int, address: int) -> dict[int, int]:
    """Bytes of each value of a collection, by number, read as HDF5 does; none if it is no such."""
    signature, n_left = _unpacked(_COLLECTION, file, address)
    at, n_left = address + _COLLECTION.size, n_left - _COLLECTION.size
    sizes: dict[int, int] = {}
    while signature == b"GCOL" and n_left >= _VALUE.size:
        number, size = _unpacked(_VALUE, file, at)
        if number == 0:
            if size != n_left:
                raise InputError(
                    f"{path}: expected free space of {n_left} bytes at the end of the values at "
                    f"byte {address}, found {size}: damaged"
                )
            break
        sizes[number] = size
        taken = _VALUE.size + -(-size // 8) * 8
        at, n_left = at + taken, n_left - taken
    return sizes if n_left >= 0 else {}


def _unpacked(head: struct.Struct, file: int, at: int) -> tuple[Any, int]:
    """A head in a file, zeros beyond its end."""
    raw = os.pread(file, head.size, at) if at < 2**63 else b""
    first, second = head.unpack(raw.ljust(head.size, b"\0"))
    return first, second
