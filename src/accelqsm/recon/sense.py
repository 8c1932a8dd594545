"""SENSE encoding of an image by coil sensitivities, and its least-squares inversion."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.conjugate import conjugate_gradients
from accelqsm.fourier import PHASE_ENCODES, ifft

SAMPLES_AT_ONCE = 2**19
"""Samples of all channels whose transforms stay in the cache of a CPU (4 MB each)."""


class Encoding:
    """SENSE forward model y_c = M F C_c x from an image to the samples of every channel.

    Attributes:
        maps: complex (channel, ..., x, y, z), sum |C_c|^2 <= 1.
        sampled: bool (ky, kz), (echo, ky, kz) for images of all echoes, or with an axis for each of
            the samples between channel and ky; or of zeros and ones with a gradient.
    """

    def __init__(self, maps: Tensor, sampled: Tensor) -> None:
        self.maps = maps
        self._conjugate = maps.conj().resolve_conj()
        # Centring multiplies spectra by phases, which commute with the mask: shifting only the
        # mask saves four shifts of the data.
        mask = torch.fft.ifftshift(sampled, dim=PHASE_ENCODES).to(maps.real.dtype)
        self._mask = mask[:, None] if mask.ndim == 3 else mask

    @property
    def sampled_share(self) -> float:
        """Share of the positions of k-space that are sampled."""
        return float(self._mask.detach().mean())

    def adjoint(self, measured: Tensor) -> Tensor:
        """Adjoint A^H y = sum_c conj(C_c) F^-1 y_c, of samples that are zero where not sampled."""
        image: Tensor = (self._conjugate * ifft(measured, PHASE_ENCODES)).sum(0)
        return image

    def normal(self, image: Tensor) -> Tensor:
        """Normal operator A^H A x, on a CPU by as many readout positions as its cache holds."""
        if image.is_cuda:
            return self._normal(image, slice(None))
        n_x, samples = image.shape[-3], len(self.maps) * image.numel()
        at_once = max(SAMPLES_AT_ONCE * n_x // samples, 2)
        slabs = [slice(x, x + at_once) for x in range(0, n_x, at_once)]
        return torch.cat([self._normal(image, x) for x in slabs], dim=-3)

    def _normal(self, image: Tensor, x: slice) -> Tensor:
        at = x if self.maps.shape[-3] > 1 else slice(None)  # maps may be the same everywhere
        maps, conjugate = (each[..., at, :, :] for each in (self.maps, self._conjugate))
        spectrum = torch.fft.fftn(maps * image[..., x, :, :], dim=PHASE_ENCODES)
        spectrum *= self._mask
        images = torch.fft.ifftn(spectrum, dim=PHASE_ENCODES)
        images *= conjugate
        summed: Tensor = images.sum(0)
        return summed


def least_squares(
    encoding: Encoding,
    wanted: Tensor,
    *,
    start: Tensor | None = None,
    weight: float | Tensor,
    n_iterations: int,
) -> Tensor:
    """Solution x of (A^H A + weight) (x - x0) = A^H y - A^H A x0, by conjugate gradients.

    Args:
        encoding: A.
        wanted: A^H y, complex (..., x, y, z).
        start: x0; zero if absent.
        weight: weight of ||x - x0||^2.
        n_iterations: iterations of conjugate gradients, through which gradients can be taken.
    """
    # Solved for the change x - x0, whose equation has no image on the right-hand side.
    change = conjugate_gradients(
        lambda image: encoding.normal(image) + weight * image,
        wanted if start is None else wanted - encoding.normal(start),
        n_iterations=n_iterations,
        axes=PHASE_ENCODES,
    )
    return change if start is None else start + change


def unit_maps(maps: Tensor) -> Tensor:
    """Normalise sensitivities to sum |C_c|^2 = 1."""
    power = maps.abs().square().sum(0).clamp_min(torch.finfo(torch.float32).tiny)
    return maps / power.sqrt()


def in_phase_with(reference: Tensor, maps: Tensor) -> Tensor:
    """Turn the phase of each voxel's maps (channel, x, y, z) to that of the reference."""
    along = (reference.conj() * maps).sum(0)
    return maps * torch.polar(torch.ones_like(along.abs()), -along.angle())


def broadcast_maps(maps: Tensor, measured: Tensor) -> Tensor:
    """Reshape maps with a singleton axis for each axis of the samples between channel and x."""
    return maps.reshape(maps.shape[0], *[1] * (measured.ndim - maps.ndim), *maps.shape[1:])
