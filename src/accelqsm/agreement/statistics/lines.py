"""Regression with error in both variables: Deming, and Passing and Bablok."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import Estimate, Vector, is_constant, t_quantile

UNDEFINED = Estimate()
MAX_PAIRS = 4000
"""Passing and Bablok sort the slopes between all pairs: 8 million for 4000."""


@dataclass(frozen=True)
class Line:
    """Regression line ``other = intercept + slope * reference``.

    Attributes:
        slope: 1 without proportional difference.
        intercept: in the unit of the values; 0 without constant difference.
    """

    slope: Estimate = UNDEFINED
    intercept: Estimate = UNDEFINED


def deming(
    reference: Vector,
    other: Vector,
    *,
    variance_ratio: float = 1.0,
    confidence: float = DEFAULTS.confidence,
) -> Line:
    """Deming regression, with jackknife intervals.

    ``slope = (syy - d sxx + sqrt((syy - d sxx)^2 + 4 d sxy^2)) / (2 sxy)``, through the means,
    with d = ``variance_ratio``. Intervals: pseudo-values ``n b - (n - 1) b_(i)``, their standard
    error, and Student's t with n - 2 degrees of freedom.

    Args:
        reference: ``(n,)``.
        other: ``(n,)``, the same subjects in the same order.
        variance_ratio: error variance of ``other`` over that of ``reference``.
        confidence: level of the intervals.

    Returns:
        NaN for fewer than 3 pairs or uncorrelated values; intervals need 4 pairs.

    Deming 1943, Statistical adjustment of data; Linnet 1993, doi 10.1093/clinchem/39.3.424.
    """
    n = len(reference)
    if n < 3 or is_constant(reference) or is_constant(other):
        return Line()
    dx, dy = reference - reference.mean(), other - other.mean()
    moments = np.array([dx @ dx, dy @ dy, dx @ dy])
    slope = float(_deming_slope(moments[:, None], variance_ratio)[0])
    intercept = float(other.mean() - slope * reference.mean())
    if n < 4:
        return Line(Estimate(slope), Estimate(intercept))
    # Sums of squares of the other pairs about their means, which saves n fits.
    without = moments[:, None] - n / (n - 1) * np.array([dx * dx, dy * dy, dx * dy])
    slopes = _deming_slope(without, variance_ratio)
    mean_x, mean_y = ((n * v.mean() - v) / (n - 1) for v in (reference, other))
    return Line(
        _jackknife(slope, slopes, confidence),
        _jackknife(intercept, mean_y - slopes * mean_x, confidence),
    )


def _deming_slope(moments: Vector, ratio: float) -> Vector:
    """Deming slopes from sxx, syy and sxy, each ``(sample,)``."""
    sxx, syy, sxy = moments
    excess = syy - ratio * sxx
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((excess + np.sqrt(excess**2 + 4 * ratio * sxy**2)) / (2 * sxy))


def _jackknife(value: float, without: Vector, confidence: float) -> Estimate:
    n = len(without)
    pseudo = n * value - (n - 1) * without
    half = t_quantile(confidence, n - 2) * float(pseudo.std(ddof=1)) / math.sqrt(n)
    return Estimate(value, value - half, value + half)


def passing_bablok(
    reference: Vector, other: Vector, *, confidence: float = DEFAULTS.confidence
) -> Line:
    """Passing-Bablok regression: the shifted median of the slopes between all pairs of points.

    Of the N slopes (identical points and slopes of -1 left out), the median is shifted up by the
    number K of slopes below -1; intercept = median(other - slope * reference). Interval of the
    slope: ranks ``K + (N -+ z sqrt(n (n - 1) (2 n + 5) / 18)) / 2``; of the intercept: the
    medians for the ends of that interval. Distribution-free and robust against outliers; it
    assumes a positive correlation and errors of the same distribution in both methods.

    Args:
        reference: ``(n,)``.
        other: ``(n,)``, the same subjects in the same order.
        confidence: level of the intervals.

    Returns:
        NaN for fewer than 3 pairs, for more than ``MAX_PAIRS`` (whose slopes would need too much
        memory), for constant values, or where the shifted rank is out of range.

    Passing & Bablok 1983, doi 10.1515/cclm.1983.21.11.709.
    """
    n = len(reference)
    if not 3 <= n <= MAX_PAIRS or is_constant(reference) or is_constant(other):
        return Line()
    slopes = _pairwise_slopes(reference, other)
    shift, count = int((slopes < -1).sum()), len(slopes)
    upper_middle = count // 2 + shift
    if upper_middle >= count:
        return Line()
    lower_middle = upper_middle if count % 2 else upper_middle - 1
    slope = float((slopes[lower_middle] + slopes[upper_middle]) / 2)
    if not math.isfinite(slope):
        return Line()
    half = ndtri(0.5 + confidence / 2) * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    first = round((count - half) / 2)
    low, high = first + shift - 1, count - first + shift
    ends = [float(slopes[rank]) if 0 <= rank < count else math.nan for rank in (low, high)]
    value, at_high, at_low = (
        float(np.median(other - end * reference)) if math.isfinite(end) else math.nan
        for end in (slope, ends[1], ends[0])
    )
    return Line(Estimate(slope, *ends), Estimate(value, at_high, at_low))


def _pairwise_slopes(x: Vector, y: Vector) -> Vector:
    """Sorted slopes between all pairs; vertical ones are infinite with the sign of dy."""
    first, second = np.triu_indices(len(x), 1)
    dx, dy = x[second] - x[first], y[second] - y[first]
    differ = (dx != 0) | (dy != 0)
    with np.errstate(divide="ignore"):
        slopes = dy[differ] / np.where(dx[differ] == 0, 0.0, dx[differ])
    return np.asarray(np.sort(slopes[slopes != -1]), dtype=np.float64)
