"""Sensitivities from small centres, refined by the samples around them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft, ifft
from accelqsm.kspace import KSpace, calibration_box
from accelqsm.recon.sense import Encoding, in_phase_with, least_squares, unit_maps

LARGE_CENTRE = 24
"""Samples of a centre along both axes from which on its sensitivities stay as they are."""

LEAST_BAND = 32
"""Samples along an axis that are looked at, at least; otherwise half of them."""

WAVES = 12
"""Cosines along an axis that a correction is made of, at most a quarter of the positions: of up to
five and a half cycles."""

FIRST_WEIGHT, FIRST_ITERATIONS = 1e-2, 16
"""Tikhonov weight and iterations of the CG-SENSE image."""

ROUNDS = 2
"""Each with the image of the sensitivities of the one before."""

WEIGHT = 0.2
"""Of a correction, relative to the mean power that a cosine has in the samples."""


def is_small(kspace: KSpace) -> bool:
    """Whether the samples hold a centre that is small, and samples around it."""
    middle = tuple(n // 2 for n in kspace.plane)
    pattern = kspace.pattern(0)
    if kspace.sensitivities is not None or kspace.calibration is not None or not pattern[middle]:
        return False
    sizes = [side.stop - side.start for side in calibration_box(pattern)]
    return bool(min(sizes) < LARGE_CENTRE and pattern.sum() > sizes[0] * sizes[1])


def refined(kspace: KSpace, maps: Tensor, support: Tensor, *, x: slice = slice(None)) -> Tensor:
    """Sensitivities C_c + d_c that the samples around a small centre agree with better.

    A small centre tells of sensitivities as smooth as it is; all samples tell of them once there is
    an image. Given the CG-SENSE image m of the sensitivities as they are, the corrections d_c, sums
    of cosines, minimise sum_c ||M F d_c m - (y_c - M F C_c m)||^2 and a fifth of their power. Of
    all echoes together, at half the resolution; then once more from what was found.

    Args:
        kspace: whitened samples with a fully sampled centre.
        maps: C_c, complex64 (channel, x, y, z), sum |C_c|^2 = 1.
        support: float32 (x, y, z), as in ``Sensitivities``.
        x: readout positions of the maps.

    Returns:
        complex64 (channel, x, y, z), sum |C_c|^2 = 1, in the phase of ``maps``.

    Source: Ying and Sheng 2007, Magn Reson Med 57:1196, doi 10.1002/mrm.21245 (alternating, with
    polynomials).
    """
    plane = kspace.plane
    band = [min(n, max(n // 2, LEAST_BAND)) for n in plane]
    y, z = (centred_slice(n, b) for n, b in zip(plane, band, strict=True))
    part = (y, z)
    n_echoes = kspace.acquisition.n_echoes
    sampled = torch.stack([kspace.pattern(echo)[y, z] for echo in range(n_echoes)])
    measured = kspace.planes(x=x)[..., y, z]
    weak = _coarse(support, part, plane).real
    waves = [_cosines(n, device=maps.device) for n in plane]
    along_y, along_z = (each.to(maps.dtype) for each in waves)
    few = _products(*(w[:, _positions(n, b)] for w, n, b in zip(waves, plane, band, strict=True)))
    judged = sampled & _without_rim(plane, band, device=maps.device)
    better = maps
    for _ in range(ROUNDS):
        found = _coefficients(measured, sampled, _coarse(better, part, plane), weak, few, judged)
        corrections = torch.einsum("xcmn,my,nz->cxyz", found, along_y, along_z)
        better = unit_maps(better + corrections)
    return in_phase_with(maps, better)


def _coefficients(
    measured: Tensor, sampled: Tensor, maps: Tensor, weak: Tensor, waves: Tensor, judged: Tensor
) -> Tensor:
    """Coefficients (x, channel, wave y, wave z) of the corrections, on the grid of the band.

    Args:
        measured: samples of the band, (channel, echo, x, ky, kz).
        sampled: bool (echo, ky, kz).
        maps: sensitivities as they are, (channel, x, y, z).
        weak: support, (x, y, z).
        waves: (wave y, wave z, y, z).
        judged: samples that count, bool (echo, ky, kz).
    """
    encoding = Encoding((weak * maps)[:, None], sampled)
    images = weak * least_squares(
        encoding, encoding.adjoint(measured), weight=FIRST_WEIGHT, n_iterations=FIRST_ITERATIONS
    )
    left = measured - fft(maps[:, None] * images, PHASE_ENCODES)
    return torch.stack(
        [_solved(images[:, at], left[:, :, at], waves, judged) for at in range(len(weak))]
    )


def _coarse(volume: Tensor, part: tuple[slice, slice], plane: tuple[int, int]) -> Tensor:
    """Low frequencies of volumes (..., y, z), on a grid of as many positions."""
    low = fft(volume.to(torch.complex64), PHASE_ENCODES)[..., part[0], part[1]]
    share = math.prod(side.stop - side.start for side in part) / math.prod(plane)
    coarse: Tensor = ifft(low, PHASE_ENCODES) * math.sqrt(share)
    return coarse


def _positions(n: int, band: int) -> Tensor:
    """Of the positions of a grid of ``band``, those on one of ``n`` that are next to them."""
    return ((torch.arange(band) - band // 2) * n / band + n // 2).round().long()


def _cosines(n: int, *, device: torch.device) -> Tensor:
    """Cosines (wave, position) of 0, 1/2, 1, ... cycles."""
    waves = torch.arange(max(1, min(WAVES, n // 4)), device=device)
    return torch.cos(math.pi * waves[:, None] * (torch.arange(n, device=device) + 0.5) / n)


def _products(along_y: Tensor, along_z: Tensor) -> Tensor:
    """Products of the waves along both axes, (wave y, wave z, y, z)."""
    return along_y[:, None, :, None] * along_z[None, :, None, :]


def _without_rim(plane: tuple[int, int], band: list[int], *, device: torch.device) -> Tensor:
    """Where a band (ky, kz) holds all that a correction brings there: not at its edge."""
    inner = torch.zeros(band[0], band[1], dtype=torch.bool, device=device)
    y, z = (centred_slice(b, b if b == n else b - WAVES) for n, b in zip(plane, band, strict=True))
    inner[y, z] = True
    return inner


def _solved(images: Tensor, left: Tensor, waves: Tensor, judged: Tensor) -> Tensor:
    """Coefficients (channel, wave y, wave z) of the corrections of one readout position.

    Args:
        images: (echo, y, z).
        left: samples less those of the sensitivities as they are, (channel, echo, ky, kz).
        waves: (wave y, wave z, y, z).
        judged: samples that count, bool (echo, ky, kz).
    """
    n_waves = waves.shape[:2].numel()
    gram = images.new_zeros(n_waves, n_waves)
    right = images.new_zeros(n_waves, len(left))
    for echo, here in enumerate(judged):
        design = fft(waves.flatten(0, 1) * images[echo], PHASE_ENCODES)[:, here]
        gram += design.conj() @ design.mT
        right += design.conj() @ left[:, echo, here].mT
    power = gram.diagonal().real
    weight = (WEIGHT * power.mean()).clamp_min(torch.finfo(power.dtype).tiny)
    gram.diagonal().add_(weight)
    found: Tensor = torch.linalg.solve(gram, right)
    return found.mT.reshape(len(left), *waves.shape[:2])
