"""Accelerated proximal gradient descent (FISTA)."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor


def fista(
    normal: Callable[[Tensor], Tensor],
    wanted: Tensor,
    shrink: Callable[[Tensor], Tensor],
    *,
    start: Tensor | None = None,
    n_iterations: int,
) -> Tensor:
    """Minimiser x of 1/2 ||A x - y||^2 + R(x), where ||A|| <= 1, so that the step is one.

    Args:
        normal: A^H A.
        wanted: A^H y, where the iteration starts unless ``start`` is given.
        shrink: proximal operator of R, argmin_x 1/2 ||x - v||^2 + R(x).
        start: first estimate.
        n_iterations: number of iterations.

    Source: Beck and Teboulle 2009, SIAM J Imaging Sci 2:183, doi 10.1137/080716542.
    """
    image = ahead = wanted if start is None else start
    momentum = 1.0
    for _ in range(n_iterations):
        shrunk = shrink(ahead + wanted - normal(ahead))
        next_momentum = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / next_momentum * (shrunk - image)
        image, momentum = shrunk, next_momentum
    return image
