"""Sampling patterns of the protocols."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.virtual.protocols import Preset, Protocol


def sampling_pattern(
    protocol: Protocol, preset: Preset, *, seed: int, of_each_echo: bool = False
) -> Tensor:
    """Sampling pattern of a protocol in the (ky, kz) plane, bool (y, z) or (echo, y, z).

    Parallel imaging skips every other line along y outside its calibration lines; accelerated
    network protocols use Poisson disks of exactly their acceleration.

    Args:
        protocol: acceleration and reconstruction.
        preset: plane, voxels and centre.
        seed: the same seed gives the same pattern.
        of_each_echo: draw a Poisson disk for each echo instead of one for all.
    """
    plane = (preset.shape[1], preset.shape[2])
    if protocol.method == "grappa":
        centre = (preset.calibration_lines, plane[1])
        return regular(plane, acceleration=(2, 1), calibration=centre)
    if protocol.acceleration == 1.0:
        return regular(plane, acceleration=(1, 1), calibration=preset.calibration)

    def drawn(seed: int) -> Tensor:
        return poisson_disk(
            plane,
            acceleration=protocol.acceleration,
            calibration=preset.calibration,
            seed=seed,
            voxel_size_mm=preset.voxel_size_mm[1:],
        )

    if not of_each_echo:
        return drawn(seed)
    seeds = np.random.SeedSequence(seed).generate_state(len(preset.echo_times_s))
    return torch.stack([drawn(int(each)) for each in seeds])
