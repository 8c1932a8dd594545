"""Conversion of results of the QSM pipeline to records of arrays on a grid."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputWarning
from accelqsm.grid import Grid
from accelqsm.qsm.background.local import LocalField
from accelqsm.qsm.chain import QsmResult, TotalField, known_mask
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.echoes import EchoImages
from accelqsm.results.maps import FieldMaps, SusceptibilityMaps
from accelqsm.units import ppm_to_hz


def as_maps(
    result: QsmResult,
    grid: Grid,
    *,
    name: str,
    source: Mapping[str, Any],
    device: str,
    command: str,
    echoes: EchoImages | None = None,
    recon: ReconSettings | None = None,
) -> SusceptibilityMaps:
    """The maps of a scan, as arrays on its grid.

    Raises:
        InputError: values that are not finite, or beyond physics; named ``name``.

    Warns:
        InputWarning: an object smaller than a human head.
    """
    warn_of_size(result.settings)
    rate = result.r2star_per_s
    maps = SusceptibilityMaps(
        grid=grid,
        chi_ppm=as_array(result.chi_ppm),
        chi_sd_ppm=None if result.chi_sd_ppm is None else as_array(result.chi_sd_ppm),
        mask=as_array(result.mask),
        field_hz=as_array(result.field_hz),
        field_sd_hz=as_array(result.field_sd_hz),
        local_field_hz=as_array(result.local_field_hz),
        r2star_per_s=None if rate is None else as_array(rate),
        magnitude=as_array(result.magnitude),
        echoes=echoes,
        settings=result.settings,
        recon=recon,
        source={**source, **found_figures(result)},
        device=device,
        command=command,
    )
    maps.check(name)
    return maps


def found_figures(result: QsmResult) -> dict[str, float]:
    """What the chain found of the quality of the images, for the record."""
    found = {"incoherent_share": round(result.incoherent_share, 4)}
    return found if result.snr is None else found | {"snr": float(f"{result.snr:.3g}")}


def as_field_maps(
    total: TotalField,
    local: LocalField | None,
    grid: Grid,
    *,
    name: str,
    source: Mapping[str, Any],
    device: str,
    tells_decay: bool,
) -> FieldMaps:
    """The fields of a scan of images, as arrays on its grid.

    Args:
        total: total field.
        local: local field, or None where the chain ended before.
        grid: voxel grid.
        name: of the scan, for messages.
        source: record of the input.
        device: description of the device.
        tells_decay: the magnitudes tell R2*.

    Raises:
        InputError: values that are not finite.

    Warns:
        InputWarning: an object smaller than a human head.
    """
    subject, rate = total.subject, total.subject.r2star_per_s
    warn_of_size(subject.settings)
    left, local_hz = subject.brain, None
    if local is not None:
        left = known_mask(local, subject)
        local_hz = torch.where(left, ppm_to_hz(local.field_ppm, subject.field_strength_t), 0)
    maps = FieldMaps(
        grid=grid,
        mask=as_array(left),
        field_hz=as_array(total.field_hz),
        field_sd_hz=as_array(total.field_sd_hz),
        local_field_hz=None if local_hz is None else as_array(local_hz),
        r2star_per_s=None if rate is None or not tells_decay else as_array(rate),
        magnitude=as_array(total.magnitude),
        settings=subject.settings,
        source=source,
        device=device,
    )
    maps.check(name)
    return maps


def warn_of_size(used: QsmSettings) -> None:
    """Warn where the chain's lengths are not those of a human head, for which alone it was tried.

    Warns:
        InputWarning: with the factor.
    """
    if used.length_scale is not None and used.length_scale < 1:
        warnings.warn(
            InputWarning(
                f"object smaller than a human head: lengths that were not given are multiplied by "
                f"{used.length_scale:g} (an automatic mask loses {used.edge_mm:g} mm at its edge); "
                "outside of what was validated; --length-scale 1 keeps the lengths of a human head"
            ),
            stacklevel=3,
        )


def as_echoes(images: Tensor) -> EchoImages:
    """Convert complex (echo, x, y, z) to magnitude and phase."""
    return EchoImages(as_array(images.abs()), as_array(images.angle()))


def as_array(tensor: Tensor) -> npt.NDArray[Any]:
    """Convert a tensor to an array on the CPU."""
    values: npt.NDArray[Any] = tensor.detach().cpu().numpy()
    return values
