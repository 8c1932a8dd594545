"""How large the object is beside a human head, and lengths in proportion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Triple
from accelqsm.morphology import Mask, diameter_mm, rounded, scale_of
from accelqsm.options.setting import OWN_SETTINGS, Settings, default_of, settings_in
from accelqsm.qsm.mask import finite_image, global_threshold, has_contrast
from accelqsm.qsm.settings import QsmSettings

Record = TypeVar("Record", bound=Settings)

BRIGHT = 0.5
"""Share of the mean of tissue, which Otsu's value would split where there is no background."""


def length_scale(magnitude: Tensor, mask: Tensor | None = None, *, voxel_size_mm: Triple) -> float:
    """Lengths that suit an object over those that suit a human head; 1 for any human head.

    From the diameter of the mask, or of what is bright (``scale_of``). A mask that more of the
    object surrounds does not tell. Where neither ends within the volume, as in a crop, voxels
    below 0.25 mm alone say that no human head was scanned.

    Args:
        magnitude: (x, y, z), not negative.
        mask: bool (x, y, z), the brain or a part of it.
        voxel_size_mm: edge lengths of a voxel in mm.
    """
    image = finite_image(magnitude)
    brain = None if mask is None else mask.cpu().numpy()
    bright = _bright(image, brain)
    known_mm = None
    if brain is not None:
        known_mm = diameter_mm(brain, bright & ~brain, voxel_size_mm=voxel_size_mm)
    if known_mm is None:
        known_mm = diameter_mm(bright, voxel_size_mm=voxel_size_mm)
    return scale_of(known_mm, voxel_size_mm=voxel_size_mm)


def in_proportion(settings: QsmSettings, scale: float) -> QsmSettings:
    """The settings in mm, with each length that is the default multiplied by ``scale``."""
    if scale == 1:
        return settings
    return replace(_times(settings, scale, defaults=True), length_scale=scale)


def in_head_units(settings: QsmSettings, scale: float) -> QsmSettings:
    """Settings in mm, with every length divided by ``scale``."""
    return settings if scale == 1 else _times(settings, 1 / scale, defaults=False)


@contextmanager
def said_in_head_units(scale: float) -> Iterator[None]:
    """Say of an ``InputError`` that the lengths in it are not those of the object."""
    try:
        yield
    except InputError as error:
        if scale == 1:
            raise
        raise InputError(
            f"{error} (lengths over {scale:g}, the object's size beside a human head)"
        ) from error


def _times(settings: Record, factor: float, *, defaults: bool) -> Record:
    """All lengths, or those that are the default, times ``factor``; of choices as well.

    What is per mm is divided by it.
    """
    kind = type(settings)
    changed: dict[str, Any] = {}
    for name, known in settings_in(kind).items():
        value = getattr(settings, name)
        power = -1 if known.unit.endswith("/mm") else int(known.unit.split(" ")[-1] == "mm")
        if power and value is not None and (value == default_of(kind, name) or not defaults):
            times = factor**power
            many = isinstance(value, tuple)
            changed[name] = (
                tuple(rounded(v * times) for v in value) if many else rounded(value * times)
            )
        own = getattr(settings, name + OWN_SETTINGS, None)
        if own is not None:
            changed[name + OWN_SETTINGS] = _times(own, factor, defaults=defaults)
    return replace(settings, **changed)


def _bright(image: npt.NDArray[np.float32], brain: Mask | None) -> Mask:
    """What is not background: nothing of an image without contrast, else half of the mean.

    Of the mask where there is one, else of what Otsu's threshold leaves, but no more than that.
    """
    if not has_contrast(image):
        return np.zeros(image.shape, dtype=bool)
    if brain is not None and brain.any():
        return np.asarray(image > BRIGHT * float(image[brain].mean()))
    level = global_threshold(image)
    return np.asarray(image > min(level, BRIGHT * float(image[image > level].mean())))
