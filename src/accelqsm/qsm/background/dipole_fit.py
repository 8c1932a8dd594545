"""Background field removal by a joint fit of dipole sources outside and inside the mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor

from accelqsm.conjugate import conjugate_gradients
from accelqsm.dipole import dipole_kernel
from accelqsm.errors import InputError
from accelqsm.grid import Shape, Triple
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.background.settings import DipoleFitSettings
from accelqsm.qsm.volume import box_of, voxels_within
from accelqsm.runtime.progress import staged

DEFAULT = DipoleFitSettings()
MARGIN_MM = 30.0
COARSE_MM = 3.0
MOST_SHORT_MARGIN = 48
"""Voxels that the margin of a short mask may have."""

INSIDE_SD_PPM, OUTSIDE_SD_PPM = 0.025, 1.0
FIELD_SD_PPM = 0.002
"""Model error: standard deviation of a voxel's field from that of point dipoles at the voxels,
partial volume at edges and ringing included."""


@staged("Background field: dipole fit")
def dipole_fit(
    field_ppm: Tensor,
    mask: Tensor,
    data_weight: Tensor | None = None,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    settings: DipoleFitSettings = DEFAULT,
) -> LocalField:
    """Local field after subtraction of the fitted field of sources outside the mask.

    Minimise ||W (D (chi_in + chi_out) - f)||^2 / s^2 + ||chi_in||^2 / s_in^2
    + ||chi_out||^2 / s_out^2, and return f - D chi_out. The sources inside (s_in = 0.025 ppm, the
    spread over a brain) keep those outside (s_out = 1 ppm, of bone and air) from explaining what
    is local, which is what projection onto dipole fields alone does. Solved by conjugate
    gradients, first on a coarse grid of about 3 mm, then from that start on the full grid.

    Args:
        field_ppm: (x, y, z) in ppm of the main field, unwrapped.
        mask: bool (x, y, z), where the field is measured.
        data_weight: W, (x, y, z), about 1 in the mask; proportional to 1 / sd of the field.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        settings: iterations on the coarse and on the full grid (all of them on the full grid where
            its voxels are coarse).

    Returns:
        The local field in ppm, with the input mask unchanged.

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
    box = box_of(mask, margin_voxels=_margin(mask, voxel_size_mm), multiple_of=factors)
    inside = box.frame(mask)
    weight = inside.to(field_ppm) if data_weight is None else box.frame(data_weight) * inside
    fine = _Problem(
        field=box.frame(torch.where(mask, field_ppm, 0)),
        power=weight.square(),
        inside=inside,
        noise_variance=FIELD_SD_PPM**2,
        kernel=_kernel(inside, field_ppm, voxel_size_mm, b0_direction),
    )
    if max(factors) > 1:
        coarse = fine.coarsen(factors)
        chi = fine.solve(settings.n_fine, fine.interpolate(coarse.solve(settings.n_coarse), coarse))
    else:
        chi = fine.solve(settings.n_coarse + settings.n_fine)
    background = fine.field_of(torch.where(inside, 0, chi))
    local = box.unframe((fine.field - background) * inside, mask.shape)
    return LocalField(local, mask)


