"""What stands in a ``settings.toml``, as the records that wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.options.table import from_table
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings

SETTINGS = "settings.toml"


def settings_of_record(record: Mapping[str, Any], path: Path) -> QsmSettings:
    """The ``[qsm]`` table of a ``settings.toml``.

    Raises:
        InputError: a setting that cannot be used; names the file.
    """
    try:
        return from_table(QsmSettings, record.get("qsm", {}))
    except InputError as error:
        raise InputError(f"{path}: [qsm] {error}") from error


def recon_of_record(record: Mapping[str, Any], path: Path) -> ReconSettings | None:
    """The ``[recon]`` table of a ``settings.toml``, or what earlier versions wrote in ``[source]``.

    Raises:
        InputError: a setting that cannot be used; names the file.
    """
    table = recon_table(record)
    if not table:
        return None
    try:
        return from_table(ReconSettings, table)
    except InputError as error:
        raise InputError(f"{path}: [recon] {error}") from error


def recon_table(record: Mapping[str, Any]) -> dict[str, Any]:
    """The table of reconstruction settings of a ``settings.toml``; empty where there is none."""
    if "recon" in record:
        return dict(record["recon"])
    source = record.get("source", {})
    if "method" not in source:
        return {}
    network = {name: source[name] for name in ("weights", "consistency") if name in source}
    return {"method": source["method"]} | ({"network": network} if network else {})
