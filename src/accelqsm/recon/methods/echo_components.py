"""Components of the echoes of a scan, after demodulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


class EchoComponents:
    """Orthogonal transform of the echoes of each voxel: demodulation, then components.

    With d_e = conj(P_e) x_e, the phase factor P_e of every voxel and echo and orthogonal matrices B
    and C, z_k = sum_e B_ek Re d_e + i C_ek Im d_e. Without its phase an echo is nearly real and
    smooth, and echoes differ by their decay alone: nearly all signal is in the first components,
    noise in all of them alike. What phase is left, in the imaginary part, grows with echo time
    while magnitudes fall, so that a basis of its own holds it in fewer components.

    Attributes:
        phase: P, complex (echo, x, y, z), of magnitude one.
        of_real, of_imaginary: B and C, real (echo, component).

    Source: Huang et al. 2012, Magn Reson Med 67:1355, doi 10.1002/mrm.23128.
    """

    def __init__(self, echoes: Tensor, of_real: Tensor, of_imaginary: Tensor | None = None) -> None:
        """Take the phase from images of the same object, (echo, x, y, z); C is B if absent."""
        self.phase = torch.polar(torch.ones_like(echoes.real), echoes.angle())
        self.of_real = of_real.to(echoes.real)
        self.of_imaginary = self.of_real if of_imaginary is None else of_imaginary.to(echoes.real)

    def forward(self, echoes: Tensor) -> Tensor:
        """Components (component, x, y, z) of echoes (echo, x, y, z)."""
        demodulated = self.phase.conj() * echoes
        return self._mixed("ek,exyz->kxyz", demodulated)

    def inverse(self, components: Tensor) -> Tensor:
        """Echoes (echo, x, y, z) that have these components."""
        return self.phase * self._mixed("ek,kxyz->exyz", components)

    def _mixed(self, how: str, values: Tensor) -> Tensor:
        return torch.complex(
            torch.einsum(how, self.of_real, values.real),
            torch.einsum(how, self.of_imaginary, values.imag),
        )


def principal_components(echoes: Tensor) -> Tensor:
    """Eigenvectors of the covariance of the magnitudes over all voxels, by decreasing signal.

    Args:
        echoes: complex (echo, x, y, z).

    Returns:
        real (echo, component).
    """
    magnitudes = echoes.abs().flatten(1)
    vectors: Tensor = torch.linalg.eigh(magnitudes @ magnitudes.mT)[1]
    return vectors.flip(1)


def cosines(n_echoes: int) -> Tensor:
    """Cosines over the echoes (DCT-II), for magnitudes: mean, slope and so on.

    Returns:
        real (echo, component), orthonormal.
    """
    return _orthonormal(torch.cos, torch.arange(n_echoes))


def sines(n_echoes: int) -> Tensor:
    """Sines over the echoes (DST-IV), for what grows with echo time: the first from 0 to 1.

    Returns:
        real (echo, component), orthonormal.
    """
    return _orthonormal(torch.sin, torch.arange(n_echoes) + 0.5)


def _orthonormal(wave: Callable[[Tensor], Tensor], frequencies: Tensor) -> Tensor:
    n = len(frequencies)
    basis = wave(math.pi * (torch.arange(n)[:, None] + 0.5) * frequencies / n)
    norms: Tensor = basis.norm(dim=0)
    return basis / norms
