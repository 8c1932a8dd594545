"""Deep-brain nuclei as smooth parametric shapes in template space."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.simulate.heads.lattice import lattice_points_mm, lattice_shape
from accelqsm.simulate.heads.shapes import BentEllipsoid

NUCLEI = ("Pu", "Ca", "GPe", "GPi", "RN", "SNc", "SNr")

LOOKUP: tuple[tuple[int, str], ...] = tuple(
    (2 * number + side + 1, f"{'LR'[side]} {name}")
    for number, name in enumerate(NUCLEI)
    for side in (0, 1)
)
"""Index and name of every label: odd is left (negative x), even is right."""

# Shapes of few parameters, fitted to size, position, orientation and curvature in the CIT168 atlas
# (Pauli et al. 2018, doi 10.1038/sdata.2018.63), both sides averaged; left side.
SHAPES: Mapping[str, tuple[BentEllipsoid, ...]] = {
    "Pu": (
        BentEllipsoid(
            (-27.3, 0.2, 2.4), (78, 1, -17), (5.57, 12.47, 23.3), (5, 6, 11, -12), (-0.55, 0.06)
        ),
    ),
    "Ca": (
        BentEllipsoid(
            (-12.8, 12, 10.7), (-31, 29, -152), (4.91, 10.25, 21.9), (11, 16, -1, 8), (-0.53, -0.4)
        ),
        BentEllipsoid(
            (-16.9, -10.5, 22.5), (87, -35, -9), (2.8, 5.4, 28.5), (0, -9, 9, -7), (-0.59, -0.66)
        ),
    ),
    "GPe": (
        BentEllipsoid(
            (-20.1, -0.7, 0.2), (82, 19, -40), (3.1, 6.6, 12.4), (6, 22, 7, -12), (-0.49, 0.29)
        ),
    ),
    "GPi": (
        BentEllipsoid(
            (-17.8, -4.6, -4.2), (81, -9, -47), (3.15, 4.45, 8.8), (8, 18, 19, -14), (-0.11, -0.12)
        ),
    ),
    "RN": (
        BentEllipsoid(
            (-5.0, -19.4, -9.5), (-44, -26, -26), (3.68, 4.29, 5.6), (-6, -10, 3, 2), (0.03, 0.04)
        ),
    ),
    "SNc": (
        BentEllipsoid(
            (-8.7, -18.9, -13.9), (-44, -35, -22), (1.25, 5.2, 6.2), (27, -4, 21, 2), (-0.01, -0.12)
        ),
    ),
    "SNr": (
        BentEllipsoid(
            (-10.4, -16.6, -13.7), (76, 40, 159), (1.6, 6.5, 7.8), (-8, -12, 31, 1), (0.32, -0.08)
        ),
    ),
}

# Neighbouring grey matter that is not measured.
OTHER_SHAPES: Mapping[str, tuple[BentEllipsoid, ...]] = {
    "thalamus": (BentEllipsoid((-11.5, -18.0, 7.0), (-10, 0, 25), (8.0, 15.0, 9.0)),),
    "STN": (
        BentEllipsoid(
            (-11.0, -12.5, -7.6), (61, -43, -23), (1.58, 3.43, 6.7), (1, -5, 10, -8), (-0.15, 0.06)
        ),
    ),
    "DN": (BentEllipsoid((-15.0, -57.0, -34.0), (20, 25, 20), (3.5, 8.5, 5.0), (20, 15, 0, 0)),),
}

LOWER_MM: Triple = (-42.0, -74.0, -46.0)
UPPER_MM: Triple = (42.0, 36.0, 40.0)
"""Bounding box of all shapes in template space."""
INTERIOR_SPACING_MM = 1.0


def nucleus_distances_mm(points_mm: Tensor) -> Tensor:
    """Signed distances from the nuclei, made disjoint by a boundary half-way where two overlap.

    Args:
        points_mm: template coordinates (..., 3); both sides are mirror images.

    Returns:
        (nucleus, ...) in the order of ``NUCLEI``, in mm, negative inside.
    """
    folded = _mirror_to_left(points_mm)
    alone = torch.stack([_union(SHAPES[name], folded) for name in NUCLEI])
    nearest, second = alone.topk(2, dim=0, largest=False).values
    rival = torch.where(alone == nearest, second, nearest)
    return torch.maximum(alone, (alone - rival) / 2)


def other_distances_mm(points_mm: Tensor) -> dict[str, Tensor]:
    """Signed distances in mm from the neighbouring grey matter, by name."""
    folded = _mirror_to_left(points_mm)
    return {name: _union(shapes, folded) for name, shapes in OTHER_SHAPES.items()}


def inside_box(points_mm: Tensor) -> Tensor:
    """Whether points are in the bounding box of the nuclei, bool (...)."""
    lower, upper = points_mm.new_tensor(LOWER_MM), points_mm.new_tensor(UPPER_MM)
    within: Tensor = ((points_mm >= lower) & (points_mm <= upper)).all(-1)
    return within


@cache
def interior_points_mm() -> tuple[Tensor, ...]:
    """Template points inside every label, in the order of ``LOOKUP``: 14 times (point, 3)."""
    shape = lattice_shape(LOWER_MM, UPPER_MM, INTERIOR_SPACING_MM)
    points = lattice_points_mm(shape, origin_mm=LOWER_MM, spacing_mm=INTERIOR_SPACING_MM)
    left = points[points[..., 0] < 0]
    found = []
    for distance in nucleus_distances_mm(left):
        inside = left[distance < 0]
        found += [inside, inside * inside.new_tensor([-1, 1, 1])]
    return tuple(found)


def rostral_mm(points_mm: Tensor, name: str) -> Tensor:
    """Rostral distance of points (..., 3) from the centre of a nucleus in mm."""
    return points_mm[..., 1] - SHAPES[name][0].centre_mm[1]


def _mirror_to_left(points_mm: Tensor) -> Tensor:
    return torch.cat([-points_mm[..., :1].abs(), points_mm[..., 1:]], dim=-1)


def _union(shapes: tuple[BentEllipsoid, ...], points_mm: Tensor) -> Tensor:
    return torch.stack([shape.distance_mm(points_mm) for shape in shapes]).amin(0)
