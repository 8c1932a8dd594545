"""What the stages after the total field know of a subject whose field alone is given."""

from __future__ import annotations

import torch
from torch import Tensor

from accelqsm.grid import Triple
from accelqsm.morphology import in_head_mm
from accelqsm.qsm.chain import Subject
from accelqsm.qsm.field.noise import Noise
from accelqsm.qsm.scale import in_proportion, length_scale
from accelqsm.qsm.settings import QsmSettings


def subject_of(
    brain: Tensor,
    *,
    voxel_size_mm: Triple,
    b0_direction: Triple,
    field_strength_t: float,
    field_sd_hz: Tensor | None,
    late_magnitude: Tensor | None,
    settings: QsmSettings,
) -> Subject:
    """The subject of a field that comes without its echoes.

    Args:
        brain: bool (x, y, z), where the field is measured.
        voxel_size_mm: edge lengths of a voxel in mm.
        b0_direction: unit vector of the main field along the array axes.
        field_strength_t: main field in tesla.
        field_sd_hz: (x, y, z), standard deviation of the field, 0 where it is not known; None for
            equal weights.
        late_magnitude: (x, y, z) of late echoes, or None.
        settings: of the chain.
    """
    shown = brain.float() if late_magnitude is None else late_magnitude
    scale = settings.length_scale or length_scale(shown, brain, voxel_size_mm=voxel_size_mm)
    size_mm = in_head_mm(voxel_size_mm, scale)
    noise = None
    if field_sd_hz is not None:
        # What is not known has no weight, which an infinite standard deviation says.
        sd_hz = torch.where(field_sd_hz > 0, field_sd_hz, torch.inf)
        sd_hz = torch.where(brain, sd_hz, 0)
        noise = Noise(sd_hz, sd_hz, None)
    return Subject(
        brain=brain,
        brain_is_found=False,
        voxel_size_mm=size_mm,
        b0_direction=b0_direction,
        field_strength_t=field_strength_t,
        length_scale=scale,
        noise=noise,
        late_magnitude=late_magnitude,
        settings=in_proportion(settings, scale),
    )
