"""Public functions for tables of values, agreement of protocols and reports."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

from accelqsm.agreement.people import AGE_NAMES
from accelqsm.agreement.published import published
from accelqsm.agreement.settings import CompareSettings
from accelqsm.agreement.values import HIGH, LOW
from accelqsm.api.types import PathLike
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table
from accelqsm.files.text.values import read_values
from accelqsm.pipeline.comparison import compare as compare_tables
from accelqsm.results.comparison import PEOPLE_LABELS, Comparison
from accelqsm.results.integrity.check import check_file
from accelqsm.results.integrity.seal import sha256

if TYPE_CHECKING:
    from accelqsm.results.nuclei import NucleiResult

Measured: TypeAlias = "pd.DataFrame | NucleiResult | PathLike"
DEFAULT = CompareSettings()


def values(nuclei: Mapping[tuple[str, str], Measured], *, sides: bool = False) -> pd.DataFrame:
    """Collect the nuclei of many scans in one table of values.

    Args:
        nuclei: (subject, protocol) -> table of nuclei, a folder or file with such a table, or a
            result of ``locate_nuclei``.
        sides: one value for each side instead of one for both together.

    Returns:
        Columns subject, protocol, region, value_ppb and note (why a value is missing), and
        low_ppb and high_ppb where nuclei have intervals.

    Raises:
        InputError: no scan, or a table that cannot be used.
    """
    if not nuclei:
        raise InputError("values: expected the nuclei of one scan or more, found none")
    parts = []
    for (subject, protocol), measured in nuclei.items():
        table = _table(measured)
        kept = table[table["side"].isin(["L", "R", ""] if sides else ["both", ""])]
        region = kept["region"].astype(str)
        named = (kept["side"].astype(str) + " " + region).str.strip() if sides else region
        columns = {
            "subject": subject,
            "protocol": protocol,
            "region": named,
            "value_ppb": kept["mean_ppb"],
            "note": kept.get("note", ""),
        }
        columns |= {name: kept[name] for name in (LOW, HIGH) if name in kept}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def compare(
    values: pd.DataFrame | PathLike,
    *,
    reference: str = "",
    participants: pd.DataFrame | PathLike | None = None,
    columns: Mapping[str, str] | None = None,
    settings: CompareSettings = DEFAULT,
) -> Comparison:
    """Agreement of every protocol with a reference protocol, nucleus by nucleus.

    Args:
        values: columns subject, protocol, region, value_ppb (``values``), or the file of such a
            table, long or wide. Columns run or session tell repeated scans apart; low_ppb and
            high_ppb are the interval of 95 % of a value.
        reference: the protocol that the others are compared with.
        participants: columns participant_id, age (years) and optionally sex, for correlations
            with age.
        columns: what the file calls subject, protocol, region or value_ppb (or value_ppm), run
            and session, by these names; region or protocol may be several columns, separated by
            commas.
        settings: margins, confidence levels, and a published study to compare with.

    Returns:
        Record of the agreement tables, with the values and settings that they come from.

    Raises:
        InputError: tables that cannot be read or compared.
    """
    wanted = replace(settings, reference=reference) if reference else settings
    if not wanted.reference:
        raise InputError("compare: expected a reference protocol, found none")
    if wanted.published:
        wanted = replace(wanted, published=published(wanted.published).name)
    for path in (values, participants):
        if isinstance(path, str | os.PathLike):
            check_file(Path(path))
    table = values
    if not isinstance(table, pd.DataFrame):
        table = read_values(Path(table), columns)
    people = participants
    if people is not None and not isinstance(people, pd.DataFrame):
        people = read_table(Path(people), text=PEOPLE_LABELS, numbers=AGE_NAMES)
    inputs = {
        name: {"path": str(path), "sha256": sha256(Path(path))}
        for name, path in (("values", values), ("participants", participants))
        if isinstance(path, str | os.PathLike)
    }
    return compare_tables(table, wanted, participants=people, inputs=inputs)


def report(folder: PathLike, *, tables: Sequence[str] = (), figures: bool = False) -> Path:
    """Rebuild the report of a comparison or demo from its folder.

    Args:
        folder: output folder of ``compare`` or ``demo``.
        tables: formats of a file with the tables of the page: "docx" (needs python-docx) or "tex".
        figures: write the figures to ``figures`` in the folder, as SVG and as PNG of 300 dpi,
            with a picture of the answer for a slide.

    Returns:
        Path of the HTML file.

        Raises:
        InputError: no results in the folder, or results that cannot be read.

        Warns:
        InputWarning: for each part of the report that is left out.
    """
    from accelqsm.reports.rebuild import rebuild_report

    return rebuild_report(Path(folder), tables=tables, figures=figures)


def _table(measured: Measured) -> pd.DataFrame:
    from accelqsm.results.nuclei import TABLE, NucleiResult, read_nuclei_table

    if isinstance(measured, NucleiResult):
        return measured.table
    if isinstance(measured, pd.DataFrame):
        missing = [name for name in ("region", "side", "mean_ppb") if name not in measured]
        if missing:
            raise InputError(f"values: expected a table of nuclei, found no column {missing[0]}")
        return measured
    path = Path(measured) / TABLE if Path(measured).is_dir() else Path(measured)
    check_file(path)
    return read_nuclei_table(path)
