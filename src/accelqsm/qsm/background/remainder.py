"""Background field that removal left or took too much of, refitted while susceptibility is."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.qsm.background.sources import FIELD_SD_PPM, DipoleSources, coarsening

INSIDE_SD_PPM = 1e-3
"""Small, as what is inside is explained by the susceptibility."""

N_ITERATIONS = 4
"""Of one refit: each starts from the sources of the one before."""


class BackgroundRemainder:
    """Field of dipoles outside a mask that explains what the sources inside leave over.

    The sources are fitted on voxels of about 3 mm: the remainder is smooth where the mask is deep,
    and its finest parts at the edge are those that removal gets right.
    """

    def __init__(self, inside: Tensor, kernel: Tensor, *, voxel_size_mm: Triple) -> None:
        """Prepare the coarse problem.

        Args:
            inside: bool (x, y, z), the mask on a periodic volume whose sizes are multiples of
                ``coarsening``.
            kernel: unit dipole of that volume, half spectrum.
            voxel_size_mm: edge lengths of a voxel in mm.
        """
        nothing = torch.zeros_like(inside, dtype=kernel.dtype)
        self._fine = DipoleSources(
            field=nothing,
            power=inside.to(nothing),
            inside=inside,
            noise_variance=FIELD_SD_PPM**2,
            kernel=kernel,
            inside_sd_ppm=INSIDE_SD_PPM,
        )
        self._coarse = self._fine.coarsen(coarsening(voxel_size_mm))
        self._sources: Tensor | None = None

    def refit(self, field_ppm: Tensor, power: Tensor) -> Tensor:
        """Background field in ppm inside the mask, (x, y, z); zero outside.

        Args:
            field_ppm: (x, y, z), what the sources inside leave unexplained.
            power: (x, y, z), squared weight of the field.
        """
        coarse = self._coarse.measured(field_ppm, power)
        self._sources = coarse.solve(N_ITERATIONS, self._sources)
        sources = self._fine.interpolate(self._sources, coarse)
        outside = torch.where(self._fine.inside, 0, sources)
        return self._fine.field_of(outside) * self._fine.inside
