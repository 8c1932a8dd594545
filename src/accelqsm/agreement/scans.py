"""Repeated scans in a table of values: told apart, averaged, and compared with each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import (
    Estimate,
    Vector,
    columns_of,
    t_quantile,
)
from accelqsm.agreement.statistics.equivalence import MIN_PAIRS
from accelqsm.agreement.statistics.repeats import (
    RepeatedAgreement,
    Replicates,
    coefficient,
    repeated_agreement,
    replicates,
)
from accelqsm.agreement.values import KEYS, RUN, VALUE, Values, check_values
from accelqsm.errors import InputError

Figures = dict[str, object]


def declared_repeats(values: pd.DataFrame, repeat: Mapping[str, str]) -> pd.DataFrame:
    """The table with protocols that repeat another one under the name of that one, as runs.

    Args:
        values: columns ``subject, protocol, region, value_ppb``, and optionally ``run``.
        repeat: name of a protocol in the table -> the protocol that it repeats.

    Raises:
        InputError: a name that is not among the protocols, or a repeat of a repeat.
    """
    if not repeat:
        return values
    protocols = values["protocol"].astype(str)
    known = list(dict.fromkeys(protocols))
    for name, of in repeat.items():
        for one in (name, of):
            if one not in known:
                raise InputError(f"repeat: expected one of {', '.join(known)}, found '{one}'")
        if of in repeat:
            raise InputError(f"repeat: expected a protocol that is no repeat, found '{of}'")
    run = values[RUN].fillna("").astype(str) if RUN in values else pd.Series("", values.index)
    label = protocols.where(protocols.isin([*repeat, *repeat.values()]), "")
    return values.assign(
        protocol=protocols.map(lambda name: repeat.get(name, name)),
        **{RUN: (label + " " + run).str.strip()},
    )


def scan_means(values: pd.DataFrame) -> pd.DataFrame:
    """One row per subject, protocol and region: the mean over repeated scans.

    Other columns are of the first scan; runs, and intervals of single scans, are left out. A table
    without repeats stays as it is.
    """
    keys = list(KEYS)
    if not values.duplicated(keys).any():
        return values
    kept = [name for name in values if name not in (RUN, "session", "low_ppb", "high_ppb")]
    first = values[kept].drop_duplicates(keys)
    means = values.groupby(keys, sort=False)[VALUE].mean().rename("mean")
    joined = first.join(means, on=keys)
    return joined.assign(**{VALUE: joined["mean"]})[kept].reset_index(drop=True)


def compare_scans(
    values: pd.DataFrame, *, reference: str, confidence: float = DEFAULTS.confidence
) -> pd.DataFrame | None:
    """Variance components and coefficients of repeated scans, per region and protocol.

    Args:
        values: columns ``subject, protocol, region, value_ppb``, and ``run`` or ``session``, which
            tell repeated scans apart.
        reference: the protocol that the others are compared with.
        confidence: level of all intervals.

    Returns:
        One row per region and protocol of which 3 or more subjects were scanned under both, and
        some twice or more under one of them: ``n``, mean numbers of ``scans_reference`` and
        ``scans``, ``rescan_bias`` (second scan - first under the reference), ``rescan_sd_*``,
        ``repeatability_*``, ``reproducibility``, ``subject_sd``, ``protocol_sd``,
        ``share_rescan``, ``note``; SDs and coefficients with intervals, in ppb. None without
        repeats.

    Raises:
        InputError: a table that cannot be compared.
    """
    table = check_values(values, reference)
    if table.scans is None:
        return None
    rows = []
    for region in table.regions:
        for protocol in table.others:
            pair = scans_of_pair(table, region, protocol)
            if pair is not None:
                found = repeated_agreement(*pair, confidence=confidence)
                again = _second_less_first(table, region, confidence)
                rows.append({"region": region, "protocol": protocol} | _row(pair, found, again))
    return pd.DataFrame(rows) if rows else None


def scans_of_pair(
    table: Values, region: str, protocol: str
) -> tuple[Replicates, Replicates] | None:
    """Scans under the reference and a protocol of those subjects that have both.

    None with fewer than 3 of them, or without repeats.
    """
    if table.scans is None or region not in table.regions:
        return None
    here = table.scans[table.scans["region"] == region]
    by_protocol = [
        {subject: group.to_numpy(np.float64) for subject, group in own.groupby("subject")[VALUE]}
        for own in (here[here["protocol"] == name] for name in (table.reference, protocol))
    ]
    both = [subject for subject in by_protocol[0] if subject in by_protocol[1]]
    if len(both) < MIN_PAIRS:
        return None
    first, second = (replicates([own[subject] for subject in both]) for own in by_protocol)
    return (first, second) if first.degrees or second.degrees else None


def _row(pair: tuple[Replicates, Replicates], found: RepeatedAgreement, again: Estimate) -> Figures:
    notes = []
    if found.assumed_equal:
        which = "reference" if pair[0].degrees else "protocol"
        notes.append(f"only the {which} was repeated; the other is taken to repeat as well")
    if found.unbalanced:
        notes.append("unequal numbers of scans: unweighted means")
    return {
        "n": len(pair[0].means),
        "scans_reference": float(pair[0].counts.mean()),
        "scans": float(pair[1].counts.mean()),
        **columns_of("rescan_bias", again),
        **columns_of("rescan_sd_reference", found.rescan_sd_reference),
        **columns_of("rescan_sd", found.rescan_sd),
        **columns_of("repeatability_reference", coefficient(found.rescan_sd_reference)),
        **columns_of("repeatability_protocol", coefficient(found.rescan_sd)),
        **columns_of("reproducibility", _over_root_two(coefficient(found.sd_difference))),
        **columns_of("subject_sd", found.subject_sd),
        **columns_of("protocol_sd", found.protocol_sd),
        "share_rescan": found.share_rescan,
        "note": "; ".join(notes),
    }


def _second_less_first(table: Values, region: str, confidence: float) -> Estimate:
    """Mean difference of the second and the first scan under the reference, with t interval."""
    assert table.scans is not None
    own = table.scans[
        (table.scans["region"] == region) & (table.scans["protocol"] == table.reference)
    ]
    by_subject = [group.to_numpy(np.float64) for _, group in own.groupby("subject")[VALUE]]
    change: Vector = np.array([one[1] - one[0] for one in by_subject if len(one) > 1])
    if len(change) < 2:
        return Estimate()
    error = float(change.std(ddof=1)) / len(change) ** 0.5
    half = t_quantile(confidence, len(change) - 1) * error
    return Estimate(float(change.mean()), float(change.mean()) - half, float(change.mean()) + half)


def _over_root_two(estimate: Estimate) -> Estimate:
    return Estimate(*(v / 2**0.5 for v in (estimate.value, estimate.lower, estimate.upper)))
