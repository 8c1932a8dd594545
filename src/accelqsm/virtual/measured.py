"""Digital heads that this software measured beforehand, and that come with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import pandas as pd

from accelqsm.files.tables import read_table
from accelqsm.files.toml import read_settings

TABLE, RECORD = "measured-heads.tsv", "measured-heads.toml"


@dataclass(frozen=True)
class MeasuredHeads:
    """Values of heads scanned and measured as in the demo.

    Attributes:
        values: columns subject, protocol (label, or "truth"), region (both sides), value_ppb,
            low_ppb and high_ppb; no subject is called ``sub-``.
        record: how they were made: heads, seed, preset, commands and software.
    """

    values: pd.DataFrame
    record: Mapping[str, Any]


def measured_heads() -> MeasuredHeads:
    """Read the heads of the package."""
    folder = files("accelqsm.virtual")
    with as_file(folder / TABLE) as table, as_file(folder / RECORD) as record:
        return MeasuredHeads(read_table(table, text=("subject",)), read_settings(record))
