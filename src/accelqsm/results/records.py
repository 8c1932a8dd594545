"""Settings records from the ``settings.toml`` of a result."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.options.table import from_table
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings

SETTINGS = "settings.toml"
"""Record of a folder of results, which is removed first and written last."""
UNFINISHED = "unfinished.toml"
"""Stands in its place while a run writes into a folder that was there before."""
FILES = "files"
"""Table of the checksums of every file of the results, the last of the record."""
CHECKSUMS = "checksums"
"""First entry of the record, the kind of checksum: without the table the record was cut."""


def settings_of_record(record: Mapping[str, Any], path: Path) -> QsmSettings:
    """QSM settings from the ``[qsm]`` table of a ``settings.toml``.

    Raises:
        InputError: a setting that cannot be used, with the name of the file.
    """
    try:
        return from_table(QsmSettings, record.get("qsm", {}))
    except InputError as error:
        raise InputError(f"{path}: [qsm] {error}") from error


def recon_of_record(record: Mapping[str, Any], path: Path) -> ReconSettings | None:
    """Reconstruction settings of a ``settings.toml``: ``[recon]``, or ``[source]`` in older files.

    Raises:
        InputError: a setting that cannot be used, with the name of the file.
    """
    table = recon_table(record)
    if not table:
        return None
    try:
        return from_table(ReconSettings, table)
    except InputError as error:
        raise InputError(f"{path}: [recon] {error}") from error


def recon_table(record: Mapping[str, Any]) -> dict[str, Any]:
    """Table of reconstruction settings of a ``settings.toml``; empty if there is none."""
    if "recon" in record:
        return dict(record["recon"])
    source = record.get("source", {})
    if "method" not in source:
        return {}
    network = {name: source[name] for name in ("weights", "consistency") if name in source}
    return {"method": source["method"]} | ({"network": network} if network else {})
