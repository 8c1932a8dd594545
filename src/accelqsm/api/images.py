"""Public functions from k-space or images to susceptibility maps."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from accelqsm.api.inputs import as_mask, name_of
from accelqsm.api.types import PathLike, VolumeLike
from accelqsm.errors import InputError
from accelqsm.files.field.record import Field
from accelqsm.files.megre.description import describe_scan, find_files
from accelqsm.files.megre.echoes import Echoes, echoes_of_arrays, read_scan
from accelqsm.grid import Triple, unit_vector
from accelqsm.options.setting import one_of
from accelqsm.qsm.settings import UNTIL, QsmSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.echoes import Reconstruction
from accelqsm.results.maps import FieldMaps, SusceptibilityMaps
from accelqsm.runtime.progress import stage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from accelqsm.kspace import KSpace
    from accelqsm.recon.network.protocol import Network

DEFAULT = QsmSettings()


def read_mrd(path: PathLike, *, b0_direction: Sequence[float] | None = None) -> KSpace:
    """Read a Cartesian 3D multi-echo scan from an ISMRMRD/MRD file.

    Args:
        path: HDF5 file; echo = contrast.
        b0_direction: of the main field along the array axes (readout, PE1, PE2); by default
            scanner +z by the directions in the lines.

    Returns:
    Samples of every channel and echo.

    Raises:
        InputError: a file that cannot be used.

    Warns:
        InputWarning: what the file does not say, or says otherwise than its samples.
    """
    from accelqsm.files.mrd.reader import read_mrd as read_mrd_file

    stage("Reading raw data")
    scan = read_mrd_file(Path(path), b0_direction=_direction(b0_direction))
    stage()
    return scan


def read_images(
    scan: PathLike | Mapping[str, Any] | None = None,
    *,
    magnitude: VolumeLike = (),
    phase: VolumeLike = (),
    echo_times_s: Sequence[float] | None = None,
    b0_tesla: float | None = None,
    b0_direction: Sequence[float] | None = None,
    phase_range: tuple[float, float] | None = None,
    invert_phase: bool | None = None,
) -> Echoes:
    """Read magnitude and phase images of every echo, or their real and imaginary parts.

    Args:
        scan: BIDS folder or prefix of one scan (``*_echo-N_part-{mag,phase}_MEGRE.nii[.gz]``, or
            ``part-real`` and ``part-imag``), or paths by part: ``{"real": ..., "imaginary": ...}``
            or ``{"complex": ...}``; in place of ``magnitude`` and ``phase``.
        magnitude, phase: one 4D image (x, y, z, echo) or one 3D image per echo, each, as paths; or
            nibabel images, whose phase is in radians. A single phase with ``EchoTime1`` and
            ``EchoTime2`` is the difference of two echoes.
        echo_times_s: one per echo, in seconds; by default ``EchoTime`` of the JSON sidecars.
        b0_tesla: main field; by default ``MagneticFieldStrength`` of the sidecars.
        b0_direction: along the array axes; by default ``B0_dir``, else scanner +z.
        phase_range: values that are -pi and pi; by default determined from the images.
        invert_phase: the scanner's phase decreases with TE where the field adds to B0; None: it is
            inverted where iron comes out clearly negative, with a warning.

    Returns:
    Complex images of every echo, with grid, echo times and field strength.

    Raises:
        InputError: files that cannot be read, or do not fit each other or the echo times.
    """
    if not _are_paths(magnitude) or not _are_paths(phase):
        if echo_times_s is None or b0_tesla is None:
            raise InputError("images: expected echo_times_s and b0_tesla with nibabel images")
        return echoes_of_arrays(
            magnitude,
            phase,
            echo_times_s=tuple(echo_times_s),
            field_strength_t=b0_tesla,
            b0_direction=b0_direction,
            invert_phase=invert_phase,
        )
    parts = scan if isinstance(scan, Mapping) else {}
    found = find_files(
        _paths(magnitude),
        _paths(phase),
        None if scan is None or isinstance(scan, Mapping) else Path(scan),
        real=_paths(parts.get("real", ())),
        imaginary=_paths(parts.get("imaginary", ())),
        complex_numbers=_paths(parts.get("complex", ())),
    )
    described = describe_scan(
        found,
        echo_times_s=echo_times_s,
        field_strength_t=b0_tesla,
        b0_direction=b0_direction,
        phase_range=phase_range,
    )
    stage("Reading images")
    echoes = read_scan(described, invert_phase=invert_phase)
    stage()
    return echoes


def map_susceptibility(
    scan: KSpace,
    method: str | ReconSettings = "reconnet3d",
    *,
    mask: VolumeLike | None = None,
    settings: QsmSettings = DEFAULT,
    network: Network | None = None,
    b0_direction: Sequence[float] | None = None,
    invert_phase: bool | None = None,
) -> SusceptibilityMaps:
    """Susceptibility maps from under-sampled k-space, on a GPU if its memory is sufficient.

    Args:
        scan: samples of every channel and echo (``read_mrd``).
        method: name of a reconstruction, or its settings.
        mask: path, nibabel image, array or tensor, to use instead of a brain extraction.
        settings: settings of the QSM pipeline.
        network: a network to use instead of the weights that ``method`` names.
        b0_direction: of the main field along the array axes; by default as read.
        invert_phase: phase decreases with TE where the field adds to B0; None: it is inverted
            where iron comes out clearly negative, with a warning.

    Returns:
    Susceptibility in ppm, with field, R2*, magnitude and mask on the grid of the scan.

    Raises:
        InputError: a scan, mask or settings that cannot be used.

    Warns:
        InputWarning: a single echo, sensitivities that are not to be trusted, or phase of the
            other sign.
    """
    from accelqsm.pipeline import scan as from_kspace

    inside = as_mask(mask, scan.acquisition.grid)
    return from_kspace.map_susceptibility(
        scan,
        method,
        mask=_tensor(inside),
        mask_name=_mask_name(mask),
        settings=settings,
        network=network,
        b0_direction=_direction(b0_direction),
        invert_phase=invert_phase,
    )


def reconstruct_echoes(
    scan: KSpace, method: str | ReconSettings = "reconnet3d", *, network: Network | None = None
) -> Reconstruction:
    """Coil-combined magnitude and phase of every echo from under-sampled k-space.

    Args:
        scan: samples of every channel and echo (``read_mrd``).
        method: name of a reconstruction, or its settings.
        network: a network to use instead of the weights that ``method`` names.

    Returns:
    Magnitude and phase (in radians) of every echo, on the grid of the scan.

    Raises:
        InputError: a scan or settings that cannot be used.
    """
    from accelqsm.pipeline import scan as from_kspace

    return from_kspace.combined_echoes(scan, method, network=network)


@overload
def susceptibility(
    images: Echoes | Field,
    *,
    mask: VolumeLike | None = None,
    settings: QsmSettings = DEFAULT,
    until: Literal["susceptibility"] = "susceptibility",
) -> SusceptibilityMaps: ...


@overload
def susceptibility(
    images: Echoes | Field,
    *,
    mask: VolumeLike | None = None,
    settings: QsmSettings = DEFAULT,
    until: Literal["total-field", "local-field"],
) -> FieldMaps: ...


def susceptibility(
    images: Echoes | Field,
    *,
    mask: VolumeLike | None = None,
    settings: QsmSettings = DEFAULT,
    until: str = "susceptibility",
) -> FieldMaps:
    """Susceptibility maps from magnitude and phase of every echo, or from a field.

    Args:
        images: complex images of one scan (``read_images``), or its field (``read_field``).
        mask: path, nibabel image, array or tensor; by default a brain extraction from the
            magnitude. A field needs one: where it is measured.
        settings: settings of the QSM pipeline.
        until: last map to compute: "total-field", "local-field" or "susceptibility".

    Returns:
    Susceptibility in ppm, with field, R2*, magnitude and mask on the grid of the images; without
    susceptibility, ``FieldMaps``.

    Raises:
        InputError: a mask or settings that cannot be used, or nothing to compute.

    Warns:
        InputWarning: a single echo, phase that looks high-pass filtered, or a field that looks
            like one of another unit or sign.
    """
    if until not in UNTIL:
        raise InputError(f"--until: expected {one_of(UNTIL)}, found '{until}'")
    if isinstance(images, Field):
        return _of_field(images, mask, settings, until)
    inside = as_mask(mask, images.acquisition.grid)
    from accelqsm.pipeline import images as from_images

    given: dict[str, Any] = {
        "mask": _tensor(inside),
        "mask_name": _mask_name(mask),
        "settings": settings,
    }
    if until != "susceptibility":
        return from_images.field_maps(images, until=until, **given)
    return from_images.susceptibility(images, **given)


def _of_field(
    field: Field, mask: VolumeLike | None, settings: QsmSettings, until: str
) -> FieldMaps:
    if UNTIL.index(until) <= UNTIL.index(field.kind):
        raise InputError(
            f"--until {until}: expected a map after the {field.kind.replace('-', ' ')} that was "
            "given, found none to compute"
        )
    inside = as_mask(mask, field.grid)
    if inside is None:
        raise InputError(f"{field.name}: expected --mask, where the field is measured, found none")
    from accelqsm.pipeline import fields as from_fields

    compute = from_fields.local_field_maps if until == "local-field" else from_fields.susceptibility
    import torch

    return compute(
        field, mask=torch.from_numpy(inside), mask_name=_mask_name(mask), settings=settings
    )


def _tensor(mask: npt.NDArray[np.bool_] | None) -> Tensor | None:
    import torch

    return None if mask is None else torch.from_numpy(mask)


def _mask_name(mask: VolumeLike | None) -> str:
    """What is recorded of a mask."""
    return "from the magnitude" if mask is None else name_of(mask, "given")


def _direction(given: Sequence[float] | None) -> Triple | None:
    return None if given is None else unit_vector(given)


def _are_paths(given: Any) -> bool:
    many = given if isinstance(given, list | tuple) else [given]
    return all(isinstance(one, str | os.PathLike) for one in many)


def _paths(given: Any) -> list[Path]:
    return [Path(one) for one in (given if isinstance(given, list | tuple) else [given])]
