"""Adjustment of p-values for multiple tests."""

from __future__ import annotations

import numpy as np

from accelqsm.agreement.statistics.coefficients import Vector


def false_discovery_rate(p_values: Vector) -> Vector:
    """Benjamini-Hochberg adjusted p-values; NaN stays NaN and is not counted.

    ``min_{j >= i} p_(j) m / j`` over the sorted p-values.

    Benjamini & Hochberg 1995, doi 10.1111/j.2517-6161.1995.tb02031.x.
    """
    adjusted = np.full(len(p_values), np.nan)
    order = _sorted_tests(p_values)
    scaled = p_values[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return adjusted


def holm(p_values: Vector) -> Vector:
    """Holm's adjusted p-values (family-wise error); NaN stays NaN and is not counted.

    ``max_{j <= i} (m - j + 1) p_(j)`` over the sorted p-values.

    Holm 1979, Scand J Stat 6:65, https://www.jstor.org/stable/4615733.
    """
    adjusted = np.full(len(p_values), np.nan)
    order = _sorted_tests(p_values)
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted


def _sorted_tests(p_values: Vector) -> np.ndarray:
    tested = np.flatnonzero(~np.isnan(p_values))
    order: np.ndarray = tested[np.argsort(p_values[tested], kind="stable")]
    return order
