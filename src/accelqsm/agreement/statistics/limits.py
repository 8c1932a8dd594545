"""Bland-Altman analysis: bias and limits of agreement with confidence intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import chdtri, nctdtrit

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import Estimate, Vector, t_quantile

LIMIT_SD = 1.96
LimitInterval = Literal["exact", "bland-altman-1986"]


@dataclass(frozen=True)
class Limits:
    """Bias, limits of agreement and repeatability, in the unit of the differences.

    Attributes:
        bias: mean difference; its interval is that of the paired t test.
        lower: bias - 1.96 SD of the differences.
        upper: bias + 1.96 SD of the differences.
        within_subject_sd: SD of the differences / sqrt 2, the SD of repeated measurements of a
            subject if both methods have equal variance.
        repeatability: 1.96 sqrt 2 times that: two measurements of a subject differ by less in 95 %
            of cases.
    """

    bias: Estimate
    lower: Estimate
    upper: Estimate
    within_subject_sd: Estimate
    repeatability: Estimate


def limits_of_agreement(
    difference: Vector,
    *,
    limit_sd: float = LIMIT_SD,
    confidence: float = DEFAULTS.confidence,
    interval: LimitInterval = "exact",
) -> Limits:
    """Bias and limits of agreement of paired differences, with confidence intervals.

    ``exact``: ``sqrt(n) (bias + z sigma - mean) / s`` has a noncentral t distribution with
    noncentrality ``z sqrt(n)``, so that the interval of the upper limit is
    ``mean + s t'(a; n - 1, z sqrt(n)) / sqrt(n)``, longer outwards than inwards.
    ``bland-altman-1986``: ``limit +- t s sqrt(1/n + z^2 / (2 n))``, which for z = 2 is their
    ``sqrt(3 s^2 / n)``. The SD has the chi-square interval.

    Args:
        difference: ``(n,)``, n >= 2, other - reference.
        limit_sd: z, distance of the limits from the bias in SD.
        confidence: level of all intervals.
        interval: method for the intervals of the limits.

    Bland & Altman 1986, doi 10.1016/S0140-6736(86)90837-8; Carkeet 2015,
    doi 10.1097/OPX.0000000000000513.
    """
    n, bias, sd = len(difference), float(difference.mean()), float(difference.std(ddof=1))
    error = sd / math.sqrt(n)
    half = t_quantile(confidence, n - 1) * error
    inner, outer = limit_factors(n, limit_sd, confidence, interval)
    within = sd / math.sqrt(2)
    tail = (1 - confidence) / 2
    shrink, stretch = (
        math.sqrt((n - 1) / float(chdtri(n - 1, upper_tail))) for upper_tail in (tail, 1 - tail)
    )
    repeat = LIMIT_SD * math.sqrt(2) * within
    return Limits(
        bias=Estimate(bias, bias - half, bias + half),
        lower=Estimate(bias - limit_sd * sd, bias - outer * error, bias - inner * error),
        upper=Estimate(bias + limit_sd * sd, bias + inner * error, bias + outer * error),
        within_subject_sd=Estimate(within, within * shrink, within * stretch),
        repeatability=Estimate(repeat, repeat * shrink, repeat * stretch),
    )


def limit_factors(
    n: int, limit_sd: float, confidence: float, interval: LimitInterval = "exact"
) -> tuple[float, float]:
    """Ends of the interval of a limit, in standard errors from the bias."""
    shift = limit_sd * math.sqrt(n)
    if interval == "bland-altman-1986":
        half = t_quantile(confidence, n - 1) * math.sqrt(1 + limit_sd**2 / 2)
        return shift - half, shift + half
    tail = (1 - confidence) / 2
    return float(nctdtrit(n - 1, shift, tail)), float(nctdtrit(n - 1, shift, 1 - tail))
