"""Correlation of each nucleus with age, and its difference between protocols."""

from __future__ import annotations

import numpy as np
import pandas as pd

from accelqsm.agreement.people import SEX, check_participants, plain_label
from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import (
    NAN,
    Estimate,
    Vector,
    columns_of,
    partial_pearson,
    pearson,
    regression_slope,
)
from accelqsm.agreement.statistics.dependent import steiger, williams
from accelqsm.agreement.statistics.influence import Influence, most_influential
from accelqsm.agreement.statistics.multiplicity import false_discovery_rate
from accelqsm.agreement.values import check_values
from accelqsm.errors import InputError

FAMILIES = ("r_p", "williams_p")


def age_associations(
    values: pd.DataFrame,
    participants: pd.DataFrame,
    *,
    reference: str,
    confidence: float = DEFAULTS.confidence,
) -> pd.DataFrame:
    """Correlation of every nucleus with age under every protocol, compared with the reference.

    Whether a protocol changes the association is tested by the difference between the two
    correlations (Williams' t, with Steiger's Z as a check) and by the slope of the difference on
    age, over the subjects measured under both; one significant and one non-significant
    correlation are no evidence of a difference.

    Args:
        values: columns ``subject, protocol, region, value_ppb``.
        participants: columns ``participant_id, age`` (years) and optionally ``sex``.
        reference: the protocol to compare with.
        confidence: level of all intervals.

    Returns:
        One row per region and protocol, the reference first: ``n``, ``r`` with its interval and
        p-value, the slope in ppb per year, ``r`` at equal sex, both correlations also without
        their most influential subject; then, NaN for the reference, ``n_compared``,
        ``r_difference`` (other - reference), Williams' t, Steiger's Z and the slope of the
        difference. ``_fdr``: Benjamini-Hochberg over all regions and protocols.
        ``agreement/columns.py`` describes every column.

    Raises:
        InputError: tables that cannot be used, or no measured participant.
    """
    table = check_values(values, reference)
    people = check_participants(participants)
    subjects = table.wide.index.get_level_values("subject")
    known = people.reindex([plain_label(s) for s in subjects.unique()])
    if known["age_years"].isna().all():
        raise InputError(
            f"participants: expected ages of the measured subjects such as '{subjects[0]}', "
            "found none"
        )
    rows = []
    for region in table.regions:
        part = table.region(region)
        here = people.reindex([plain_label(s) for s in part.index])
        age = here["age_years"].to_numpy(np.float64)
        sex = here[SEX].fillna("").to_numpy(str)
        base = part[reference].to_numpy(np.float64)
        for protocol in table.protocols:
            value = part[protocol].to_numpy(np.float64)
            row: dict[str, object] = {"region": region, "protocol": protocol}
            row |= _association(age, value, sex, part.index, confidence)
            row |= _difference(age, base, value, confidence, protocol != reference)
            rows.append(row)
    frame = pd.DataFrame(rows)
    for name in FAMILIES:
        frame[f"{name}_fdr"] = false_discovery_rate(frame[name].to_numpy(np.float64))
    frame["note"] = frame.pop("note")
    return frame


def _association(
    age: Vector, value: Vector, sex: np.ndarray, subjects: pd.Index, confidence: float
) -> dict[str, object]:
    known = np.isfinite(age) & np.isfinite(value)
    x, y = age[known], value[known]
    r = pearson(x, y, confidence=confidence)
    influence = most_influential(x, y)
    slope = regression_slope(x, y, confidence=confidence)
    with_sex = known & (sex != "")
    partial, partial_influence = Estimate(), Influence()
    if with_sex.any():
        partial = partial_pearson(
            age[with_sex], value[with_sex], sex[with_sex], confidence=confidence
        )
    if np.isfinite(partial.value):
        partial_influence = most_influential(age[with_sex], value[with_sex], sex[with_sex])
    note = "" if len(x) >= 3 else f"{len(x)} with age and value, at least 3 needed"
    return {
        "n": len(x),
        **columns_of("r", r),
        "r_p": r.p,
        "influential_subject": _name(influence, subjects[known]),
        "r_without": influence.r_without,
        **columns_of("slope_ppb_per_year", slope),
        "slope_p": slope.p,
        **columns_of("r_at_equal_sex", partial),
        "r_at_equal_sex_p": partial.p,
        "influential_subject_at_equal_sex": _name(partial_influence, subjects[with_sex]),
        "r_at_equal_sex_without": partial_influence.r_without,
        "note": note,
    }


def _name(influence: Influence, subjects: pd.Index) -> str:
    return str(subjects[influence.index]) if influence.index >= 0 else ""


def _difference(
    age: Vector, base: Vector, value: Vector, confidence: float, other: bool
) -> dict[str, object]:
    both = np.isfinite(age) & np.isfinite(base) & np.isfinite(value)
    n = int(both.sum()) if other else 0
    t, z, slope, change = Estimate(), Estimate(), Estimate(), NAN
    if n >= 3:
        x, a, b = age[both], base[both], value[both]
        with_other, with_base = pearson(x, b).value, pearson(x, a).value
        between = pearson(a, b).value
        change = with_other - with_base
        t = williams(with_other, with_base, between, n)
        z = steiger(with_other, with_base, between, n)
        slope = regression_slope(x, b - a, confidence=confidence)
    return {
        "n_compared": n if other else NAN,
        "r_difference": change,
        "williams_t": t.value,
        "williams_p": t.p,
        "steiger_z": z.value,
        "steiger_p": z.p,
        **columns_of("slope_difference_ppb_per_year", slope),
        "slope_difference_p": slope.p,
    }
