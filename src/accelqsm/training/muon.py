"""Muon: each convolution moves by the orthogonal matrix nearest to its averaged gradient."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum whose step has all its singular values near one.

    A kernel counts as the matrix (output channels, input channels x kernel). The few directions
    along which the gradients of all slabs agree would otherwise drown those that tell aliasing
    from anatomy: on the same slabs the loss falls several times faster than with Adam.

    Args:
        parameters: tensors of two dimensions or more.
        lr: length of a step, in spectral norm for matrices that are wider than high.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                momentum: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
                ahead = gradient.lerp(momentum, MOMENTUM).flatten(1)
                n_out, n_in = ahead.shape
                change = orthogonalised(ahead).view(parameter.shape)
                parameter.add_(change, alpha=-group["lr"] * max(1.0, n_out / n_in) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix with its singular vectors, and singular values between 0.6 and 1.3 instead.

    An odd polynomial, applied five times, lifts singular values from 0.01 of the largest on; it
    never settles, which costs nothing here and makes it fast.

    Args:
        matrix: real (rows, columns).
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    found: Tensor = matrix.T if tall else matrix
    found = found / torch.linalg.matrix_norm(found).clamp_min(1e-12)
    for _ in range(ITERATIONS):
        gram = found @ found.T
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found.T if tall else found
