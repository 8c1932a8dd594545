"""Reader and writer of settings in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text
from accelqsm.runtime.reading import LARGEST_TOML_BYTES, read_bytes


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings as written by ``write_settings``.

    Raises:
        InputError: no regular file, more than 2 MiB, or not TOML.
    """
    raw = read_bytes(path, LARGEST_TOML_BYTES)
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not TOML ({error})") from error


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a result as TOML, so that it can be reproduced."""
    import tomli_w

    write_text(path, tomli_w.dumps(dict(settings)))
