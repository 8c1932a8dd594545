"""A digital head on the anatomy of templates: real gyri, an atlas's nuclei, veins, a calcification.

White and grey matter are those of the ICBM 152 template and nuclei those of CIT168, as
probabilities, turned, stretched and deformed at random: no two heads are alike, and none is one
that the shapes of `simulate.heads` make. Skull, scalp and the air of sinuses and ears are
ellipsoids and shells. Each tissue has the properties of `simulate.heads.tissue`, each nucleus up to
a quarter more or less, and all of the brain a texture of 5 ppb.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from accelqsm.grid import Grid
from accelqsm.simulate.heads.head import LOOKUP, PROPERTIES, Head
from accelqsm.simulate.heads.tissue import NUCLEUS_TISSUES, TISSUES, Tissue
from qsm_head import largest_part

Volume = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

BRAIN_FILE = "cit168/CIT168toMNI152-2009c_T1w_brain.nii.gz"
WHITE_FILE = "mni_tissue/ICBM152_adult.WM.nii.gz"
GREY_FILE = "mni_tissue/mni_icbm152_gm_tal_nlin_sym_09a_converted.nii.gz"
NUCLEI_FILE = "cit168/cit168_prob16_bilateral_u8.nii.gz"
ATLAS_ORDER = ("Pu", "Ca", "", "", "GPe", "GPi", "SNc", "RN", "SNr", "", "", "", "", "", "", "STN")
TURN_DEG, STRETCH, DEFORMATION_MM, DEFORMATION_SD_MM = 6.0, 0.06, 2.0, 18.0
BRAIN_INTENSITY, SHARPNESS = 0.12, 10.0
VARIATION, TEXTURE_PPM, TEXTURE_SD_MM = 0.25, 0.005, 2.0
DENTATE_MM, DENTATE_RADII_MM = (15.0, -57.0, -35.0), (8.0, 8.0, 6.0)
N_VEINS, VEIN_STEP_MM = 45, 0.6
CALCIFICATION = Tissue(-3.0, 100.0, 1.0, 0.2)
BONE_MM, SCALP_MM = (1.5, 6.0), 12.0
AIR_MM = (
    (0, 62, -38, 9, 8, 9),
    (0, 70, -8, 14, 7, 8),
    (-38, -28, -36, 8, 9, 8),
    (38, -28, -36, 8, 9, 8),
    (0, 58, -58, 12, 18, 10),
)
"""Centre and half axes of each ellipsoid of air."""


def mni_head(grid: Grid, data: Path, *, seed: int) -> Head:
    """Draw a head.

    Args:
        grid: voxels in scanner coordinates.
        data: folder that holds `cit168` and `mni_tissue`.
        seed: of shape, values, veins and the place of the calcification.
    """
    anatomy = _Anatomy(grid, data, np.random.default_rng(seed))
    anatomy.fill()
    anatomy.surround()
    chi, r2star, t1, density = (torch.from_numpy(anatomy.values[name]) for name in PROPERTIES)
    labels, brain = torch.from_numpy(anatomy.labels), torch.from_numpy(anatomy.brain)
    return Head(grid, chi, r2star, t1, density, labels, brain)


@dataclass
class _Anatomy:
    """Volumes of a head while it is made, (x, y, z).

    Attributes:
        grid: voxels.
        data: folder of the templates.
        rng: source of all that is drawn.
    """

    grid: Grid
    data: Path
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.values: dict[str, Volume] = {
            name: np.zeros(self.grid.shape, np.float32) for name in PROPERTIES
        }
        self.labels = np.zeros(self.grid.shape, np.int16)

    @cached_property
    def template_mm(self) -> Volume:
        """Coordinates of every voxel in the template, (3, x, y, z)."""
        size, shape = self.grid.voxel_size_mm, self.grid.shape
        turn = Rotation.from_euler("xyz", self.rng.uniform(-TURN_DEG, TURN_DEG, 3), degrees=True)
        stretch = np.diag(1 + self.rng.uniform(-STRETCH, STRETCH, 3))
        here = self.grid.world_mm().astype(np.float32)
        there = np.einsum("ij,jxyz->ixyz", (turn.as_matrix() @ stretch).astype(np.float32), here)
        for axis in there:
            noise = self.rng.standard_normal(shape, dtype=np.float32)
            smooth = ndimage.gaussian_filter(noise, [DEFORMATION_SD_MM / step for step in size])
            axis += DEFORMATION_MM * smooth / smooth.std()
        return np.asarray(there)

    def sampled(self, name: str, volume: int | None = None) -> Volume:
        """A template of 0 to 255 at the voxels, 0 to 1."""
        image = nibabel.Nifti1Image.from_filename(self.data / name)
        values = np.asarray(image.dataobj)
        values = values if volume is None else values[..., volume]
        inverse = np.linalg.inv(image.affine).astype(np.float32)
        index = np.einsum("ij,jxyz->ixyz", inverse[:3, :3], self.template_mm)
        index += inverse[:3, 3, None, None, None]
        found = ndimage.map_coordinates(values.astype(np.float32), index, order=1)
        return np.asarray(found / 255, np.float32)

    @cached_property
    def brain(self) -> Mask:
        """The largest part of the template's brain."""
        found = ndimage.binary_opening(self.sampled(BRAIN_FILE) > BRAIN_INTENSITY, iterations=2)
        return largest_part(torch.from_numpy(ndimage.binary_fill_holes(found))).numpy()

    def fill(self) -> None:
        """The brain: tissues, nuclei, texture, veins, and a calcification."""
        white = _sharp(self.sampled(WHITE_FILE)) * self.brain
        grey = _sharp(1.3 * self.sampled(GREY_FILE)) * self.brain
        white /= np.maximum(white + grey, 1)
        self.mix(TISSUES["fluid"], self.brain.astype(np.float32))
        self.mix(TISSUES["grey"], np.minimum(grey + white, 1))
        self.mix(TISSUES["white"], white / np.maximum(white + grey, 1e-6))
        deep = self.nuclei()
        size = self.grid.voxel_size_mm
        texture = self.rng.standard_normal(self.grid.shape, dtype=np.float32)
        texture = ndimage.gaussian_filter(texture, [TEXTURE_SD_MM / step for step in size])
        self.values["chi_ppm"] += TEXTURE_PPM * texture / texture.std() * self.brain
        self.paint(TISSUES["blood"], self.veins() & (deep < 0.3))
        self.paint(CALCIFICATION, self.calcified(deep))

    def mix(self, tissue: Tissue, share: Volume) -> None:
        """Put a tissue where something else is, by its share of each voxel."""
        for field in fields(Tissue):
            values = self.values[field.name]
            values += share * (np.float32(getattr(tissue, field.name)) - values)

    def paint(self, tissue: Tissue, where: Mask) -> None:
        """Put a tissue into whole voxels."""
        self.mix(tissue, where.astype(np.float32))
        self.labels[where] = 0

    def nuclei(self) -> Volume:
        """Paint nuclei, and return the share of each voxel that they have."""
        index = {name: number for number, name in LOOKUP}
        right = self.template_mm[0] > 0
        total = np.zeros(self.grid.shape, np.float32)
        for number, name in enumerate(ATLAS_ORDER):
            if name:
                share = _sharp(self.sampled(NUCLEI_FILE, number)) * self.brain
                self.mix(self.varied({**TISSUES, **NUCLEUS_TISSUES}[name]), share)
                total += share
                for side, there in (("L", ~right), ("R", right)):
                    self.labels[(share > 0.5) & there] = index.get(f"{side} {name}", 0)
        dentate = self.varied(TISSUES["DN"])
        x, y, z = DENTATE_MM
        for place in ((-x, y, z), (x, y, z)):
            share = _sharp(1.5 - self.radius(place, DENTATE_RADII_MM)) * self.brain
            self.mix(dentate, share)
            total += share
        return np.minimum(total, 1)

    def radius(self, centre_mm: tuple[float, ...], half_axes_mm: tuple[float, ...]) -> Volume:
        """Distance from the middle of an ellipsoid, 1 on its surface."""
        squares = np.zeros(self.grid.shape, np.float32)
        for axis, centre, half in zip(self.template_mm, centre_mm, half_axes_mm, strict=True):
            squares += ((axis - np.float32(centre)) / np.float32(half)) ** 2
        return np.asarray(np.sqrt(squares))

    def varied(self, tissue: Tissue) -> Tissue:
        """A tissue with up to a quarter more or less of susceptibility and R2*."""
        factor = 1 + self.rng.uniform(-VARIATION, VARIATION)
        return Tissue(
            factor * tissue.chi_ppm, factor * tissue.r2star_per_s, tissue.t1_s,
            tissue.proton_density,
        )  # fmt: skip

    def veins(self) -> Mask:
        """Tubes that wander through the brain."""
        size = np.array(self.grid.voxel_size_mm)
        deep = np.argwhere(ndimage.distance_transform_edt(self.brain, size) > 4)
        found = np.zeros(self.grid.shape, bool)
        box = np.stack(np.meshgrid(*3 * [np.arange(-3, 4)], indexing="ij"), -1)
        for _ in range(N_VEINS):
            place = deep[self.rng.integers(len(deep))] * size
            way, radius = self.rng.standard_normal(3), self.rng.uniform(0.5, 1.1)
            for _ in range(int(self.rng.uniform(30, 90))):
                way = way / np.linalg.norm(way) + 0.12 * self.rng.standard_normal(3)
                place = place + VEIN_STEP_MM * way / np.linalg.norm(way)
                index = np.round(place / size).astype(int)
                if (index < 3).any() or (index + 4 > found.shape).any() or not self.brain[*index]:
                    break
                near = (((index + box) * size - place) ** 2).sum(-1) < radius**2
                found[tuple(slice(i - 3, i + 4) for i in index)] |= near
        return found & self.brain

    def calcified(self, deep: Volume) -> Mask:
        """A ball in the brain, at least 10 mm from nuclei."""
        size = self.grid.voxel_size_mm
        depth = ndimage.distance_transform_edt(self.brain, size)
        apart = ndimage.distance_transform_edt(deep < 0.3, size)
        level = (self.template_mm[2] > -20) & (self.template_mm[2] < 45)
        places = np.argwhere((depth > 12) & (depth < 25) & (apart > 10) & level)
        centre = places[self.rng.integers(len(places))]
        apart_from_it = np.ones(self.grid.shape, bool)
        apart_from_it[*centre] = False
        distance = ndimage.distance_transform_edt(apart_from_it, size)
        return np.asarray(distance < self.rng.uniform(2.5, 3.5))

    def surround(self) -> None:
        """Skull, scalp and neck about the brain, and air."""
        x, y, z = self.template_mm
        apart = ndimage.distance_transform_edt(~self.brain, self.grid.voxel_size_mm)
        neck = (z < -45) & (np.hypot(x, y + 12) < 55)
        head = (apart < SCALP_MM) | neck
        air = ~head
        for ellipsoid in AIR_MM:
            inside = self.radius(ellipsoid[:3], ellipsoid[3:]) < 1
            air |= inside & (apart > BONE_MM[0])
        bone = (apart > BONE_MM[0]) & (apart < BONE_MM[1])
        fluid = (apart > 0) & (apart <= BONE_MM[0])
        outside = ~self.brain
        self.paint(TISSUES["muscle"], outside & ~fluid)
        self.paint(TISSUES["fluid"], fluid)
        self.paint(TISSUES["bone"], bone)
        self.paint(TISSUES["air"], air & outside)


def _sharp(share: Volume) -> Volume:
    """Probabilities of a template, blurred over people, as shares of voxels of one."""
    found = 1 / (1 + np.exp(-SHARPNESS * (share - 0.5)))
    return np.asarray(found * (share > 0.02), np.float32)
