"""Sampling patterns of the protocols."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.text.pattern import read_pattern
from accelqsm.recon.patterns.drawn import drawn_pattern
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.recon.sampling import regular
from accelqsm.virtual.protocols import PROTOCOLS, Preset, Protocol

LARGEST_DEVIATION = 0.01
"""Of the acceleration of a table from that of a protocol's name, before it is said aloud."""


def sampling_pattern(
    protocol: Protocol, preset: Preset, *, seed: int, of_each_echo: bool = False
) -> Tensor:
    """Sampling pattern of a protocol in the (ky, kz) plane, bool (y, z) or (echo, y, z).

    Parallel imaging skips every other line along y outside its calibration lines; accelerated
    network protocols use Poisson disks of exactly their acceleration, or the positions of the
    preset's table.

    Args:
        protocol: acceleration and reconstruction.
        preset: plane, voxels and centre.
        seed: the same seed gives the same pattern.
        of_each_echo: draw a Poisson disk for each echo instead of one for all.

    Raises:
        InputError: a table that is not of the preset's plane and echoes.
    """
    plane = (preset.shape[1], preset.shape[2])
    if protocol.method == "grappa":
        centre = (preset.calibration_lines, plane[1])
        return regular(plane, acceleration=(2, 1), calibration=centre)
    if protocol.acceleration == 1.0:
        return regular(plane, acceleration=(1, 1), calibration=preset.calibration)
    if preset.pattern:
        return table_pattern(preset)

    settings = PatternSettings(
        shape=plane,
        acceleration=protocol.acceleration,
        calibration=preset.calibration,
        voxel_size_mm=preset.voxel_size_mm[1:],
        seed=seed,
        echoes=len(preset.echo_times_s) if of_each_echo else 1,
    )
    return drawn_pattern(settings)


def table_pattern(preset: Preset) -> Tensor:
    """Positions of the table of a preset, bool (y, z) or (echo, y, z).

    Raises:
        InputError: a table that cannot be read, or is not of the preset's plane and echoes.
    """
    path, n_echoes = Path(preset.pattern), len(preset.echo_times_s)
    pattern = read_pattern(path, (preset.shape[1], preset.shape[2]))
    if pattern.ndim == 3 and len(pattern) != n_echoes:
        raise InputError(
            f"{path}: expected one pattern or one for each of {n_echoes} echoes, found "
            f"{len(pattern)}"
        )
    return torch.from_numpy(pattern)


def check_table(preset: Preset, protocols: Sequence[str]) -> None:
    """Check that a table of positions can take the place of the Poisson disks of protocols.

    Raises:
        InputError: as ``table_pattern``; no protocol of Poisson disks, or several whose names tell
            different accelerations, though all would be sampled alike.

    Warns:
        InputWarning: another acceleration than that of the protocols' names.
    """
    own = [PROTOCOLS[name] for name in protocols if PROTOCOLS[name].poisson_disk]
    if len({one.acceleration for one in own}) != 1:
        raise InputError(
            f"--protocols: expected one of Poisson disks, such as af5, that is sampled by "
            f"{preset.pattern}, found {' '.join(one.name for one in own) or 'none'}"
        )
    pattern = table_pattern(preset)
    found = pattern.numel() / int(pattern.sum())
    if not math.isclose(found, own[0].acceleration, rel_tol=LARGEST_DEVIATION):
        message = f"{preset.pattern}: {own[0].name} is sampled at acceleration {found:.2f}, its own"
        warnings.warn(InputWarning(message), stacklevel=2)
