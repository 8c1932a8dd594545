"""Power of the paired t test, precision of limits of agreement, and assurance of equivalence."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtri, nctdtr, ndtri, stdtr, stdtrit

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.equivalence import (
    MIN_PAIRS,
    equivalence_power,
    fewest_subjects,
)
from accelqsm.agreement.statistics.limits import LIMIT_SD, limit_factors

_PROBABILITIES = (np.arange(15) + 0.5) / 15


def detection_power(
    difference: float, standard_error: float, degrees: int, *, alpha: float = 0.05
) -> float:
    """Power of the two-sided paired t test for a true mean difference, exact.

    ``P(|t'| > t(1 - alpha / 2))`` for the noncentral t with noncentrality difference / error.

    Args:
        difference: true mean difference.
        standard_error: its standard error, in the same unit.
        degrees: n - 1.
        alpha: two-sided level.

    Cohen 1988, Statistical power analysis for the behavioral sciences, chapter 2.
    """
    shift = abs(difference) / standard_error
    t = float(stdtrit(degrees, 1 - alpha / 2))
    return float(1 - nctdtr(degrees, shift, t) + nctdtr(degrees, shift, -t))


def subjects_to_detect(
    difference: float, sd_difference: float, *, alpha: float = 0.05, power: float = DEFAULTS.power
) -> float:
    """Smallest number of subjects in whom a paired t test finds a difference.

    Args:
        difference: smallest true difference to find, not 0.
        sd_difference: SD of the paired differences.
        alpha: two-sided level.
        power: required probability to find it.

    Returns:
        At least 3; NaN if a million are not sufficient.
    """
    if sd_difference == 0:
        return float(MIN_PAIRS)

    def reached(n: int) -> bool:
        error = sd_difference / math.sqrt(n)
        return detection_power(difference, error, n - 1, alpha=alpha) >= power

    return fewest_subjects(reached)


def limits_half_width(
    n: int, sd_difference: float, *, confidence: float = DEFAULTS.confidence
) -> float:
    """Half-width of the exact interval of a limit of agreement, for the SD given.

    Carkeet 2015, doi 10.1097/OPX.0000000000000513.
    """
    inner, outer = limit_factors(n, LIMIT_SD, confidence)
    return (outer - inner) / 2 * sd_difference / math.sqrt(n)


def subjects_for_limits(
    half_width: float, sd_difference: float, *, confidence: float = DEFAULTS.confidence
) -> float:
    """Smallest number of subjects that gives limits of agreement a half-width.

    Args:
        half_width: wanted half-width of the interval of each limit.
        sd_difference: SD of the paired differences.
        confidence: level of the interval.

    Returns:
        At least 3; NaN if a million are not sufficient.
    """
    return fewest_subjects(
        lambda n: limits_half_width(n, sd_difference, confidence=confidence) <= half_width
    )


def assurance(
    n: int,
    margin: float,
    *,
    bias: float,
    sd_difference: float,
    n_pilot: int,
    shrink: float = 1.0,
    alpha: float = 0.05,
) -> float:
    """Probability that n new subjects show equivalence, by what a pilot knows of bias and SD.

    Mean of the power over the posterior of both: ``sigma^2 = s^2 (n' - 1) / chi2`` and
    ``bias ~ N(observed, sigma^2 / n')``.

    Args:
        n: subjects of the study to plan.
        margin: half-width of the region of equivalence.
        bias: mean difference in the pilot.
        sd_difference: SD of the differences in the pilot, above 0.
        n_pilot: subjects of the pilot, 2 or more.
        shrink: SD of the differences of the study over that of the pilot, for another design.
        alpha: level of each one-sided test.

    O'Hagan, Stevens & Campbell 2005, doi 10.1002/pst.175.
    """
    degrees = n_pilot - 1
    total = 0.0
    for upper_tail in _PROBABILITIES:
        sigma = sd_difference * math.sqrt(degrees / float(chdtri(degrees, upper_tail)))
        for quantile in ndtri(_PROBABILITIES):
            true = bias + float(quantile) * sigma / math.sqrt(n_pilot)
            if abs(true) < margin:
                error = shrink * sigma / math.sqrt(n)
                total += equivalence_power(margin, error, n - 1, bias=true, alpha=alpha)
    return total / len(_PROBABILITIES) ** 2


def chance_within(margin: float, *, bias: float, sd_difference: float, n_pilot: int) -> float:
    """Probability that the true difference lies within the margin, by what a pilot knows.

    The limit of ``assurance`` for many subjects: Student's t about the observed difference.
    """
    error, degrees = sd_difference / math.sqrt(n_pilot), n_pilot - 1
    return float(stdtr(degrees, (margin - bias) / error) - stdtr(degrees, (-margin - bias) / error))
