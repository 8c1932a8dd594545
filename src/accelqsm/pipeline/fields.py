"""Pipeline from a total or local field to susceptibility."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.field.record import Field
from accelqsm.pipeline.checks import PERHAPS_INVERTED, check_extent
from accelqsm.pipeline.maps import as_array, warn_of_size
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.chain import Subject, dipole_inversion, known_mask, local_field, uncertainty
from accelqsm.qsm.given import subject_of
from accelqsm.qsm.settings import QsmSettings
from accelqsm.qsm.sign import iron_contrast
from accelqsm.reference.registry import REFERENCES
from accelqsm.results.maps import FieldMaps, SusceptibilityMaps
from accelqsm.runtime.device import device_name, on_gpu_or_cpu
from accelqsm.units import gain_to_one, hz_to_ppm, ppm_to_hz

DEFAULT = QsmSettings()
STRONG_PPM = {"total-field": 20.0, "local-field": 2.0}
"""No head has a hundredth of its voxels that far from the median; fields in Hz that are taken for
ppm do."""
WEAK_PPM = {"total-field": 0.01, "local-field": 0.002}
"""Heads are ten times beyond; fields in ppm that are taken for Hz are not."""
NEAR_PI = 1e-3
LEAST_SHARE = 0.01
"""Of the mask, beside which voxels without a field go unsaid: rounding has some."""


def susceptibility(
    field: Field, *, mask: Tensor, mask_name: str, settings: QsmSettings = DEFAULT
) -> SusceptibilityMaps:
    """Susceptibility from a total or local field.

    Args:
        field: the field, with its standard deviation and magnitude where they are known.
        mask: bool (x, y, z), where the field is measured.
        mask_name: source of the mask, for messages and the record of the result.
        settings: settings of the QSM pipeline.

    Raises:
        InputError: a field that is none in the unit that was said, a mask that does not fit, or a
            reference that needs R2*.

    Warns:
        InputWarning: a field that is weak, absent in part of the mask or of the other sign.
    """
    if REFERENCES[settings.reference].needs_r2star:
        raise InputError(
            f"reference {settings.reference}: expected magnitude and phase of two echoes or more, "
            f"which tell R2*, found a field alone ({field.name})"
        )
    brain = _brain(field, mask, mask_name)

    def compute(device: torch.device) -> tuple[_Local, Tensor, Tensor | None]:
        local = _local(field, brain, settings, device)
        chi_ppm = dipole_inversion(local.field, local.mask, local.subject)
        return local, chi_ppm, uncertainty(chi_ppm, local.mask, local.subject)

    (local, chi_ppm, sd_ppm), device = on_gpu_or_cpu(compute)
    maps = SusceptibilityMaps(
        chi_ppm=as_array(chi_ppm),
        chi_sd_ppm=None if sd_ppm is None else as_array(sd_ppm),
        **_maps(field, local, mask_name, device_name(device)),
    )
    maps.check(field.name)
    _warn_of_sign(field, maps)
    return maps


def local_field_maps(
    field: Field, *, mask: Tensor, mask_name: str, settings: QsmSettings = DEFAULT
) -> FieldMaps:
    """Local field from a total field; arguments, errors and warnings as of ``susceptibility``.

    Raises:
        InputError: besides, a local field, of which there is nothing to compute.
    """
    if field.kind != "total-field":
        raise InputError(f"{field.name}: expected a total field to end at the local field")
    brain = _brain(field, mask, mask_name)
    local, device = on_gpu_or_cpu(lambda device: _local(field, brain, settings, device))
    maps = FieldMaps(**_maps(field, local, mask_name, device_name(device), until="local-field"))
    maps.check(field.name)
    return maps


@dataclass(frozen=True)
class _Local:
    """The local field, where it is known, and its subject."""

    field: LocalField
    mask: Tensor
    subject: Subject


def _local(field: Field, brain: Tensor, settings: QsmSettings, device: torch.device) -> _Local:
    def volume(values: Any, gain: float = 1.0) -> Tensor | None:
        return None if values is None else gain * torch.from_numpy(values).to(device)

    late = field.late_magnitude
    subject = subject_of(
        brain.to(device),
        voxel_size_mm=field.grid.voxel_size_mm,
        b0_direction=field.b0_direction,
        field_strength_t=field.field_strength_t,
        field_sd_hz=volume(field.field_sd_hz),
        late_magnitude=volume(late, 1.0 if late is None else gain_to_one(float(late.max()))),
        settings=settings,
    )
    field_hz = torch.where(brain, torch.from_numpy(field.field_hz), 0).to(device)
    if field.kind == "local-field":
        local = LocalField(hz_to_ppm(field_hz, field.field_strength_t), subject.brain)
    else:
        local = local_field(field_hz, subject)
    return _Local(local, known_mask(local, subject), subject)


def _maps(
    field: Field, local: _Local, mask_name: str, device: str, *, until: str = ""
) -> dict[str, Any]:
    """What all maps of a field have; the field itself is not among them."""
    warn_of_size(local.subject.settings)
    local_hz = None
    if field.kind == "total-field":
        found_hz = ppm_to_hz(local.field.field_ppm, field.field_strength_t)
        local_hz = as_array(torch.where(local.mask, found_hz, 0))
    return {
        "grid": field.grid,
        "mask": as_array(local.mask),
        "local_field_hz": local_hz,
        "magnitude": field.magnitude,
        "settings": local.subject.settings,
        "source": {**field.source, "mask": mask_name, **({"until": until} if until else {})},
        "device": device,
    }


def _brain(field: Field, mask: Tensor, mask_name: str) -> Tensor:
    """The mask without what the field leaves out, of a field that can be one.

    Raises:
        InputError: values that are not finite in the mask, 0 everywhere, wrapped phase, or beyond
            physics.

    Warns:
        InputWarning: a field that is 0 at the edge of the mask, or weaker than in any head.
    """
    check_extent(field.grid.shape, field.name, mask, mask_name)
    inside = mask.numpy()
    values_hz = field.field_hz[inside]
    if bad := int((~np.isfinite(values_hz)).sum()):
        raise InputError(
            f"{field.name}: expected finite values in the mask, found {bad} NaN or infinite voxels"
        )
    values_ppm = hz_to_ppm(values_hz, field.field_strength_t)
    given = values_ppm if field.unit == "ppm" else values_hz
    if not given.any():
        raise InputError(f"{field.name}: expected a field in the mask, found 0 everywhere")
    _check_is_field(field, float(given.min()), float(given.max()))
    _check_strength(field, values_ppm)
    _check_sd(field, inside)
    empty = ~inside | (field.field_hz == 0)
    measured = inside & ~ndimage.binary_propagation(~inside, mask=empty)
    lost = 1 - measured.sum() / inside.sum()
    if lost > LEAST_SHARE:
        warnings.warn(
            InputWarning(
                f"{field.name}: the field is 0 at the edge of the mask ({mask_name}), in "
                f"{100 * lost:.0f} % of it, and is left out there"
            ),
            stacklevel=3,
        )
    return torch.from_numpy(measured)


def _check_is_field(field: Field, low: float, high: float) -> None:
    """Refuse values that end at -pi and pi, or at 0 and 2 pi, as those of wrapped phase do."""
    for least, most in ((-np.pi, np.pi), (0.0, 2 * np.pi)):
        if abs(low - least) < NEAR_PI and abs(high - most) < NEAR_PI:
            raise InputError(
                f"{field.name}: expected a {_said(field)} in {field.unit}, found {low:.4f}.."
                f"{high:.4f}, as of wrapped phase in radians (--phase reads phase)"
            )


def _check_strength(field: Field, values_ppm: Any) -> None:
    """Refuse a field beyond physics, and warn of one that is weaker than in any head."""
    about = np.median(values_ppm) if field.kind == "total-field" else 0.0
    strength = float(np.percentile(np.abs(values_ppm - about), 99))
    said = f"at {field.field_strength_t:g} T; is {field.unit} its unit?"
    if strength > STRONG_PPM[field.kind]:
        raise InputError(
            f"{field.name}: expected a {_said(field)} within {STRONG_PPM[field.kind]:g} ppm, found "
            f"{strength:.3g} ppm {said}"
        )
    if strength < WEAK_PPM[field.kind]:
        warnings.warn(
            InputWarning(f"{field.name}: a {_said(field)} of {strength:.2g} ppm alone {said}"),
            stacklevel=4,
        )


def _check_sd(field: Field, inside: Any) -> None:
    if field.field_sd_hz is None:
        return
    unknown = int((field.field_sd_hz[inside] == 0).sum())
    name, total = field.source["field_sd"], int(inside.sum())
    if unknown == total:
        raise InputError(f"{name}: expected values above 0 in the mask, found none")
    if unknown:
        warnings.warn(
            InputWarning(
                f"{name}: the standard deviation is 0 in {unknown} of {total} voxels of the mask, "
                "whose field does not count"
            ),
            stacklevel=4,
        )


def _warn_of_sign(field: Field, maps: SusceptibilityMaps) -> None:
    """Warn of iron that comes out negative, where a magnitude tells of it."""
    if field.magnitude is None:
        return
    found = iron_contrast(
        maps.chi_ppm,
        -np.log(np.maximum(field.magnitude, np.float32(1e-12))),
        maps.mask,
        voxel_size_mm=field.grid.voxel_size_mm,
    )
    if found is not None and found <= PERHAPS_INVERTED:
        warnings.warn(
            InputWarning(
                f"{field.name}: susceptibility came out negative where the signal is low "
                f"({found:.1f} SD), as with a field of the other sign; fields are positive where "
                "they add to B0"
            ),
            stacklevel=3,
        )


def _said(field: Field) -> str:
    return field.kind.replace("-", " ")
