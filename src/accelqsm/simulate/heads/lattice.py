"""Maps on a regular lattice in template space, with interpolation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as functional
from scipy import ndimage
from torch import Tensor

from accelqsm.grid import Shape, Triple

SQUARINGS = 5


@dataclass(frozen=True)
class Lattice:
    """Values of several maps on an isotropic lattice aligned with the template axes.

    Attributes:
        values: float32 (map, x, y, z).
        origin_mm: template coordinates of the first lattice point.
        spacing_mm: distance of neighbouring lattice points in mm.
    """

    values: Tensor
    origin_mm: Triple
    spacing_mm: float

    def at(self, points_mm: Tensor) -> Tensor:
        """Trilinear interpolation at ``points_mm`` (x, y, z, 3), as (map, x, y, z).

        Points beyond the lattice have the value of its nearest face.
        """
        spans = [(n - 1) * self.spacing_mm / 2 for n in self.values.shape[1:]]
        middle = points_mm.new_tensor([o + s for o, s in zip(self.origin_mm, spans, strict=True)])
        unit = (points_mm - middle) / points_mm.new_tensor(spans)
        sampled: Tensor = functional.grid_sample(
            self.values[None],
            unit.flip(-1)[None],
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return sampled[0]

    def points_mm(self) -> Tensor:
        """Template coordinates of the lattice points, (x, y, z, 3)."""
        shape = self.values.shape
        return lattice_points_mm(
            (shape[1], shape[2], shape[3]), origin_mm=self.origin_mm, spacing_mm=self.spacing_mm
        )


def flow(velocity_mm: Lattice) -> Lattice:
    """Displacement (mm) after unit time in a stationary velocity, by scaling and squaring.

    Invertible at any size of a velocity that the lattice resolves.

    Source: Arsigny et al. 2006, MICCAI, doi 10.1007/11866565_113.
    """
    points = velocity_mm.points_mm()
    moved = replace(velocity_mm, values=velocity_mm.values / 2**SQUARINGS)
    for _ in range(SQUARINGS):
        onwards = moved.at(points + moved.values.movedim(0, -1))
        moved = replace(moved, values=moved.values + onwards)
    return moved


def lattice_points_mm(shape: Shape, *, origin_mm: Triple, spacing_mm: float) -> Tensor:
    """Coordinates of a lattice with ``shape`` points from ``origin_mm`` on, (x, y, z, 3)."""
    lines = [o + spacing_mm * torch.arange(n) for n, o in zip(shape, origin_mm, strict=True)]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)


def lattice_shape(lower_mm: Triple, upper_mm: Triple, spacing_mm: float) -> Shape:
    """Number of lattice points that span a box."""
    x, y, z = (int((b - a) // spacing_mm) + 1 for a, b in zip(lower_mm, upper_mm, strict=True))
    return x, y, z


def cubic_resample(values: Tensor, positions: tuple[npt.NDArray[np.float64], ...]) -> Tensor:
    """Cubic-spline interpolation of a volume (x, y, z) at index positions along each axis."""
    for axis, at in enumerate(positions):
        weights = [
            ndimage.map_coordinates(unit, at[None], order=3, mode="nearest")
            for unit in np.eye(values.shape[axis])
        ]
        matrix = torch.from_numpy(np.stack(weights, axis=1)).to(values)
        resampled = torch.tensordot(matrix, values, dims=([1], [axis]))
        values = resampled.movedim(0, axis)
    return values.contiguous()
