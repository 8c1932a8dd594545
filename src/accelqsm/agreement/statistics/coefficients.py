"""Coefficients of correlation and agreement, with confidence intervals.

Distribution functions are from ``scipy.special``, which gives the same numbers as ``scipy.stats``
and is imported a second faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import fdtri, ndtri, stdtr, stdtrit

from accelqsm.agreement.settings import DEFAULTS

Vector = npt.NDArray[np.float64]

NAN = float("nan")


@dataclass(frozen=True)
class Estimate:
    """An estimate with its confidence interval; NaN where undefined.

    Attributes:
        value: the estimate.
        lower: lower end of the confidence interval.
        upper: upper end of the confidence interval.
        p: two-sided p-value against zero, NaN where no test is made.
    """

    value: float = NAN
    lower: float = NAN
    upper: float = NAN
    p: float = NAN


def columns_of(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate and its interval as columns of a table."""
    return {
        name: estimate.value,
        f"{name}_ci_lower": estimate.lower,
        f"{name}_ci_upper": estimate.upper,
    }


def is_constant(values: Vector, scale: float | None = None) -> bool:
    """Whether values are equal up to the rounding error of numbers of size ``scale``."""
    size = float(np.abs(values).max()) if scale is None else scale
    return bool(np.ptp(values) <= 1e-12 * size)


def t_quantile(confidence: float, degrees: int) -> float:
    """Two-sided critical value of Student's t."""
    return float(stdtrit(degrees, 0.5 + confidence / 2))


def t_two_sided_p(t: float, degrees: int) -> float:
    """Two-sided p-value of Student's t."""
    return float(2 * stdtr(degrees, -abs(t)))


def pearson(x: Vector, y: Vector, *, confidence: float = DEFAULTS.confidence) -> Estimate:
    """Pearson correlation, its p-value, and Fisher's interval ``tanh(atanh r +- z/sqrt(n - 3))``.

    Vectors ``(n,)``; NaN for fewer than 3 pairs or for a constant vector.
    """
    n = len(x)
    if n < 3 or is_constant(x) or is_constant(y):
        return Estimate()
    return _with_interval(x - x.mean(), y - y.mean(), n - 2, confidence)


def correlation_p(r: float, degrees: int) -> float:
    """Two-sided p-value of a correlation, from ``t = r sqrt(degrees / (1 - r^2))``."""
    with np.errstate(divide="ignore"):
        return t_two_sided_p(float(r * np.sqrt(degrees / np.float64(1 - r * r))), degrees)


def _with_interval(dx: Vector, dy: Vector, degrees: int, confidence: float) -> Estimate:
    """Correlation of centred vectors with its interval, for the given degrees of freedom."""
    r = float(np.clip((dx @ dy) / np.sqrt((dx @ dx) * (dy @ dy)), -1, 1))
    p = correlation_p(r, degrees)
    if degrees < 2:
        return Estimate(r, -1.0, 1.0, p)
    half = ndtri(0.5 + confidence / 2) / np.sqrt(degrees - 1)
    with np.errstate(divide="ignore"):
        centre = np.arctanh(r)
    return Estimate(r, float(np.tanh(centre - half)), float(np.tanh(centre + half)), p)


def partial_pearson(
    x: Vector, y: Vector, groups: Sequence[str], *, confidence: float = DEFAULTS.confidence
) -> Estimate:
    """Partial Pearson correlation of x and y given group, from deviations from the group means.

    The k groups cost k - 1 degrees of freedom: t with ``n - k - 1``, Fisher's interval with
    ``n - k - 2``.

    Args:
        x: ``(n,)``.
        y: ``(n,)``.
        groups: group label of each pair (such as sex).
        confidence: level of the interval.

    Returns:
        NaN for fewer than 2 groups, too few subjects, or values that are constant within groups.

    Fisher 1924, Metron 3:329.
    """
    labels, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    n, k = len(x), len(labels)
    degrees = n - k - 1
    if k < 2 or degrees < 1:
        return Estimate()
    size = np.bincount(index)
    dx, dy = (v - (np.bincount(index, v) / size)[index] for v in (x, y))
    if is_constant(dx, float(np.abs(x).max())) or is_constant(dy, float(np.abs(y).max())):
        return Estimate()
    return _with_interval(dx, dy, degrees, confidence)


