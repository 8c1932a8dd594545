"""Sampling patterns of the protocols."""

from __future__ import annotations

from torch import Tensor

from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.virtual.protocols import Preset, Protocol


def sampling_pattern(protocol: Protocol, preset: Preset, *, seed: int) -> Tensor:
    """Sampling pattern of a protocol in the (ky, kz) plane, bool (y, z).

    Parallel imaging skips every other line along y outside its calibration lines; accelerated
    network protocols use Poisson disks of exactly their acceleration.
    """
    plane = (preset.shape[1], preset.shape[2])
    if protocol.method == "grappa":
        centre = (preset.calibration_lines, plane[1])
        return regular(plane, acceleration=(2, 1), calibration=centre)
    if protocol.acceleration == 1.0:
        return regular(plane, acceleration=(1, 1), calibration=preset.calibration)
    return poisson_disk(
        plane,
        acceleration=protocol.acceleration,
        calibration=preset.calibration,
        seed=seed,
        voxel_size_mm=preset.voxel_size_mm[1:],
    )
