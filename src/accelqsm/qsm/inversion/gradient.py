"""Forward differences per mm on a periodic volume, and their adjoint."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.grid import Triple


class Gradient:
    """Gradient operator g_a(r) = (x(r + e_a) - x(r)) / h_a along three periodic axes."""

    def __init__(self, voxel_size_mm: Triple) -> None:
        """Gradient on voxels of edge lengths h = ``voxel_size_mm``."""
        self.voxel_size_mm = voxel_size_mm

    def __call__(self, volume: Tensor) -> Tensor:
        """Forward differences of ``volume`` (x, y, z) per mm, (3, x, y, z)."""
        slopes = volume.new_empty(3, *volume.shape)
        for axis, (slope, size_mm) in enumerate(zip(slopes, self.voxel_size_mm, strict=True)):
            last = volume.shape[axis] - 1
            torch.sub(
                volume.narrow(axis, 1, last),
                volume.narrow(axis, 0, last),
                out=slope.narrow(axis, 0, last),
            )
            torch.sub(
                volume.narrow(axis, 0, 1),
                volume.narrow(axis, last, 1),
                out=slope.narrow(axis, last, 1),
            )
            slope /= size_mm
        return slopes

    def adjoint(self, slopes: Tensor) -> Tensor:
        """Adjoint, the sum over axes of (g_a(r - e_a) - g_a(r)) / h_a, (x, y, z)."""
        volume = torch.zeros_like(slopes[0])
        for axis, (slope, size_mm) in enumerate(zip(slopes, self.voxel_size_mm, strict=True)):
            last = volume.shape[axis] - 1
            volume.sub_(slope, alpha=1 / size_mm)
            volume.narrow(axis, 1, last).add_(slope.narrow(axis, 0, last), alpha=1 / size_mm)
            volume.narrow(axis, 0, 1).add_(slope.narrow(axis, last, 1), alpha=1 / size_mm)
        return volume

    def power_spectrum(self, like: Tensor) -> Tensor:
        """Eigenvalues of adjoint(gradient) for the shape of ``like``, in the order of ``rfftn``."""
        sizes = like.shape
        total = like.new_zeros(sizes[0], sizes[1], sizes[2] // 2 + 1)
        for axis, (n, size_mm) in enumerate(zip(sizes, self.voxel_size_mm, strict=True)):
            turns = torch.arange(total.shape[axis], dtype=torch.float64, device=like.device) / n
            line = (2 * torch.sin(math.pi * turns) / size_mm) ** 2
            total += line.to(like).view([-1 if a == axis else 1 for a in range(3)])
        return total
