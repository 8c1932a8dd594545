"""Sentences that summarise a comparison, for terminal and report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from accelqsm.agreement.statistics.equivalence import MIN_PAIRS
from accelqsm.agreement.values import POOLED
from accelqsm.results.comparison import Comparison

ALPHA = 0.05
LEAST_PEOPLE = MIN_PAIRS
LEAST_CHANGE = 0.0005
"""A change of r below this is not visible in three digits."""


def tests(comparison: Comparison) -> list[str]:
    """Sentences on tests, ages, influential subjects and published p-values."""
    single = comparison.agreement[comparison.agreement["region"] != POOLED]
    return [
        *repeats(comparison),
        *measured(single),
        *tested(single),
        *changed_ages(comparison),
        *influence(single),
        *misprints(comparison),
    ]


def tested(single: pd.DataFrame) -> list[str]:
    """Sentence on the number of significant paired t tests, before and after adjustment."""
    p = single["paired_t_p"]
    if p.notna().sum() == 0:
        return []
    adjusted = ((single[f"paired_t_p_{name}"] < ALPHA).sum() for name in ("fdr", "holm"))
    fdr, holm = adjusted
    return [
        f"Paired t tests: {(p < ALPHA).sum()} of {p.notna().sum()} with p < {ALPHA:g}; "
        f"{fdr} after Benjamini-Hochberg, {holm} after Holm."
    ]


def margin_text(comparison: Comparison) -> str:
    """Text of the equivalence margin."""
    options, rows = comparison.settings, comparison.agreement
    given = [f"{region} {ppb:g} ppb" for region, ppb in options.margin_ppb.items()]
    relative = f"{options.margin_percent:g} % of the {options.reference} mean"
    if not given:
        return relative
    rest = set(rows["region"]) - set(options.margin_ppb) - {POOLED}
    return ", ".join(given) + (f", otherwise {relative}" if rest else "")


def changed_ages(comparison: Comparison) -> list[str]:
    """Sentence on changes of the correlation with age."""
    ages = comparison.ages
    if ages is None:
        return []
    p = ages["williams_p"]
    if p.notna().sum() == 0:
        return []
    raw, adjusted = (p < ALPHA).sum(), (ages["williams_p_fdr"] < ALPHA).sum()
    return [
        f"Correlation with age differs from {comparison.settings.reference} (Williams) in {raw} of "
        f"{p.notna().sum()} with p < {ALPHA:g}; {adjusted} after Benjamini-Hochberg."
    ]


def influence(single: pd.DataFrame) -> list[str]:
    """Sentence on the largest leave-one-out influence of a subject on Pearson's r."""
    change = (single["pearson_r"] - single["pearson_r_without"]).abs()
    if not (change > LEAST_CHANGE).any():
        return []
    row = single.iloc[int(np.nanargmax(change.to_numpy(np.float64)))]
    return [
        f"r depends most on a single subject in {row['region']} {row['protocol']}: "
        f"{row['pearson_r']:.3f} with and {row['pearson_r_without']:.3f} without "
        f"{row['influential_subject']}."
    ]


def repeats(comparison: Comparison) -> list[str]:
    """Sentences on repeated scans: what was repeated, and what scanning again explains."""
    found = comparison.repeats
    if found is None:
        return []
    lines = []
    for protocol in map(str, found["protocol"].unique()):
        rows = found[found["protocol"] == protocol]
        counts = {comparison.reference: rows["scans_reference"], protocol: rows["scans"]}
        times = [f"{name} was scanned {n.mean():.3g} times" for name, n in counts.items()
                 if n.max() > 1]  # fmt: skip
        share = span(100 * rows["share_rescan"])
        lines.append(
            f"{' and '.join(times)} in each subject and the means compared; scanning again "
            f"explains {share} % of the variance of a difference between {protocol} and "
            f"{comparison.reference}."
        )
    return lines


def measured(single: pd.DataFrame) -> list[str]:
    """Sentence on the share of the variance that the intervals of the values explain."""
    if "measurement_share" not in single or single["measurement_share"].isna().all():
        return []
    share = 100 * single["measurement_share"]
    if share.max() > 100:
        return [
            "The intervals of the values are wider than their differences spread: they count "
            "errors that both scans share, and do not tell how much of the spread is noise."
        ]
    return [
        f"By their own intervals, the noise of the values explains {span(share)} % of the variance "
        "of the differences."
    ]


def span(values: pd.Series) -> str:
    """Range of numbers without decimals: "20 to 35", or one number."""
    return " to ".join(dict.fromkeys(f"{end:.0f}" for end in (values.min(), values.max())))


def misprints(comparison: Comparison) -> list[str]:
    """Sentences on published p-values that are inconsistent with their correlations."""
    if comparison.checks is None:
        return []
    good = comparison.checks["consistent"]
    lines = [f"Published p-values that follow from their r: {good.sum()} of {len(good)}."]
    for _, row in comparison.checks[~good].iterrows():
        lines.append(
            f"Published misprint: {row['region']} {row['protocol']}, r {row['r']:.3f} printed with "
            f"p {row['printed_p']}, which follows as {row['p_from_r']:.2g}."
        )
    return lines
