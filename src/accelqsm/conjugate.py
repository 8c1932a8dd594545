"""Conjugate gradients for one linear system, or for a batch of independent ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_SMALLEST = 1e-30


def conjugate_gradients(
    operator: Callable[[Tensor], Tensor],
    wanted: Tensor,
    start: Tensor | None = None,
    *,
    n_iterations: int,
    axes: tuple[int, ...] | None = None,
) -> Tensor:
    """Solve operator(x) = wanted by conjugate gradients.

    Args:
        operator: linear, Hermitian and positive definite.
        wanted: right-hand side, real or complex, any shape.
        start: first estimate of x; zero if absent.
        n_iterations: steps to take; fewer when the residual is already zero.
        axes: the axes of one system; the other axes are a batch of independent systems. All axes
            if absent.

    Returns:
        x, of the shape of ``wanted``; differentiable where the operator is.

    Source: Hestenes and Stiefel 1952, J Res Natl Bur Stand 49:409.
    """

    def inner(a: Tensor, b: Tensor) -> Tensor:
        product = (a.conj() * b).real if a.is_complex() else a * b
        return product.sum() if axes is None else product.sum(dim=axes, keepdim=True)

    estimate = torch.zeros_like(wanted) if start is None else start
    residual = wanted if start is None else wanted - operator(start)
    direction = residual
    power = inner(residual, residual)
    for _ in range(n_iterations):
        if not bool((power > 0).any()):
            break
        image = operator(direction)
        step = power / inner(direction, image).clamp_min(_SMALLEST)
        # Nothing in place, so that a gradient can be taken through the steps.
        estimate = estimate + step * direction
        residual = residual - step * image
        previous, power = power, inner(residual, residual)
        direction = residual + power / previous.clamp_min(_SMALLEST) * direction
    return estimate
