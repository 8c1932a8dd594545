"""Fluid spaces of a person: lateral ventricles and sulci of a drawn volume."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.simulate.heads.anatomy import brain_maps, surroundings
from accelqsm.simulate.heads.lattice import Lattice, flow, lattice_points_mm, lattice_shape
from accelqsm.simulate.heads.variety import FluidSpaces

VENTRICLES_LOWER_MM: Triple = (-45.0, -62.0, -3.0)
VENTRICLES_UPPER_MM: Triple = (45.0, 40.0, 36.0)
LEAST_DEPTH_MM = 22.0
REACH_MM = 40.0
"""From the wall of a ventricle to tissue that its size does not move."""
SIDES_MM = 4.0
"""Over which the size of one ventricle gives way to that of the other."""
MARGIN_MM = 2.5
"""Outermost fluid, outside the brain's closed hull."""
NORMAL_SMOOTHNESS_MM = 5.0
LEAST_SLOPE = 0.4
WALLS_MM = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
VELOCITY_SPACING_MM = 3.0
EDGE = 0.3
"""Tissue fractions of the template over which fluid gives way to tissue."""
LIMIT_SD = 2.0
LEVELS = (0.5, 0.85)
SPACING_MM = 2.0
SKULL_LOWER_MM: Triple = (-90.0, -125.0, -80.0)
SKULL_UPPER_MM: Triple = (90.0, 95.0, 100.0)


def draw_walls_mm(
    rng: np.random.Generator, spaces: FluidSpaces, *, age_years: float, volume_scale: float
) -> tuple[float, float]:
    """Draw how far the walls of the left and right ventricle lie outside those of the template.

    ln V = ln V_median + rate (age - age_median) + SD e, and each side differs from half of that.

    Args:
        rng: source of three normal numbers.
        spaces: distribution of the volume.
        age_years: age of the person.
        volume_scale: volume of this head over that of the template.
    """
    both, left, right = rng.standard_normal(3).clip(-LIMIT_SD, LIMIT_SD)
    years = age_years - spaces.ventricles_age_years
    log_ml = np.log(spaces.ventricles_ml / 2) + spaces.ventricles_per_year * years
    log_ml += spaces.ventricles_log_sd * both
    sides = [log_ml + spaces.ventricle_side_log_sd * one for one in (left, right)]
    in_template = [side - np.log(volume_scale) for side in sides]
    left_mm, right_mm = np.interp(in_template, np.log(_volumes_ml()), WALLS_MM)
    return float(left_mm), float(right_mm)


def ventricle_velocity_mm(points_mm: Tensor, walls_mm: tuple[float, float]) -> Tensor:
    """Velocity (..., 3) whose flow over unit time moves the walls of the ventricles inwards.

    At distance d from the wall, v = -a (1 - d / D)^2 n, with D the reach and n the normal; a =
    w / (1 - w / D) brings what lies w outside the wall onto it.
    """
    distance, *normal = template_ventricles().at(points_mm)
    outwards = torch.sigmoid(points_mm[..., 0] / SIDES_MM)
    left, right = (wall / (1 - wall / REACH_MM) if wall > 0 else wall for wall in walls_mm)
    speed = left + (right - left) * outwards
    weight = (1 - distance.clamp_min(0) / REACH_MM).clamp_min(0).square()
    velocity: Tensor = -(speed * weight)[..., None] * torch.stack(normal, dim=-1)
    return velocity


def draw_sulcus_level(rng: np.random.Generator, spaces: FluidSpaces, *, age_years: float) -> float:
    """Draw the tissue fraction of the template below which this person has fluid."""
    drawn = np.clip(rng.standard_normal(), -LIMIT_SD, LIMIT_SD)
    years = age_years - spaces.sulci_age_years
    share = spaces.sulci_share + spaces.sulci_per_year * years + spaces.sulci_sd * drawn
    ordered = _ordered_tissue()
    return float(np.clip(ordered[int(np.clip(share, 0, 1) * (len(ordered) - 1))], *LEVELS))


