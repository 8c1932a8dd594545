"""Tissue properties at template points, composed of layers from the outside inwards."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.simulate.heads import anatomy, nuclei, vessels
from accelqsm.simulate.heads.fluid import crisp_tissue
from accelqsm.simulate.heads.nuclei import NUCLEI
from accelqsm.simulate.heads.person import NUCLEUS_TEXTURE_SD, Anatomy, chi_pattern
from accelqsm.simulate.heads.tissue import (
    NUCLEUS_TISSUES,
    SUSCEPTIBILITY_TO_R2STAR_HZ_PER_PPM,
    TISSUES,
    Tissue,
)

FLUID_MM = 2.5
SKULL_MM = 9.0
DIPLOE_MM = (4.5, 7.5)
SKIN_MM = 2.0
FAT_MM = 5.0
TISSUE_TEXTURE_PPM = 0.006
TISSUE_TEXTURE_SD = 0.03


def paint_slab(
    person: Anatomy, points_mm: Tensor, width_mm: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Properties (property, x, y, z), labels and brain mask at template points."""
    grey, white, inside = anatomy.brain_maps().at(points_mm)
    if person.sulcus_level is not None:
        grey, white = crisp_tissue(grey, white, person.sulcus_level)
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
    _paint(canvas, (grey / (1 - white).clamp_min(1e-3)).clamp(0, 1), TISSUES["grey"])
    _paint(canvas, white, TISSUES["white"])
    canvas[0] += TISSUE_TEXTURE_PPM * texture[0] * (grey + white)
    labels = _paint_nuclei(canvas, person, points_mm, width_mm)
    canvas[1:] *= 1 + TISSUE_TEXTURE_SD * texture[1] * inside
    blood = vessels.vein_fraction(*person.veins.at(points_mm), width_mm=width_mm)
    _paint(canvas, blood, TISSUES["blood"])
    return canvas, labels, inside > 0.5


def _paint_nuclei(canvas: Tensor, person: Anatomy, points_mm: Tensor, width_mm: float) -> Tensor:
    """Add deep grey matter in place; returns the labels."""
    labels = torch.zeros(points_mm.shape[:3], dtype=torch.int16)
    chosen = nuclei.inside_box(points_mm)
    if not chosen.any():
        return labels
    points = points_mm[chosen]
    local = canvas[:, chosen]
    texture = person.texture.at(points[None, None])[1, 0, 0]
    for name, distance in nuclei.other_distances_mm(points).items():
        chi_ppm = TISSUES[name].chi_ppm * (1 + NUCLEUS_TEXTURE_SD * texture)
        fraction = (0.5 - distance / width_mm).clamp(0, 1)
        _paint(local, fraction, TISSUES[name], chi_ppm=chi_ppm)
    found = torch.zeros(len(points), dtype=torch.int16)
    right = (points[:, 0] > 0).to(torch.int16)
    for number, distance in enumerate(nuclei.nucleus_distances_mm(points)):
        name = NUCLEI[number]
        fraction = (0.5 - distance / width_mm).clamp(0, 1)
        pattern = chi_pattern(points, texture, name)
        left_mean, right_mean = person.pattern_means[2 * number : 2 * number + 2]
        pattern /= torch.where(right > 0, right_mean, left_mean)
        chi = person.nuclei_chi_ppm[name]
        tissue = _with_susceptibility(NUCLEUS_TISSUES[name], chi)
        _paint(local, fraction, tissue, chi_ppm=chi * pattern)
        found[fraction > 0.5] = 2 * number + 1
        found[(fraction > 0.5) & (right > 0)] += 1
    canvas[:, chosen] = local
    labels[chosen] = found
    return labels


def _with_susceptibility(tissue: Tissue, chi_ppm: float) -> Tissue:
    """Tissue of another susceptibility, with R2* changed in proportion."""
    shift = SUSCEPTIBILITY_TO_R2STAR_HZ_PER_PPM * (chi_ppm - tissue.chi_ppm)
    return Tissue(
        chi_ppm, max(tissue.r2star_per_s + shift, 8.0), tissue.t1_s, tissue.proton_density
    )


def _row(tissue: Tissue) -> tuple[float, float, float, float]:
    return tissue.chi_ppm, tissue.r2star_per_s, tissue.t1_s, tissue.proton_density


def _paint(
    canvas: Tensor, fraction: Tensor, tissue: Tissue, *, chi_ppm: Tensor | None = None
) -> None:
    """Replace a partial volume ``fraction`` of every voxel by ``tissue``, in place."""
    for row, value in zip(canvas, _row(tissue), strict=True):
        row.lerp_(torch.full_like(row, value), fraction)
    if chi_ppm is not None:
        canvas[0] += fraction * (chi_ppm - tissue.chi_ppm)
