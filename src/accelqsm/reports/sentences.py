"""Sentences that summarise a comparison, for terminal and report."""

from __future__ import annotations

import numpy as np
import pandas as pd

from accelqsm.agreement.statistics.equivalence import Verdict
from accelqsm.agreement.values import POOLED
from accelqsm.results.comparison import Comparison

ALPHA = 0.05
LEAST_PEOPLE = 3
LEAST_CHANGE = 0.0005
"""A change of r below this is not visible in three digits."""


def tests(comparison: Comparison) -> list[str]:
    """Sentences on tests, ages, influential subjects and published p-values."""
    single = comparison.agreement[comparison.agreement["region"] != POOLED]
    return [
        *tested(single),
        *changed_ages(comparison),
        *influence(single),
        *misprints(comparison),
    ]


def headlines(single: pd.DataFrame, reference: str) -> list[str]:
    """Sentence per protocol on equivalent and other nuclei, and the widest limits of agreement."""
    lines = []
    for protocol, rows in single[single["verdict"] != ""].groupby("protocol", sort=False):
        by_verdict = {v: list(rows["region"][rows["verdict"] == v.value]) for v in Verdict}
        good, n = len(by_verdict[Verdict.EQUIVALENT]), len(rows)
        line = f"{protocol}: equivalent to {reference} in {good} of {n} nuclei"
        for verdict in (Verdict.NOT_EQUIVALENT, Verdict.UNDECIDED):
            if by_verdict[verdict]:
                line += f"; {verdict.value}: {', '.join(map(str, by_verdict[verdict]))}"
        widths = (rows["loa_upper"] - rows["loa_lower"]).to_numpy(np.float64)
        widest = rows.iloc[int(np.nanargmax(widths))]
        line += (
            f". For individual subjects, limits of agreement are widest in {widest['region']}: "
            f"{widest['loa_lower']:.1f} to {widest['loa_upper']:.1f} ppb."
        )
        lines.append(line)
    return lines


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


def answer(comparison: Comparison) -> str:
    """Sentence of the overall verdict, or the reason why there is none."""
    single = comparison.agreement[comparison.agreement["region"] != POOLED]
    verdicts = single["verdict"][single["verdict"] != ""]
    if verdicts.empty:
        return _no_answer(single, comparison.settings.reference)
    counts = verdicts.value_counts()
    good, bad, open_ = (int(counts.get(verdict.value, 0)) for verdict in Verdict)
    n = len(verdicts)
    return (
        f"Of {n} {'comparison' if n == 1 else 'comparisons'} with {comparison.settings.reference}, "
        f"{good} {'is' if good == 1 else 'are'} equivalent, {bad} not equivalent and {open_} "
        f"undecided; margin of the mean difference: {margin_text(comparison)}."
    )


def _no_answer(single: pd.DataFrame, reference: str) -> str:
    n = int(single["n"].max())
    if n == 0:
        return f"No verdict: nobody has a value under both {reference} and another protocol."
    if n < LEAST_PEOPLE:
        return (
            f"No verdict: {n} {'person' if n == 1 else 'people'} cannot decide whether a protocol "
            f"is equivalent to {reference}; {LEAST_PEOPLE} or more are needed."
        )
    notes = "; ".join(dict.fromkeys(str(note) for note in single["note"] if note))
    return f"No verdict: {notes}."


def margin_text(comparison: Comparison) -> str:
    """Text of the equivalence margin."""
    options, rows = comparison.settings, comparison.agreement
    given = [f"{region} {ppb:g} ppb" for region, ppb in options.margin_ppb.items()]
    relative = f"{options.margin_percent:g} % of the {options.reference} mean"
    if not given:
        return relative
    rest = set(rows["region"]) - set(options.margin_ppb) - {POOLED}
    return ", ".join(given) + (f", otherwise {relative}" if rest else "")


def undecided(comparison: Comparison) -> list[str]:
    """Sentence per undecided comparison, with the sample size that would decide it."""
    rows, lines = comparison.agreement, []
    for _, row in rows[rows["verdict"] == Verdict.UNDECIDED.value].iterrows():
        n = row["n_to_decide"]
        need = "no number of subjects" if np.isnan(n) else f"{n:.0f} subjects"
        lines.append(
            f"Undecided: {row['region']} {row['protocol']}, difference {row['bias']:+.2f} ppb, "
            f"margin {row['tost_margin']:.2f} ppb; if the difference is as observed, {need} would "
            f"decide with a power of {100 * comparison.settings.power:g} %."
        )
    return lines


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
