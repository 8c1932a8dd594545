"""Registry of the background field removal methods."""

from __future__ import annotations

from dataclasses import dataclass

from accelqsm.options.registry import Choice, Registry
from accelqsm.qsm.background.settings import DipoleFitSettings, VsharpSettings


@dataclass(frozen=True)
class BackgroundRemoval(Choice):
    """A background field removal method.

    Its function takes ``(field_ppm, mask, data_weight, *, voxel_size_mm, b0_direction, settings)``
    and returns a ``LocalField``.

    Attributes:
        keeps_edge: whether the local field is known in the whole mask; an automatic mask is then
            eroded by ``edge_mm`` afterwards.
    """

    keeps_edge: bool = False


BACKGROUNDS: Registry[BackgroundRemoval] = Registry(
    "background",
    [
        BackgroundRemoval(
            "dipole-fit",
            "accelqsm.qsm.background.dipole_fit:dipole_fit",
            "removed by fitting dipoles outside and inside the mask together (after Liu et al. "
            "2011)",
            citations=("pdf",),
            settings=DipoleFitSettings,
            keeps_edge=True,
        ),
        BackgroundRemoval(
            "vsharp",
            "accelqsm.qsm.background.vsharp:vsharp",
            "removed by vSHARP (Wu et al. 2012) with radii of {radii_mm} mm and a threshold of "
            "{threshold}",
            citations=("vsharp",),
            settings=VsharpSettings,
        ),
    ],
)
