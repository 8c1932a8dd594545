"""Unit dipole kernel, and the field of a susceptibility map, for any B0 direction."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.fourier import even_fast_size
from accelqsm.grid import Shape, Triple


def dipole_kernel(
    shape: Shape,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Unit dipole in k-space, D(k) = 1/3 - (k.b)^2 / |k|^2, with D(0) = 0 (Lorentz-corrected).

    Args:
        shape: size of the (padded) volume along x, y, z.
        voxel_size_mm: edge lengths along x, y, z in mm, so that k is in cycles/mm.
        b0_direction: unit vector of the main field along the array axes.

    Returns:
        (x, y, z // 2 + 1), in the half-spectrum order of ``torch.fft.rfftn`` (zero frequency
        first), to multiply the transform of a real susceptibility map.

    Source: Marques and Bowtell 2005, Concepts Magn Reson B 25:65, doi 10.1002/cmr.b.20034.
    """

    def frequencies(n: int, step_mm: float, real: bool = False) -> Tensor:
        make = torch.fft.rfftfreq if real else torch.fft.fftfreq
        line: Tensor = make(n, step_mm, dtype=dtype, device=device)
        return line

    kx = frequencies(shape[0], voxel_size_mm[0]).view(-1, 1, 1)
    ky = frequencies(shape[1], voxel_size_mm[1]).view(1, -1, 1)
    kz = frequencies(shape[2], voxel_size_mm[2], real=True).view(1, 1, -1)
    # The Nyquist frequency of an even axis stands for both signs, so that D is averaged over them,
    # which leaves no product with another axis: with such products of an oblique field the kernel
    # is not Hermitian, and iterations that take it to be grow without end.
    numerator, highest = torch.zeros((), dtype=dtype, device=device), []
    for axis, (k, along) in enumerate(zip((kx, ky, kz), b0_direction, strict=True)):
        signed = k.clone()
        if shape[axis] % 2 == 0:
            signed.narrow(axis, shape[axis] // 2, 1).zero_()
            highest.append((axis, (along * float(k.abs().max())) ** 2))
        numerator = numerator + along * signed
    numerator = numerator.square_()
    for axis, square in highest:
        numerator.narrow(axis, shape[axis] // 2, 1).add_(square)
    kernel: Tensor = 1.0 / 3.0 - numerator.div_(kx**2 + ky**2 + kz**2)
    kernel[0, 0, 0] = 0.0
    return kernel


def forward_field(
    chi_ppm: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    padding: float = 2.0,
    outside_ppm: float = 0.0,
) -> Tensor:
    """Field shift that a susceptibility map causes, both in ppm: field = F^-1 D F chi.

    Args:
        chi_ppm: (x, y, z), real.
        voxel_size_mm: edge lengths along x, y, z in mm.
        b0_direction: unit vector of the main field along the array axes.
        padding: the periodic volume is at least this many times larger along each axis.
        outside_ppm: susceptibility beyond the volume (subtracted first; a uniform medium has no
            field under the Lorentz correction).

    Returns:
        (x, y, z) in ppm, same dtype and device.
    """
    shape = chi_ppm.shape
    padded = tuple(even_fast_size(round(n * padding)) for n in shape)
    kernel = dipole_kernel(
        (padded[0], padded[1], padded[2]),
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=chi_ppm.dtype,
        device=chi_ppm.device,
    )
    spectrum = torch.fft.rfftn(chi_ppm - outside_ppm, s=padded)
    spectrum *= kernel
    field: Tensor = torch.fft.irfftn(spectrum, s=padded)[: shape[0], : shape[1], : shape[2]]
    return field.contiguous()
