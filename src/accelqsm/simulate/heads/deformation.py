"""Transform from scanner to template: rigid pose and non-linear deformation of a head."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.simulate.heads.fluid import draw_walls_mm, ventricle_velocity_mm
from accelqsm.simulate.heads.lattice import Lattice, flow, lattice_points_mm, lattice_shape
from accelqsm.simulate.heads.shapes import rotation_matrix
from accelqsm.simulate.heads.variety import NEAR_TEMPLATE, Variety

LARGEST_SIZE_CHANGE = 0.09
LOWER_MM: Triple = (-120.0, -160.0, -240.0)
UPPER_MM: Triple = (120.0, 140.0, 120.0)

VENTRICLE_CENTRE_MM: Triple = (0.0, -12.0, 14.0)
VENTRICLE_SPREAD_MM: Triple = (16.0, 32.0, 16.0)
REFERENCE_AGE_YEARS = 45.0
LARGEST_DILATION = 0.16

BRAIN_CENTRE_MM: Triple = (0.0, -18.0, 5.0)
BRAIN_SEMI_AXES_MM: Triple = (70.0, 88.0, 72.0)


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


def draw_deformation(
    *, seed: int, age_years: float, variety: Variety = NEAR_TEMPLATE
) -> Deformation:
    """Draw a deformation: size, smooth displacement, and ventricles that enlarge with age.

    Near the template, u is the displacement that was drawn. Where ventricles have a volume of
    their own, the displacement is a velocity, u what it flows to over unit time, which is
    invertible at any spread.
    """
    rng = np.random.default_rng([seed, 1])
    common = rng.normal(0, variety.size_sd)
    change = common + rng.normal(0, variety.axis_sd, 3)
    scale = variety.size * (1 + np.clip(change, -LARGEST_SIZE_CHANGE, LARGEST_SIZE_CHANGE))
    shape = lattice_shape(LOWER_MM, UPPER_MM, variety.spacing_mm)
    points = lattice_points_mm(shape, origin_mm=LOWER_MM, spacing_mm=variety.spacing_mm)
    displacement = _random_displacement(rng, variety, points)
    if variety.dilation_per_year:
        dilation = variety.dilation_per_year * (age_years - REFERENCE_AGE_YEARS)
        displacement += _ventricle_displacement(points, dilation).movedim(-1, 0)
    if variety.fluid is not None:
        walls_mm = draw_walls_mm(
            rng, variety.fluid, age_years=age_years, volume_scale=float(scale.prod())
        )
        displacement += ventricle_velocity_mm(points, walls_mm).movedim(-1, 0)
    lattice = Lattice(displacement, LOWER_MM, variety.spacing_mm)
    if variety.fluid is not None:
        lattice = flow(lattice)
    return Deformation((float(scale[0]), float(scale[1]), float(scale[2])), lattice)


def _random_displacement(rng: np.random.Generator, variety: Variety, points_mm: Tensor) -> Tensor:
    """Smooth random displacement in mm on a lattice, three maps (3, x, y, z)."""
    spread = [(variety.displacement_sd_mm, variety.smoothness_mm)]
    if variety.fine_displacement_sd_mm:
        spread.append((variety.fine_displacement_sd_mm, variety.fine_smoothness_mm))
    drawn = [_smooth_noise(rng, points_mm, variety.spacing_mm, *each) for each in spread]
    displacement = drawn[0] if len(drawn) == 1 else drawn[0] + drawn[1]
    if variety.mirrored:
        mirror = displacement.flip(1) * displacement.new_tensor([-1, 1, 1])[:, None, None, None]
        norm = (1 + variety.mirrored**2) ** 0.5
        displacement = (displacement + variety.mirrored * mirror) / norm
    if variety.deep_share != 1:
        offset = points_mm - points_mm.new_tensor(BRAIN_CENTRE_MM)
        radius = (offset / offset.new_tensor(BRAIN_SEMI_AXES_MM)).square().sum(-1).clamp_max(1)
        displacement *= variety.deep_share + (1 - variety.deep_share) * radius
    if variety.skew_sd:
        displacement[1] -= rng.normal(variety.skew, variety.skew_sd) * points_mm[..., 0]
    return displacement


def _smooth_noise(
    rng: np.random.Generator,
    points_mm: Tensor,
    spacing_mm: float,
    sd_mm: float,
    smoothness_mm: float,
) -> Tensor:
    noise = rng.standard_normal((3, *points_mm.shape[:3]), dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, smoothness_mm / spacing_mm, axes=(1, 2, 3))
    # Divided by the gain of the filter, as the sample SD would couple distant parts.
    gain = (2 * np.sqrt(np.pi) * smoothness_mm / spacing_mm) ** -1.5
    return torch.from_numpy(smooth * (sd_mm / gain)).float()


def _ventricle_displacement(points_mm: Tensor, dilation: float) -> Tensor:
    """Displacement towards the centre of the ventricles, which enlarges them in the head."""
    dilation = max(-LARGEST_DILATION, min(LARGEST_DILATION, dilation))
    offset = points_mm - points_mm.new_tensor(VENTRICLE_CENTRE_MM)
    distance = (offset / offset.new_tensor(VENTRICLE_SPREAD_MM)).square().sum(-1, keepdim=True)
    return -dilation * offset * torch.exp(-distance / 2)
