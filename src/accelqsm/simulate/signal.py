"""Steady-state signal of a spoiled gradient echo."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.errors import InputError


def spoiled_gradient_echo(
    proton_density: Tensor,
    t1_s: Tensor,
    *,
    repetition_time_s: float,
    flip_angle_deg: float,
) -> Tensor:
    """Steady-state magnitude M0 sin(a) (1 - E1) / (1 - E1 cos a) at TE 0, E1 = exp(-TR / T1).

    Args:
        proton_density: (x, y, z), any unit.
        t1_s: (x, y, z), longitudinal relaxation time in seconds.
        repetition_time_s: TR in seconds.
        flip_angle_deg: a in degrees.

    Returns:
        (x, y, z) in the unit of ``proton_density``.

    Raises:
        InputError: a repetition time or flip angle that is not positive.

    Source: Ernst and Anderson 1966, Rev Sci Instrum 37:93, doi 10.1063/1.1719961.
    """
    if repetition_time_s <= 0 or not 0 < flip_angle_deg <= 180:
        raise InputError(
            "spoiled gradient echo: expected repetition time > 0 s and flip angle in (0, 180] "
            f"degrees, found {repetition_time_s:g} s and {flip_angle_deg:g} degrees"
        )
    angle = math.radians(flip_angle_deg)
    recovery = torch.exp(-repetition_time_s / t1_s.clamp_min(1e-3))
    return proton_density * math.sin(angle) * (1 - recovery) / (1 - recovery * math.cos(angle))
