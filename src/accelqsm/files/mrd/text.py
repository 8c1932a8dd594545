"""Where a raw file keeps header and lines, and the header's values, whatever stands beside them."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import h5py
import numpy as np

from accelqsm.errors import InputError, InputWarning

USUAL_GROUP = "dataset"
_UNUSED = (
    "subjectInformation",
    "studyInformation",
    "measurementInformation",
    "userParameters",
    "waveformInformation",
)
"""Parts that nothing is read of; the first to be left out of XML that is not well-formed."""

_ROOT_END = "</ismrmrdHeader>"
_DECLARATION = "<!DOCTYPE"
"""It alone can define entities, which expand to any size; no MRD header has one."""

LARGEST_HEADER_BYTES = 2**22

_COUNTERS = (
    "kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast", "phase",
    "repetition", "set",
)  # fmt: skip
_WHOLE = (
    "flags", "number_of_samples", "active_channels", "center_sample", "discard_pre",
    "discard_post", "encoding_space_ref", "trajectory_dimensions", "scan_counter",
)  # fmt: skip
_VECTORS = ("position", "read_dir", "phase_dir", "slice_dir")
_LARGEST_RATIO = 1100
"""Of stored to compressed bytes: deflate reaches 1032."""


@dataclass(frozen=True)
class Header:
    """A part of the header, whose values are read by the names of the elements above them.

    Attributes:
        path: named in errors.
        element: of the XML tree, names without namespace.
        at: names that lead to it.
    """

    path: Path
    element: ElementTree.Element
    at: str = ""

    def parts(self, name: str) -> list[Header]:
        """All parts of one name."""
        return [Header(self.path, e, self.named(name)) for e in self.element.findall(name)]

    def named(self, where: str) -> str:
        """The names that lead to a value, dots between them."""
        return f"{self.at}.{where}".lstrip(".").replace("/", ".")

    def word(self, where: str) -> str | None:
        """A value as text; None where there is none."""
        text = (self.element.findtext(where) or "").strip()
        return text or None

    def numbers(self, where: str) -> tuple[float, ...]:
        """All values of a name.

        Raises:
            InputError: a value that is no finite number.
        """
        words = [(e.text or "").strip() for e in self.element.findall(where)]
        return tuple(self._number(where, word) for word in words if word)

    def number(self, where: str, otherwise: float | None = None) -> float:
        """A value.

        Raises:
            InputError: no number, or none at all where there is nothing else to take.
        """
        found = self.numbers(where)
        if found:
            return found[0]
        if otherwise is None:
            raise InputError(f"{self.path}: {self.named(where)}: expected a number, found none")
        return otherwise

    def _number(self, where: str, word: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(
                f"{self.path}: {self.named(where)}: expected a number, found '{word[:40]}'"
            )
        return value


def scan_group(path: Path, file: h5py.File) -> h5py.Group:
    """The group that holds a header and lines: 'dataset', or the only one that does.

    Raises:
        InputError: no such group, or several of which none is 'dataset'.

    Warns:
        InputWarning: scans beside 'dataset', which are left.
    """
    if "ismrmrd_header" in file and "kspace" in file:
        raise InputError(f"{path}: expected an MRD file ('dataset/data'), found a fastMRI file")
    names = [name for name in file if _is_scan(file[name])]
    if len(names) == 1:
        return file[names[0]]
    if USUAL_GROUP in names:
        others = " ".join(name for name in names if name != USUAL_GROUP)
        message = f"{path}: several scans; '{USUAL_GROUP}' is read, and not {others}"
        warnings.warn(InputWarning(message), stacklevel=2)
        return file[USUAL_GROUP]
    if names:
        raise InputError(f"{path}: expected one scan, found {len(names)}: {' '.join(names)}")
    found = ", ".join(file) or "nothing"
    raise InputError(f"{path}: expected an MRD file with 'dataset/data', found {found}")


def _is_scan(group: Any) -> bool:
    """Whether a group has a header and lines, as MRD files hold them."""
    if not isinstance(group, h5py.Group) or not isinstance(group.get("data"), h5py.Dataset):
        return False
    names = group["data"].dtype.names or ()
    return ("xml" in group or "xml" in group.attrs) and {"head", "data"} <= set(names)


def check_stored(path: Path, data: h5py.Dataset) -> None:
    """Refuse lines that are of another type than MRD has, or that were never written.

    Raises:
        InputError: what the dataset holds instead.
    """
    if data.ndim != 1:
        raise InputError(f"{path}: expected a list of lines, found an array {data.shape}")
    head, samples = data.dtype["head"], data.dtype["data"]
    wrong = next((name for name, kind in _heads(head) if kind is None), None)
    if wrong is not None:
        raise InputError(f"{path}: expected lines with the heads of MRD, found none with {wrong}")
    numbers = h5py.check_vlen_dtype(samples) or samples.base
    if numbers.names is None and numbers.kind not in "fciu":
        raise InputError(f"{path}: expected numbers in the lines, found {numbers}")
    declared, found = data.size * data.dtype.itemsize, data.id.get_storage_size()
    plain = data.id.get_create_plist().get_nfilters() == 0
    if declared > found * (1 if plain else _LARGEST_RATIO):
        raise InputError(
            f"{path}: expected all of its {data.size} lines to be stored, found {found} bytes for "
            "them: most were never written"
        )


def _heads(head: np.dtype) -> list[tuple[str, np.dtype | None]]:
    """Every field of a head that is read, and its type; None where it has another."""
    found = [(name, _field(head, name, "iu", ())) for name in _WHOLE]
    found += [(name, _field(head, name, "f", (3,))) for name in _VECTORS]
    counters = head["idx"] if "idx" in (head.names or ()) else np.dtype(np.int32)
    return found + [(f"idx.{name}", _field(counters, name, "iu", ())) for name in _COUNTERS]


def _field(of: np.dtype, name: str, kinds: str, shape: tuple[int, ...]) -> np.dtype | None:
    kind = of[name] if name in (of.names or ()) else None
    fits = kind is not None and kind.base.kind in kinds and kind.shape == shape
    return kind if fits else None


def header_text(path: Path, group: h5py.Group) -> str:
    """The header's XML, from a string, an array of one, or an attribute.

    Raises:
        InputError: no text.
    """
    if "xml" in group:
        _check_size(path, group["xml"].nbytes if hasattr(group["xml"], "nbytes") else 0)
    stored = group["xml"][()] if "xml" in group else group.attrs["xml"]
    while isinstance(stored, np.ndarray | list | tuple):
        if len(np.ravel(np.asarray(stored, dtype=object))) < 1:
            raise InputError(f"{path}: unreadable MRD header (expected XML, found nothing)")
        stored = np.ravel(np.asarray(stored, dtype=object))[0]
    if isinstance(stored, bytes):
        # A name of a person in another encoding says nothing about the scan.
        stored = stored.decode("utf-16" if stored[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8",
                               errors="replace")  # fmt: skip
    _check_size(path, len(stored) if isinstance(stored, str) else 0)
    return str(stored)


def _check_size(path: Path, n_bytes: int) -> None:
    if n_bytes > LARGEST_HEADER_BYTES:
        raise InputError(
            f"{path}: expected an MRD header of at most {LARGEST_HEADER_BYTES / 2**20:g} MiB, "
            f"found {n_bytes / 2**20:.0f} MiB"
        )


def parse_xml(path: Path, text: str) -> Header:
    """The tree of the header, without namespaces.

    Raises:
        InputError: XML that is not well-formed, even without the parts that nothing is read of.
    """
    if _DECLARATION in text:
        raise InputError(f"{path}: expected an MRD header without DOCTYPE, found one")
    reason = ""
    for tried in _mended(text):
        try:
            root = ElementTree.fromstring(tried)
        except ElementTree.ParseError as error:
            reason = reason or " ".join(str(error).split())[:200]
            continue
        for element in root.iter():
            element.tag = str(element.tag).rpartition("}")[2]
        if root.tag != "ismrmrdHeader":
            raise InputError(f"{path}: unreadable MRD header (expected ismrmrdHeader, found "
                             f"{root.tag[:40]})")  # fmt: skip
        return Header(path, root)
    raise InputError(f"{path}: unreadable MRD header ({reason})")


def _mended(text: str) -> Iterator[str]:
    """The text, and the text without what is no XML or of no use."""
    start, end = text.find("<"), text.rfind(_ROOT_END)
    whole = text[max(start, 0) : end + len(_ROOT_END) if end >= 0 else None]
    # The declaration tells of bytes, and this is text.
    whole = re.sub(r"^<\?xml.*?\?>", "", whole, flags=re.DOTALL).strip()
    yield whole
    whole = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", whole)
    whole = re.sub(r"&(?!#?\w+;)", "&amp;", whole)
    yield whole
    yield _without(whole, _UNUSED)


def _without(text: str, names: Iterable[str]) -> str:
    """The text less all from the first to the last tag of each name."""
    for name in names:
        first = re.search(rf"<(?:\w+:)?{name}\b", text)
        ends = list(re.finditer(rf"</(?:\w+:)?{name}\s*>", text))
        if first and ends and ends[-1].start() > first.start():
            text = text[: first.start()] + text[ends[-1].end() :]
    return text
