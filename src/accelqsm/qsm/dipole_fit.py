"""Background field removal by dipoles: sources outside the mask and inside are fitted together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as functional
from torch import Tensor

from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Shape, Triple
from accelqsm.qsm.background import LocalField
from accelqsm.qsm.conjugate import conjugate_gradients
from accelqsm.qsm.volume import box_of, voxels_within

MARGIN_MM = 30.0
COARSE_MM = 3.0
INSIDE_SD_PPM, OUTSIDE_SD_PPM = 0.025, 1.0
FIELD_SD_PPM = 0.002


def dipole_fit(
    field_ppm: Tensor,
    mask: Tensor,
    data_weight: Tensor | None = None,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    n_coarse: int = 60,
    n_fine: int = 20,
) -> LocalField:
    """Subtract the field of the sources outside the mask that, with some inside, explain it.

    Minimise ||W (D (chi_in + chi_out) - f)||^2 / s^2 + ||chi_in||^2 / s_in^2
    + ||chi_out||^2 / s_out^2, and return f - D chi_out. The sources inside (s_in = 0.025 ppm, the
    spread over a brain) keep those outside (s_out = 1 ppm, of bone and air) from explaining what
    is local, which is what projection onto dipole fields alone does. Solved by conjugate
    gradients, first on voxels of about 3 mm and from there on the voxels themselves.

    Args:
        field_ppm: (x, y, z) in ppm of the main field, unwrapped.
        mask: bool (x, y, z), where the field is measured.
        data_weight: W, (x, y, z), about 1 in the mask; proportional to 1 / sd of the field.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        n_coarse, n_fine: iterations on coarse and on true voxels (all of them on true voxels,
            where those are coarse).

    Returns:
        The local field in ppm; the mask that is left is the mask that came in.

    Raises:
        InputError: an empty mask, or shapes that differ.

    Source: after Liu et al. 2011, NMR Biomed 24:1129, doi 10.1002/nbm.1670 (PDF), and Liu et al.
        2017, Magn Reson Med 78:303, doi 10.1002/mrm.26331 (total field inversion).
    """
    if field_ppm.shape != mask.shape:
        raise InputError(
            f"dipole fit: expected field and mask of one shape, found {tuple(field_ppm.shape)} "
            f"and {tuple(mask.shape)}"
        )
    factors = _coarsening(voxel_size_mm)
    box = box_of(mask, margin_voxels=voxels_within(MARGIN_MM, voxel_size_mm), multiple_of=factors)
    inside = box.frame(mask)
    weight = inside.to(field_ppm) if data_weight is None else box.frame(data_weight) * inside
    fine = _Problem.on(
        box.frame(torch.where(mask, field_ppm, 0)), weight, inside, voxel_size_mm, b0_direction
    )
    start = torch.zeros_like(fine.field)
    if max(factors) > 1:
        coarse = fine.coarsened(factors, voxel_size_mm, b0_direction)
        start = fine.refined(coarse.solved(torch.zeros_like(coarse.field), n_coarse), coarse)
        n_coarse = 0
    chi = fine.solved(start, n_coarse + n_fine)
    background = fine.field_of(torch.where(inside, 0, chi))
    local = box.unframe((fine.field - background) * inside, mask.shape)
    return LocalField(local, mask)


@dataclass(frozen=True)
class _Problem:
    """The least-squares problem on one periodic grid; all tensors are (x, y, z).

    Attributes:
        field: f, zero where nothing is measured.
        power: W^2, of which zero means not measured.
        inside: bool, whole voxels of the mask.
        spread: standard deviation of the susceptibility expected in each voxel, in ppm.
        noise_variance: s^2, in ppm^2.
        kernel: unit dipole, half spectrum.
    """

    field: Tensor
    power: Tensor
    inside: Tensor
    spread: Tensor
    noise_variance: float
    kernel: Tensor

    @classmethod
    def on(
        cls,
        field: Tensor,
        weight: Tensor,
        inside: Tensor,
        voxel_size_mm: Triple,
        b0_direction: Triple,
        averaged_voxels: int = 1,
    ) -> _Problem:
        """The problem for a field that is the mean of ``averaged_voxels`` in each voxel."""
        x, y, z = field.shape
        kernel = dipole_kernel(
            (x, y, z),
            voxel_size_mm=voxel_size_mm,
            b0_direction=b0_direction,
            dtype=field.dtype,
            device=field.device,
        )
        spread = torch.where(inside, INSIDE_SD_PPM, OUTSIDE_SD_PPM).to(field)
        variance = FIELD_SD_PPM**2 / averaged_voxels
        return cls(field, weight.square(), inside, spread, variance, kernel)

    def coarsened(self, factors: Shape, voxel_size_mm: Triple, b0_direction: Triple) -> _Problem:
        """The same on blocks of voxels; blocks that the mask does not fill are not measured."""
        power = _block_means(self.power, factors)
        field = _block_means(self.power * self.field, factors) / power.clamp_min(1e-12)
        inside = _block_means(self.inside.to(field), factors) > 1 - 1e-3
        x, y, z = (size * n for size, n in zip(voxel_size_mm, factors, strict=True))
        weight = power.sqrt() * inside
        n_voxels = int(np.prod(factors))
        return _Problem.on(field * inside, weight, inside, (x, y, z), b0_direction, n_voxels)

    def refined(self, chi: Tensor, coarse: _Problem) -> Tensor:
        """``chi`` of coarse blocks on this grid, each source in the part where it belongs.

        Sources outside a block's share of the mask keep their dipole moment: they fill the voxels
        of their block that are not inside.
        """
        factors = [fine // n for fine, n in zip(self.field.shape, chi.shape, strict=True)]
        share = _block_means((~self.inside).to(chi), (factors[0], factors[1], factors[2]))
        outside = torch.where(coarse.inside, 0, chi / share.clamp_min(1e-3))
        within = torch.where(coarse.inside, chi, 0)
        size = self.field.shape
        spread = functional.interpolate(outside[None, None], size=size, mode="nearest")[0, 0]
        smooth = functional.interpolate(within[None, None], size=size, mode="trilinear")[0, 0]
        return torch.where(self.inside, smooth, spread)

    def field_of(self, chi: Tensor) -> Tensor:
        """D chi."""
        spectrum = torch.fft.rfftn(chi)
        spectrum *= self.kernel
        field: Tensor = torch.fft.irfftn(spectrum, s=chi.shape)
        return field

    def solved(self, start: Tensor, n_iterations: int) -> Tensor:
        """chi after ``n_iterations`` from ``start``, with the expected spread as scale."""

        def normal(scaled: Tensor) -> Tensor:
            residual = self.field_of(self.spread * scaled)
            residual *= self.power
            image = self.field_of(residual)
            image *= self.spread
            return image.add_(scaled, alpha=self.noise_variance)

        wanted = self.spread * self.field_of(self.power * self.field)
        scaled = conjugate_gradients(normal, wanted, start / self.spread, n_iterations=n_iterations)
        return scaled * self.spread


def _coarsening(voxel_size_mm: Triple) -> Shape:
    """Voxels along each axis that make a block of about ``COARSE_MM``."""
    x, y, z = (max(1, round(COARSE_MM / size)) for size in voxel_size_mm)
    return x, y, z


def _block_means(volume: Tensor, factors: Shape) -> Tensor:
    means: Tensor = functional.avg_pool3d(volume[None, None], factors)[0, 0]
    return means
