"""Anatomy of a subject: shape, veins, texture and susceptibility of nuclei, in template space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.simulate.heads import fluid, nuclei, vessels
from accelqsm.simulate.heads.deformation import UPRIGHT, Deformation, Pose, draw_deformation
from accelqsm.simulate.heads.lattice import Lattice, lattice_shape
from accelqsm.simulate.heads.nuclei import LOOKUP, NUCLEI
from accelqsm.simulate.heads.tissue import NUCLEUS_TISSUES
from accelqsm.simulate.heads.variety import NEAR_TEMPLATE, Variety

NUCLEUS_TEXTURE_SD = 0.15
ROSTRO_CAUDAL_GRADIENT_PER_CM = 0.10
TEXTURE_SPACING_MM = 2.5
TEXTURE_SMOOTHNESS_MM = 2.5
TEXTURE_LOWER_MM: Triple = (-80.0, -115.0, -80.0)
TEXTURE_UPPER_MM: Triple = (80.0, 85.0, 90.0)


@dataclass(frozen=True)
class Anatomy:
    """Anatomy of a subject in a pose, from which a head is computed on any grid.

    Attributes:
        pose: pose of the head in the scanner.
        deformation: from head to template, or None for the template itself.
        nuclei_chi_ppm: mean susceptibility of each nucleus, in ppm.
        veins: signed distance from the veins and their radius, in template space.
        texture: two maps of unit variance, in template space.
        pattern_means: mean of ``chi_pattern`` in each label, in the order of ``LOOKUP``.
        sulcus_level: tissue fraction of the template below which there is fluid, or None for the
            template's own mixtures of fluid and tissue.
    """

    pose: Pose
    deformation: Deformation | None
    nuclei_chi_ppm: Mapping[str, float]
    veins: Lattice = field(repr=False)
    texture: Lattice = field(repr=False)
    pattern_means: tuple[float, ...]
    sulcus_level: float | None = None

    def to_template(self, world_mm: Tensor) -> Tensor:
        """Map scanner coordinates (x, y, z, 3) to template coordinates."""
        head_mm = self.pose.to_head(world_mm)
        return head_mm if self.deformation is None else self.deformation.to_template(head_mm)


def draw_anatomy(
    *,
    seed: int,
    pose: Pose = UPRIGHT,
    age_years: float = 45.0,
    nuclei_chi_ppm: Mapping[str, float] | None = None,
    deformed: bool = True,
    variety: Variety = NEAR_TEMPLATE,
) -> Anatomy:
    """Draw the anatomy of a subject; arguments as for ``digital_head``."""
    chosen = dict(nuclei_chi_ppm or {})
    for name, value in chosen.items():
        if name not in NUCLEI or not np.isfinite(value):
            raise InputError(
                f"nuclei_chi_ppm: expected finite ppm for {' '.join(NUCLEI)}, found {name}={value}"
            )
    chi = {name: chosen.get(name, NUCLEUS_TISSUES[name].chi_ppm) for name in NUCLEI}
    deformation, level = None, None
    if deformed:
        deformation = draw_deformation(seed=seed, age_years=age_years, variety=variety)
        if variety.fluid is not None:
            rng = np.random.default_rng([seed, 10])
            level = fluid.draw_sulcus_level(rng, variety.fluid, age_years=age_years)
    veins, texture = vessels.draw_veins(seed=seed), _draw_texture(seed)
    return Anatomy(pose, deformation, chi, veins, texture, _pattern_means(texture), level)


def chi_pattern(points_mm: Tensor, texture: Tensor, name: str) -> Tensor:
    """Relative variation of susceptibility within a nucleus, about 1."""
    rostral_cm = (nuclei.rostral_mm(points_mm, name) / 10.0).clamp(-2, 2)
    return 1 + NUCLEUS_TEXTURE_SD * texture + ROSTRO_CAUDAL_GRADIENT_PER_CM * rostral_cm


def _pattern_means(texture: Lattice) -> tuple[float, ...]:
    """Mean of the pattern in every label, for normalisation."""
    means = []
    for (_, label), points in zip(LOOKUP, nuclei.interior_points_mm(), strict=True):
        drawn = texture.at(points[None, None])[1, 0, 0]
        means.append(float(chi_pattern(points, drawn, label.split()[1]).mean()))
    return tuple(means)


def _draw_texture(seed: int) -> Lattice:
    """Two smooth random maps of unit variance over the brain."""
    rng = np.random.default_rng([seed, 3])
    shape = lattice_shape(TEXTURE_LOWER_MM, TEXTURE_UPPER_MM, TEXTURE_SPACING_MM)
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    smooth = ndimage.gaussian_filter(
        noise, TEXTURE_SMOOTHNESS_MM / TEXTURE_SPACING_MM, axes=(1, 2, 3)
    )
    return Lattice(torch.from_numpy(smooth / smooth.std()), TEXTURE_LOWER_MM, TEXTURE_SPACING_MM)
