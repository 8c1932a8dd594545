"""A digital head: every tissue property as a function of template coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, Triple
from accelqsm.simulate import anatomy, nuclei, vessels
from accelqsm.simulate.deformation import UPRIGHT, Deformation, Pose, draw_deformation
from accelqsm.simulate.lattice import Lattice, lattice_shape
from accelqsm.simulate.nuclei import LOOKUP, NUCLEI
from accelqsm.simulate.tissue import (
    NUCLEUS_TISSUES,
    SUSCEPTIBILITY_TO_R2STAR_HZ_PER_PPM,
    TISSUES,
    Tissue,
)

__all__ = ["LOOKUP", "NUCLEI", "UPRIGHT", "Anatomy", "Head", "Pose", "digital_head", "draw_anatomy"]

FLUID_MM = 2.5
SKULL_MM = 9.0
DIPLOE_MM = (4.5, 7.5)
SKIN_MM = 2.0
FAT_MM = 5.0
NUCLEUS_TEXTURE_SD = 0.15
ROSTRO_CAUDAL_GRADIENT_PER_CM = 0.10
TISSUE_TEXTURE_PPM = 0.006
TEXTURE_SPACING_MM = 2.5
TEXTURE_SMOOTHNESS_MM = 2.5
TEXTURE_LOWER_MM: Triple = (-80.0, -115.0, -80.0)
TEXTURE_UPPER_MM: Triple = (80.0, 85.0, 90.0)
VOXELS_AT_ONCE = 600_000
PROPERTIES = ("chi_ppm", "r2star_per_s", "t1_s", "proton_density")


@dataclass(frozen=True)
class Anatomy:
    """One person in one pose: all that is needed to lay the head out on any grid.

    Attributes:
        pose: where the head lies in the scanner.
        deformation: from head to template, or None for the template itself.
        nuclei_chi_ppm: mean susceptibility of each nucleus, in ppm.
        veins: signed distance from the veins and their radius, in template space.
        texture: two maps of unit variance, in template space.
        pattern_means: mean of the texture's pattern in each label, in the order of ``LOOKUP``.
    """

    pose: Pose
    deformation: Deformation | None
    nuclei_chi_ppm: Mapping[str, float]
    veins: Lattice = field(repr=False)
    texture: Lattice = field(repr=False)
    pattern_means: tuple[float, ...]

    def to_template(self, world_mm: Tensor) -> Tensor:
        """Scanner coordinates (x, y, z, 3) to template coordinates."""
        head_mm = self.pose.to_head(world_mm)
        return head_mm if self.deformation is None else self.deformation.to_template(head_mm)


@dataclass(frozen=True)
class Head:
    """Tissue properties on a grid; all tensors are (x, y, z).

    Attributes:
        grid: where the voxels are in the scanner.
        chi_ppm: susceptibility relative to water, ppm.
        r2star_per_s: microscopic transverse relaxation rate.
        t1_s: longitudinal relaxation time.
        proton_density: relative to water.
        labels: int16, 0 or an index of ``LOOKUP``.
        brain: bool.
        anatomy: the person, so that what lies beyond the grid is known too; None for a phantom
            that is surrounded by its corner's susceptibility.
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
) -> Head:
    """A person's head on ``grid``: property(world) = property_template(deform(pose^-1(world))).

    Args:
        grid: voxels in scanner coordinates (RAS+, mm); an upright head has the template's
            coordinates, with its middle near (0, -17, 4).
        seed: draws the person: size, shape, veins, texture.
        pose: rigid pose in the scanner.
        age_years: widens the ventricles.
        nuclei_chi_ppm: mean susceptibility in ppm by name of ``NUCLEI``; what is not named
            keeps its default.
        deformed: False leaves the template's own shape.

    Returns:
        The head, float32 (x, y, z), susceptibility in ppm relative to water.

    Raises:
        InputError: an unknown nucleus, or a susceptibility that is not finite.

    Source: the kind of phantom of Marques et al. 2021, Magn Reson Med 86:526,
    doi 10.1002/mrm.28716.
    """
    person = draw_anatomy(
        seed=seed,
        pose=pose,
        age_years=age_years,
        nuclei_chi_ppm=nuclei_chi_ppm,
        deformed=deformed,
    )
    return lay_out(person, grid)


