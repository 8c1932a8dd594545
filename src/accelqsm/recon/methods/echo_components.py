"""Principal components of the echoes of a scan, after demodulation."""

from __future__ import annotations

import torch
from torch import Tensor


class EchoComponents:
    """Unitary transform of the echoes of each voxel: demodulation, then principal components.

    z_k = sum_e conj(B_ek P_e) x_e with the phase factor P_e of every voxel and echo, and the
    eigenvectors B of the covariance of the demodulated echoes over all voxels. Without its phase
    an echo is nearly real and smooth, and echoes differ by their decay alone: nearly all signal is
    in the first components, noise in all of them alike.

    Attributes:
        phase: P, complex (echo, x, y, z), of magnitude one.
        basis: B, complex (echo, component), by decreasing signal.

    Source: Huang et al. 2012, Magn Reson Med 67:1355, doi 10.1002/mrm.23128.
    """

    def __init__(self, echoes: Tensor) -> None:
        """Take phase and components from images of the same object, (echo, x, y, z)."""
        self.phase = torch.polar(torch.ones_like(echoes.real), echoes.angle())
        magnitudes = echoes.abs().flatten(1)
        vectors = torch.linalg.eigh(magnitudes @ magnitudes.mT)[1].flip(1)
        self.basis = vectors.to(echoes.dtype)

    def forward(self, echoes: Tensor) -> Tensor:
        """Components (component, x, y, z) of echoes (echo, x, y, z)."""
        return torch.einsum("ek,exyz->kxyz", self.basis.conj(), self.phase.conj() * echoes)

    def inverse(self, components: Tensor) -> Tensor:
        """Echoes (echo, x, y, z) that have these components."""
        return self.phase * torch.einsum("ek,kxyz->exyz", self.basis, components)
