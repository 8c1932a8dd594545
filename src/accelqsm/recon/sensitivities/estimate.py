"""Receive sensitivities of a scan: ESPIRiT's, refined where the centre is small."""

from __future__ import annotations

from dataclasses import replace

import torch

from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import readout_slabs
from accelqsm.recon.method_settings import SensitivitySettings
from accelqsm.recon.sensitivities.espirit import (
    DEFAULT,
    Sensitivities,
    espirit,
    needed_noise_power,
)
from accelqsm.recon.sensitivities.refine import is_small, refined
from accelqsm.runtime.progress import track


def estimate(
    kspace: KSpace,
    *,
    x: slice = slice(None),
    settings: SensitivitySettings = DEFAULT,
    noise_power: float | None = None,
) -> Sensitivities:
    """Sensitivities by ESPIRiT, and, from a small centre, what the samples around it add.

    Args:
        kspace: whitened samples with a fully sampled centre, or with sensitivities found apart.
        x: which readout positions.
        settings: of ESPIRiT.
        noise_power: as for ``espirit``.

    Raises:
        InputError: a centre smaller than the kernel, or a plane too small for it.
    """
    found = espirit(kspace, x=x, settings=settings, noise_power=noise_power)
    if not is_small(kspace):
        return found
    return replace(found, maps=refined(kspace, found.maps, found.support, x=x))


def estimate_in_slabs(kspace: KSpace, settings: SensitivitySettings = DEFAULT) -> Sensitivities:
    """The same at all readout positions, computed in slabs."""
    slabs, noise_power = readout_slabs(kspace), needed_noise_power(kspace, settings)
    found = [
        estimate(kspace, x=x, settings=settings, noise_power=noise_power)
        for x in track(slabs, "sensitivities", len(slabs))
    ]
    return Sensitivities(
        torch.cat([each.maps for each in found], dim=1),
        torch.cat([each.support for each in found]),
    )
