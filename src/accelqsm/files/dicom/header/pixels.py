"""Check of the completeness of DICOM pixel data."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, BinaryIO

from accelqsm.files.dicom.header.values import number

if TYPE_CHECKING:
    from pydicom import Dataset

PIXEL_TAGS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")
DEFLATED = "1.2.840.10008.1.2.1.99"


def damage(handle: BinaryIO, dataset: Dataset) -> str:
    """Description of missing pixel data at the position of a file handle; empty if complete."""
    meta = getattr(dataset, "file_meta", {})
    if meta.get("TransferSyntaxUID") == DEFLATED:
        return ""
    start = handle.read(12)
    if start[:4] not in PIXEL_TAGS:
        return "truncated (no pixels)"
    order = "<" if start[:4] == PIXEL_TAGS[0] else ">"
    explicit = start[4:6] in (b"OW", b"OB")
    length = struct.unpack(f"{order}I", start[8:12] if explicit else start[4:8])[0]
    begin = handle.tell() - (0 if explicit else 4)
    end = handle.seek(0, os.SEEK_END)
    if length == 0xFFFFFFFF:  # compressed: items up to a delimiter
        handle.seek(begin)
        return "" if _has_delimiter(handle) else "truncated (compressed pixels do not end)"
    frames, rows = number(dataset, "NumberOfFrames") or 1, number(dataset, "Rows") or 0
    samples, columns = number(dataset, "SamplesPerPixel") or 1, number(dataset, "Columns") or 0
    bits = number(dataset, "BitsAllocated") or 16
    expected = int(frames * rows * columns * samples * bits) // 8
    there = min(length, end - begin)
    return "" if there >= expected else f"truncated ({there} of {expected} bytes of pixels)"


def _has_delimiter(handle: BinaryIO) -> bool:
    """Whether the items of compressed pixel data are complete up to the delimiter."""
    while len(start := handle.read(8)) == 8:
        tag, length = start[:4], struct.unpack("<I", start[4:])[0]
        if tag == b"\xfe\xff\xdd\xe0":
            return True
        if tag != b"\xfe\xff\x00\xe0":
            return False
        handle.seek(length, os.SEEK_CUR)
    return False
