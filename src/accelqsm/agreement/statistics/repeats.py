"""Repeated scans: SD of scanning again, and what of a difference is the protocol's.

A scan of subject i under protocol j is ``mu_j + s_i + p_ij + e_ijk``: the subject, what the
protocol does to this subject, and scanning again. Estimates are the closed forms by mean squares,
which are those of restricted maximum likelihood (REML) for equal numbers of scans; for unequal
ones they are the unweighted means of Bland and Altman.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import chdtri

from accelqsm.agreement.settings import DEFAULTS
from accelqsm.agreement.statistics.coefficients import NAN, Estimate, Vector, t_quantile
from accelqsm.agreement.statistics.limits import LIMIT_SD

COEFFICIENT = LIMIT_SD * math.sqrt(2)
"""Two scans of a subject differ by less than this times their SD in 95 % of cases."""


@dataclass(frozen=True)
class Replicates:
    """Scans of n subjects under one protocol.

    Attributes:
        means: mean of each subject's scans, ``(n,)``.
        counts: number of each subject's scans, ``(n,)``.
        within_variance: variance of scans of a subject, pooled over subjects; NaN without repeats.
        degrees: its degrees of freedom, scans - subjects.
    """

    means: Vector
    counts: Vector
    within_variance: float
    degrees: int

    @property
    def mean_inverse_count(self) -> float:
        """Mean of one over the number of scans."""
        return float(np.mean(1 / self.counts))


@dataclass(frozen=True)
class RepeatedAgreement:
    """Agreement of two protocols with repeated scans; SDs in the unit of the values.

    Attributes:
        rescan_sd_reference: SD of repeated scans of a subject under the reference.
        rescan_sd: the same under the protocol; that of the reference if it was not repeated, and
            the other way round.
        subject_sd: SD between subjects, ``s_i``.
        protocol_sd: SD of what a protocol does to a subject, ``p_ij``; the differences that remain
            if every scan were repeated without end have sqrt 2 times this SD about the bias.
        sd_difference: SD of the differences of single scans.
        lower: lower limit of agreement of single scans.
        upper: upper limit of agreement of single scans.
        share_rescan: share of the variance of such a difference that scanning again explains.
        assumed_equal: only one protocol was repeated, and the other is taken to repeat as well.
        unbalanced: subjects differ in their number of scans.
    """

    rescan_sd_reference: Estimate
    rescan_sd: Estimate
    subject_sd: Estimate
    protocol_sd: Estimate
    sd_difference: Estimate
    lower: Estimate
    upper: Estimate
    share_rescan: float
    assumed_equal: bool
    unbalanced: bool


@dataclass(frozen=True)
class MeanSquare:
    """A variance estimate, its degrees of freedom, and its factor in a sum of variances."""

    value: float
    degrees: int
    factor: float


def replicates(scans: Sequence[Vector]) -> Replicates:
    """Means and pooled within-subject variance of the scans of each subject.

    Args:
        scans: of each subject, ``(k,)`` with k >= 1.
    """
    counts = np.array([len(one) for one in scans], dtype=np.float64)
    means = np.array([one.mean() for one in scans])
    degrees = int(counts.sum()) - len(scans)
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in scans)
    return Replicates(means, counts, squares / degrees if degrees else NAN, degrees)


def repeated_agreement(
    reference: Replicates, other: Replicates, *, confidence: float = DEFAULTS.confidence
) -> RepeatedAgreement:
    """Variance components and limits of agreement from repeated scans under one or both protocols.

    With the variance s^2 of the differences d of subject means, within-subject variances w^2 and
    mean inverse numbers of scans h: single scans differ with
    ``s^2 + (1 - h_ref) w_ref^2 + (1 - h) w^2``, the protocol with
    ``s^2 - h_ref w_ref^2 - h w^2``. Limits of agreement are ``mean(d) +- 1.96 SD`` of single scans.
    Intervals combine the chi-square intervals of the mean squares (MOVER).

    Args:
        reference: scans under the reference.
        other: scans under the protocol, of the same subjects, at least 3 of them.
        confidence: level of all intervals.

    Bland & Altman 1999, doi 10.1177/096228029900800204; 2007, doi 10.1080/10543400701329422;
    Zou 2013, doi 10.1177/0962280211402548.
    """
    n = len(reference.means)
    difference, average = other.means - reference.means, (other.means + reference.means) / 2
    own, theirs = reference, other
    if not reference.degrees:
        own = other
    if not other.degrees:
        theirs = reference
    h = reference.mean_inverse_count, other.mean_inverse_count

    def within(factors: tuple[float, float]) -> list[MeanSquare]:
        """Within-subject variances with their factors; one alone where only one was repeated."""
        if own is theirs:
            return [MeanSquare(own.within_variance, own.degrees, sum(factors))]
        return [
            MeanSquare(one.within_variance, one.degrees, factor)
            for one, factor in zip((own, theirs), factors, strict=True)
        ]

    s2, a2 = float(difference.var(ddof=1)), float(average.var(ddof=1))
    single = combined(
        [MeanSquare(s2, n - 1, 1), *within((1 - h[0], 1 - h[1]))], confidence=confidence
    )
    protocol = combined([MeanSquare(s2, n - 1, 0.5), *within((-h[0] / 2, -h[1] / 2))],
                        confidence=confidence)  # fmt: skip
    subject = combined(
        [MeanSquare(a2, n - 1, 1), MeanSquare(s2, n - 1, -0.25)], confidence=confidence
    )
    sd = root(single)
    bias, half = float(difference.mean()), t_quantile(confidence, n - 1) * math.sqrt(s2 / n)
    rescan = own.within_variance + theirs.within_variance
    return RepeatedAgreement(
        rescan_sd_reference=root(combined([_alone(own)], confidence=confidence)),
        rescan_sd=root(combined([_alone(theirs)], confidence=confidence)),
        subject_sd=root(subject),
        protocol_sd=root(protocol),
        sd_difference=sd,
        lower=_negative(_upper_limit(-bias, half, sd)),
        upper=_upper_limit(bias, half, sd),
        share_rescan=min(1.0, rescan / single.value) if single.value > 0 else NAN,
        assumed_equal=own is theirs,
        unbalanced=any(np.ptp(one.counts) > 0 for one in (reference, other)),
    )


def combined(parts: Sequence[MeanSquare], *, confidence: float = DEFAULTS.confidence) -> Estimate:
    """Sum of independent variance estimates times factors, with its interval by MOVER.

    ``sum -+ sqrt(sum of (factor (value - end))^2)``, the ends being those of the chi-square
    interval of each part that move the sum down, or up.

    Zou & Donner 2008, doi 10.1002/sim.3095; Graybill & Wang 1980,
    doi 10.1080/01621459.1980.10477570.
    """
    tail = (1 - confidence) / 2
    total, down, up = 0.0, 0.0, 0.0
    for part in parts:
        moved = [
            part.factor * part.value * (part.degrees / float(chdtri(part.degrees, p)) - 1)
            for p in (tail, 1 - tail)
        ]
        total += part.factor * part.value
        down += min(moved) ** 2
        up += max(moved) ** 2
    return Estimate(total, total - math.sqrt(down), total + math.sqrt(up))


def root(variance: Estimate) -> Estimate:
    """SD of a variance and its interval; 0 where they are negative."""
    return Estimate(
        *(math.sqrt(max(v, 0.0)) for v in (variance.value, variance.lower, variance.upper))
    )


def coefficient(sd: Estimate) -> Estimate:
    """Repeatability or reproducibility coefficient, 1.96 sqrt 2 SD."""
    return Estimate(*(COEFFICIENT * v for v in (sd.value, sd.lower, sd.upper)))


def _alone(one: Replicates) -> MeanSquare:
    return MeanSquare(one.within_variance, one.degrees, 1)


def _upper_limit(bias: float, half: float, sd: Estimate) -> Estimate:
    """Upper limit of agreement with its interval by MOVER."""
    limit = bias + LIMIT_SD * sd.value
    down, up = (math.hypot(half, LIMIT_SD * (end - sd.value)) for end in (sd.lower, sd.upper))
    return Estimate(limit, limit - down, limit + up)


def _negative(estimate: Estimate) -> Estimate:
    return Estimate(-estimate.value, -estimate.upper, -estimate.lower)
