"""Template head: tissue maps of the brain, and distances to skull, skin, air and neck."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.simulate.heads.lattice import Lattice, lattice_points_mm, lattice_shape
from accelqsm.simulate.heads.shapes import ellipsoid_mm, smooth_union_mm, tube_mm

HULL_CLOSING_MM = 15.0
SURROUNDINGS_SPACING_MM = 3.0
LOWER_MM: Triple = (-114.0, -150.0, -240.0)
UPPER_MM: Triple = (114.0, 135.0, 120.0)

BRAIN_MAPS = ("grey", "white", "brain")
SURROUNDING_MAPS = ("hull", "surface", "air", "cord", "spine", "eye")

BRAINSTEM_CENTRE_MM: Triple = (0.0, -29.0, -38.0)
BRAINSTEM_SEMI_AXES_MM: Triple = (20.0, 17.0, 36.0)
CORD_MM: tuple[Triple, ...] = ((0, -37, -56), (0, -45, -80), (0, -48, -130), (0, -40, -240))
SPINE_MM: tuple[Triple, ...] = ((0, -22, -86), (0, -26, -130), (0, -20, -240))
AIRWAY_MM: tuple[Triple, ...] = ((0, 22, -62), (0, 14, -85), (0, 8, -120), (0, 6, -240))


@cache
def brain_maps() -> Lattice:
    """Partial volumes of grey matter, white matter and brain of the ICBM 2009a template, at 1 mm.

    Source: Fonov et al. 2011, NeuroImage 54:313, doi 10.1016/j.neuroimage.2010.07.033, as
    shipped with nilearn.
    """
    grey, origin = _template("gm")
    white, _ = _template("wm")
    skull_stripped, _ = _template("t1")
    brain = ndimage.gaussian_filter((skull_stripped > 0).astype(np.float32), 0.7)
    values = torch.from_numpy(np.stack([grey, white, brain]))
    lattice = Lattice(values, origin, 1.0)
    # The template has most of the brainstem as grey matter, but its tracts are white matter.
    points, box = _brainstem_points_mm(origin)
    stem = ellipsoid_mm(points, BRAINSTEM_CENTRE_MM, BRAINSTEM_SEMI_AXES_MM)
    tracts = 0.75 * values[0][box] * torch.sigmoid(-stem / 2)
    values[0][box] -= tracts
    values[1][box] += tracts
    return lattice


@cache
def surroundings() -> Lattice:
    """Signed distances (mm, negative inside) of the structures around the brain, at 3 mm.

    Maps in the order of ``SURROUNDING_MAPS``: the brain's closed hull, the skin, the air-filled
    cavities, the spinal cord, the vertebrae and the eyes.
    """
    shape = lattice_shape(LOWER_MM, UPPER_MM, SURROUNDINGS_SPACING_MM)
    points = lattice_points_mm(shape, origin_mm=LOWER_MM, spacing_mm=SURROUNDINGS_SPACING_MM)
    hull = _hull_mm(points)
    eyes = [ellipsoid_mm(points, (side * 32.0, 60.0, -34.0), (12, 12, 12)) for side in (-1, 1)]
    maps = [
        hull,
        _skin_mm(points, hull),
        _cavities_mm(points),
        tube_mm(points, CORD_MM, 5.0),
        tube_mm(points, SPINE_MM, 11.0),
        torch.minimum(*eyes),
    ]
    return Lattice(torch.stack(maps), LOWER_MM, SURROUNDINGS_SPACING_MM)


def _brainstem_points_mm(origin_mm: Triple) -> tuple[Tensor, tuple[slice, ...]]:
    """Points of the 1 mm template around the brainstem, and their slices."""
    middle_and_reach = zip(BRAINSTEM_CENTRE_MM, BRAINSTEM_SEMI_AXES_MM, origin_mm, strict=True)
    starts = [max(0, int(c - a - 8 - o)) for c, a, o in middle_and_reach]
    x, y, z = (int(2 * a + 16) for a in BRAINSTEM_SEMI_AXES_MM)
    box = tuple(slice(s, s + n) for s, n in zip(starts, (x, y, z), strict=True))
    lower = (origin_mm[0] + starts[0], origin_mm[1] + starts[1], origin_mm[2] + starts[2])
    return lattice_points_mm((x, y, z), origin_mm=lower, spacing_mm=1.0), box


def _hull_mm(points_mm: Tensor) -> Tensor:
    """Signed distance from the hull of the brain, a morphological closing over its sulci."""
    brain = brain_maps().at(points_mm)[2] > 0.5
    spacing = SURROUNDINGS_SPACING_MM
    reach = ndimage.distance_transform_edt(~brain.numpy(), sampling=spacing)
    inset = ndimage.distance_transform_edt(reach < HULL_CLOSING_MM, sampling=spacing)
    closed = inset > HULL_CLOSING_MM
    outside = ndimage.distance_transform_edt(~closed, sampling=spacing)
    inside = ndimage.distance_transform_edt(closed, sampling=spacing)
    distance = np.where(closed, spacing / 2 - inside, outside - spacing / 2)
    return torch.from_numpy(ndimage.gaussian_filter(distance, 1.0).astype(np.float32))


def _skin_mm(points_mm: Tensor, hull_mm: Tensor) -> Tensor:
    """Signed distance from the skin of head, neck and shoulders."""
    parts = [
        hull_mm - 14.0,
        ellipsoid_mm(points_mm, (0, 42, -48), (64, 58, 72)),
        ellipsoid_mm(points_mm, (0, 50, -98), (38, 44, 26)),
        tube_mm(points_mm, ((0, 92, -40), (0, 108, -62)), 9.0),
        tube_mm(points_mm, ((0, -24, -70), (0, -24, -230)), 57.0),
        ellipsoid_mm(points_mm, (0, -30, -262), (200, 105, 62)),
    ]
    return smooth_union_mm(parts, 14.0)


def _cavities_mm(points_mm: Tensor) -> Tensor:
    """Signed distance from sinuses, nose, throat, ear canals and mastoid cells."""
    folded = torch.cat([points_mm[..., :1].abs(), points_mm[..., 1:]], dim=-1)
    parts = [
        ellipsoid_mm(folded, (9, 79, 2), (13, 5, 12)),
        ellipsoid_mm(folded, (5, 24, -42), (9, 11, 8)),
        ellipsoid_mm(folded, (9, 48, -40), (6, 17, 9)),
        ellipsoid_mm(folded, (28, 45, -66), (12, 16, 15)),
        ellipsoid_mm(folded, (5, 58, -66), (4, 32, 15)),
        tube_mm(folded, AIRWAY_MM, 8.0),
        tube_mm(folded, ((52, -20, -42), (95, -20, -42)), 3.5),
        ellipsoid_mm(folded, (58, -38, -52), (8, 10, 13)),
        ellipsoid_mm(folded, (45, -22, -44), (6, 6, 5)),
    ]
    return smooth_union_mm(parts, 4.0)


def _template(tissue: str) -> tuple[npt.NDArray[np.float32], Triple]:
    import nibabel

    name = f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"
    with as_file(files("nilearn") / "datasets" / "data" / name) as path:
        image = nibabel.nifti1.Nifti1Image.from_filename(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
    x, y, z = (float(v) for v in image.affine[:3, 3])
    return values / values.max(), (x, y, z)
