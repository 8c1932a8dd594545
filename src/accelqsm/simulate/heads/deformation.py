"""Transform from scanner to template: rigid pose and non-linear deformation of a head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.simulate.heads.lattice import Lattice, lattice_points_mm, lattice_shape
from accelqsm.simulate.heads.shapes import rotation_matrix

SCALE_SD = 0.03
DISPLACEMENT_SD_MM = 2.2
SMOOTHNESS_MM = 20.0
SPACING_MM = 5.0
LOWER_MM: Triple = (-120.0, -160.0, -240.0)
UPPER_MM: Triple = (120.0, 140.0, 120.0)

VENTRICLE_CENTRE_MM: Triple = (0.0, -12.0, 14.0)
VENTRICLE_SPREAD_MM: Triple = (16.0, 32.0, 16.0)
DILATION_PER_YEAR = 0.004
REFERENCE_AGE_YEARS = 45.0
LARGEST_DILATION = 0.16


@dataclass(frozen=True)
class Pose:
    """Rigid pose of the head in the scanner: world = R (head) + t.

    Attributes:
        rotation_deg: rotations about the scanner's x, then y, then z axis, about its origin.
        translation_mm: shift along the scanner's axes.
    """

    rotation_deg: Triple = (0.0, 0.0, 0.0)
    translation_mm: Triple = (0.0, 0.0, 0.0)

    @cached_property
    def rotation(self) -> Tensor:
        """Rotation from head to scanner, float64 (3, 3)."""
        return rotation_matrix(self.rotation_deg)

    def to_head(self, world_mm: Tensor) -> Tensor:
        """Map scanner coordinates (..., 3) to head coordinates."""
        return (world_mm - world_mm.new_tensor(self.translation_mm)) @ self.rotation.to(world_mm)


UPRIGHT = Pose()


@dataclass(frozen=True)
class Deformation:
    """Smooth invertible transform from head to template: y = x / scale, template = y + u(y).

    Attributes:
        scale: size of this head relative to the template along each axis.
        displacement: u in mm, three maps.
    """

    scale: Triple
    displacement: Lattice

    def to_template(self, head_mm: Tensor) -> Tensor:
        """Map head coordinates (x, y, z, 3) to template coordinates."""
        scaled = head_mm / head_mm.new_tensor(self.scale)
        return scaled + self.displacement.at(scaled).movedim(0, -1)


def draw_deformation(*, seed: int, age_years: float) -> Deformation:
    """Draw a deformation: scale, smooth displacement, and ventricles that enlarge with age."""
    rng = np.random.default_rng([seed, 1])
    common = rng.normal(0, SCALE_SD)
    scale = 1 + np.clip(common + rng.normal(0, SCALE_SD / 3, 3), -0.09, 0.09)
    shape = lattice_shape(LOWER_MM, UPPER_MM, SPACING_MM)
    noise = rng.standard_normal((3, *shape), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, SMOOTHNESS_MM / SPACING_MM, axes=(1, 2, 3))
    # Divided by the gain of the filter, as the sample SD would couple distant parts.
    gain = (2 * np.sqrt(np.pi) * SMOOTHNESS_MM / SPACING_MM) ** -1.5
    displacement = torch.from_numpy(smooth * (DISPLACEMENT_SD_MM / gain)).float()
    points = lattice_points_mm(shape, origin_mm=LOWER_MM, spacing_mm=SPACING_MM)
    displacement += _ventricle_displacement(points, age_years).movedim(-1, 0)
    lattice = Lattice(displacement, LOWER_MM, SPACING_MM)
    return Deformation((float(scale[0]), float(scale[1]), float(scale[2])), lattice)


def _ventricle_displacement(points_mm: Tensor, age_years: float) -> Tensor:
    """Displacement towards the centre of the ventricles, which enlarges them in the head."""
    dilation = DILATION_PER_YEAR * (age_years - REFERENCE_AGE_YEARS)
    dilation = max(-LARGEST_DILATION, min(LARGEST_DILATION, dilation))
    offset = points_mm - points_mm.new_tensor(VENTRICLE_CENTRE_MM)
    distance = (offset / offset.new_tensor(VENTRICLE_SPREAD_MM)).square().sum(-1, keepdim=True)
    return -dilation * offset * torch.exp(-distance / 2)
