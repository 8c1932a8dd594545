"""Tests of the difference of two dependent correlations with a common variable."""

from __future__ import annotations

import math

from scipy.special import ndtr

from accelqsm.agreement.statistics.coefficients import NAN, Estimate, t_two_sided_p


def williams(r12: float, r13: float, r23: float, n: int) -> Estimate:
    """Williams' t test of r12 = r13 in one sample, with n - 3 degrees of freedom.

    ``t = (r12 - r13) sqrt((n - 1)(1 + r23) / (2 |R| (n - 1)/(n - 3) + m^2 (1 - r23)^3))`` with
    ``|R| = 1 - r12^2 - r13^2 - r23^2 + 2 r12 r13 r23`` and m the mean of r12 and r13.

    Args:
        r12: correlation of the common variable (age) with the first.
        r13: correlation of the common variable with the second.
        r23: correlation of the first with the second.
        n: number of subjects.

    Returns:
        t as ``value`` and its two-sided ``p``; NaN for fewer than 4 subjects or r23 = 1.

    Williams 1959, doi 10.1111/j.2517-6161.1959.tb00346.x; Steiger 1980,
    doi 10.1037/0033-2909.87.2.245.
    """
    if n < 4 or not _usable(r12, r13, r23):
        return Estimate()
    determinant = 1 - r12**2 - r13**2 - r23**2 + 2 * r12 * r13 * r23
    mean = (r12 + r13) / 2
    spread = 2 * max(determinant, 0.0) * (n - 1) / (n - 3) + mean**2 * (1 - r23) ** 3
    if spread <= 0:
        return Estimate()
    t = (r12 - r13) * math.sqrt((n - 1) * (1 + r23) / spread)
    return Estimate(t, NAN, NAN, t_two_sided_p(t, n - 3))


def steiger(r12: float, r13: float, r23: float, n: int) -> Estimate:
    """Steiger's Z test of r12 = r13 in one sample, with the correlations pooled in the variance.

    ``Z = (atanh r12 - atanh r13) sqrt((n - 3) / (2 - 2 c))``, c the covariance of the two
    transformed correlations (Dunn and Clark) at their common mean.

    Arguments and results as for ``williams``.

    Steiger 1980, equation 14, doi 10.1037/0033-2909.87.2.245.
    """
    if n < 4 or not _usable(r12, r13, r23) or max(abs(r12), abs(r13)) >= 1:
        return Estimate()
    m = (r12 + r13) / 2
    psi = r23 * (1 - 2 * m**2) - m**2 * (1 - 2 * m**2 - r23**2) / 2
    covariance = psi / (1 - m**2) ** 2
    if covariance >= 1:
        return Estimate()
    z = (math.atanh(r12) - math.atanh(r13)) * math.sqrt((n - 3) / (2 - 2 * covariance))
    return Estimate(z, NAN, NAN, float(2 * ndtr(-abs(z))))


def _usable(r12: float, r13: float, r23: float) -> bool:
    return all(math.isfinite(r) for r in (r12, r13, r23)) and r23 < 1 - 1e-12