def regression_slope(x: Vector, y: Vector, *, confidence: float = DEFAULTS.confidence) -> Estimate:
    """Least-squares slope of y on x with Student's interval and p-value (n - 2 degrees).

    Vectors ``(n,)``, n >= 3; NaN where x does not vary; no p-value for a perfect line.
    """
    n = len(x)
    if n < 3 or is_constant(x):
        return Estimate()
    dx, dy = x - x.mean(), y - y.mean()
    slope = float(dx @ dy / (dx @ dx))
    residual = dy - slope * dx
    standard_error = float(np.sqrt(float(residual @ residual) / (n - 2) / float(dx @ dx)))
    half = t_quantile(confidence, n - 2) * standard_error
    p = t_two_sided_p(slope / standard_error, n - 2) if standard_error > 0 else NAN
    return Estimate(slope, slope - half, slope + half, p)


def concordance(x: Vector, y: Vector, *, confidence: float = DEFAULTS.confidence) -> Estimate:
    """Lin's concordance correlation ``2 sxy / (sx^2 + sy^2 + (mx - my)^2)``, moments over n.

    The interval is ``tanh(atanh c +- z se)`` with, for u^2 = (mx - my)^2 / (sx sy),
    ``se^2 = ((1 - r^2) c^2 / (r^2 (1 - c^2)) + 2 c^3 (1 - c) u^2 / (r (1 - c^2)^2)
    - c^4 u^4 / (2 r^2 (1 - c^2)^2)) / (n - 2)``.

    Vectors ``(n,)``; NaN for fewer than 3 pairs or when both vectors are constant; no interval
    where correlation is zero, undefined or perfect.

    Lin 1989, doi 10.2307/2532051, with the variance as corrected in Lin 2000,
    doi 10.1111/j.0006-341X.2000.00324.x.
    """
    n = len(x)
    if n < 3 or (is_constant(x) and is_constant(y)):
        return Estimate()
    covariance = float(np.mean((x - x.mean()) * (y - y.mean())))
    shift_squared = float(x.mean() - y.mean()) ** 2
    c = 2 * covariance / (float(x.var() + y.var()) + shift_squared)
    r = pearson(x, y).value
    if np.isnan(r) or r == 0 or abs(c) >= 1 - 1e-12:
        return Estimate(c)
    u_squared = shift_squared / float(x.std() * y.std())
    rest = 1 - c**2
    variance = (
        (1 - r**2) * c**2 / (r**2 * rest)
        + 2 * c**3 * (1 - c) * u_squared / (r * rest**2)
        - c**4 * u_squared**2 / (2 * r**2 * rest**2)
    ) / (n - 2)
    half = float(ndtri(0.5 + confidence / 2)) * float(np.sqrt(max(variance, 0.0)))
    centre = float(np.arctanh(c))
    return Estimate(c, float(np.tanh(centre - half)), float(np.tanh(centre + half)))


def intraclass(scores: Vector, *, confidence: float = DEFAULTS.confidence) -> Estimate:
    """Intraclass correlation ICC(A,1): absolute agreement, single measurement, two-way model.

    ``(MSR - MSE) / (MSR + (k - 1) MSE + k (MSC - MSE) / n)`` from the mean squares of subjects
    (rows), methods (columns) and error, with the interval of McGraw and Wong.

    Args:
        scores: ``(n subjects, k methods)``.
        confidence: level of the interval.

    Returns:
        NaN for fewer than 3 subjects, or when subjects do not differ; an interval of NaN when
        the error is zero.

    McGraw & Wong 1996, doi 10.1037/1082-989X.1.1.30.
    """
    n, k = scores.shape
    if n < 3 or k < 2 or is_constant(scores.mean(1), float(np.abs(scores).max())):
        return Estimate()
    rows, columns, grand = scores.mean(1), scores.mean(0), scores.mean()
    msr = float(k * np.sum((rows - grand) ** 2) / (n - 1))
    msc = float(n * np.sum((columns - grand) ** 2) / (k - 1))
    residual = scores - rows[:, None] - columns[None, :] + grand
    mse = float(np.sum(residual**2) / ((n - 1) * (k - 1)))
    icc = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
    if mse <= 1e-24 * msr:
        return Estimate(icc)
    alpha = 1 - confidence
    ratio, spread = k * icc * msc / mse, n * (1 + (k - 1) * icc) - k * icc
    degrees = ((k - 1) * (n - 1) * (ratio + spread) ** 2) / ((n - 1) * ratio**2 + spread**2)
    f_lower = float(fdtri(n - 1, degrees, 1 - alpha / 2))
    f_upper = float(fdtri(degrees, n - 1, 1 - alpha / 2))
    mixed = k * msc + (k * n - k - n) * mse
    lower = n * (msr - f_lower * mse) / (f_lower * mixed + n * msr)
    upper = n * (f_upper * msr - mse) / (mixed + n * f_upper * msr)
    return Estimate(icc, lower, upper)
