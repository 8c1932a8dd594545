"""From k-space or images to susceptibility."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from accelqsm.api.inputs import as_mask, name_of
from accelqsm.api.types import PathLike, VolumeLike
from accelqsm.errors import InputError
from accelqsm.files.megre.description import describe_scan, find_files
from accelqsm.files.megre.echoes import Echoes, echoes_of_arrays, read_scan
from accelqsm.files.mrd.reader import read_mrd as read_mrd_file
from accelqsm.grid import Triple, unit_vector
from accelqsm.kspace import KSpace
from accelqsm.pipeline import images as from_images
from accelqsm.pipeline import scan as from_kspace
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.echoes import Reconstruction
from accelqsm.results.maps import SusceptibilityMaps

if TYPE_CHECKING:
    from accelqsm.recon.network.protocol import Network

DEFAULT = QsmSettings()


def read_mrd(path: PathLike, *, b0_direction: Sequence[float] | None = None) -> KSpace:
    """Read a Cartesian 3D multi-echo scan from an ISMRMRD/MRD file.

    Args:
        path: HDF5 file; echo = contrast.
        b0_direction: of the main field along the array axes (readout, PE1, PE2); by default
            scanner +z by the directions in the lines.

    Raises:
        InputError: a file that cannot be used.

    Warns:
        InputWarning: what the file does not say, or says otherwise than its samples.
    """
    return read_mrd_file(Path(path), b0_direction=_direction(b0_direction))


def read_images(
    scan: PathLike | None = None,
    *,
    magnitude: VolumeLike = (),
    phase: VolumeLike = (),
    echo_times_s: Sequence[float] | None = None,
    b0_tesla: float | None = None,
    b0_direction: Sequence[float] | None = None,
    phase_range: tuple[float, float] | None = None,
    invert_phase: bool = False,
) -> Echoes:
    """Read magnitude and phase of every echo.

    Args:
        scan: BIDS folder or prefix of one scan (``*_echo-N_part-{mag,phase}_MEGRE.nii[.gz]``), in
            place of ``magnitude`` and ``phase``.
        magnitude, phase: one 4D image (x, y, z, echo) or one 3D image per echo, each, as paths; or
            nibabel images, whose phase is in radians.
        echo_times_s: one per echo, in seconds; by default ``EchoTime`` of the JSON sidecars.
        b0_tesla: main field; by default ``MagneticFieldStrength`` of the sidecars.
        b0_direction: along the array axes; by default ``B0_dir``, else scanner +z.
        phase_range: values that are -pi and pi; by default found.
        invert_phase: the scanner's phase falls where the field adds to B0.

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
    found = find_files(_paths(magnitude), _paths(phase), None if scan is None else Path(scan))
    described = describe_scan(
        found,
        echo_times_s=echo_times_s,
        field_strength_t=b0_tesla,
        b0_direction=b0_direction,
        phase_range=phase_range,
    )
    return read_scan(described, invert_phase=invert_phase)


def map_susceptibility(
    scan: KSpace,
    method: str | ReconSettings = "reconnet3d",
    *,
    mask: VolumeLike | None = None,
    settings: QsmSettings = DEFAULT,
    network: Network | None = None,
    b0_direction: Sequence[float] | None = None,
) -> SusceptibilityMaps:
    """Under-sampled k-space to susceptibility, on the GPU where there is one with the memory.

    Args:
        scan: samples of every channel and echo (``read_mrd``).
        method: "reconnet3d", "l1-wavelet", "cg-sense", "grappa", "zero-filled", or settings.
        mask: path, nibabel image, array or tensor, to use instead of a brain extraction.
        settings: of the chain from field to susceptibility.
        network: one of your own, instead of the weights that ``method`` names.
        b0_direction: of the main field along the array axes; by default as read.

    Raises:
        InputError: a scan, mask or settings that cannot be used.

    Warns:
        InputWarning: a single echo, or sensitivities that are not to be trusted.
    """
    inside = as_mask(mask, scan.acquisition.grid)
    return from_kspace.map_susceptibility(
        scan,
        method,
        mask=None if inside is None else torch.from_numpy(inside),
        settings=settings,
        network=network,
        b0_direction=_direction(b0_direction),
    )


def reconstruct_echoes(
    scan: KSpace, method: str | ReconSettings = "reconnet3d", *, network: Network | None = None
) -> Reconstruction:
    """Under-sampled k-space to magnitude and phase of every echo, channels combined.

    Args:
        scan: samples of every channel and echo (``read_mrd``).
        method: name of a reconstruction, or its settings.
        network: one of your own, instead of the weights that ``method`` names.

    Raises:
        InputError: a scan or settings that cannot be used.
    """
    return from_kspace.combined_echoes(scan, method, network=network)


def susceptibility(
    images: Echoes, *, mask: VolumeLike | None = None, settings: QsmSettings = DEFAULT
) -> SusceptibilityMaps:
    """Magnitude and phase of every echo to susceptibility.

    Args:
        images: of one scan (``read_images``).
        mask: path, nibabel image, array or tensor; by default found from the magnitude.
        settings: of the chain from field to susceptibility.

    Raises:
        InputError: a mask or settings that cannot be used.

    Warns:
        InputWarning: a single echo, or phase that looks high-pass filtered.
    """
    inside = as_mask(mask, images.acquisition.grid)
    return from_images.susceptibility(
        images,
        mask=None if inside is None else torch.from_numpy(inside),
        mask_name="from the magnitude" if mask is None else name_of(mask, "given"),
        settings=settings,
    )


def _direction(given: Sequence[float] | None) -> Triple | None:
    return None if given is None else unit_vector(given)


def _are_paths(given: Any) -> bool:
    many = given if isinstance(given, list | tuple) else [given]
    return all(isinstance(one, str | os.PathLike) for one in many)


def _paths(given: Any) -> list[Path]:
    return [Path(one) for one in (given if isinstance(given, list | tuple) else [given])]
