"""Registry of the dipole inversion methods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelqsm.options.registry import Choice, Registry, imported
from accelqsm.qsm.inversion.settings import L1Settings


@dataclass(frozen=True)
class Inversion(Choice):
    """A dipole inversion method, from the local field to susceptibility.

    Its function takes ``(local_field_ppm, mask, *, voxel_size_mm, b0_direction, data_weight,
    edges, settings)`` and returns susceptibility in ppm, (x, y, z), zero outside the mask.
    ``data_weight`` is proportional to 1 / sd of the field, or None for equal weights;
    susceptibility may have edges where ``edges``, bool (3, x, y, z), says so.

    Attributes:
        noise: ``module:name`` of a function of ``(field_sd_ppm, mask, *, voxel_size_mm,
            b0_direction, settings)`` that returns the standard deviation of susceptibility from
            noise of the field; empty where it is not known.
    """

    noise: str = ""

    def load_noise(self) -> Any:
        """Import and return the function ``noise``; None where there is none."""
        return imported(self.noise) if self.noise else None


INVERSIONS: Registry[Inversion] = Registry(
    "inversion",
    [
        Inversion(
            "l1",
            "accelqsm.qsm.inversion.l1:l1_dipole_inversion",
            "dipole inversion with an L1 penalty on its gradient (Bilgic et al. 2014; lambda "
            "{regularisation} ppm mm, at most {n_iterations} iterations, tolerance {tolerance})",
            citations=("inversion",),
            settings=L1Settings,
            noise="accelqsm.qsm.inversion.noise:l1_noise_sd",
        ),
    ],
)
