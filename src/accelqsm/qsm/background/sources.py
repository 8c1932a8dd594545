"""Dipole sources inside and outside a mask whose field explains a measured one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as functional
from torch import Tensor

from accelqsm.conjugate import conjugate_gradients
from accelqsm.grid import Shape, Triple

COARSE_MM = 3.0
OUTSIDE_SD_PPM = 1.0
FIELD_SD_PPM = 0.002
"""Model error: standard deviation of a voxel's field from that of point dipoles at the voxels,
partial volume at edges and ringing included."""


@dataclass(frozen=True)
class DipoleSources:
    """The least-squares problem of the sources on one periodic grid; all tensors are (x, y, z).

    Attributes:
        field: f, zero where nothing is measured.
        power: W^2, zero where nothing is measured.
        inside: bool, voxels that lie wholly in the mask.
        noise_variance: s^2, in ppm^2.
        kernel: unit dipole, half spectrum.
        inside_sd_ppm: prior standard deviation of the susceptibility of a voxel inside.
    """

    field: Tensor
    power: Tensor
    inside: Tensor
    noise_variance: float
    kernel: Tensor
    inside_sd_ppm: float

    @property
    def spread(self) -> Tensor:
        """Prior standard deviation of the susceptibility of each voxel, in ppm."""
        return torch.where(self.inside, self.inside_sd_ppm, OUTSIDE_SD_PPM).to(self.field)

    def coarsen(self, factors: Shape) -> DipoleSources:
        """The problem on blocks of voxels; blocks partly outside the mask are not measured."""
        inside = _block_means(self.inside.to(self.field), factors) > 1 - 1e-3
        x, y, z = factors
        block = torch.zeros_like(self.field)
        block[:x, :y, :z] = 1
        # Block means of the fine-grid field of one block: a kernel sampled on the coarse grid
        # differs from it, most at the highest frequencies of an oblique field.
        kernel = torch.fft.rfftn(_block_means(self.field_of(block), factors)).real
        blocks = replace(
            self,
            inside=inside,
            noise_variance=self.noise_variance / (x * y * z),
            kernel=kernel,
        )
        return blocks.measured(self.field, self.power)

    def measured(self, field: Tensor, power: Tensor) -> DipoleSources:
        """The same problem for another field and W^2, on its grid or on one of finer voxels."""
        x, y, z = (fine // n for fine, n in zip(field.shape, self.inside.shape, strict=True))
        mean_power = _block_means(power, (x, y, z))
        mean = _block_means(power * field, (x, y, z)) / mean_power.clamp_min(1e-12)
        return replace(self, field=mean * self.inside, power=mean_power * self.inside)

    def interpolate(self, chi: Tensor, coarse: DipoleSources) -> Tensor:
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


def coarsening(voxel_size_mm: Triple) -> Shape:
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
