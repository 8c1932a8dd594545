"""Sensitivities before a reconstruction: read from a file, and tried on samples kept from them."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.sensitivities import read_sensitivities
from accelqsm.kspace import KSpace
from accelqsm.pipeline.network import network_for
from accelqsm.recon.method_settings import PER_COIL
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings
from accelqsm.recon.trust import Trust, trust_in

FALLBACK = "zero-filled"
DOUBTFUL = Trust(predicted=0.9, explained=0.1)
USELESS = Trust(predicted=1.3, explained=0.25)
"""Errors from which on there is a word, and from which on zero filling is better. Phantoms of 4
and 8 channels at AF 3 to 5: where sensitivities help, 0.4 to 0.8 and 0.02 at most; where they do
harm, 1 to 2.9 and 0.27 to 0.54."""


@dataclass(frozen=True)
class Prepared:
    """A scan and the reconstruction that it allows.

    Attributes:
        kspace: with the sensitivities of a file, where one is named.
        recon: as asked for, or what is done instead.
        network: of the reconstruction; None for other methods.
        notes: what is recorded of network and sensitivities.
    """

    kspace: KSpace
    recon: ReconSettings
    network: Network | None
    notes: dict[str, Any]


def prepared(kspace: KSpace, recon: ReconSettings, network: Network | None = None) -> Prepared:
    """The network of a reconstruction, and whether sensitivities can be trusted.

    Args:
        kspace: samples of every channel and echo.
        recon: that was asked for.
        network: instead of the weights that ``recon`` names.

    Raises:
        InputError: weights or sensitivities that cannot be used.

    Warns:
        InputWarning: sensitivities that predict samples hardly better than zero filling, or
            worse; then that is what is done.
    """
    network, notes = network_for(kspace, recon, network)
    asked = Prepared(kspace, recon, network, dict(notes))
    file = recon.sensitivities.file
    if "sensitivities" not in RECONSTRUCTIONS[recon.method].uses:
        return asked
    if network is not None and network.consistency == PER_COIL:
        if file:
            raise InputError(
                f"{file}: sensitivities: expected with --consistency joint, found {PER_COIL}"
            )
        return asked
    if file:
        shape = kspace.acquisition.grid.shape
        maps = read_sensitivities(Path(file), n_channels=kspace.n_channels, shape=shape)
        asked = replace(asked, kspace=replace(kspace, sensitivities=maps))
    found = trust_in(asked.kspace, recon.sensitivities)
    return asked if found is None else _judged(asked, found)


def _judged(asked: Prepared, found: Trust) -> Prepared:
    """The reconstruction with what its sensitivities are worth, or zero filling."""
    method = asked.recon.method
    errors = {
        "held_out_error": round(found.predicted, 3),
        "unexplained": round(found.explained, 3),
    }
    if not _beyond(found, DOUBTFUL):
        return replace(asked, notes=asked.notes | errors)
    message = (
        f"{asked.kspace.name}: sensitivities: an image by them is {100 * found.predicted:.0f} % "
        f"wrong on samples that it was not given (zero filling: 100 %) and "
        f"{100 * found.explained:.0f} % on those that it was; a larger calibration or "
        "--sensitivities-file would help"
    )
    useless = _beyond(found, USELESS)
    if useless:
        message += f"; {FALLBACK} is used instead of {method}"
    warnings.warn(InputWarning(message), stacklevel=5)
    if not useless:
        return replace(asked, notes=asked.notes | errors)
    return Prepared(asked.kspace, ReconSettings(FALLBACK), None, errors | {"instead_of": method})


def _beyond(found: Trust, limit: Trust) -> bool:
    return found.predicted > limit.predicted or found.explained > limit.explained
