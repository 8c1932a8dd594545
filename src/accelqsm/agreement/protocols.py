"""Agreement of every protocol with the reference protocol, per nucleus and pooled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from accelqsm.agreement.pair import (
    PairedAgreement,
    paired_agreement,
)
from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.multiplicity import false_discovery_rate, holm
from accelqsm.agreement.values import POOLED, Values, check_values
from accelqsm.errors import InputError

__all__ = ["POOLED", "PairedAgreement", "compare_protocols", "paired_agreement"]

FAMILIES = ("paired_t_p", "tost_p")


def compare_protocols(
    values: pd.DataFrame,
    *,
    reference: str,
    margin_percent: float = DEFAULTS.margin_percent,
    margin_ppb: Mapping[str, float] | None = None,
    confidence: float = DEFAULTS.confidence,
    power: float = DEFAULTS.power,
) -> pd.DataFrame:
    """Agreement of each protocol with the reference, per region and pooled over regions.

    Each row has the statistics of ``PairedAgreement`` (ppb) over the subjects with a value under
    both protocols. The rows ``region="all"`` use every subject x region as a point: these points
    are not independent, so that their intervals are too narrow and their p-values too small, their
    correlation mostly reflects the differences between regions, and they have no verdict.

    Args:
        values: columns ``subject, protocol, region, value_ppb``; NaN is a missing value.
        reference: the protocol to compare with.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        margin_ppb: region -> half-width in ppb, where it replaces ``margin_percent``.
        confidence: level of all intervals; tests of equivalence are made at 1 - confidence.
        power: probability of a decision for which ``n_to_decide`` is computed.

    Returns:
        One row per region and protocol in their order of appearance, then the pooled rows:
        ``region, protocol``, the fields of ``PairedAgreement`` (``influential_subject`` in place
        of the index, with its region in pooled rows), and the p-values of the t tests and of
        equivalence adjusted over all regions and protocols: ``_fdr`` Benjamini-Hochberg,
        ``_holm`` Holm; pooled rows left out.

    Raises:
        InputError: missing columns, values that are not numbers, infinite values, duplicate rows,
            a reference that is not among the protocols or is the only one, a region named "all",
            or a margin for an unknown region.
    """
    table = check_values(values, reference)
    margins = _check_margins(margin_ppb or {}, table)
    rows = []
    for region in [*table.regions, POOLED]:
        part = table.wide if region == POOLED else table.region(region)
        for protocol in table.others:
            row = _compare(
                part[reference],
                part[protocol],
                margin_percent=margin_percent,
                margin=margins.get(region),
                confidence=confidence,
                power=power,
            )
            rows.append({"region": region, "protocol": protocol} | row)
    frame = pd.DataFrame(rows)
    pooled = (frame["region"] == POOLED).to_numpy()
    frame.loc[pooled, "verdict"] = ""
    frame.loc[pooled, "n_to_decide"] = np.nan
    for name in FAMILIES:
        p_values = np.where(pooled, np.nan, frame[name].to_numpy(np.float64))
        frame[f"{name}_fdr"] = false_discovery_rate(p_values)
        frame[f"{name}_holm"] = holm(p_values)
    frame["note"] = frame.pop("note")
    return frame


def _check_margins(margin_ppb: Mapping[str, float], table: Values) -> Mapping[str, float]:
    for region in margin_ppb:
        if region not in table.regions:
            raise InputError(
                f"equivalence margin: expected a region among {', '.join(table.regions)}, "
                f"found '{region}'"
            )
    return margin_ppb


def _compare(
    reference: pd.Series[float],
    other: pd.Series[float],
    *,
    margin_percent: float,
    margin: float | None,
    confidence: float,
    power: float,
) -> dict[str, object]:
    complete = (reference.notna() & other.notna()).to_numpy()
    one_sided = (reference.notna() | other.notna()).to_numpy() & ~complete
    notes = [_left_out(int(one_sided.sum()))] if one_sided.any() else []
    if not complete.any():
        missing = " of the reference" if reference.isna().all() else ""
        return _empty() | {"n": 0, "note": "; ".join([*notes, f"no values{missing} to compare"])}
    result: dict[str, object] = asdict(
        paired_agreement(
            reference[complete].to_numpy(np.float64),
            other[complete].to_numpy(np.float64),
            margin_percent=margin_percent,
            margin=margin,
            confidence=confidence,
            power=power,
        )
    )
    pair = result["influential_pair"]
    named = (
        _pair_name(reference.index[complete], pair) if isinstance(pair, int) and pair >= 0 else ""
    )
    result = {
        ("influential_subject" if name == "influential_pair" else name): value
        for name, value in result.items()
    } | {"influential_subject": named}
    result["note"] = "; ".join([*notes, *filter(None, [str(result["note"])])])
    return result


def _pair_name(index: pd.Index, pair: int) -> str:
    """Name of a pair: the subject, and in pooled rows also the region."""
    found = index[pair]
    return " ".join(map(str, reversed(found))) if isinstance(found, tuple) else str(found)


def _left_out(count: int) -> str:
    return f"{count} incomplete {'pair' if count == 1 else 'pairs'} left out"


def _empty() -> dict[str, object]:
    names = [field.name for field in fields(PairedAgreement) if field.name != "influential_pair"]
    empty: dict[str, object] = dict.fromkeys(names, np.nan)
    return empty | {"influential_subject": "", "verdict": ""}
