"""One image from the samples of all channels: least squares, or sparse in wavelets."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.conjugate import conjugate_gradients
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.wavelet import Wavelet

SENSE_ITERATIONS = 15
SENSE_WEIGHT = 1e-2
WAVELET_ITERATIONS = 40
WAVELET_REGULARISATION = 0.004


class Encoding:
    """Image to samples and back: y_c = M F C_c x.

    Attributes:
        maps: complex (channel, ..., x, y, z), sum |C_c|^2 <= 1.
        sampled: bool (ky, kz).
    """

    def __init__(self, maps: Tensor, sampled: Tensor) -> None:
        self.maps = maps
        # Centring multiplies spectra by phases, which commute with the mask: shifting the mask
        # alone spares four shifts of the data.
        self._mask = torch.fft.ifftshift(sampled, dim=PHASE_ENCODES).to(maps.real.dtype)

    def adjoint(self, measured: Tensor) -> Tensor:
        """sum_c conj(C_c) F^-1 y_c, of samples that are zero where nothing was measured."""
        image: Tensor = (self.maps.conj() * ifft(measured, PHASE_ENCODES)).sum(0)
        return image

    def normal(self, image: Tensor) -> Tensor:
        """A^H A x."""
        spectrum = torch.fft.fftn(self.maps * image, dim=PHASE_ENCODES)
        spectrum *= self._mask
        images = torch.fft.ifftn(spectrum, dim=PHASE_ENCODES)
        images *= self.maps.conj()
        summed: Tensor = images.sum(0)
        return summed


def cg_sense(
    measured: Tensor,
    maps: Tensor,
    *,
    sampled: Tensor,
    start: Tensor | None = None,
    weight: float = SENSE_WEIGHT,
    n_iterations: int = SENSE_ITERATIONS,
) -> Tensor:
    """min_x sum_c ||M F C_c x - y_c||^2 + weight ||x - x0||^2 by conjugate gradients.

    Args:
        measured: hybrid-space samples, complex (channel, ..., x, ky, kz), of white noise, zero
            where nothing was measured.
        maps: complex (channel, x, y, z) or with the axes of the samples, sum |C_c|^2 <= 1.
        sampled: bool (ky, kz).
        start: x0, (..., x, y, z); zero if absent.
        weight: of the distance from x0.
        n_iterations: of conjugate gradients.

    Returns:
        complex (..., x, y, z).

    Source: Pruessmann et al. 2001, Magn Reson Med 46:638, doi 10.1002/mrm.1241.
    """
    encoding = Encoding(between(maps, measured), sampled)
    return least_squares(
        encoding,
        encoding.adjoint(measured),
        start=start,
        weight=weight,
        n_iterations=n_iterations,
    )


def least_squares(
    encoding: Encoding,
    wanted: Tensor,
    *,
    start: Tensor | None = None,
    weight: float | Tensor = SENSE_WEIGHT,
    n_iterations: int,
) -> Tensor:
    """x of (A^H A + weight) (x - x0) = wanted - A^H A x0, by conjugate gradients from x0 on.

    Args:
        encoding: A.
        wanted: A^H y, complex (..., x, y, z).
        start: x0; zero if absent.
        weight: of the distance from x0.
        n_iterations: of conjugate gradients; gradients can be taken through them.
    """
    # The change is what is solved for, so that its equation has no image in it.
    change = conjugate_gradients(
        lambda image: encoding.normal(image) + weight * image,
        wanted if start is None else wanted - encoding.normal(start),
        n_iterations=n_iterations,
        axes=PHASE_ENCODES,
    )
    return change if start is None else start + change


def l1_wavelet(
    measured: Tensor,
    maps: Tensor,
    *,
    sampled: Tensor,
    regularisation: float = WAVELET_REGULARISATION,
    n_iterations: int = WAVELET_ITERATIONS,
) -> Tensor:
    """min_x 1/2 sum_c ||M F C_c x - y_c||^2 + lambda ||Psi x||_1, one echo, by FISTA.

    Psi is an orthogonal wavelet transform over all three axes, shifted at random from iteration to
    iteration, which makes it nearly invariant to shifts; lambda is ``regularisation`` times the
    largest magnitude of the zero-filled image.

    Args:
        measured: hybrid-space samples of one echo, complex (channel, x, ky, kz), zero where
            nothing was measured.
        maps: complex (channel, x, y, z), sum |C_c|^2 <= 1.
        sampled: bool (ky, kz).
        regularisation: share of the largest magnitude.
        n_iterations: of FISTA, whose step is one since ||A|| <= 1.

    Returns:
        complex (x, y, z).

    Source: Lustig et al. 2007, Magn Reson Med 58:1182, doi 10.1002/mrm.21391; Beck and Teboulle
    2009, SIAM J Imaging Sci 2:183, doi 10.1137/080716542.
    """
    encoding = Encoding(maps, sampled)
    wanted = encoding.adjoint(measured)
    threshold = regularisation * float(wanted.abs().max())
    wavelet = Wavelet((wanted.shape[0], wanted.shape[1], wanted.shape[2]))
    generator = torch.Generator().manual_seed(0)
    image, ahead, momentum = wanted, wanted, 1.0
    for _ in range(n_iterations):
        shift = torch.randint(wavelet.period, (3,), generator=generator).tolist()
        proposed = ahead + wanted - encoding.normal(ahead)
        shrunk = wavelet.shrunk(proposed, threshold, (shift[0], shift[1], shift[2]))
        next_momentum = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = shrunk + (momentum - 1) / next_momentum * (shrunk - image)
        image, momentum = shrunk, next_momentum
    return image


def unit_maps(maps: Tensor) -> Tensor:
    """The maps with sum |C_c|^2 = 1."""
    power = maps.abs().square().sum(0).clamp_min(torch.finfo(torch.float32).tiny)
    return maps / power.sqrt()


def between(maps: Tensor, measured: Tensor) -> Tensor:
    """The maps with an axis of one for each axis of the samples between channel and x."""
    return maps.reshape(maps.shape[0], *[1] * (measured.ndim - maps.ndim), *maps.shape[1:])