def draw_anatomy(
    *,
    seed: int,
    pose: Pose = UPRIGHT,
    age_years: float = 45.0,
    nuclei_chi_ppm: Mapping[str, float] | None = None,
    deformed: bool = True,
) -> Anatomy:
    """Draw one person; the arguments are those of ``digital_head``."""
    chosen = dict(nuclei_chi_ppm or {})
    for name, value in chosen.items():
        if name not in NUCLEI or not np.isfinite(value):
            raise InputError(
                f"nuclei_chi_ppm: expected finite ppm for {' '.join(NUCLEI)}, found {name}={value}"
            )
    chi = {name: chosen.get(name, NUCLEUS_TISSUES[name].chi_ppm) for name in NUCLEI}
    deformation = draw_deformation(seed=seed, age_years=age_years) if deformed else None
    veins, texture = vessels.draw_veins(seed=seed), _draw_texture(seed)
    return Anatomy(pose, deformation, chi, veins, texture, _pattern_means(texture))


def lay_out(person: Anatomy, grid: Grid) -> Head:
    """The person's tissue properties on ``grid``."""
    shape = grid.shape
    properties = {name: torch.empty(shape) for name in PROPERTIES}
    labels = torch.zeros(shape, dtype=torch.int16)
    brain = torch.zeros(shape, dtype=torch.bool)
    width_mm = max(grid.voxel_volume_mm3 ** (1 / 3), 0.5)
    thickness = max(1, VOXELS_AT_ONCE // (shape[1] * shape[2]))
    for start in range(0, shape[0], thickness):
        slab = slice(start, min(start + thickness, shape[0]))
        points = person.to_template(_slab_points_mm(grid, slab))
        painted, labels[slab], brain[slab] = _paint_slab(person, points, width_mm)
        for name, values in zip(PROPERTIES, painted, strict=True):
            properties[name][slab] = values
    return Head(grid, **properties, labels=labels, brain=brain, anatomy=person)


def _paint_slab(
    person: Anatomy, points_mm: Tensor, width_mm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Properties (property, x, y, z), labels and brain at template points."""
    grey, white, inside = anatomy.brain_maps().at(points_mm)
    hull, skin, air, cord, spine, eye = anatomy.surroundings().at(points_mm)
    texture = person.texture.at(points_mm)

    def fraction(distance_mm: Tensor) -> Tensor:
        return (0.5 - distance_mm / width_mm).clamp(0, 1)

    canvas = torch.empty(4, *points_mm.shape[:3])
    for row, value in zip(canvas, _row(TISSUES["air"]), strict=True):
        row.fill_(value)
    _paint(canvas, fraction(skin), TISSUES["muscle"])
    _paint(canvas, fraction((skin + FAT_MM).abs() - (FAT_MM - SKIN_MM)), TISSUES["fat"])
    _paint(canvas, fraction(spine), TISSUES["marrow"])
    _paint(canvas, fraction(cord - 6.0), TISSUES["bone"])
    _paint(canvas, fraction(eye), TISSUES["fluid"])
    _paint(canvas, fraction(hull - SKULL_MM), TISSUES["bone"])
    diploe = torch.maximum(hull - DIPLOE_MM[1], DIPLOE_MM[0] - hull)
    _paint(canvas, fraction(diploe), TISSUES["marrow"])
    _paint(canvas, fraction(torch.maximum(air, FLUID_MM + 0.5 - hull)), TISSUES["air"])
    _paint(canvas, fraction(hull - FLUID_MM), TISSUES["fluid"])
    _paint(canvas, fraction(cord - 3.5), TISSUES["fluid"])
    _paint(canvas, fraction(cord), TISSUES["white"])
    _paint(canvas, inside, TISSUES["fluid"])
    _paint(canvas, grey + white, TISSUES["grey"])
    _paint(canvas, white, TISSUES["white"])
    canvas[0] += TISSUE_TEXTURE_PPM * texture[0] * (grey + white)
    labels = _paint_nuclei(canvas, person, points_mm, width_mm)
    canvas[1:] *= 1 + 0.03 * texture[1] * inside
    blood = vessels.vein_fraction(*person.veins.at(points_mm), width_mm=width_mm)
    _paint(canvas, blood, TISSUES["blood"])
    return canvas, labels, inside > 0.5


def _paint_nuclei(canvas: Tensor, person: Anatomy, points_mm: Tensor, width_mm: float) -> Tensor:
    """Paint deep grey matter in place; returns the labels."""
    labels = torch.zeros(points_mm.shape[:3], dtype=torch.int16)
    chosen = nuclei.inside_box(points_mm)
    if not chosen.any():
        return labels
    points = points_mm[chosen]
    local = canvas[:, chosen]
    texture = person.texture.at(points[None, None])[1, 0, 0]
    for name, distance in nuclei.other_distances_mm(points).items():
        _paint(local, (0.5 - distance / width_mm).clamp(0, 1), TISSUES[name])
    found = torch.zeros(len(points), dtype=torch.int16)
    right = (points[:, 0] > 0).to(torch.int16)
    for number, distance in enumerate(nuclei.nucleus_distances_mm(points)):
        name = NUCLEI[number]
        fraction = (0.5 - distance / width_mm).clamp(0, 1)
        pattern = _pattern(points, texture, name)
        left_mean, right_mean = person.pattern_means[2 * number : 2 * number + 2]
        pattern /= torch.where(right > 0, right_mean, left_mean)
        chi = person.nuclei_chi_ppm[name]
        tissue = _iron_laden(NUCLEUS_TISSUES[name], chi)
        _paint(local, fraction, tissue, chi_ppm=chi * pattern)
        found[fraction > 0.5] = 2 * number + 1
        found[(fraction > 0.5) & (right > 0)] += 1
    canvas[:, chosen] = local
    labels[chosen] = found
    return labels


def _pattern(points_mm: Tensor, texture: Tensor, name: str) -> Tensor:
    """Susceptibility of a nucleus from point to point, around 1."""
    rostral_cm = (nuclei.rostral_mm(points_mm, name) / 10.0).clamp(-2, 2)
    return 1 + NUCLEUS_TEXTURE_SD * texture + ROSTRO_CAUDAL_GRADIENT_PER_CM * rostral_cm


def _pattern_means(texture: Lattice) -> tuple[float, ...]:
    """Mean of the pattern in every label, to divide by."""
    means = []
    for (_, label), points in zip(LOOKUP, nuclei.interior_points_mm(), strict=True):
        drawn = texture.at(points[None, None])[1, 0, 0]
        means.append(float(_pattern(points, drawn, label.split()[1]).mean()))
    return tuple(means)


def _iron_laden(tissue: Tissue, chi_ppm: float) -> Tissue:
    """The tissue with its R2* moved along with its susceptibility."""
    shift = SUSCEPTIBILITY_TO_R2STAR_HZ_PER_PPM * (chi_ppm - tissue.chi_ppm)
    return Tissue(
        chi_ppm, max(tissue.r2star_per_s + shift, 8.0), tissue.t1_s, tissue.proton_density
    )


def _row(tissue: Tissue) -> tuple[float, float, float, float]:
    return tissue.chi_ppm, tissue.r2star_per_s, tissue.t1_s, tissue.proton_density


def _paint(
    canvas: Tensor, fraction: Tensor, tissue: Tissue, *, chi_ppm: Tensor | None = None
) -> None:
    """Cover ``fraction`` of every voxel with ``tissue``, in place."""
    for row, value in zip(canvas, _row(tissue), strict=True):
        row.lerp_(torch.full_like(row, value), fraction)
    if chi_ppm is not None:
        canvas[0] += fraction * (chi_ppm - tissue.chi_ppm)


def _slab_points_mm(grid: Grid, slab: slice) -> Tensor:
    """Scanner coordinates of the voxels of some x planes, (x, y, z, 3)."""
    matrix = torch.from_numpy(grid.matrix).float()
    lines = [torch.arange(slab.start, slab.stop), *(torch.arange(n) for n in grid.shape[1:])]
    x, y, z = (line[:, None] * matrix[:3, axis] for axis, line in enumerate(lines))
    points: Tensor = x[:, None, None] + y[None, :, None] + z[None, None] + matrix[:3, 3]
    return points


def _draw_texture(seed: int) -> Lattice:
    """Two smooth random maps of unit variance over the brain."""
    rng = np.random.default_rng([seed, 3])
    shape = lattice_shape(TEXTURE_LOWER_MM, TEXTURE_UPPER_MM, TEXTURE_SPACING_MM)
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    smooth = ndimage.gaussian_filter(
        noise, TEXTURE_SMOOTHNESS_MM / TEXTURE_SPACING_MM, axes=(1, 2, 3)
    )
    return Lattice(torch.from_numpy(smooth / smooth.std()), TEXTURE_LOWER_MM, TEXTURE_SPACING_MM)