def crisp_tissue(grey: Tensor, white: Tensor, level: float) -> tuple[Tensor, Tensor]:
    """Grey and white matter where fluid begins at a tissue fraction of ``level``."""
    tissue = grey + white
    crisp = ((tissue - level) / EDGE + 0.5).clamp(0, 1)
    share = crisp / tissue.clamp_min(1e-3)
    return grey * share, white * share


@cache
def template_ventricles() -> Lattice:
    """Signed distance (mm, negative inside) from the template's lateral ventricles, and normals.

    Four maps at 1 mm. The ventricles are the largest connected fluid in the middle of the brain;
    normals are shorter than 1 where opposite walls or edges meet.
    """
    lower, upper = _box_mm(REACH_MM)
    points = lattice_points_mm(lattice_shape(lower, upper, 1.0), origin_mm=lower, spacing_mm=1.0)
    grey, white, brain = brain_maps().at(points)
    depth_mm = -surroundings().at(points)[0]
    within = [points.new_tensor(corner) for corner in _box_mm(0.0)]
    inside = ((points > within[0]) & (points < within[1])).all(-1) & (depth_mm > LEAST_DEPTH_MM)
    fluid = (inside & (brain > 0.5) & (grey + white < 0.5)).numpy()
    parts, _ = ndimage.label(fluid)
    largest = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    away, within_mm = (ndimage.distance_transform_edt(part) for part in (~largest, largest))
    distance = ndimage.gaussian_filter(away - within_mm, 1.0)
    distance -= np.partition(distance.ravel(), largest.sum())[largest.sum()]
    slope = np.array(np.gradient(ndimage.gaussian_filter(distance, NORMAL_SMOOTHNESS_MM)))
    normal = slope / np.sqrt((slope**2).sum(0) + LEAST_SLOPE**2)
    values = np.stack([distance, *normal]).astype(np.float32)
    return Lattice(torch.from_numpy(values), lower, 1.0)


@cache
def _volumes_ml() -> npt.NDArray[np.float64]:
    """Volume of one ventricle of the template for each of ``WALLS_MM``."""
    lower, upper = _box_mm(REACH_MM)
    shape = lattice_shape(lower, upper, VELOCITY_SPACING_MM)
    coarse = lattice_points_mm(shape, origin_mm=lower, spacing_mm=VELOCITY_SPACING_MM)
    shape = lattice_shape(lower, upper, SPACING_MM)
    fine = lattice_points_mm(shape, origin_mm=lower, spacing_mm=SPACING_MM)
    volumes = []
    for wall_mm in WALLS_MM:
        velocity = ventricle_velocity_mm(coarse, (wall_mm, wall_mm)).movedim(-1, 0)
        moved = flow(Lattice(velocity.contiguous(), lower, VELOCITY_SPACING_MM)).at(fine)
        distance = template_ventricles().at(fine + moved.movedim(0, -1))[0]
        # A voxel at the wall is partly inside.
        inside = (0.5 - distance / SPACING_MM).clamp(0, 1)
        volumes.append(float(inside.sum()) * SPACING_MM**3 / 2000)
    return np.array(volumes)


def _box_mm(margin_mm: float) -> tuple[Triple, Triple]:
    """Box of the lateral ventricles with a margin on all sides."""
    x0, y0, z0 = VENTRICLES_LOWER_MM
    x1, y1, z1 = VENTRICLES_UPPER_MM
    m = margin_mm
    return (x0 - m, y0 - m, z0 - m), (x1 + m, y1 + m, z1 + m)


@cache
def _ordered_tissue() -> npt.NDArray[np.float32]:
    """Tissue fractions of the template's intracranial space, without ventricles, ascending."""
    shape = lattice_shape(SKULL_LOWER_MM, SKULL_UPPER_MM, SPACING_MM)
    points = lattice_points_mm(shape, origin_mm=SKULL_LOWER_MM, spacing_mm=SPACING_MM)
    grey, white, _ = brain_maps().at(points)
    chosen = (surroundings().at(points)[0] < MARGIN_MM) & (template_ventricles().at(points)[0] > 1)
    ordered: npt.NDArray[np.float32] = np.sort((grey + white)[chosen].numpy())
    return ordered
