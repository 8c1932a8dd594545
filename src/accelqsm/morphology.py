"""Distances inside and outside a mask, a mask without its edge, and how large an object is."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.grid import Triple

Mask = npt.NDArray[np.bool_]
Box = tuple[slice, slice, slice]
Floats = npt.NDArray[np.float64]

LEAST_HUMAN_MM = 36.3
"""Diameter from which on objects keep the lengths of an adult's head: 25 ml, below any newborn."""

PROPORTIONAL_MM = 57.6
"""Diameter of the object, 100 ml, that small objects are treated as if they had."""

STEEPNESS = 1.5
LEAST_HUMAN_VOXEL_MM = 0.25
"""Of a crop whose object ends nowhere in it: finer voxels are not those of a human head."""

CUT = 0.5
"""Share of the surface facing one way from which on the object goes on there."""

LEAST_SECTION = 0.05
SHORTEST_OF_LONGEST = 0.5
"""Of an object's longest side, that its diameter is taken for at least: a thin slab is large."""


def bounding_box(mask: Mask, margin: tuple[int, int, int] = (0, 0, 0)) -> Box:
    """Smallest box that holds a mask, and so many voxels more on each side as the volume has.

    Empty, at the origin, of an empty mask.
    """
    found = []
    for axis, more in enumerate(margin):
        filled = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(filled):
            return slice(0), slice(0), slice(0)
        found.append(slice(max(int(filled[0]) - more, 0), int(filled[-1]) + 1 + more))
    return found[0], found[1], found[2]


def dilate_mask(mask: Mask, distance_mm: float, *, voxel_size_mm: Triple) -> Mask:
    """Dilate a mask: voxels whose centre is at most ``distance_mm`` from the nearest one in it."""
    x, y, z = (int(distance_mm / size) + 1 for size in voxel_size_mm)
    box, dilated = bounding_box(mask, (x, y, z)), np.zeros_like(mask)
    dilated[box] = _within(mask[box], distance_mm, voxel_size_mm)
    return dilated


def depth_mm(mask: Mask, voxel_size_mm: Triple) -> npt.NDArray[np.float64]:
    """Distance in mm of each voxel of ``mask`` from the nearest one outside; infinite without one.

    What lies beyond the volume counts as mask, so that a crop keeps its sides.
    """
    if mask.all():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=voxel_size_mm))


def erode_mask(mask: Mask, distance_mm: float, *, voxel_size_mm: Triple) -> Mask:
    """Erode a mask: keep voxels further than ``distance_mm`` from the nearest one outside.

    The distance is between voxel centres: 2 mm removes one layer of voxels of 1.5 mm or of 2 mm.
    What lies beyond the volume counts as mask, so that a crop keeps its sides.
    """
    # The nearest voxel outside never lies further from the box than one voxel.
    box, eroded = bounding_box(mask, (1, 1, 1)), np.zeros_like(mask)
    eroded[box] = ~_within(~mask[box], distance_mm, voxel_size_mm)
    return eroded


def diameter_mm(mask: Mask, beyond: Mask | None = None, *, voxel_size_mm: Triple) -> float | None:
    """Diameter of the ball of the volume of a mask, or the disc of its largest section.

    A mask is cut along an axis where more than half of its surface that faces one way lies at the
    side of the volume, or at more of the object. Along such an axis the object is longer than the
    mask, so that the section across it tells, or the length along the one axis that is left.

    Args:
        mask: bool (x, y, z).
        beyond: bool (x, y, z), more of the object than the mask holds.
        voxel_size_mm: edge lengths of a voxel in mm.

    Returns:
        In mm; not less than half of the longest side. None of a mask that is cut along all axes,
        unless it is as large as a human head already.
    """
    cut = tuple(a for a in range(3) if _is_cut(mask, beyond, a))
    free_mm = math.prod(size for a, size in enumerate(voxel_size_mm) if a not in cut)
    longest_mm = max(_length(mask, a) * size for a, size in enumerate(voxel_size_mm))
    least_mm = SHORTEST_OF_LONGEST * longest_mm
    if len(cut) == 3 or not mask.any():
        return least_mm if least_mm >= LEAST_HUMAN_MM else None
    free = tuple(a for a in range(3) if a not in cut)
    measure = float(mask.sum(axis=free).max()) * free_mm
    ball = {3: math.pi / 6, 2: math.pi / 4, 1: 1.0}[len(free)]
    return max(math.pow(measure / ball, 1 / len(free)), least_mm)