@dataclass(frozen=True)
class _Problem:
    """The least-squares problem on one periodic grid; all tensors are (x, y, z).

    Attributes:
        field: f, zero where nothing is measured.
        power: W^2, zero where nothing is measured.
        inside: bool, voxels that lie wholly in the mask.
        noise_variance: s^2, in ppm^2.
        kernel: unit dipole, half spectrum.
    """

    field: Tensor
    power: Tensor
    inside: Tensor
    noise_variance: float
    kernel: Tensor

    @property
    def spread(self) -> Tensor:
        """Prior standard deviation of the susceptibility of each voxel, in ppm."""
        return torch.where(self.inside, INSIDE_SD_PPM, OUTSIDE_SD_PPM).to(self.field)

    def coarsen(self, factors: Shape) -> _Problem:
        """The problem on blocks of voxels; blocks partly outside the mask are not measured."""
        power = _block_means(self.power, factors)
        field = _block_means(self.power * self.field, factors) / power.clamp_min(1e-12)
        inside = _block_means(self.inside.to(field), factors) > 1 - 1e-3
        x, y, z = factors
        block = torch.zeros_like(self.field)
        block[:x, :y, :z] = 1
        # Block means of the fine-grid field of one block: a kernel sampled on the coarse grid
        # differs from it, most at the highest frequencies of an oblique field.
        kernel = torch.fft.rfftn(_block_means(self.field_of(block), factors)).real
        variance = self.noise_variance / (x * y * z)
        return _Problem(field * inside, power * inside, inside, variance, kernel)

    def interpolate(self, chi: Tensor, coarse: _Problem) -> Tensor:
        """Interpolate ``chi`` of coarse blocks to this grid, without mixing inside and outside.

        Sources outside the mask keep their dipole moment: they fill the voxels of their block that
        are outside, and are then smoothed, since edges ring in an oblique field.
        """
        factors = [fine // n for fine, n in zip(self.field.shape, chi.shape, strict=True)]
        fraction = _block_means((~self.inside).to(chi), (factors[0], factors[1], factors[2]))
        outside = torch.where(coarse.inside, 0, chi / fraction.clamp_min(1e-3))
        within = torch.where(coarse.inside, chi, 0)
        size = self.field.shape
        blocks = functional.interpolate(outside[None, None], size=size, mode="nearest")[0, 0]
        blocks = _smooth(torch.where(self.inside, 0, blocks))
        smooth = functional.interpolate(within[None, None], size=size, mode="trilinear")[0, 0]
        return torch.where(self.inside, smooth, blocks)

    def field_of(self, chi: Tensor) -> Tensor:
        """Field D chi of a susceptibility, in ppm."""
        spectrum = torch.fft.rfftn(chi)
        spectrum *= self.kernel
        field: Tensor = torch.fft.irfftn(spectrum, s=chi.shape)
        return field

    def solve(self, n_iterations: int, start: Tensor | None = None) -> Tensor:
        """chi after ``n_iterations`` from ``start`` or zero, preconditioned by the prior spread."""
        spread = self.spread

        def normal(scaled: Tensor) -> Tensor:
            residual = self.field_of(spread * scaled)
            residual *= self.power
            image = self.field_of(residual)
            image *= spread
            return image.add_(scaled, alpha=self.noise_variance)

        wanted = spread * self.field_of(self.power * self.field)
        scaled = conjugate_gradients(
            normal,
            wanted,
            None if start is None else start / spread,
            n_iterations=n_iterations,
        )
        return scaled * spread


def _kernel(inside: Tensor, like: Tensor, voxel_size_mm: Triple, b0_direction: Triple) -> Tensor:
    """Unit dipole kernel on the grid of ``inside``."""
    x, y, z = inside.shape
    return dipole_kernel(
        (x, y, z),
        voxel_size_mm=voxel_size_mm,
        b0_direction=b0_direction,
        dtype=like.dtype,
        device=like.device,
    )


def _margin(mask: Tensor, voxel_size_mm: Triple) -> Shape:
    """Voxels of ``MARGIN_MM``, but no more than the mask is long: fine ones cost time alone."""
    most = max(MOST_SHORT_MARGIN, *box_of(mask, margin_voxels=(0, 0, 0)).shape)
    x, y, z = (min(n, most) for n in voxels_within(MARGIN_MM, voxel_size_mm))
    return x, y, z


def _coarsening(voxel_size_mm: Triple) -> Shape:
    """Voxels along each axis that make a block of about ``COARSE_MM``."""
    x, y, z = (max(1, round(COARSE_MM / size)) for size in voxel_size_mm)
    return x, y, z


def _smooth(volume: Tensor) -> Tensor:
    """Smooth with the weights 1/4, 1/2, 1/4 along every axis."""
    for axis in range(3):
        volume = volume / 2 + (volume.roll(1, axis) + volume.roll(-1, axis)) / 4
    return volume


def _block_means(volume: Tensor, factors: Shape) -> Tensor:
    means: Tensor = functional.avg_pool3d(volume[None, None], factors)[0, 0]
    return means
