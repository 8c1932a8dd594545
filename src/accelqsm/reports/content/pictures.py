"""Figures and viewer of a study's report, from its maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.figures.extreme import LargestDifference, difference_figure
from accelqsm.figures.figure import Figure
from accelqsm.figures.images import ProtocolImages, protocol_figure, zoom_figure
from accelqsm.figures.nuclei import nuclei_figure, still_figure
from accelqsm.figures.sampling import sampling_figure
from accelqsm.figures.slices import DEFAULT_CHI_WINDOW_PPB, views_of
from accelqsm.files.compact import compact_nifti
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import read_table
from accelqsm.grid import Grid, cut_grid
from accelqsm.nuclei.measure import split_side
from accelqsm.reports.page.content import Viewer
from accelqsm.results.echoes import last_echo
from accelqsm.results.maps import CHIMAP, MASK
from accelqsm.results.study import LOOKUP_NAME, SCANS, TRUTH, ScanFiles, map_folder, scan_files
from accelqsm.units import PPB_PER_PPM
from accelqsm.virtual.protocols import PROTOCOLS

VIEWER_STEP_PPB = 0.1
VIEWER_MARGIN_MM = 10.0
Volume = npt.NDArray[np.float64]


@dataclass(frozen=True)
class StudyFolder:
    """Folders of the maps and scans of one subject, with the meaning of their labels.

    Attributes:
        reference: the protocol that the others are compared with.
        maps: protocol label -> folder of its maps, the reference first.
        scans: protocol label -> files of its scan.
        regions: label value -> nucleus.
        names: label value -> nucleus with its side.
    """

    reference: str
    maps: Mapping[str, Path]
    scans: Mapping[str, ScanFiles]
    regions: Mapping[int, str]
    names: Mapping[int, str]


@dataclass(frozen=True)
class StudyImages:
    """Maps of one subject with the grid and pose of the reference.

    Attributes:
        grid: voxel grid of the maps.
        chi_ppm: protocol label -> susceptibility in ppm, the reference first.
        labels: integer labels.
        mask: intersection of the masks of all protocols.
    """

    grid: Grid
    chi_ppm: Mapping[str, Volume]
    labels: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]


def find_study(out: Path, subject: str, reference: str) -> StudyFolder:
    """Find the maps and labels of one subject in the folder of a study.

    Raises:
        InputError: no map of the reference, or no lookup of the labels.
    """
    found = {}
    for name, protocol in PROTOCOLS.items():
        if (map_folder(out, subject, name) / CHIMAP).is_file():
            found[protocol.label] = name
    if reference not in found:
        raise InputError(
            f"{out / 'maps' / subject}: expected a {CHIMAP} of {reference}, found none"
        )
    order = [reference, *(label for label in found if label != reference)]
    lookup = read_table(out / SCANS / LOOKUP_NAME, columns=("index", "name"), text=("name",))
    names = dict(zip(lookup["index"].astype(int), lookup["name"].astype(str), strict=True))
    return StudyFolder(
        reference,
        {label: map_folder(out, subject, found[label]) for label in order},
        {label: scan_files(out / SCANS, subject, found[label]) for label in order},
        {index: split_side(name)[0] for index, name in names.items()},
        names,
    )


def read_images(folder: StudyFolder) -> StudyImages:
    """Read the maps of the protocols with the same pose as the reference.

    Raises:
        InputError: files that cannot be read.
    """
    first = read_volume(folder.maps[folder.reference] / CHIMAP)
    labels = _labels(folder, folder.reference, first.grid)
    chi_ppm: dict[str, Volume] = {}
    masks = []
    for label, maps in folder.maps.items():
        image = read_volume(maps / CHIMAP)
        if image.grid != first.grid:
            continue
        if not np.array_equal(_labels(folder, label, first.grid), labels):
            continue
        chi_ppm[label] = np.asarray(image.values, dtype=np.float64)
        masks.append(np.asarray(read_volume(maps / MASK, grid=first.grid).values) > 0.5)
    return StudyImages(first.grid, chi_ppm, labels, np.logical_and.reduce(masks))


def figures_of_maps(
    folder: StudyFolder, images: StudyImages, largest: LargestDifference | None
) -> dict[str, Callable[[], Figure]]:
    """Title -> function that draws it: nuclei, protocols, magnified nuclei, differences."""
    size = images.grid.voxel_size_mm
    at = [] if largest is None else _label_values(folder, largest.region)

    def magnified() -> Figure:
        chi = dict(images.chi_ppm)
        truth = folder.scans[folder.reference].truth
        if truth.is_file():
            chi[TRUTH] = np.asarray(read_volume(truth, grid=images.grid).values)
        return zoom_figure(
            chi, images.labels, folder.regions, voxel_size_mm=size, mask=images.mask,
            views=views_of(folder.regions.values()),
        )  # fmt: skip

    return {
        "The nuclei": lambda: nuclei_figure(
            folder.reference, images.chi_ppm[folder.reference], images.labels, folder.regions,
            voxel_size_mm=size,
        ),
        "Protocols side by side": lambda: protocol_figure(
            [_with_echoes(folder, images, label) for label in images.chi_ppm],
            voxel_size_mm=size, mask=images.mask, labels=images.labels,
        ),
        "Nuclei, magnified": magnified,
        "Where the maps differ": lambda: difference_figure(
            images.chi_ppm, images.labels, folder.regions, reference=folder.reference, at=at,
            voxel_size_mm=size, mask=images.mask,
        ),
    }  # fmt: skip


def figure_of_sampling(folder: StudyFolder) -> Figure:
    """Figure of the sampling patterns of all protocols."""
    patterns = {label: read_sampling(files.raw) for label, files in folder.scans.items()}
    return sampling_figure(
        {
            label if pattern.ndim == 2 else f"{label}, echo 1": pattern.reshape(
                -1, *pattern.shape[-2:]
            )[0]
            for label, pattern in patterns.items()
        }
    )


def viewer_of_maps(folder: StudyFolder, images: StudyImages) -> Viewer:
    """Interactive viewer of the maps near the nuclei, cropped to exclude the face."""
    box = _box(images)
    grid = cut_grid(images.grid, box)
    labels = images.labels[box]
    at = _middle(labels)
    chi = {label: PPB_PER_PPM * values[box] for label, values in images.chi_ppm.items()}
    truth = folder.scans[folder.reference].truth
    if truth.is_file():
        values = read_volume(truth, grid=images.grid).values
        chi[TRUTH] = PPB_PER_PPM * np.asarray(values, dtype=np.float64)[box]
    return Viewer(
        title="Look through the maps",
        caption=(
            "Susceptibility in ppb around the nuclei, which are overlaid in the colours of the "
            "figures. Choose a map, fade the nuclei, and move with the sliders, by clicking, or "
            f"with the mouse wheel; values are rounded to {VIEWER_STEP_PPB:g} ppb. "
            "The patient's right is on the left. The volumes are inside this file."
        ),
        still=still_figure(
            folder.reference, images.chi_ppm[folder.reference][box], labels, folder.regions,
            voxel_size_mm=images.grid.voxel_size_mm, at=at,
        ),
        maps={name: compact_nifti(c, grid, step=VIEWER_STEP_PPB) for name, c in chi.items()},
        labels=compact_nifti(labels, grid),
        regions=folder.regions,
        names=folder.names,
        window_ppb=DEFAULT_CHI_WINDOW_PPB,
        start=_relative_position(at, labels.shape),
    )  # fmt: skip


def _labels(folder: StudyFolder, label: str, grid: Grid) -> npt.NDArray[np.int64]:
    values = read_volume(folder.scans[label].labels, grid=grid).values
    return np.asarray(np.rint(values), dtype=np.int64)


def _with_echoes(folder: StudyFolder, images: StudyImages, label: str) -> ProtocolImages:
    """Map of a protocol with magnitude and phase of its last echo, if available."""
    parts = {}
    for part in ("mag", "phase"):
        echo = last_echo(folder.maps[label], part)
        parts[part] = None if echo is None else read_volume(echo, grid=images.grid).values
    return ProtocolImages(label, images.chi_ppm[label], parts["mag"], parts["phase"])


def _label_values(folder: StudyFolder, region: str) -> list[int]:
    """Label values of a region, whose name may include the side."""
    exact = [value for value, name in folder.names.items() if name == region]
    return exact or [value for value, name in folder.regions.items() if name == region]


def _box(images: StudyImages) -> tuple[slice, slice, slice]:
    sides = []
    for axis, size_mm in enumerate(images.grid.voxel_size_mm):
        other = tuple(a for a in range(3) if a != axis)
        where = np.flatnonzero(images.labels.any(axis=other))
        margin = round(VIEWER_MARGIN_MM / size_mm)
        stop = min(int(where[-1]) + margin + 1, images.labels.shape[axis])
        sides.append(slice(max(int(where[0]) - margin, 0), stop))
    return sides[0], sides[1], sides[2]


def _middle(labels: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    """Labelled voxel nearest to the centre of all labels."""
    where = np.argwhere(labels != 0)
    distance = np.linalg.norm(where - where.mean(axis=0), axis=1)
    x, y, z = where[int(np.argmin(distance))]
    return int(x), int(y), int(z)


def _relative_position(
    at: tuple[int, int, int], shape: tuple[int, ...]
) -> tuple[float, float, float]:
    x, y, z = ((i + 0.5) / n for i, n in zip(at, shape, strict=True))
    return x, y, z
