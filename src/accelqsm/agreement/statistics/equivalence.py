"""Equivalence test (TOST) of a mean difference against a margin, its power and sample size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.special import chdtri, gammaln, ndtr, stdtr, stdtrit

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import NAN, Vector
from accelqsm.errors import InputError

MIN_PAIRS = 3
"""Below, no verdict: two differences nearly equal by chance would decide."""
MAX_SUBJECTS = 1_000_000
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_TAIL = 1e-16


class Verdict(StrEnum):
    """Result of an equivalence test."""

    EQUIVALENT = "equivalent"
    NOT_EQUIVALENT = "not equivalent"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Equivalence:
    """Result of two one-sided tests of a mean difference against a margin.

    Attributes:
        margin: half-width of the region of equivalence, in the unit of the differences.
        p: larger p-value of the two tests; small p means within the margin.
        lower: lower end of the 1 - 2 alpha interval of the difference.
        upper: upper end; the interval lies within the margin if and only if p < alpha.
        t_lower: t statistic against -margin.
        t_upper: t statistic against +margin.
        verdict: equivalent (the interval lies inside the margin), not equivalent (it lies
            outside), or undecided.
        n_to_decide: total number of subjects to decide with the required power, for the same bias
            and SD; NaN if decided already, or if a million is not sufficient.
    """

    margin: float
    p: float
    lower: float
    upper: float
    t_lower: float
    t_upper: float
    verdict: Verdict
    n_to_decide: float = NAN


def equivalence(
    difference: Vector, *, margin: float, alpha: float = 0.05, power: float = DEFAULTS.power
) -> Equivalence:
    """Two one-sided tests (TOST) of whether the mean difference is within ``+- margin``.

    ``t = (mean +- margin) / (s / sqrt n)``, each one-sided with n - 1 degrees of freedom. Where
    the difference is the same in everybody, the interval is that difference.

    Args:
        difference: ``(n,)``, n >= 2.
        margin: above 0, in the unit of the differences, chosen before looking at the data.
        alpha: level of each one-sided test.
        power: power for which ``n_to_decide`` is computed.

    Raises:
        InputError: a margin that is not above 0.

    Schuirmann 1987, doi 10.1007/BF01068419.
    """
    if not margin > 0:
        raise InputError(f"equivalence margin: expected a value above 0, found {margin:g}")
    n, bias, sd = len(difference), float(difference.mean()), float(difference.std(ddof=1))
    error = sd / math.sqrt(n)
    t_lower, t_upper = (_over(bias + edge, error) for edge in (margin, -margin))
    p = max(float(stdtr(n - 1, -t_lower)), float(stdtr(n - 1, t_upper)))
    half = float(stdtrit(n - 1, 1 - alpha)) * error
    lower, upper = bias - half, bias + half
    verdict = decide(lower, upper, margin)
    needed = NAN
    if verdict is Verdict.UNDECIDED and sd > 0:
        needed = subjects_to_decide(margin, sd, bias=bias, alpha=alpha, power=power)
    return Equivalence(margin, p, lower, upper, t_lower, t_upper, verdict, needed)


def decide(lower: float, upper: float, margin: float) -> Verdict:
    """Verdict of an interval of the mean difference against a margin: the one place that decides.

    Args:
        lower: lower end of the interval, of level 1 - 2 alpha.
        upper: upper end.
        margin: half-width of the region of equivalence, in the same unit.
    """
    if -margin < lower and upper < margin:
        return Verdict.EQUIVALENT
    if margin < lower or upper < -margin:
        return Verdict.NOT_EQUIVALENT
    return Verdict.UNDECIDED


def _over(distance: float, error: float) -> float:
    """Distance in standard errors; infinite for any distance where there is no error."""
    if error > 0:
        return distance / error
    return math.copysign(math.inf, distance) if distance else 0.0


def equivalence_power(
    margin: float, standard_error: float, degrees: int, *, bias: float = 0.0, alpha: float = 0.05
) -> float:
    """Exact power of the equivalence test: probability that both one-sided tests reject.

    The mean of ``Phi((margin - bias) / e - t u) - Phi(-(margin + bias) / e + t u)`` over
    ``u = sqrt(chi2 / degrees)``, where positive; t the critical value and e the standard error.

    Args:
        margin: half-width of the region of equivalence.
        standard_error: true standard error of the estimated difference, in the margin's unit.
        degrees: degrees of freedom of its estimate.
        bias: true difference.
        alpha: level of each one-sided test.

    Phillips 1990, doi 10.1007/BF01063556.
    """
    t = float(stdtrit(degrees, 1 - alpha))
    upper, lower = (margin - bias) / standard_error, (margin + bias) / standard_error
    # Above this SD the interval is wider than the margin for any mean.
    widest = (upper + lower) / (2 * t)

    def rejection_probability(u: Vector) -> Vector:
        return np.asarray(ndtr(upper - t * u) - ndtr(t * u - lower), dtype=np.float64)

    return max(0.0, _mean_over_sd(rejection_probability, degrees, widest))


def difference_power(
    margin: float, standard_error: float, degrees: int, *, bias: float, alpha: float = 0.05
) -> float:
    """Probability that the 1 - 2 alpha interval lies entirely outside the margin.

    Arguments as for ``equivalence_power``.
    """
    t = float(stdtrit(degrees, 1 - alpha))

    def rejection_probability(u: Vector) -> Vector:
        beyond = ndtr((bias - margin) / standard_error - t * u)
        below = ndtr((-bias - margin) / standard_error - t * u)
        return np.asarray(beyond + below, dtype=np.float64)

    return _mean_over_sd(rejection_probability, degrees, math.inf)


def subjects_to_decide(
    margin: float,
    sd_difference: float,
    *,
    bias: float = 0.0,
    alpha: float = 0.05,
    power: float = DEFAULTS.power,
) -> float:
    """Smallest sample size with the required power to find a difference within or outside a margin.

    At least 3, below which there is no verdict. Within if ``|bias| < margin``, outside otherwise;
    NaN if a million is not sufficient.

    Args:
        margin: half-width of the region of equivalence.
        sd_difference: SD of the paired differences, sqrt 2 times the within-subject SD.
        bias: true mean difference.
        alpha: level of each one-sided test.
        power: required probability of the decision.

    Raises:
        InputError: margin or SD not above 0, power or alpha outside (0, 1).
    """
    _check_plan(margin, sd_difference, alpha, power)
    inside = abs(bias) < margin
    chance = equivalence_power if inside else difference_power

    def reached(n: int) -> bool:
        error = sd_difference / math.sqrt(n)
        return chance(margin, error, n - 1, bias=bias, alpha=alpha) >= power

    return fewest_subjects(reached)


def fewest_subjects(reached: Callable[[int], bool]) -> float:
    """Smallest number of subjects that reaches a goal, at least 3; NaN if a million do not."""
    low, high = MIN_PAIRS - 1, MIN_PAIRS
    while not reached(high):
        low, high = high, 2 * high
        if high > MAX_SUBJECTS:
            return NAN
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return float(high)


def _mean_over_sd(values: Callable[[Vector], Vector], degrees: int, widest: float) -> float:
    """Mean of a function of ``u = sqrt(chi2 / degrees)`` over ``u < widest``."""
    low, high = (math.sqrt(float(chdtri(degrees, tail)) / degrees) for tail in (1 - _TAIL, _TAIL))
    high = min(high, widest)
    if high <= low:
        return 0.0
    u = low + (high - low) * (_NODES + 1) / 2
    log_density = (
        math.log(2)
        + degrees / 2 * math.log(degrees / 2)
        - float(gammaln(degrees / 2))
        + (degrees - 1) * np.log(u)
        - degrees * u**2 / 2
    )
    weighted = _WEIGHTS * np.exp(log_density) * values(u)
    return float((high - low) / 2 * weighted.sum())


def _check_plan(margin: float, sd_difference: float, alpha: float, power: float) -> None:
    for name, value in (("margin", margin), ("SD of the differences", sd_difference)):
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name}: expected a value above 0, found {value:g}")
    for name, value in (("alpha", alpha), ("power", power)):
        if not 0 < value < 1:
            raise InputError(f"{name}: expected a probability between 0 and 1, found {value:g}")
