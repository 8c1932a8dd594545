"""Agreement of two measurements of the same subjects."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from accelqsm.agreement.coefficients import (
    NAN,
    Estimate,
    Vector,
    concordance,
    intraclass,
    is_constant,
    pearson,
    t_quantile,
    t_two_sided_p,
)
from accelqsm.errors import InputError

LIMIT_SD = 1.96
DEFAULT_MARGIN_PERCENT = 5.0
MIN_PAIRS = 3


@dataclass(frozen=True)
class PairedAgreement:
    """Agreement of ``other`` with ``reference``, in the unit of the values (ppb in this package).

    Differences are other - reference. ``_ci_lower`` and ``_ci_upper`` are the ends of confidence
    intervals; what cannot be computed is NaN and ``note`` says why.
    """

    n: int
    mean_reference: float
    sd_reference: float
    mean: float
    sd: float
    percent_difference: float = NAN
    pearson_r: float = NAN
    pearson_r_ci_lower: float = NAN
    pearson_r_ci_upper: float = NAN
    pearson_p: float = NAN
    paired_t: float = NAN
    paired_t_p: float = NAN
    bias: float = NAN
    bias_ci_lower: float = NAN
    bias_ci_upper: float = NAN
    sd_difference: float = NAN
    within_subject_sd: float = NAN
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
    tost_margin: float = NAN
    tost_p: float = NAN
    note: str = ""


def paired_agreement(
    reference: npt.ArrayLike,
    other: npt.ArrayLike,
    *,
    margin_percent: float = DEFAULT_MARGIN_PERCENT,
    confidence: float = 0.95,
) -> PairedAgreement:
    """Compare two measurements of the same subjects.

    With d = other - reference: bias mean(d), limits of agreement bias +- 1.96 sd(d), each limit
    with +- ``t sd(d) sqrt(1/n + 1.96^2 / (2 (n - 1)))``; within-subject SD ``sd(d) / sqrt 2``;
    proportional bias is the slope of d on the mean of both; equivalence (TOST) is tested within
    ``margin_percent`` of the reference mean.

    Args:
        reference: ``(n,)``.
        other: ``(n,)``, the same subjects in the same order.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        confidence: level of all intervals.

    Returns:
        All figures; NaN and a note where fewer than 3 pairs, or values that do not vary, leave
        one undefined.

    Raises:
        InputError: vectors that differ in length, are empty or not finite, or a margin or level
            out of range.

    Bland & Altman 1986, doi 10.1016/S0140-6736(86)90837-8; Schuirmann 1987,
    doi 10.1007/BF01068419.
    """
    x, y = np.asarray(reference, dtype=np.float64), np.asarray(other, dtype=np.float64)
    _check(x, y, margin_percent, confidence)
    n, difference = len(x), y - x
    described = _describe(x, y)
    if n < MIN_PAIRS:
        note = f"{n} pairs, at least {MIN_PAIRS} needed"
        return PairedAgreement(n=n, note=note, bias=float(difference.mean()), **described)
    constant = is_constant(difference, float(np.abs([x, y]).max()))
    r = pearson(x, y, confidence=confidence)
    icc = intraclass(np.column_stack([x, y]), confidence=confidence)
    slope = _slope((x + y) / 2, difference, confidence)
    figures = _named("pearson_r", r) | _named("icc", icc) | _named("proportional_slope", slope)
    figures |= {"pearson_p": r.p, "proportional_slope_p": slope.p, "ccc": concordance(x, y)}
    figures |= described | _limits(difference, confidence)
    if not constant:
        figures |= _tests(x, difference, margin_percent)
    return PairedAgreement(n=n, note=_note(x, y, constant), **figures)


def _named(name: str, estimate: Estimate) -> dict[str, float]:
    return {
        name: estimate.value,
        f"{name}_ci_lower": estimate.lower,
        f"{name}_ci_upper": estimate.upper,
    }


def _check(x: Vector, y: Vector, margin_percent: float, confidence: float) -> None:
    if x.ndim != 1 or x.shape != y.shape or x.size == 0:
        raise InputError(
            f"paired values: expected two vectors of one length, found {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise InputError("paired values: expected finite numbers, found NaN or infinity")
    if not margin_percent > 0:
        raise InputError(f"equivalence margin: expected percent above 0, found {margin_percent}")
    if not 0 < confidence < 1:
        raise InputError(f"confidence: expected a level between 0 and 1, found {confidence}")


def _describe(x: Vector, y: Vector) -> dict[str, float]:
    several = len(x) > 1
    mean_x, mean_y = float(x.mean()), float(y.mean())
    return {
        "mean_reference": mean_x,
        "sd_reference": float(x.std(ddof=1)) if several else NAN,
        "mean": mean_y,
        "sd": float(y.std(ddof=1)) if several else NAN,
        "percent_difference": 100 * (mean_y - mean_x) / mean_x if mean_x != 0 else NAN,
    }


def _limits(difference: Vector, confidence: float) -> dict[str, float]:
    n, bias, sd = len(difference), float(difference.mean()), float(difference.std(ddof=1))
    t = t_quantile(confidence, n - 1)
    half_bias = t * sd / math.sqrt(n)
    half_limit = t * sd * math.sqrt(1 / n + LIMIT_SD**2 / (2 * (n - 1)))
    lower, upper = bias - LIMIT_SD * sd, bias + LIMIT_SD * sd
    return {
        "bias": bias,
        "bias_ci_lower": bias - half_bias,
        "bias_ci_upper": bias + half_bias,
        "sd_difference": sd,
        "within_subject_sd": sd / math.sqrt(2),
        "loa_lower": lower,
        "loa_lower_ci_lower": lower - half_limit,
        "loa_lower_ci_upper": lower + half_limit,
        "loa_upper": upper,
        "loa_upper_ci_lower": upper - half_limit,
        "loa_upper_ci_upper": upper + half_limit,
    }


def _tests(x: Vector, difference: Vector, margin_percent: float) -> dict[str, float]:
    n, bias = len(difference), float(difference.mean())
    standard_error = float(difference.std(ddof=1)) / math.sqrt(n)
    t = bias / standard_error
    margin = margin_percent / 100 * abs(float(x.mean()))
    tost_p = float(stdtr(n - 1, -(margin - abs(bias)) / standard_error))
    tests = {"paired_t": t, "paired_t_p": t_two_sided_p(t, n - 1)}
    return tests | ({"tost_margin": margin, "tost_p": tost_p} if margin > 0 else {})


def _slope(x: Vector, y: Vector, confidence: float) -> Estimate:
    n = len(x)
    if is_constant(x):
        return Estimate()
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    residual = dy - slope * dx
    standard_error = math.sqrt(float(residual @ residual) / (n - 2) / float(dx @ dx))
    half = t_quantile(confidence, n - 2) * standard_error
    p = t_two_sided_p(slope / standard_error, n - 2) if standard_error > 0 else NAN
    return Estimate(slope, slope - half, slope + half, p)


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
    return "; ".join(notes)
