"""Agreement of two measurements of the same subjects."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import (
    NAN,
    Estimate,
    Vector,
    columns_of,
    concordance,
    intraclass,
    is_constant,
    pearson,
    regression_slope,
    t_quantile,
    t_two_sided_p,
)
from accelqsm.agreement.statistics.equivalence import MIN_PAIRS, equivalence
from accelqsm.agreement.statistics.influence import most_influential
from accelqsm.agreement.statistics.limits import limits_of_agreement
from accelqsm.agreement.statistics.lines import MAX_PAIRS, deming, passing_bablok
from accelqsm.errors import InputError

Figures = dict[str, Any]


@dataclass(frozen=True)
class PairedAgreement:
    """Agreement of ``other`` with ``reference``, in the unit of the values (ppb in this package).

    Differences are other - reference. ``_ci_lower`` and ``_ci_upper`` are the ends of confidence
    intervals; undefined values are NaN with a reason in ``note``. ``influential_pair`` is the
    index of the pair with the largest leave-one-out influence on r. ``agreement/columns.py``
    describes every field.
    """

    n: int
    mean_reference: float
    sd_reference: float
    mean: float
    sd: float
    percent_difference: float = NAN
    percent_difference_ci_lower: float = NAN
    percent_difference_ci_upper: float = NAN
    pearson_r: float = NAN
    pearson_r_ci_lower: float = NAN
    pearson_r_ci_upper: float = NAN
    pearson_p: float = NAN
    influential_pair: int = -1
    pearson_r_without: float = NAN
    paired_t: float = NAN
    paired_t_p: float = NAN
    bias: float = NAN
    bias_ci_lower: float = NAN
    bias_ci_upper: float = NAN
    sd_difference: float = NAN
    sd_compared: float = NAN
    within_subject_sd: float = NAN
    within_subject_sd_ci_lower: float = NAN
    within_subject_sd_ci_upper: float = NAN
    repeatability: float = NAN
    loa_lower: float = NAN
    loa_lower_ci_lower: float = NAN
    loa_lower_ci_upper: float = NAN
    loa_upper: float = NAN
    loa_upper_ci_lower: float = NAN
    loa_upper_ci_upper: float = NAN
    proportional_slope: float = NAN
    proportional_slope_ci_lower: float = NAN
    proportional_slope_ci_upper: float = NAN
    proportional_slope_p: float = NAN
    icc: float = NAN
    icc_ci_lower: float = NAN
    icc_ci_upper: float = NAN
    ccc: float = NAN
    ccc_ci_lower: float = NAN
    ccc_ci_upper: float = NAN
    deming_slope: float = NAN
    deming_slope_ci_lower: float = NAN
    deming_slope_ci_upper: float = NAN
    deming_intercept: float = NAN
    deming_intercept_ci_lower: float = NAN
    deming_intercept_ci_upper: float = NAN
    passing_bablok_slope: float = NAN
    passing_bablok_slope_ci_lower: float = NAN
    passing_bablok_slope_ci_upper: float = NAN
    passing_bablok_intercept: float = NAN
    passing_bablok_intercept_ci_lower: float = NAN
    passing_bablok_intercept_ci_upper: float = NAN
    tost_margin: float = NAN
    tost_p: float = NAN
    tost_ci_lower: float = NAN
    tost_ci_upper: float = NAN
    verdict: str = ""
    n_to_decide: float = NAN
    note: str = ""


def paired_agreement(
    reference: npt.ArrayLike,
    other: npt.ArrayLike,
    *,
    margin_percent: float = DEFAULTS.margin_percent,
    margin: float | None = None,
    confidence: float = DEFAULTS.confidence,
    power: float = DEFAULTS.power,
) -> PairedAgreement:
    """Agreement statistics of two measurements of the same subjects.

    With d = other - reference: bias mean(d) and limits of agreement bias +- 1.96 sd(d) with exact
    intervals; within-subject SD ``sd(d) / sqrt 2`` and repeatability ``1.96 sd(d)``; proportional
    bias, the slope of d on the mean of both; correlation, ICC(A,1) and concordance; the lines of
    Deming (equal error variances) and of Passing and Bablok; equivalence (TOST) within a margin.
    The interval of the percent difference is Fieller's.

    Args:
        reference: ``(n,)``.
        other: ``(n,)``, the same subjects in the same order.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        margin: the same in the unit of the values; replaces ``margin_percent``.
        confidence: level of all intervals; equivalence is tested at 1 - confidence.
        power: probability of a decision for which ``n_to_decide`` is computed.

    Returns:
        All statistics; NaN and a note for those that are undefined, with fewer than 3 pairs or
        constant values.

    Raises:
        InputError: vectors that differ in length, are empty or not finite, or a margin, level or
            power out of range.

    Bland & Altman 1986, doi 10.1016/S0140-6736(86)90837-8; Schuirmann 1987,
    doi 10.1007/BF01068419; further sources are given in the functions of each statistic.
    """
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
    _check(x, y, margin_percent if margin is None else margin, confidence, power)
    n, difference = len(x), y - x
    described = _describe(x, y)
    if n < MIN_PAIRS:
        note = f"{n} {'pair' if n == 1 else 'pairs'}, at least {MIN_PAIRS} needed"
        return replace(described, note=note, bias=float(difference.mean()))
    constant = is_constant(difference, float(np.abs([x, y]).max()))
    figures = _coefficients(x, y, confidence) | _lines(x, y, confidence)
    figures |= _limits(difference, confidence)
    figures |= columns_of("percent_difference", _percent_difference(x, y, confidence))
    half_width = margin_percent / 100 * abs(float(x.mean())) if margin is None else margin
    if constant:
        difference = np.full(n, difference.mean())
    else:
        figures |= _t_test(difference)
    if half_width > 0:
        figures |= _equivalence(difference, half_width, 1 - confidence, power)
    return replace(described, note=_note(x, y, constant), **figures)


def _check(x: Vector, y: Vector, margin: float, confidence: float, power: float) -> None:
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise InputError(
            f"paired values: expected two vectors of one length, found {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("paired values: expected finite numbers, found NaN or infinity")
    if not (math.isfinite(margin) and margin > 0):
        raise InputError(f"equivalence margin: expected a value above 0, found {margin}")
    for name, level in (("confidence", confidence), ("power", power)):
        if not 0 < level < 1:
            raise InputError(f"{name}: expected a level between 0 and 1, found {level}")


def _describe(x: Vector, y: Vector) -> PairedAgreement:
    several = len(x) > 1
    mean_x, mean_y = float(x.mean()), float(y.mean())
    return PairedAgreement(
        n=len(x),
        mean_reference=mean_x,
        sd_reference=float(x.std(ddof=1)) if several else NAN,
        mean=mean_y,
        sd=float(y.std(ddof=1)) if several else NAN,
        percent_difference=100 * (mean_y - mean_x) / mean_x if mean_x != 0 else NAN,
    )


def _coefficients(x: Vector, y: Vector, confidence: float) -> Figures:
    r = pearson(x, y, confidence=confidence)
    slope = regression_slope((x + y) / 2, y - x, confidence=confidence)
    influence = most_influential(x, y)
    return {
        **columns_of("pearson_r", r),
        "pearson_p": r.p,
        "influential_pair": influence.index,
        "pearson_r_without": influence.r_without,
        **columns_of("icc", intraclass(np.column_stack([x, y]), confidence=confidence)),
        **columns_of("ccc", concordance(x, y, confidence=confidence)),
        **columns_of("proportional_slope", slope),
        "proportional_slope_p": slope.p,
    }


def _lines(x: Vector, y: Vector, confidence: float) -> Figures:
    figures: Figures = {}
    lines = {
        "deming": deming(x, y, confidence=confidence),
        "passing_bablok": passing_bablok(x, y, confidence=confidence),
    }
    for name, line in lines.items():
        figures |= columns_of(f"{name}_slope", line.slope)
        figures |= columns_of(f"{name}_intercept", line.intercept)
    return figures


def _limits(difference: Vector, confidence: float) -> Figures:
    limits = limits_of_agreement(difference, confidence=confidence)
    return {
        **columns_of("bias", limits.bias),
        "sd_difference": float(difference.std(ddof=1)),
        "sd_compared": float(difference.std(ddof=1)),
        **columns_of("within_subject_sd", limits.within_subject_sd),
        "repeatability": limits.repeatability.value,
        **columns_of("loa_lower", limits.lower),
        **columns_of("loa_upper", limits.upper),
    }


def _percent_difference(x: Vector, y: Vector, confidence: float) -> Estimate:
    """Percent difference ``100 (mean y / mean x - 1)`` with Fieller's interval.

    No interval where mean x may be zero.

    The interval holds the ratios q for which mean(y - q x) does not differ from zero by the
    paired t test. Fieller 1954, doi 10.1111/j.2517-6161.1954.tb00159.x.
    """
    mean_x, mean_y = float(x.mean()), float(y.mean())
    if mean_x == 0:
        return Estimate()
    ratio = mean_y / mean_x
    n = len(x)
    covariance = np.cov(x, y) * t_quantile(confidence, n - 1) ** 2 / n
    a = mean_x**2 - float(covariance[0, 0])
    b = mean_x * mean_y - float(covariance[0, 1])
    c = mean_y**2 - float(covariance[1, 1])
    if a <= 0:
        return Estimate(100 * (ratio - 1))
    root = math.sqrt(max(b * b - a * c, 0.0))
    return Estimate(100 * (ratio - 1), 100 * ((b - root) / a - 1), 100 * ((b + root) / a - 1))


def _t_test(difference: Vector) -> Figures:
    n = len(difference)
    t = float(difference.mean()) / (float(difference.std(ddof=1)) / math.sqrt(n))
    return {"paired_t": t, "paired_t_p": t_two_sided_p(t, n - 1)}


def _equivalence(difference: Vector, margin: float, alpha: float, power: float) -> Figures:
    tost = equivalence(difference, margin=margin, alpha=alpha, power=power)
    return {
        "tost_margin": tost.margin,
        "tost_p": tost.p,
        "tost_ci_lower": tost.lower,
        "tost_ci_upper": tost.upper,
        "verdict": tost.verdict.value,
        "n_to_decide": tost.n_to_decide,
    }


def _note(x: Vector, y: Vector, constant_difference: bool) -> str:
    notes = []
    if is_constant(x):
        notes.append("reference values do not vary")
    if is_constant(y):
        notes.append("values do not vary")
    if constant_difference:
        notes.append("differences do not vary, no t test")
    if x.mean() == 0:
        notes.append("reference mean is zero, no percentages")
    if len(x) > MAX_PAIRS:
        notes.append(f"more than {MAX_PAIRS} pairs, no Passing-Bablok line")
    return "; ".join(notes)
