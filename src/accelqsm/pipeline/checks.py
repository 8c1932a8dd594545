"""What a scan or a mask cannot give, said before it is mapped; the sign of phase, said after."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import torch
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.megre.echoes import Echoes
from accelqsm.grid import Triple
from accelqsm.qsm.chain import QsmResult
from accelqsm.qsm.settings import QsmSettings
from accelqsm.qsm.sign import iron_contrast
from accelqsm.reference.registry import REFERENCES

FEWEST_VOXELS = 4
"""Along each axis: what is thinner holds no field from which a source could be found."""
DARK = 0.1
"""Of the 95th percentile of the magnitude in a mask: noise and air are below."""
MOST_DARK = 0.2
"""Share of a mask; a tenth and less in brains with ventricles and sinuses."""
CLEARLY_INVERTED = -1.5
"""Robust SDs of ``iron_contrast``; heads have 1.7 to 4."""
PERHAPS_INVERTED = -2.0
"""Where the magnitude of one echo stands for the decay."""
FOUND_INVERTED = {"invert_phase": True, "phase_sign": "found from the decay"}
"""What is recorded of phase that was inverted unasked."""


def check_mappable(images: Echoes, mask: Tensor | None, mask_name: str) -> None:
    """Refuse what has no third dimension, and a magnitude that shows no brain without a mask.

    Raises:
        InputError: fewer than four voxels along an axis of the images or the mask, or a constant
            magnitude without a mask.
    """
    check_extent(images.acquisition.grid.shape, images.name, mask, mask_name)
    if mask is None:
        magnitude = images.images[0, 0].abs()
        if float(magnitude.max()) <= 1.000001 * float(magnitude.min()):
            raise InputError(
                f"{_magnitude_name(images)}: expected a magnitude that shows the brain, or --mask, "
                f"found {float(magnitude.min()):g} everywhere"
            )


def check_extent(shape: tuple[int, ...], name: str, mask: Tensor | None, mask_name: str) -> None:
    """Refuse a volume, or a mask, that has no third dimension.

    Raises:
        InputError: fewer than four voxels along an axis.
    """
    _check_extent(shape, f"{name}: expected a 3D scan")
    if mask is None:
        return
    places = torch.nonzero(mask)
    if len(places):
        sizes = (places.amax(0) - places.amin(0) + 1).tolist()
        _check_extent(tuple(sizes), f"{mask_name}: expected a mask")


def check_reference(images: Echoes, settings: QsmSettings) -> None:
    """Refuse a reference that needs R2* where the magnitudes do not tell it.

    Raises:
        InputError: as said.
    """
    if not images.tells_decay and REFERENCES[settings.reference].needs_r2star:
        raise InputError(
            f"reference {settings.reference}: expected a magnitude of every echo, which tell R2*, "
            f"found the same in all ({_magnitude_name(images)})"
        )


def warn_of_mask(images: Echoes, mask: Tensor | None, mask_name: str) -> None:
    """Warn of a mask that is not one of a brain.

    Warns:
        InputWarning: a fifth of the mask or more has no signal.
    """
    if mask is None:
        return
    inside = images.images[0, 0].abs()[mask].numpy()
    share = float((inside < DARK * np.percentile(inside, 95)).mean())
    if share > MOST_DARK:
        warnings.warn(
            InputWarning(
                f"{mask_name}: {100 * share:.0f} % of the mask has no signal, as air has none; "
                "the map is wrong there and near it (leave --mask out, or mask the brain)"
            ),
            stacklevel=3,
        )


def with_known_sign(
    result: QsmResult,
    *,
    name: str,
    voxel_size_mm: Triple,
    tells_decay: bool = True,
    inverted: bool | None = None,
) -> tuple[QsmResult, bool]:
    """Maps of the sign that iron has, negated where nobody said which it is; and whether they were.

    Args:
        result: of phase as it was given, or inverted as ``inverted`` says.
        name: of the scan, for messages.
        voxel_size_mm: edge lengths of a voxel.
        tells_decay: the magnitudes of the echoes tell R2*.
        inverted: what the caller said of the phase; None if nothing.

    Warns:
        InputWarning: iron that comes out negative.
    """
    rate = result.r2star_per_s if tells_decay else None
    decay = -torch.log(result.magnitude.clamp_min(1e-12)) if rate is None else rate
    found = iron_contrast(
        result.chi_ppm.numpy(),
        decay.numpy(),
        result.mask.numpy(),
        voxel_size_mm=voxel_size_mm,
    )
    limit = PERHAPS_INVERTED if rate is None else CLEARLY_INVERTED
    if found is None or found > limit:
        return result, False
    flips = inverted is None and rate is not None
    where = "where the signal decays fastest" if rate is not None else "where the signal is low"
    what = (
        f"{name}: susceptibility came out negative {where} ({found:.1f} SD), as with phase "
        "of the other sign: "
    )
    if flips:
        what += "the phase was inverted (--no-invert-phase keeps it as it is)"
    elif inverted is None:
        what += "--invert-phase turns it round"
    else:
        what += f"is {'--' if inverted else '--no-'}invert-phase right?"
    warnings.warn(InputWarning(what), stacklevel=3)
    return (inverted_fields(result), True) if flips else (result, False)


def inverted_fields(result: QsmResult) -> QsmResult:
    """The maps of the conjugate images: fields and susceptibility negated."""
    return dataclasses.replace(
        result,
        chi_ppm=-result.chi_ppm,
        field_hz=-result.field_hz,
        local_field_hz=-result.local_field_hz,
    )


def _check_extent(sizes: tuple[int, ...], expected: str) -> None:
    if min(sizes) < FEWEST_VOXELS:
        shown = " x ".join(map(str, sizes))
        raise InputError(
            f"{expected} of {FEWEST_VOXELS} voxels or more along each axis, found {shown}"
        )


def _magnitude_name(images: Echoes) -> str:
    files = images.source.get("magnitude", images.name)
    return str(files[0]) if isinstance(files, list) else "magnitude"
