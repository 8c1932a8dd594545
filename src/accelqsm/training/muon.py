"""Muon optimiser: momentum with orthogonalised updates."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ITERATIONS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum optimiser whose update matrices have singular values near one.

    A kernel is treated as the matrix (output channels, input channels x kernel). Otherwise the few
    directions common to the gradients of all slabs would dominate those that distinguish aliasing
    from anatomy: on the same slabs the loss decreases several times faster than with Adam.

    Args:
        parameters: tensors of two dimensions or more.
        lr: length of a step, in spectral norm for matrices that are wider than high.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            updated = [p for p in group["params"] if p.grad is not None]
            for shape in dict.fromkeys(p.shape for p in updated):
                self._update([p for p in updated if p.shape == shape], group["lr"])

    def _update(self, same_shape: list[nn.Parameter], rate: float) -> None:
        """Update all parameters of one shape in a batch, which is faster than one by one."""
        for parameter in same_shape:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        gradients = torch.stack([p.grad for p in same_shape if p.grad is not None])
        momenta = torch.stack([self.state[p]["momentum"] for p in same_shape])
        momenta.lerp_(gradients, 1 - MOMENTUM)
        changes = orthogonalise(gradients.lerp(momenta, MOMENTUM).flatten(2)).view_as(gradients)
        n_out, n_in = gradients.shape[1], gradients[0, 0].numel()
        for parameter, momentum, change in zip(same_shape, momenta, changes, strict=True):
            self.state[parameter]["momentum"].copy_(momentum)
            parameter.add_(change, alpha=-rate * max(1.0, n_out / n_in) ** 0.5)


def orthogonalise(matrix: Tensor) -> Tensor:
    """Matrix with the same singular vectors, and singular values between 0.6 and 1.3.

    An odd polynomial, applied five times, raises singular values from 0.01 of the largest; its
    coefficients are optimised for speed instead of convergence to 1.

    Args:
        matrix: real (..., rows, columns).
    """
    a, b, c = COEFFICIENTS
    tall = matrix.shape[-2] > matrix.shape[-1]
    found: Tensor = matrix.mT if tall else matrix
    found = found / torch.linalg.matrix_norm(found, keepdim=True).clamp_min(1e-12)
    for _ in range(ITERATIONS):
        gram = found @ found.mT
        found = a * found + (b * gram + c * gram @ gram) @ found
    return found.mT if tall else found
