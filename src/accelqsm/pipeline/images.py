"""Magnitude and phase images of any scanner to susceptibility."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from accelqsm.errors import InputWarning
from accelqsm.files.megre.description import ScanDescription, describe_scan, find_files
from accelqsm.files.megre.echoes import Echoes, read_scan
from accelqsm.qsm.chain import QsmResult, susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.filtered import looks_filtered
from accelqsm.results.maps import read_mask, read_qsm_settings, write_maps
from accelqsm.runtime.device import CPU, on_device, on_gpu_or_cpu


def qsm_images(
    magnitude: Sequence[Path],
    phase: Sequence[Path],
    out: Path,
    *,
    megre: Path | None = None,
    echo_times_s: Sequence[float] | None = None,
    field_strength_t: float | None = None,
    b0_direction: Sequence[float] | None = None,
    phase_range: tuple[float, float] | None = None,
    mask: Path | None = None,
    invert_phase: bool = False,
    settings: Path | None = None,
) -> QsmResult:
    """Map susceptibility from the magnitude and phase of every echo, and write the maps.

    Args:
        magnitude, phase: one 4D image (x, y, z, echo) or one 3D image per echo, each.
        out: folder for ``Chimap.nii.gz`` (ppm), ``fieldmap.nii.gz`` and ``localfield.nii.gz``
            (Hz), ``mask.nii.gz`` (what is left of the mask) and ``settings.toml``.
        megre: BIDS folder or prefix of one scan, instead of ``magnitude`` and ``phase``.
        echo_times_s: one per echo, in seconds; by default ``EchoTime`` of the JSON sidecars.
        field_strength_t: main field in tesla; by default ``MagneticFieldStrength``.
        b0_direction: along the array axes; by default ``B0_dir``, else scanner +z, from the
            affine.
        phase_range: values that are -pi and pi; by default found (``files.phase``).
        mask: NIfTI on the same grid; by default found from the magnitude.
        invert_phase: the scanner's phase falls where the field adds to B0.
        settings: ``settings.toml`` of an earlier run, to replay its ``[qsm]`` table.

    Raises:
        InputError: files that cannot be read, or do not fit each other or the echo times.

    Warns:
        InputWarning: a single echo, or phase that looks high-pass filtered.
    """
    scan = describe_scan(
        find_files(magnitude, phase, megre),
        echo_times_s=echo_times_s,
        field_strength_t=field_strength_t,
        b0_direction=b0_direction,
        phase_range=phase_range,
    )
    echoes = read_scan(scan, invert_phase=invert_phase)
    qsm_settings = read_qsm_settings(settings)
    acquisition = echoes.acquisition
    inside = read_mask(mask, acquisition.grid)
    warn_of_losses(scan, echoes)
    direction = scan.b0_direction or acquisition.b0_direction

    def mapped(device: torch.device) -> QsmResult:
        found = susceptibility(
            lag_products(echoes.images.to(device), echo_times_s=acquisition.echo_times_s),
            grid=acquisition.grid,
            b0_direction=direction,
            field_strength_t=acquisition.field_strength_t,
            mask=inside,
            settings=qsm_settings,
        )
        return on_device(found, CPU)

    result, device = on_gpu_or_cpu(mapped)
    source = {
        "magnitude": [str(path) for path in scan.files.magnitude],
        "phase": [str(path) for path in scan.files.phase],
        "phase_unit": echoes.unit.name + (", slope ignored" if echoes.unit.stored else ""),
        "echo_times_s": list(acquisition.echo_times_s),
        "b0_tesla": acquisition.field_strength_t,
        "b0_direction": list(direction),
        "invert_phase": invert_phase,
        "mask": "from the magnitude" if mask is None else str(mask),
    }
    write_maps(out, result, acquisition.grid, settings=qsm_settings, source=source, device=device)
    return result


def warn_of_losses(scan: ScanDescription, echoes: Echoes) -> None:
    """Warn of what the scan cannot tell.

    Warns:
        InputWarning: a single echo, whose phase offset is taken for field; phase that has lost
            its low spatial frequencies.
    """
    path = scan.files.phase[0]
    if echoes.acquisition.n_echoes == 1:
        warnings.warn(
            InputWarning(
                f"{path}: a single echo, so that the phase offset at excitation is taken for "
                "field; two echoes or more would tell them apart"
            ),
            stacklevel=2,
        )
    if looks_filtered(echoes.images, echoes.acquisition):
        warnings.warn(
            InputWarning(
                f"{path}: phase is almost zero over 20 mm in every echo, as high-pass filtered "
                "(SWI) phase is; if it was filtered, the map is wrong"
            ),
            stacklevel=2,
        )
