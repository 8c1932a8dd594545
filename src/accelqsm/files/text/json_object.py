"""Reader of JSON objects, of bounded size and with numbers that arithmetic can hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.runtime.reading import LARGEST_JSON_BYTES, read_bytes

MOST_DIGITS = 18


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds a JSON object, UTF-8 with or without a byte order mark.

    Whole numbers beyond 64 bits become floats, which may be infinite.

    Raises:
        InputError: missing, no regular file, more than 16 MiB, or not a JSON object.
    """
    raw = read_bytes(path, LARGEST_JSON_BYTES)
    try:
        content = json.loads(raw.decode("utf-8-sig"), parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)