def scale_of(known_mm: float | None, *, voxel_size_mm: Triple) -> float:
    """Lengths that suit an object over those that suit a human head, from its diameter d.

    1 for d of 36 mm or more, with (d / 36.3 mm)^1.5 below, and d / 57.6 mm where that is larger,
    below 14 mm. An unknown diameter is taken from the voxels.
    """
    if known_mm is None:
        known_mm = LEAST_HUMAN_MM * math.pow(math.prod(voxel_size_mm), 1 / 3) / LEAST_HUMAN_VOXEL_MM
    between = (known_mm / LEAST_HUMAN_MM) ** STEEPNESS
    return rounded(min(1.0, max(between, known_mm / PROPORTIONAL_MM)))


def in_head_mm(lengths_mm: Triple, scale: float) -> Triple:
    """Lengths in units in which the object is as large as a human head."""
    x, y, z = (length / scale for length in lengths_mm)
    return x, y, z


def rounded(value: float) -> float:
    """Four digits, which a settings file holds as they are."""
    return float(f"{value:.4g}")


def _is_cut(mask: Mask, beyond: Mask | None, axis: int) -> bool:
    """Whether the object goes on beyond the mask along an axis, on either side."""
    along = np.moveaxis(mask, axis, 0)
    more = None if beyond is None else np.moveaxis(beyond, axis, 0)
    for step in (1, -1):
        this, other = along[::step], None if more is None else more[::step]
        ends = this[:-1] & ~this[1:]
        n_cut = int(this[-1].sum())
        n_faces = int(ends.sum()) + n_cut
        if other is not None:
            n_cut += int((ends & other[1:]).sum())
        if n_cut > CUT * n_faces:
            return True
    return False


def _length(mask: Mask, axis: int) -> int:
    """Voxels along an axis whose section is not tiny beside the largest."""
    sections = mask.sum(axis=tuple(a for a in range(3) if a != axis))
    return int((sections > LEAST_SECTION * sections.max()).sum())


def _within(mask: Mask, distance_mm: float, voxel_size_mm: Triple) -> Mask:
    """Whether each voxel is at most ``distance_mm`` from the nearest one of ``mask``."""
    if distance_mm < 0 or not mask.any():
        return np.zeros_like(mask)
    steps = [
        min(int(distance_mm / size) + 1, n - 1)
        for size, n in zip(voxel_size_mm, mask.shape, strict=True)
    ]
    x, y, z = ((np.arange(n + 2) * size) ** 2 for n, size in zip(steps, voxel_size_mm, strict=True))
    x[-1] = np.inf
    return np.asarray(_near(np.ascontiguousarray(mask), x, y[:-1], z[:-1], distance_mm))


@numba.njit(cache=True)
def _near(mask: Mask, x_mm2: Floats, y_mm2: Floats, z_mm2: Floats, distance_mm: float) -> Mask:
    """Voxels at most ``distance_mm`` from ``mask``, by squared distances of 0, 1, ... voxels.

    The least sum of squares, one axis after the other: exact, since rounding keeps the order.
    """
    n_x, n_y, n_z = mask.shape
    near = np.zeros(mask.shape, dtype=np.bool_)
    far = len(x_mm2) - 1
    gap = np.empty(mask.shape, dtype=np.uint16)
    for x in range(n_x):
        for y in range(n_y):
            for z in range(n_z):
                before = gap[x - 1, y, z] + 1 if x else far
                gap[x, y, z] = 0 if mask[x, y, z] else min(before, far)
    along_x, along_y = np.empty((n_y, n_z)), np.empty((n_y, n_z))
    along_z = np.empty(n_z)
    for x in range(n_x - 1, -1, -1):
        reached = False
        for y in range(n_y):
            for z in range(n_z):
                after = gap[x + 1, y, z] + 1 if x + 1 < n_x else far
                gap[x, y, z] = min(gap[x, y, z], after)
                along_x[y, z] = x_mm2[gap[x, y, z]]
                reached |= gap[x, y, z] < far
        if not reached:
            continue
        for y in range(n_y):
            along_y[y] = along_x[y]
            for step in range(1, len(y_mm2)):
                if y >= step:
                    _lower(along_y[y], along_x[y - step], y_mm2[step])
                if y + step < n_y:
                    _lower(along_y[y], along_x[y + step], y_mm2[step])
        for y in range(n_y):
            along_z[:] = along_y[y]
            for step in range(1, len(z_mm2)):
                _lower(along_z[step:], along_y[y, : n_z - step], z_mm2[step])
                _lower(along_z[: n_z - step], along_y[y, step:], z_mm2[step])
            for z in range(n_z):
                near[x, y, z] = math.sqrt(along_z[z]) <= distance_mm
    return near


@numba.njit(cache=True)
def _lower(least: Floats, other: Floats, more: float) -> None:
    """Lower ``least`` to ``other + more`` where that is less, in place."""
    for place in range(len(least)):
        value = other[place] + more
        least[place] = value if value < least[place] else least[place]
