"""Conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor], wanted: Tensor, start: Tensor, *, n_iterations: int
) -> Tensor:
    """Bring ``operator(x)`` nearer to ``wanted``, for a linear operator that is its own adjoint.

    Args:
        operator: symmetric and positive definite.
        wanted: right-hand side, any shape.
        start: first estimate of x; it is not changed.
        n_iterations: steps to take; fewer when the residual is already zero.

    Returns:
        x, of the shape of ``wanted``.

    Source: Hestenes and Stiefel 1952, J Res Natl Bur Stand 49:409.
    """
    estimate = start.clone()
    residual = wanted - operator(estimate)
    direction = residual.clone()
    power = torch.sum(residual * residual)
    for _ in range(n_iterations):
        if not power > 0:
            break
        image = operator(direction)
        step = power / torch.sum(direction * image)
        estimate += step * direction
        residual -= step * image
        previous, power = power, torch.sum(residual * residual)
        direction *= power / previous
        direction += residual
    return estimate
