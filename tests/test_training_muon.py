"""Muon: what orthogonal means, and that it goes downhill."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from accelqsm.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (8, 8)])
def test_singular_vectors_stay_and_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    u, _, v = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(-1.5, 1, len(v))
    found = u.T @ orthogonalise(u @ (values[:, None] * v)) @ v.T
    kept = found.diagonal()
    assert float(kept.min()) > 0.6
    assert float(kept.max()) < 1.3
    assert float((found - kept.diag()).abs().max()) < 1e-4


def test_scale_of_the_gradient_does_not_matter() -> None:
    matrix = torch.randn(6, 20, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(orthogonalise(1e-4 * matrix), orthogonalise(matrix))


def test_no_gradient_moves_nothing() -> None:
    kernel = nn.Parameter(torch.ones(3, 2, 1, 3, 3))
    kernel.grad = torch.zeros_like(kernel)
    Muon([kernel], lr=0.1).step()
    assert torch.equal(kernel.detach(), torch.ones(3, 2, 1, 3, 3))


def test_rotation_is_found() -> None:
    """A linear layer learns a map from many samples of very unequal variance."""
    generator = torch.Generator().manual_seed(3)
    wanted, _ = torch.linalg.qr(torch.randn(6, 6, generator=generator))
    scale = torch.logspace(-2, 0, 6)
    weight = nn.Parameter(torch.zeros(6, 6))
    optimiser = Muon([weight])
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        samples = torch.randn(32, 6, generator=generator) * scale
        weight.grad = (samples @ (weight.detach() - wanted).T).T @ samples
        optimiser.step()
    assert float((weight.detach() - wanted).norm() / wanted.norm()) < 0.05


def test_kernels_of_one_shape_move_together_as_they_would_alone() -> None:
    generator = torch.Generator().manual_seed(4)
    shapes = [(4, 3, 1, 3, 3), (5, 4, 3, 3, 3), (4, 3, 1, 3, 3)]
    together, alone = ([nn.Parameter(torch.zeros(shape)) for shape in shapes] for _ in range(2))
    optimisers = [Muon(together, lr=0.1), *(Muon([kernel], lr=0.1) for kernel in alone)]
    for _ in range(3):
        for ours, theirs in zip(together, alone, strict=True):
            ours.grad = torch.randn(ours.shape, generator=generator)
            theirs.grad = ours.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, theirs)
