"""Digital head phantom: tissue properties on a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.grid import Grid
from accelqsm.simulate.heads.deformation import UPRIGHT, Pose
from accelqsm.simulate.heads.nuclei import LOOKUP, NUCLEI
from accelqsm.simulate.heads.paint import paint_slab
from accelqsm.simulate.heads.person import Anatomy, draw_anatomy
from accelqsm.simulate.heads.variety import NEAR_TEMPLATE, Variety

__all__ = ["LOOKUP", "NUCLEI", "UPRIGHT", "Anatomy", "Head", "Pose", "digital_head", "draw_anatomy"]

VOXELS_AT_ONCE = 600_000
PROPERTIES = ("chi_ppm", "r2star_per_s", "t1_s", "proton_density")


@dataclass(frozen=True)
class Head:
    """Tissue properties on a grid; all tensors are (x, y, z).

    Attributes:
        grid: voxel grid in scanner coordinates.
        chi_ppm: susceptibility relative to water, ppm.
        r2star_per_s: microscopic transverse relaxation rate.
        t1_s: longitudinal relaxation time.
        proton_density: relative to water.
        labels: int16, 0 or an index of ``LOOKUP``.
        brain: bool.
        anatomy: the anatomy, from which tissue beyond the grid is known; None for a phantom that
            is surrounded by the susceptibility of its corner voxel.
    """

    grid: Grid
    chi_ppm: Tensor
    r2star_per_s: Tensor
    t1_s: Tensor
    proton_density: Tensor
    labels: Tensor
    brain: Tensor
    anatomy: Anatomy | None = None


def digital_head(
    grid: Grid,
    *,
    seed: int,
    pose: Pose = UPRIGHT,
    age_years: float = 45.0,
    nuclei_chi_ppm: Mapping[str, float] | None = None,
    deformed: bool = True,
    variety: Variety = NEAR_TEMPLATE,
) -> Head:
    """Draw a digital head: property(world) = property_template(deform(pose^-1(world))).

    Args:
        grid: voxels in scanner coordinates (RAS+, mm); an upright head has the template's
            coordinates, with its middle near (0, -17, 4).
        seed: seed of the anatomy: size, shape, veins, texture.
        pose: rigid pose in the scanner.
        age_years: age, on which the size of ventricles and sulci depends.
        nuclei_chi_ppm: mean susceptibility in ppm by name of ``NUCLEI``; others have their
            default.
        deformed: False for the shape of the template.
        variety: how much anatomies differ from the template and from each other.

    Returns:
        The head, float32 (x, y, z), susceptibility in ppm relative to water.

    Raises:
        InputError: an unknown nucleus, or a susceptibility that is not finite.

    Source: the kind of phantom of Marques et al. 2021, Magn Reson Med 86:526,
    doi 10.1002/mrm.28716.
    """
    anatomy = draw_anatomy(
        seed=seed,
        pose=pose,
        age_years=age_years,
        nuclei_chi_ppm=nuclei_chi_ppm,
        deformed=deformed,
        variety=variety,
    )
    return head_on_grid(anatomy, grid)


def head_on_grid(anatomy: Anatomy, grid: Grid) -> Head:
    """Tissue properties of an anatomy on ``grid``."""
    shape = grid.shape
    properties = {name: torch.empty(shape) for name in PROPERTIES}
    labels = torch.zeros(shape, dtype=torch.int16)
    brain = torch.zeros(shape, dtype=torch.bool)
    width_mm = max(grid.voxel_volume_mm3 ** (1 / 3), 0.5)
    thickness = max(1, VOXELS_AT_ONCE // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        slab = slice(start, min(start + thickness, shape[0]))
        points = anatomy.to_template(_slab_points_mm(grid, slab))
        painted, labels[slab], brain[slab] = paint_slab(anatomy, points, width_mm)
        for name, values in zip(PROPERTIES, painted, strict=True):
            properties[name][slab] = values
    return Head(grid, **properties, labels=labels, brain=brain, anatomy=anatomy)


def _slab_points_mm(grid: Grid, slab: slice) -> Tensor:
    """Scanner coordinates of the voxels of some x planes, (x, y, z, 3)."""
    matrix = torch.from_numpy(grid.matrix).float()
    lines = [torch.arange(slab.start, slab.stop), *(torch.arange(n) for n in grid.shape[1:])]
    x, y, z = (line[:, None] * matrix[:3, axis] for axis, line in enumerate(lines))
    points: Tensor = x[:, None, None] + y[None, :, None] + z[None, None] + matrix[:3, 3]
    return points
