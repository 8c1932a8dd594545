"""Structure of HDF5 files, where the library trusts it: damage that it would never come back from.

Source: HDF5 File Format Specification 3.0, III.E (global heap) and VIII (variable-length values).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from accelqsm.errors import InputError

_COLLECTION = struct.Struct("<4s4xQ")
"""Head of a collection: signature, size in bytes with this head."""
_OBJECT = struct.Struct("<H6xQ")
"""Head of a value in it: number (0 is the free space at the end), size in bytes."""
_REFERENCE_BYTES, _ADDRESS_AT = 16, slice(4, 12)
"""Of a value that lies in a collection: length, address of the collection, number."""
_MOST_AT_ONCE = 2**20


def check_collections(path: Path, dataset: h5py.Dataset) -> None:
    """Check that all collections of a dataset's variable-length values come to an end.

    HDF5 2.0 reads for ever where the free space of a collection has size zero, as where a part of
    it was overwritten by zeros. Compressed datasets and files with a user block are not checked.

    Raises:
        InputError: a collection that does not, with its address.
    """
    kind, layout = dataset.id.get_type(), dataset.id.get_create_plist()
    members = _variable_at(kind)
    if not members or layout.get_nfilters() or dataset.file.userblock_size:
        return
    size = kind.get_size() if isinstance(kind, h5py.h5t.TypeCompoundID) else _REFERENCE_BYTES
    with path.open("rb") as file:
        last = 0
        for place, n_bytes in _places(dataset):
            for address in _addresses(file.fileno(), place, n_bytes, size, members):
                if address != last:
                    _check_collection(path, file.fileno(), address)
                last = address


def _variable_at(kind: h5py.h5t.TypeID) -> list[int]:
    """Offsets of the variable-length values in an element of a dataset."""
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        members = range(kind.get_nmembers())
        return [
            kind.get_member_offset(n) + at
            for n in members
            for at in _variable_at(kind.get_member_type(n))
        ]
    text = isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
    return [0] if text or isinstance(kind, h5py.h5t.TypeVlenID) else []


def _places(dataset: h5py.Dataset) -> list[tuple[int, int]]:
    """Offset and bytes of each piece of a dataset in its file."""
    if dataset.chunks:
        found: list[tuple[int, int]] = []
        dataset.id.chunk_iter(lambda chunk: found.append((chunk.byte_offset, chunk.size)))
        return found
    offset = dataset.id.get_offset()
    return [] if offset is None else [(offset, dataset.id.get_storage_size())]


def _addresses(file: int, place: int, n_bytes: int, size: int, members: list[int]) -> Iterator[int]:
    """Addresses of the collections that elements of ``size`` bytes refer to."""
    step = max(1, _MOST_AT_ONCE // size) * size
    for start in range(0, n_bytes, step):
        raw = os.pread(file, min(step, n_bytes - start), place + start)
        elements = np.frombuffer(raw[: len(raw) // size * size], np.uint8).reshape(-1, size)
        references = [elements[:, at : at + _REFERENCE_BYTES][:, _ADDRESS_AT] for at in members]
        addresses = np.ascontiguousarray(np.stack(references, axis=1)).view("<u8").ravel()
        yield from addresses[(addresses > 0) & (addresses < 2**63)].tolist()


def _check_collection(path: Path, file: int, address: int) -> None:
    """Walk through a collection as HDF5 does; what it refuses itself is left to it."""
    head = os.pread(file, _COLLECTION.size, address)
    if len(head) < _COLLECTION.size:
        return
    signature, n_left = _COLLECTION.unpack(head)
    at, n_left = address + _COLLECTION.size, n_left - _COLLECTION.size
    while signature == b"GCOL" and n_left >= _OBJECT.size:
        head = os.pread(file, _OBJECT.size, at)
        if len(head) < _OBJECT.size:
            return
        number, size = _OBJECT.unpack(head)
        taken = _OBJECT.size + -(-size // 8) * 8 if number else size
        if not number and taken != n_left:
            raise InputError(
                f"{path}: expected free space of {n_left} bytes at the end of the values at byte "
                f"{address}, found {size}: damaged"
            )
        at, n_left = at + taken, n_left - taken
