"""How large the object is beside a human head, and lengths in proportion."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.morphology import Mask
from accelqsm.options.setting import OWN_SETTINGS, Settings, default_of, settings_in
from accelqsm.qsm.mask import otsu_threshold
from accelqsm.qsm.settings import QsmSettings

Record = TypeVar("Record", bound=Settings)

LEAST_HUMAN_ML = 100.0
"""Brains from here on, the preterm's included, keep the lengths of an adult's."""

LEAST_HUMAN_MM = 2 * (LEAST_HUMAN_ML * 1000 * 3 / (4 * math.pi)) ** (1 / 3)
LEAST_HUMAN_VOXEL_MM = 0.25
"""Of a crop whose object ends nowhere in it: finer voxels are not those of a human head."""

BRIGHT = 0.5
"""Of the mean of what Otsu's threshold leaves: where there is no background, all of it is kept."""

CUT = 0.5
LEAST_SECTION = 0.05
SHORTEST_OF_LONGEST = 0.5
"""Of an object's longest side, that its diameter is taken for at least: a thin slab is large."""


def length_scale(magnitude: Tensor, mask: Tensor | None = None, *, voxel_size_mm: Triple) -> float:
    """Lengths that suit an object over those that suit a human head; 1 for any human head.

    min(1, d / d_0), with d the diameter of what is bright and d_0 that of a ball of 100 ml. Where
    what is bright is smaller than that, d is the diameter of the mask. Where neither ends within
    the volume, as in a crop, voxels below 0.25 mm alone say that no human head was scanned.

    Args:
        magnitude: (x, y, z), not negative.
        mask: bool (x, y, z), the brain; it is not the whole object where what lies beyond its
            surface is as bright.
        voxel_size_mm: edge lengths of a voxel in mm.
    """
    bright = _bright(np.nan_to_num(magnitude.detach().cpu().numpy()))
    known_mm = diameter_mm(bright, voxel_size_mm=voxel_size_mm)
    if mask is not None and (known_mm is None or known_mm < LEAST_HUMAN_MM):
        brain = mask.cpu().numpy()
        known_mm = diameter_mm(brain, bright & ~brain, voxel_size_mm=voxel_size_mm) or known_mm
    if known_mm is None:
        return _rounded(min(1.0, math.prod(voxel_size_mm) ** (1 / 3) / LEAST_HUMAN_VOXEL_MM))
    return _rounded(min(1.0, known_mm / LEAST_HUMAN_MM))


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


def in_head_mm(lengths_mm: Triple, scale: float) -> Triple:
    """Lengths in units in which the object is as large as a human head."""
    x, y, z = (length / scale for length in lengths_mm)
    return x, y, z


def in_proportion(settings: QsmSettings, scale: float) -> QsmSettings:
    """The settings in mm, with each length that is the default multiplied by ``scale``."""
    if scale == 1:
        return settings
    return replace(_times(settings, scale, defaults=True), length_scale=scale)


def in_head_units(settings: QsmSettings, scale: float) -> QsmSettings:
    """Settings in mm, with every length divided by ``scale``."""
    return settings if scale == 1 else _times(settings, 1 / scale, defaults=False)


def _times(settings: Record, factor: float, *, defaults: bool) -> Record:
    """All lengths, or those that are the default, times ``factor``; of choices as well."""
    kind = type(settings)
    changed: dict[str, Any] = {}
    for name, known in settings_in(kind).items():
        value = getattr(settings, name)
        is_length = known.unit.split(" ")[-1] == "mm" and value is not None
        if is_length and (value == default_of(kind, name) or not defaults):
            many = isinstance(value, tuple)
            changed[name] = (
                tuple(_rounded(v * factor) for v in value) if many else _rounded(value * factor)
            )
        own = getattr(settings, name + OWN_SETTINGS, None)
        if own is not None:
            changed[name + OWN_SETTINGS] = _times(own, factor, defaults=defaults)
    return replace(settings, **changed)


def _rounded(value: float) -> float:
    """Four digits, which a settings file holds as they are."""
    return float(f"{value:.4g}")


def _bright(image: npt.NDArray[np.float32]) -> Mask:
    """What stands out of the background; nothing of an image without contrast."""
    level = otsu_threshold(np.minimum(image, np.percentile(image, 99)))
    above = image > level
    if not above.any():
        return above
    return np.asarray(image > min(level, BRIGHT * float(image[above].mean())))


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
