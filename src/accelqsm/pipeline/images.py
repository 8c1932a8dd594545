"""Pipeline from magnitude and phase images to susceptibility."""

from __future__ import annotations

import dataclasses
import warnings

import torch
from torch import Tensor

from accelqsm.errors import InputWarning
from accelqsm.files.megre.echoes import Echoes
from accelqsm.pipeline.checks import (
    FOUND_INVERTED,
    check_mappable,
    check_reference,
    warn_of_mask,
    with_known_sign,
)
from accelqsm.pipeline.maps import as_field_maps, as_maps
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.chain import QsmResult, TotalField, local_field, mapped, total_field
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.filtered import looks_filtered
from accelqsm.qsm.settings import QsmSettings
from accelqsm.results.maps import FieldMaps, SusceptibilityMaps
from accelqsm.runtime.device import CPU, device_name, on_device, on_gpu_or_cpu
from accelqsm.units import gain_to_one

DEFAULT = QsmSettings()


def susceptibility(
    images: Echoes,
    *,
    mask: Tensor | None = None,
    mask_name: str = "from the magnitude",
    settings: QsmSettings = DEFAULT,
) -> SusceptibilityMaps:
    """Susceptibility maps from complex images of every echo.

    Args:
        images: images of one scan, channels combined.
        mask: bool (x, y, z) to use instead of a brain extraction.
        mask_name: source of the mask, for the record of the result.
        settings: settings of the QSM pipeline.

    Raises:
        InputError: images or a mask of fewer than four voxels along an axis, a mask that does not
            fit, or settings that the images do not allow.

    Warns:
        InputWarning: a single echo, phase that looks high-pass filtered or is of the other sign,
            a magnitude that does not tell R2*, or a mask that holds air.
    """
    check_mappable(images, mask, mask_name)
    check_reference(images, settings)
    warn_of_losses(images)
    warn_of_mask(images, mask, mask_name)
    acquisition, gain = images.acquisition, gain_to_one(float(images.images.abs().max()))

    def compute(device: torch.device) -> QsmResult:
        return on_device(mapped(_total_field(images, gain, mask, settings, device)), CPU)

    result, device = on_gpu_or_cpu(compute)
    result, flipped = with_known_sign(
        result,
        name=images.name,
        voxel_size_mm=acquisition.voxel_size_mm,
        tells_decay=images.tells_decay,
        inverted=images.inverted,
    )
    result = dataclasses.replace(result, magnitude=result.magnitude / gain)
    if not images.tells_decay:
        result = dataclasses.replace(result, r2star_per_s=None)
    sign = FOUND_INVERTED if flipped else {}
    return as_maps(
        result,
        acquisition.grid,
        name=images.name,
        source={**images.source, **sign, "mask": mask_name},
        device=device_name(device),
        command="qsm",
    )


def field_maps(
    images: Echoes,
    *,
    until: str,
    mask: Tensor | None = None,
    mask_name: str = "from the magnitude",
    settings: QsmSettings = DEFAULT,
) -> FieldMaps:
    """Total field, or local field as well, from complex images; the rest as ``susceptibility``.

    Args:
        until: "total-field" or "local-field", the last map to compute.

    Warns:
        InputWarning: besides, a sign of phase that nobody said, as susceptibility alone tells it.
    """
    check_mappable(images, mask, mask_name)
    warn_of_losses(images)
    warn_of_mask(images, mask, mask_name)
    if images.inverted is None:
        warnings.warn(
            InputWarning(
                f"{images.name}: phase is taken to increase where the field adds to B0, which is "
                "not checked without susceptibility (--invert-phase or --no-invert-phase says it)"
            ),
            stacklevel=2,
        )
    acquisition, gain = images.acquisition, gain_to_one(float(images.images.abs().max()))

    def compute(device: torch.device) -> tuple[TotalField, LocalField | None]:
        total = _total_field(images, gain, mask, settings, device)
        if until == "total-field":
            return total, None
        return total, local_field(total.field_hz, total.subject)

    (total, local), device = on_gpu_or_cpu(compute)
    total = dataclasses.replace(total, magnitude=total.magnitude / gain)
    return as_field_maps(
        total,
        local,
        acquisition.grid,
        name=images.name,
        source={**images.source, "mask": mask_name, "until": until},
        device=device_name(device),
        tells_decay=images.tells_decay,
    )


def _total_field(
    images: Echoes, gain: float, mask: Tensor | None, settings: QsmSettings, device: torch.device
) -> TotalField:
    """Total field of images times ``gain``, computed on a device."""
    acquisition = images.acquisition
    return total_field(
        lag_products(gain * images.images.to(device), echo_times_s=acquisition.echo_times_s),
        grid=acquisition.grid,
        b0_direction=images.b0_direction,
        field_strength_t=acquisition.field_strength_t,
        mask=mask,
        settings=settings,
    )


def warn_of_losses(images: Echoes) -> None:
    """Warn of images that lack information for an accurate field map.

    Warns:
        InputWarning: a single echo, whose phase offset is taken for field; phase without low
            spatial frequencies.
    """
    if images.acquisition.n_echoes == 1:
        warnings.warn(
            InputWarning(
                f"{images.name}: a single echo, so that the phase offset at excitation is taken "
                "for field; two echoes or more would separate them"
            ),
            stacklevel=2,
        )
    if not images.tells_decay:
        same = "the magnitude is the same in every echo"
        if images.source.get("phase_difference"):
            same = "one magnitude stands for both echoes of the phase difference"
        warnings.warn(
            InputWarning(f"{images.name}: {same}, so that R2* is not known"),
            stacklevel=2,
        )
    if looks_filtered(images.images, images.acquisition):
        warnings.warn(
            InputWarning(
                f"{images.name}: phase is almost zero over 20 mm (in a small object, over as "
                "much less) in every echo, as high-pass filtered (SWI) phase is; if it was "
                "filtered, the map is wrong"
            ),
            stacklevel=2,
        )
