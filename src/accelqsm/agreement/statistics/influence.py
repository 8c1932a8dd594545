"""Leave-one-out influence on Pearson's r."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accelqsm.agreement.statistics.coefficients import NAN, Vector, is_constant


@dataclass(frozen=True)
class Influence:
    """The pair with the largest leave-one-out influence on a correlation.

    Attributes:
        index: index of the pair; -1 where influence is undefined.
        r_without: Pearson correlation without it.
    """

    index: int = -1
    r_without: float = NAN


def most_influential(x: Vector, y: Vector, groups: Sequence[str] | None = None) -> Influence:
    """Pair with the largest leave-one-out influence on ``atanh r``.

    Changes are compared on Fisher's scale, on which a step from 0.98 to 0.99 is larger than one
    from 0.10 to 0.11.

    Args:
        x: ``(n,)``.
        y: ``(n,)``.
        groups: group label of each pair, for the partial correlation (``partial_pearson``).

    Returns:
        Index -1 for fewer than 4 pairs or a constant vector.
    """
    n = len(x)
    if n < 4 or is_constant(x) or is_constant(y):
        return Influence()
    labels = np.zeros(n, dtype=str) if groups is None else np.asarray(groups, dtype=str)
    group = np.unique(labels, return_inverse=True)[1]
    size = np.bincount(group)
    dx, dy = (v - (np.bincount(group, v) / size)[group] for v in (x, y))
    # Sums of squares of the other pairs about their means; a single pair in a group adds none.
    rest = (size / np.maximum(size - 1, 1))[group]
    sxx, syy = (dx @ dx) - rest * dx**2, (dy @ dy) - rest * dy**2
    sxy = (dx @ dy) - rest * dx * dy
    usable = (sxx > 1e-12 * (dx @ dx)) & (syy > 1e-12 * (dy @ dy))
    with np.errstate(divide="ignore", invalid="ignore"):
        without = np.clip(np.where(usable, sxy / np.sqrt(sxx * syy), np.nan), -1, 1)
        whole = np.arctanh(np.clip((dx @ dy) / np.sqrt((dx @ dx) * (dy @ dy)), -1, 1))
        change = np.abs(np.arctanh(without) - whole)
    if not usable.any():
        return Influence()
    index = int(np.nanargmax(np.where(np.isnan(change), -1.0, change)))
    return Influence(index, float(without[index]))
