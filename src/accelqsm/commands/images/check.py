"""Early checks of inputs, before the slow import of torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.commands.common import check_space
from accelqsm.recon.registry import NETWORKS
from accelqsm.recon.settings import ReconSettings

if TYPE_CHECKING:
    from accelqsm.grid import Grid

MAPS = 7
"""Volumes that a map writes besides magnitude and phase of the echoes."""
BYTES_OF_A_VOXEL = 4


def check_images(options: argparse.Namespace) -> None:
    """Check by their headers that image files, echo times and mask fit each other.

    Raises:
        InputError: as ``read_images`` and ``susceptibility``, as far as headers tell.
    """
    from accelqsm.acquisition import Acquisition
    from accelqsm.files.megre.description import describe_scan, find_files
    from accelqsm.files.megre.place import check_place
    from accelqsm.files.megre.signal import check_count
    from accelqsm.files.nifti import check_same_grid, read_header

    described = describe_scan(
        find_files(
            list(options.magnitude),
            list(options.phase),
            options.megre,
            real=list(options.real),
            imaginary=list(options.imaginary),
            complex_numbers=list(options.complex),
        ),
        echo_times_s=options.echo_times_s,
        field_strength_t=options.b0_tesla,
        b0_direction=options.b0_direction,
        phase_range=options.phase_range,
    )
    parts = {
        part: [read_header(path) for path in paths] for part, paths in described.files.parts.items()
    }
    first = next(iter(parts.values()))[0]
    n_echoes = Acquisition(first.grid, described.echo_times_s, described.field_strength_t).n_echoes
    for part, headers in parts.items():
        found = headers[0].n_volumes if len(headers) == 1 else len(headers)
        check_count(part, headers[0].path, found, n_echoes, difference=described.difference)
        for header in headers:
            check_same_grid(header.grid, first.grid, header.path, reference=first.path)
    check_place(first, direction_given=described.b0_direction is not None)
    _check_mask(options, first.grid)
    check_maps_space(options.out, first.grid)


def check_maps_space(out: Path, grid: Grid) -> None:
    """Refuse to map what the disk has no room for.

    Raises:
        InputError: as ``check_space``.
    """
    check_space(out, MAPS * _bytes(grid))


def other_parts(options: argparse.Namespace) -> dict[str, list[Path]] | None:
    """Files of ``--real``, ``--imaginary`` and ``--complex`` by part; None without any."""
    given = {name: getattr(options, name) for name in ("real", "imaginary", "complex")}
    return {name: list(paths) for name, paths in given.items() if paths} or None


def check_scan(options: argparse.Namespace, recon: ReconSettings) -> None:
    """Check raw file, weights and mask, without reading the samples.

    Raises:
        InputError: as ``read_mrd``, as far as the heads tell, or as ``chosen_weights`` and
            ``weights_file``.
    """
    from accelqsm.files.mrd.lines import open_mrd, survey_lines
    from accelqsm.recon.weights import chosen_weights, weights_file

    if recon.method in NETWORKS:
        weights_file(chosen_weights(recon))
    with open_mrd(options.scan) as file:
        survey = survey_lines(options.scan, file, b0_said=options.b0_direction is not None)
    acquisition = survey.acquisition
    if recon.sensitivities.file:
        from accelqsm.files.mrd.sensitivities import read_sensitivities

        read_sensitivities(
            Path(recon.sensitivities.file),
            n_channels=survey.n_channels,
            shape=acquisition.grid.shape,
        )
    _check_mask(options, acquisition.grid)
    volumes = 2 * acquisition.n_echoes + (MAPS if hasattr(options, "mask") else 0)
    check_space(options.out, volumes * _bytes(acquisition.grid))


def _check_mask(options: argparse.Namespace, grid: Grid) -> None:
    from accelqsm.api.inputs import as_mask

    mask: Path | None = getattr(options, "mask", None)
    as_mask(mask, grid)


def _bytes(grid: Grid) -> int:
    x, y, z = grid.shape
    return x * y * z * BYTES_OF_A_VOXEL
