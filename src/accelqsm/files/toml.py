"""Reader and writer of settings in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.atomic import write_text


def read_settings(path: Path) -> dict[str, Any]:
    """Read settings as written by ``write_settings``.

    Raises:
        InputError: no file, or one that is not TOML.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not TOML ({error})") from error


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a result as TOML, so that it can be reproduced."""
    import tomli_w

    write_text(path, tomli_w.dumps(dict(settings)))
