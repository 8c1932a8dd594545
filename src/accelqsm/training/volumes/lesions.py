"""Random lesions, calcifications and bleeds with their field, as augmentation of digital heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accelqsm.grid import Grid

MEAN_NUMBER = 6.0
RADII_MM = (0.8, 6.0)
LARGEST_SHIFT_HZ = 60.0
"""Largest field shift at the poles of a spot in Hz."""
FIELD_REACH = 4.0
"""Distance in radii beyond which the field of a spot is neglected (below 2 %)."""
PLACED_WITHIN = 0.62
"""Fraction of the half field of view in which spots are placed."""


@dataclass(frozen=True)
class Spot:
    """A ball with signal gain, additional R2* and field shift.

    Attributes:
        centre_mm, radius_mm: position and size, in scanner coordinates.
        gain: factor of the signal inside at echo time zero.
        decay_per_s: additional R2* inside.
        shift_hz: field shift at its poles; minus half of it at its equator.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    gain: float
    decay_per_s: float
    shift_hz: float


def draw_spots(grid: Grid, rng: np.random.Generator) -> tuple[Spot, ...]:
    """Draw random spots in the field of view, half of them magnetic."""
    middle = grid.matrix @ [*((n - 1) / 2 for n in grid.shape), 1.0]
    half_mm = np.asarray(grid.shape) * grid.voxel_size_mm / 2 * PLACED_WITHIN
    spots = []
    for _ in range(int(rng.poisson(MEAN_NUMBER))):
        x, y, z = middle[:3] + grid.rotation @ (rng.uniform(-1, 1, 3) * half_mm)
        magnetic = rng.random() < 0.5
        spots.append(
            Spot(
                centre_mm=(float(x), float(y), float(z)),
                radius_mm=float(np.exp(rng.uniform(*np.log(RADII_MM)))),
                gain=float(rng.uniform(0.3, 1.0) if magnetic else rng.uniform(0.5, 1.8)),
                decay_per_s=float(rng.uniform(0, 150) if magnetic else rng.uniform(0, 5)),
                shift_hz=float(rng.uniform(-1, 1) * LARGEST_SHIFT_HZ) if magnetic else 0.0,
            )
        )
    return tuple(spots)


def add_spots(image: Tensor, grid: Grid, spots: tuple[Spot, ...], *, echo_time_s: float) -> Tensor:
    """Add spots to an image; B0 is scanner z.

    Inside a ball the signal is multiplied by gain exp(-TE R2*); outside its phase changes by
    2 pi TE shift (R / r)^3 (3 cos^2 - 1) / 2, from the field of a uniformly magnetised ball.

    Args:
        image: complex64 (x, y, z).
        grid: voxel grid of the image.
        spots: the spots to add.
        echo_time_s: echo time of the image.
    """
    image = image.clone()
    matrix = torch.from_numpy(grid.matrix).float()
    inverse = np.linalg.inv(grid.matrix)
    for spot in spots:
        centre = (inverse @ [*spot.centre_mm, 1.0])[:3]
        reach = (FIELD_REACH if spot.shift_hz else 1.5) * spot.radius_mm
        box = tuple(
            slice(max(0, int(c - reach / size) - 1), max(0, min(n, int(c + reach / size) + 2)))
            for c, size, n in zip(centre, grid.voxel_size_mm, grid.shape, strict=True)
        )
        lines = [torch.arange(part.start, part.stop, dtype=torch.float32) for part in box]
        index = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
        offset = index @ matrix[:3, :3].T + matrix[:3, 3] - torch.tensor(spot.centre_mm)
        squared = offset.square().sum(-1).clamp_min(1e-6)
        # Approximate partial volume of the ball in each voxel.
        width_mm = min(grid.voxel_size_mm)
        inside = ((spot.radius_mm - squared.sqrt()) / width_mm + 0.5).clamp(0, 1)
        gain = spot.gain * float(np.exp(-echo_time_s * spot.decay_per_s))
        angular = (3 * offset[..., 2].square() / squared - 1) / 2
        field_hz = spot.shift_hz * spot.radius_mm**3 * squared.pow(-1.5) * angular * (1 - inside)
        factor = torch.polar(1 + inside * (gain - 1), 2 * torch.pi * echo_time_s * field_hz)
        image[box] *= factor
    return image
