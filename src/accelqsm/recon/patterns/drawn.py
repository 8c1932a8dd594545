"""Patterns drawn by their settings, and the order in which they are played."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.recon.patterns.settings import CENTRE_OUT, PatternSettings
from accelqsm.recon.sampling import poisson_disk, regions


def drawn_pattern(settings: PatternSettings) -> Tensor:
    """Poisson-disk pattern of settings, bool (y, z), or (echo, y, z) of more than one echo.

    Raises:
        InputError: as ``poisson_disk``.
    """
    n = settings.echoes
    patterns = [
        poisson_disk(
            settings.shape,
            acceleration=settings.acceleration,
            calibration=settings.calibration,
            seed=seed,
            ellipse=settings.ellipse,
            voxel_size_mm=settings.voxel_size_mm,
        )
        for seed in (echo_seeds(settings.seed, n) if n > 1 else [settings.seed])
    ]
    return torch.stack(patterns) if n > 1 else patterns[0]


def echo_seeds(seed: int, n_echoes: int) -> list[int]:
    """A seed for the pattern of each echo."""
    return [int(each) for each in np.random.SeedSequence(seed).generate_state(n_echoes)]


def in_order(pattern: Tensor, settings: PatternSettings) -> npt.NDArray[np.int64]:
    """Encoding steps of a pattern in the order of play, (shot, 2) or (echo, shot, 2).

    Raster: line by line of ky, along kz back and forth, so that one shot is near the next.
    Centre-out: by distance from the zero frequency in cycles/mm. Shot by shot, so are the echoes.

    Args:
        pattern: bool (ky, kz), or (echo, ky, kz) with as many samples in each echo.
        settings: order and voxel size.
    """
    if pattern.ndim == 3:
        return np.stack([in_order(one, settings) for one in pattern])
    ky, kz = np.nonzero(pattern.numpy())
    if settings.order == CENTRE_OUT:
        lines = [
            (np.arange(n) - n // 2) / (n * size_mm)
            for n, size_mm in zip(pattern.shape, settings.voxel_size_mm, strict=True)
        ]
        shots = np.argsort(np.hypot(lines[0][ky], lines[1][kz]), kind="stable")
    else:
        line = np.unique(ky, return_inverse=True)[1]
        shots = np.lexsort((np.where(line % 2, -kz, kz), ky))
    return np.stack([ky, kz], axis=1)[shots]


def pattern_regions(settings: PatternSettings) -> tuple[Tensor, Tensor]:
    """Fully sampled centre, and where samples may be, bool (y, z).

    Raises:
        InputError: as ``poisson_disk``.
    """
    return regions(
        settings.shape,
        acceleration=settings.acceleration,
        calibration=settings.calibration,
        ellipse=settings.ellipse,
    )
