"""What this package does with samples, as calls on ``bench_inputs`` that are measured beside peers.

Every function loads its input and returns the call that is measured.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon import sampling
from accelqsm.recon.methods.cg_sense import cg_sense
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sensitivities.espirit import espirit
from bench_peers import ACCELERATION, CENTRE, PLANE

Call = Callable[[], Any]


def sampled(folder: Path) -> Call:
    """Poisson disk, bool (ky, kz)."""
    return lambda: sampling.poisson_disk(
        PLANE, acceleration=ACCELERATION, calibration=CENTRE, seed=1
    )


def sensitivities(folder: Path) -> Call:
    """Sensitivities (channel, x, y, z)."""
    kspace = _kspace(folder, "poisson")
    return lambda: espirit(kspace).maps


def grappa(folder: Path) -> Call:
    """Channel images (channel, x, y, z)."""
    kspace = _kspace(folder, "lines")
    return lambda: torch.cat([b.images[:, 0] for b in reconstruct(kspace, "grappa")], dim=1)


def sense(folder: Path) -> Call:
    """Image (x, y, z) with the given sensitivities."""
    planes, maps, pattern = _given(folder)
    return lambda: cg_sense(planes, maps, sampled=pattern)


def wavelet(folder: Path) -> Call:
    """Image (x, y, z) with the given sensitivities."""
    planes, maps, pattern = _given(folder)
    return lambda: l1_wavelet(planes, maps, sampled=pattern)


def _kspace(folder: Path, name: str) -> KSpace:
    kspace: KSpace = pickle.loads((folder / f"{name}.pickle").read_bytes())
    return kspace


def _given(folder: Path) -> tuple[Tensor, Tensor, Tensor]:
    kspace = _kspace(folder, "poisson")
    return (
        kspace.planes()[:, 0].contiguous(),
        torch.from_numpy(np.load(folder / "maps.npy")),
        kspace.sampled,
    )
