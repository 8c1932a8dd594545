"""Access to values of a DICOM data set; malformed values count as missing."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

Vector = tuple[float, ...]


def text(dataset: Dataset, keyword: str) -> str:
    """Text of an element in one line; empty if missing."""
    value = _value(dataset, keyword)
    return " ".join(str("" if value is None else value).split())


def words(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """Values of a multi-valued text element, in capitals."""
    value = _value(dataset, keyword)
    several = [value] if value is None or isinstance(value, str) else list(value)
    return tuple(str(word).strip().upper() for word in several if word is not None)


def number(dataset: Dataset, keyword: str) -> float | None:
    """First finite number of an element, or None."""
    vector = numbers(dataset, keyword)
    return vector[0] if vector else None


def numbers(dataset: Dataset, keyword: str, count: int = 1) -> Vector | None:
    """Numbers of an element if there are at least ``count`` finite ones, or None."""
    value = _value(dataset, keyword)
    if value is None or isinstance(value, bytes):
        return None
    several = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    try:
        found = tuple(float(one) for one in several)
    except (TypeError, ValueError):
        return None
    return found if len(found) >= count and all(math.isfinite(one) for one in found) else None


def first_item(dataset: Dataset, keyword: str) -> Dataset | None:
    """First item of a sequence, or None."""
    value = _value(dataset, keyword)
    try:
        item: Dataset = value[0]
    except (TypeError, IndexError, KeyError):
        return None
    return item if hasattr(item, "get") else None


def seconds(date: str, time: str) -> float | None:
    """Date (YYYYMMDD, else day 0) and time (HHMMSS.f) in seconds; None without a time."""
    found = re.match(r"(\d{2}):?(\d{2}):?(\d{2}(?:\.\d+)?)", time)
    if not found:
        return None
    of_day = 3600.0 * int(found[1]) + 60.0 * int(found[2]) + float(found[3])
    days = 0
    if re.fullmatch(r"\d{8}", date):
        days = (int(date[:4]) * 12 + int(date[4:6])) * 31 + int(date[6:])
    return days * 86400.0 + of_day


def _value(dataset: Dataset, keyword: str) -> Any:
    try:
        return dataset.get(keyword)
    except Exception:  # what pydicom raises on a malformed element depends on its representation
        return None
