"""Agreement of every protocol with the reference protocol, nucleus by nucleus."""

from __future__ import annotations

from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from accelqsm.agreement.coefficients import false_discovery_rate
from accelqsm.agreement.pair import (
    DEFAULT_MARGIN_PERCENT,
    PairedAgreement,
    paired_agreement,
)
from accelqsm.errors import InputError

__all__ = ["POOLED", "PairedAgreement", "compare_protocols", "paired_agreement"]

POOLED = "all"
KEYS = ("subject", "protocol", "region")
VALUE = "value_ppb"


def compare_protocols(
    values: pd.DataFrame,
    *,
    reference: str,
    margin_percent: float = DEFAULT_MARGIN_PERCENT,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Compare each protocol with the reference, per region and pooled over regions.

    Each row holds the figures of :class:`PairedAgreement` (ppb) over the subjects that have a
    value under both protocols. The rows ``region="all"`` take every subject x region as a point:
    these points are not independent, so that their intervals and p-values are too narrow and
    their correlation mostly reflects the differences between regions.

    Args:
        values: columns ``subject, protocol, region, value_ppb``; NaN is a missing value.
        reference: the protocol to compare with.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        confidence: level of all intervals.

    Returns:
        One row per region and protocol in their order of appearance, then the pooled rows:
        ``region, protocol``, the fields of ``PairedAgreement``, and ``paired_t_p_fdr``, the
        p-value adjusted over all regions and protocols (Benjamini-Hochberg; pooled rows left out).

    Raises:
        InputError: missing columns, values that are not numbers, infinite values, duplicate rows,
            a reference that is not among the protocols or stands alone, or a region named "all".
    """
    table, regions, protocols = _tabulate(values, reference)
    rows = []
    for region in [*regions, POOLED]:
        part = (
            table if region == POOLED else table[table.index.get_level_values("region") == region]
        )
        for protocol in protocols:
            row = _compare(part[reference], part[protocol], margin_percent, confidence)
            rows.append({"region": region, "protocol": protocol} | row)
    frame = pd.DataFrame(rows)
    single = (frame["region"] != POOLED).to_numpy()
    adjusted = np.full(len(frame), np.nan)
    adjusted[single] = false_discovery_rate(frame["paired_t_p"].to_numpy(np.float64)[single])
    frame["paired_t_p_fdr"] = adjusted
    frame["note"] = frame.pop("note")
    return frame


def _compare(
    reference: pd.Series[float],
    other: pd.Series[float],
    margin_percent: float,
    confidence: float,
) -> dict[str, object]:
    complete = (reference.notna() & other.notna()).to_numpy()
    one_sided = (reference.notna() | other.notna()).to_numpy() & ~complete
    notes = []
    if one_sided.any():
        notes.append(f"{int(one_sided.sum())} incomplete pairs left out")
    if not complete.any():
        names = [field.name for field in fields(PairedAgreement)]
        empty: dict[str, object] = dict.fromkeys(names, np.nan)
        missing = " of the reference" if reference.isna().all() else ""
        return empty | {"n": 0, "note": "; ".join([*notes, f"no values{missing} to compare"])}
    result = asdict(
        paired_agreement(
            reference[complete].to_numpy(np.float64),
            other[complete].to_numpy(np.float64),
            margin_percent=margin_percent,
            confidence=confidence,
        )
    )
    result["note"] = "; ".join([*notes, result["note"]] if result["note"] else notes)
    return result


def _tabulate(values: pd.DataFrame, reference: str) -> tuple[pd.DataFrame, list[str], list[str]]:
    _check_columns(values)
    table = values[[*KEYS, VALUE]].astype(dict.fromkeys(KEYS, str) | {VALUE: float})
    repeated = table[table.duplicated(list(KEYS))]
    if len(repeated):
        first = repeated.iloc[0]
        raise InputError(
            "values: expected one row per subject, protocol and region, found several for "
            f"'{first.subject}' '{first.protocol}' '{first.region}'"
        )
    regions, protocols = (list(dict.fromkeys(table[key])) for key in ("region", "protocol"))
    if reference not in protocols:
        raise InputError(f"reference: expected one of {', '.join(protocols)}, found '{reference}'")
    if len(protocols) < 2:
        raise InputError(f"values: expected a protocol beside '{reference}', found none")
    if POOLED in regions:
        raise InputError(f"region: '{POOLED}' is the name of the pooled rows, expected another")
    wide = table.pivot(index=["region", "subject"], columns="protocol", values=VALUE)
    return wide, regions, [name for name in protocols if name != reference]


def _check_columns(values: pd.DataFrame) -> None:
    missing = [name for name in (*KEYS, VALUE) if name not in values.columns]
    if missing:
        raise InputError(f"values: expected a column '{missing[0]}', found {list(values.columns)}")
    if values.empty:
        raise InputError("values: expected at least one row, found none")
    unnamed = [key for key in KEYS if values[key].isna().any()]
    if unnamed:
        raise InputError(f"values: expected a {unnamed[0]} in every row, found an empty one")
    column = values[VALUE]
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        bad = [v for v in column if isinstance(v, bool) or not isinstance(v, int | float)]
        shown = repr(bad[0]) if bad else str(column.dtype)
        raise InputError(f"{VALUE}: expected numbers, found {shown}")
    if np.isinf(column.to_numpy(np.float64, na_value=np.nan)).any():
        raise InputError(f"{VALUE}: expected finite numbers, found infinity")
