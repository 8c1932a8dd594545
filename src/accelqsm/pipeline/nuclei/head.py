"""Map of a head, as nuclei are measured in it: reference level, magnitude, another grid."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.morphology import diameter_mm, in_head_mm, scale_of
from accelqsm.nuclei.volume import Volume, resample_to
from accelqsm.pipeline.nuclei.registration import Transform
from accelqsm.reference.region import reference_region
from accelqsm.reference.registry import REFERENCES

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class MappedHead:
    """Susceptibility map with brain mask, magnitude and R2*, all on one grid.

    Attributes:
        chi: susceptibility in ppm.
        brain: bool (x, y, z).
        name: name of the map, for messages.
        magnitude: magnitude of the same scan; needed for registration.
        r2star_per_s: (x, y, z) in 1/s, for a reference that needs it.
        within: mask in which nuclei are measured; None for everywhere.
        chi_sd_ppm: standard deviation of susceptibility (x, y, z), where it is known.
    """

    chi: Volume
    brain: Mask
    name: str
    magnitude: Volume | None = None
    r2star_per_s: npt.NDArray[Any] | None = None
    within: Mask | None = None
    chi_sd_ppm: npt.NDArray[Any] | None = None

    def reference_ppm(self, kind: str) -> float:
        """Mean susceptibility of the reference region, in ppm.

        Raises:
            InputError: an empty mask, or no such region.
        """
        if not self.brain.any() and kind != "none":
            raise InputError(f"--reference {kind}: expected a mask with voxels, found none")
        if REFERENCES[kind].needs_r2star and self.r2star_per_s is None:
            raise InputError(f"--reference {kind}: expected an R2* map (--r2star FILE), found none")
        size_mm = self.chi.grid.voxel_size_mm
        scale = scale_of(diameter_mm(self.brain, voxel_size_mm=size_mm), voxel_size_mm=size_mm)
        size_mm = in_head_mm(size_mm, scale)
        region = reference_region(kind, self.brain, self.r2star_per_s, voxel_size_mm=size_mm)
        return 0.0 if region is None else float(self.chi.values[region].mean(dtype=np.float64))


def magnitude_of(head: MappedHead) -> Volume:
    """Magnitude of the scan.

    Raises:
        InputError: none was given.
    """
    if head.magnitude is None:
        raise InputError(f"{head.name}: expected the magnitude of its scan, found none")
    return head.magnitude


def within_brain(head: MappedHead) -> MappedHead:
    """Restrict the measurement to the brain mask.

    Raises:
        InputError: a map of zeros.
    """
    if not head.brain.any():
        raise InputError(f"{head.name}: expected a map with values, found zeros alone")
    return replace(head, within=head.brain)


def resample_head(head: MappedHead, labels: Volume, transform: Transform) -> MappedHead:
    """Resample map, magnitude and brain mask to the grid of the labels (linear)."""
    grid = labels.grid
    inside = Volume(head.brain.astype(np.float32), head.chi.grid)
    brain = resample_to(inside, grid, transform.inverse).values > 0.5
    sd = None if head.chi_sd_ppm is None else Volume(head.chi_sd_ppm, head.chi.grid)
    return replace(
        head,
        chi=resample_to(head.chi, grid, transform.inverse),
        magnitude=resample_to(magnitude_of(head), grid, transform.inverse),
        brain=brain,
        within=brain,
        chi_sd_ppm=None if sd is None else resample_to(sd, grid, transform.inverse).values,
    )
