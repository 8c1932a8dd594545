"""Signed distances (mm, negative inside) of smooth shapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from accelqsm.grid import Triple

OUTERMOST_TAPER = 1.2
SLIMMEST_TAPER = 0.2


@dataclass(frozen=True)
class BentEllipsoid:
    """A rotated ellipsoid with curvature and taper.

    With (u, v, w) the coordinates along the thin, middle and long axis, the surface is that of
    the ellipsoid after v -= g w^2 and u -= b_vv v^2 + b_ww w^2 + b_vw v w, and after u and v
    are divided by 1 + taper w / (long semi-axis).

    Attributes:
        centre_mm: template coordinates of the centre.
        angles_deg: rotations about x, then y, then z.
        semi_axes_mm: along u, v, w.
        bends_per_m: curvatures (b_vv, b_ww, b_vw, g) in 1/m.
        tapers: tapers of u and v along w.
    """

    centre_mm: Triple
    angles_deg: Triple
    semi_axes_mm: Triple
    bends_per_m: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    tapers: tuple[float, float] = (0.0, 0.0)

    @cached_property
    def rotation(self) -> Tensor:
        """Rotation matrix with the axes of the shape as columns, (3, 3)."""
        return rotation_matrix(self.angles_deg)

    def distance_mm(self, points_mm: Tensor) -> Tensor:
        """Signed distance, to first order, of ``points_mm`` (..., 3) from the surface."""
        centred = points_mm - points_mm.new_tensor(self.centre_mm)
        u, v, w = (centred @ self.rotation.to(points_mm)).unbind(-1)
        b_vv, b_ww, b_vw, g = (bend / 1000.0 for bend in self.bends_per_m)
        v = v - g * w * w
        u = u - b_vv * v * v - b_ww * w * w - b_vw * v * w
        along = (w / self.semi_axes_mm[2]).clamp(-OUTERMOST_TAPER, OUTERMOST_TAPER)
        u = u / (1 + self.tapers[0] * along).clamp_min(SLIMMEST_TAPER)
        v = v / (1 + self.tapers[1] * along).clamp_min(SLIMMEST_TAPER)
        return _ellipsoid_distance((u, v, w), self.semi_axes_mm)


def rotation_matrix(angles_deg: Triple) -> Tensor:
    """Rotation about x, then y, then z by ``angles_deg``, float64 (3, 3)."""
    x, y, z = np.deg2rad(angles_deg)
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return torch.from_numpy(np.array(about_z) @ np.array(about_y) @ np.array(about_x))


def ellipsoid_mm(points_mm: Tensor, centre_mm: Triple, semi_axes_mm: Triple) -> Tensor:
    """Signed distance, to first order, from an ellipsoid along the template axes."""
    centred = points_mm - points_mm.new_tensor(centre_mm)
    return _ellipsoid_distance(centred.unbind(-1), semi_axes_mm)


def tube_mm(points_mm: Tensor, path_mm: Sequence[Triple], radius_mm: float) -> Tensor:
    """Signed distance from a round tube along the polyline ``path_mm``."""
    pieces = [
        segment_squared_mm2(points_mm, points_mm.new_tensor(a), points_mm.new_tensor(b))
        for a, b in pairwise(path_mm)
    ]
    return torch.stack(pieces).amin(0).sqrt() - radius_mm


def segment_squared_mm2(points_mm: Tensor, start_mm: Tensor, end_mm: Tensor) -> Tensor:
    """Squared distance from a straight segment."""
    axis = end_mm - start_mm
    offset = points_mm - start_mm
    along = ((offset @ axis) / (axis @ axis)).clamp(0, 1)
    squared: Tensor = (offset - along[..., None] * axis).square().sum(-1)
    return squared


def smooth_union_mm(distances_mm: Sequence[Tensor], blend_mm: float) -> Tensor:
    """Signed distance from a union with smooth transitions over about ``blend_mm``."""
    union = distances_mm[0]
    for other in distances_mm[1:]:
        overlap = (blend_mm - (union - other).abs()).clamp_min(0)
        union = torch.minimum(union, other) - overlap**2 / (4 * blend_mm)
    return union


def _ellipsoid_distance(axes: Sequence[Tensor], semi_axes_mm: Triple) -> Tensor:
    level = sum((q / a) ** 2 for q, a in zip(axes, semi_axes_mm, strict=True))
    slope = sum((q / a**2) ** 2 for q, a in zip(axes, semi_axes_mm, strict=True))
    assert isinstance(level, Tensor)
    assert isinstance(slope, Tensor)
    level = level.sqrt()
    return level * (level - 1) / (slope.sqrt() + 1e-9)
