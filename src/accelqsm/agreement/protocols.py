"""Agreement of every protocol with the reference protocol, per nucleus and pooled."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields

import numpy as np
import pandas as pd

from accelqsm.agreement.pair import (
    PairedAgreement,
    paired_agreement,
)
from accelqsm.agreement.scans import scans_of_pair
from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import Estimate, columns_of
from accelqsm.agreement.statistics.multiplicity import false_discovery_rate, holm
from accelqsm.agreement.statistics.repeats import coefficient, repeated_agreement
from accelqsm.agreement.values import POOLED, Values, check_values, number_in
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
    both protocols. Of repeated scans the means are compared; limits of agreement,
    ``sd_difference``, ``within_subject_sd`` and ``repeatability`` are those of single scans. The
    rows ``region="all"`` use every subject x region as a point: these points are not independent,
    so that their intervals are too narrow and their p-values too small, their correlation mostly
    reflects the differences between regions, and they have no verdict.

    Args:
        values: columns ``subject, protocol, region, value_ppb``; NaN is a missing value. Columns
            ``run`` or ``session`` tell repeated scans apart; ``low_ppb`` and ``high_ppb`` are the
            interval of a value.
        reference: the protocol to compare with.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        margin_ppb: region -> half-width in ppb, where it replaces ``margin_percent``.
        confidence: level of all intervals; tests of equivalence are made at 1 - confidence.
        power: probability of a decision for which ``n_to_decide`` is computed.

    Returns:
        One row per region and protocol in their order of appearance, then the pooled rows:
        ``region, protocol``, the fields of ``PairedAgreement`` (``influential_subject`` in place
        of the index, with its region in pooled rows), ``rescan_sd_reference`` and ``rescan_sd`` of
        repeated scans, ``measurement_sd`` and ``measurement_share`` of values with intervals, and
        the p-values of the t tests and of
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
            row |= _of_single_scans(table, region, protocol, confidence)
            row |= _measured(table, region, protocol, row)
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


def _of_single_scans(
    table: Values, region: str, protocol: str, confidence: float
) -> dict[str, object]:
    """Limits and SDs of single scans, where the means of several were compared."""
    again: dict[str, object] = dict.fromkeys(("rescan_sd_reference", "rescan_sd"), np.nan)
    pair = scans_of_pair(table, region, protocol)
    if pair is None:
        return again
    found = repeated_agreement(*pair, confidence=confidence)
    sd = found.sd_difference
    within = Estimate(*(v / math.sqrt(2) for v in (sd.value, sd.lower, sd.upper)))
    return {
        "rescan_sd_reference": found.rescan_sd_reference.value,
        "rescan_sd": found.rescan_sd.value,
        "sd_difference": sd.value,
        **columns_of("within_subject_sd", within),
        "repeatability": coefficient(within).value,
        **columns_of("loa_lower", found.lower),
        **columns_of("loa_upper", found.upper),
    }


def _measured(
    table: Values, region: str, protocol: str, row: Mapping[str, object]
) -> dict[str, object]:
    """SD of a difference by the values' own intervals, and the share of its variance observed."""
    nothing: dict[str, object] = {"measurement_sd": np.nan, "measurement_share": np.nan}
    if table.noise is None or region == POOLED:
        return nothing
    compared = table.region(region)[[table.reference, protocol]].notna().all(axis=1)
    noise = table.noise.loc[region].reindex(compared.index[compared])
    variance = float((noise[table.reference] + noise[protocol]).mean())
    observed = number_in(row, "sd_difference") ** 2
    share = variance / observed if observed > 0 else np.nan
    return {"measurement_sd": math.sqrt(variance), "measurement_share": share}


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
