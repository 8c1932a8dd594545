"""Figures and viewer of a study's report, from its maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt

from accelqsm.figures.extreme import (
    DIFFERENCE_WINDOW_PPB,
    LargestDifference,
    difference_figure,
)
from accelqsm.figures.figure import Figure
from accelqsm.figures.images import ProtocolImages, protocol_figure, zoom_figure
from accelqsm.figures.nuclei import nuclei_figure, still_figure
from accelqsm.figures.sampling import sampling_figure
from accelqsm.figures.slices import DEFAULT_CHI_WINDOW_PPB, brightest, views_of
from accelqsm.files.compact import compact_nifti
from accelqsm.files.mrd.lines import read_sampling
from accelqsm.files.nifti import read_header, read_volume
from accelqsm.grid import Grid, cut_grid
from accelqsm.reports.cells import MINUS
from accelqsm.reports.content.left_out import LeftOut
from accelqsm.reports.content.pose import Pose, phase_in_pose, pose_of_labels, read_in_pose
from accelqsm.reports.content.scans import StudyFolder
from accelqsm.reports.page.content import Viewer, ViewerMap
from accelqsm.results.echoes import last_echo
from accelqsm.results.study import TRUTH
from accelqsm.units import PPB_PER_PPM

VIEWER_STEP_PPB, DIFFERENCE_STEP_PPB = 0.1, 0.5
MAGNITUDE_STEPS = 255.0
"""Steps of the magnitude from black to white."""
VIEWER_MARGIN_MM = 10.0
DIFFERENCES = "Where the maps differ"
_ELSEWHERE = "Not in the pictures: {0}, whose labels do not match those of {1}."
_MOVED = (
    "In the pictures {0} is resampled to the pose of {1}, from which it was {2:.1f} mm and {3:.1f} "
    "degrees away; its values were measured in its own images."
)
Volume = npt.NDArray[np.float64]
Box3 = tuple[slice, slice, slice]


@dataclass(frozen=True)
class StudyImages:
    """Maps of one subject with the grid and pose of the reference.

    Attributes:
        grid: voxel grid of the maps.
        chi_ppm: protocol label -> susceptibility in ppm, the reference first.
        labels: integer labels.
        mask: intersection of the masks of all protocols.
        poses: protocols whose maps were resampled to the reference's pose.
        notes: what the reader must know of those.
    """

    grid: Grid
    chi_ppm: Mapping[str, Volume]
    labels: npt.NDArray[np.int64]
    mask: npt.NDArray[np.bool_]
    poses: Mapping[str, Pose] = field(default_factory=dict)
    notes: Sequence[str] = ()


def read_images(folder: StudyFolder) -> StudyImages:
    """Read the maps of all protocols, in the pose of the reference.

    A map whose labels lie elsewhere is resampled for display; without enough labels to know how,
    it is left out. Both are noted.

    Raises:
        InputError: files that cannot be read.
    """
    reference = folder.reference
    first = read_volume(folder.scans[reference].chimap)
    labels = _labels(folder, reference, first.grid)
    chi_ppm: dict[str, Volume] = {}
    poses: dict[str, Pose] = {}
    inside, notes = np.ones(labels.shape, dtype=bool), []
    for label, scan in folder.scans.items():
        own_grid = read_header(scan.chimap).grid
        own = _labels(folder, label, own_grid)
        if own_grid != first.grid or not np.array_equal(own, labels):
            pose = pose_of_labels(own, own_grid, labels, first.grid)
            if pose is None:
                notes.append(_ELSEWHERE.format(label, reference))
                continue
            poses[label] = pose
            notes.append(_MOVED.format(label, reference, pose.shift_mm, pose.turn_deg))
        read = partial(read_in_pose, grid=first.grid, pose=poses.get(label))
        chi_ppm[label] = np.asarray(read(scan.chimap), dtype=np.float64)
        if scan.mask is None:
            inside &= chi_ppm[label] != 0
        else:
            inside &= read(scan.mask, order=1) > 0.5
    return StudyImages(first.grid, chi_ppm, labels, inside, poses, notes)


def figures_of_maps(
    folder: StudyFolder, images: StudyImages, largest: LargestDifference | None
) -> dict[str, Callable[[], Figure]]:
    """Title -> function that draws it: nuclei, protocols, magnified nuclei, differences."""
    size = images.grid.voxel_size_mm
    at = [] if largest is None else _label_values(folder, largest.region)

    def magnified() -> Figure:
        chi = dict(images.chi_ppm)
        truth = folder.scans[folder.reference].truth
        if truth is not None:
            chi[TRUTH] = np.asarray(read_volume(truth, grid=images.grid).values)
        return zoom_figure(
            chi, images.labels, folder.regions, voxel_size_mm=size, mask=images.mask,
            views=views_of(folder.regions.values()),
        )  # fmt: skip

    figures: dict[str, Callable[[], Figure]] = {
        "The nuclei": lambda: nuclei_figure(
            folder.reference, images.chi_ppm[folder.reference], images.labels, folder.regions,
            voxel_size_mm=size,
        ),
        "Protocols side by side": lambda: protocol_figure(
            [_with_echoes(folder, images, label) for label in images.chi_ppm],
            voxel_size_mm=size, mask=images.mask, labels=images.labels,
        ),
        "Nuclei, magnified": magnified,
        DIFFERENCES: lambda: difference_figure(
            images.chi_ppm, images.labels, folder.regions, reference=folder.reference, at=at,
            voxel_size_mm=size, mask=images.mask,
        ),
    }  # fmt: skip
    if len(images.chi_ppm) == 1:
        del figures[DIFFERENCES]
    return figures


def figure_of_sampling(folder: StudyFolder) -> Figure:
    """Figure of the sampling patterns of all protocols."""
    raw = {label: scan.raw for label, scan in folder.scans.items() if scan.raw is not None}
    patterns = {label: read_sampling(path) for label, path in raw.items()}
    return sampling_figure(
        {
            label if pattern.ndim == 2 else f"{label}, echo 1": pattern.reshape(
                -1, *pattern.shape[-2:]
            )[0]
            for label, pattern in patterns.items()
        }
    )


def viewer_of_maps(folder: StudyFolder, images: StudyImages, notes: LeftOut) -> Viewer:
    """Interactive viewer of the maps near the nuclei, cropped to exclude the face.

    Magnitudes that cannot be read are left out, with a note.
    """
    box = _box(images)
    labels = images.labels[box]
    at = _middle(labels)
    start = tuple((i + 0.5) / n for i, n in zip(at, labels.shape, strict=True))
    return Viewer(
        title="Look through the maps",
        caption=(
            "Susceptibility around the nuclei, which are overlaid in the colours of the figures. "
            "Choose a map, set its window, fade the nuclei, and move with the sliders, by "
            f"clicking, or with the mouse wheel; values are rounded to {VIEWER_STEP_PPB:g} ppb. "
            "The patient's right is on the left. The volumes are inside this file."
        ),
        still=still_figure(
            folder.reference, images.chi_ppm[folder.reference][box], labels, folder.regions,
            voxel_size_mm=images.grid.voxel_size_mm, at=at,
        ),
        maps=_viewer_maps(folder, images, box) | _magnitudes(folder, images, box, notes),
        labels=compact_nifti(labels, cut_grid(images.grid, box)),
        regions=folder.regions,
        names=folder.names,
        start=(start[0], start[1], start[2]),
    )  # fmt: skip


def _viewer_maps(folder: StudyFolder, images: StudyImages, box: Box3) -> dict[str, ViewerMap]:
    """Susceptibility of each protocol and of the truth, then differences, then magnitudes."""
    grid, reference = cut_grid(images.grid, box), folder.reference
    chi = {label: PPB_PER_PPM * values[box] for label, values in images.chi_ppm.items()}
    truth = folder.scans[reference].truth
    if truth is not None:
        values = read_volume(truth, grid=images.grid).values
        chi[TRUTH] = PPB_PER_PPM * np.asarray(values, dtype=np.float64)[box]
    maps = {
        name: ViewerMap(compact_nifti(values, grid, step=VIEWER_STEP_PPB), "Susceptibility", "ppb",
                        DEFAULT_CHI_WINDOW_PPB)
        for name, values in chi.items()
    }  # fmt: skip
    for label in images.chi_ppm:
        if label != reference:
            difference = np.where(images.mask[box], chi[label] - chi[reference], 0.0)
            packed = compact_nifti(difference, grid, step=DIFFERENCE_STEP_PPB)
            maps[f"{label} {MINUS} {reference}"] = ViewerMap(
                packed, "Difference", "ppb", DIFFERENCE_WINDOW_PPB, "difference"
            )
    return maps


def _magnitudes(
    folder: StudyFolder, images: StudyImages, box: Box3, notes: LeftOut
) -> dict[str, ViewerMap]:
    maps = {}
    for label in images.chi_ppm:
        path = folder.scans[label].magnitude or last_echo(folder.maps[label], "mag")
        if path is None:
            continue
        for image in notes.make(
            f"Magnitude of {label} in the viewer",
            partial(read_in_pose, path, images.grid, images.poses.get(label)),
        ):
            magnitude = np.nan_to_num(np.asarray(image, dtype=np.float64))
            values = MAGNITUDE_STEPS * magnitude[box] / brightest([magnitude], images.mask)
            packed = compact_nifti(values, cut_grid(images.grid, box), step=1.0)
            maps[f"{label} magnitude"] = ViewerMap(packed, "Magnitude", "", (0.0, MAGNITUDE_STEPS))
    return maps


def _labels(folder: StudyFolder, label: str, grid: Grid) -> npt.NDArray[np.int64]:
    values = read_volume(folder.scans[label].labels, grid=grid).values
    return np.asarray(np.rint(values), dtype=np.int64)


def _with_echoes(folder: StudyFolder, images: StudyImages, label: str) -> ProtocolImages:
    """Map of a protocol with magnitude and phase of its last echo, if available."""
    pose = images.poses.get(label)
    magnitude = last_echo(folder.maps[label], "mag") or folder.scans[label].magnitude
    phase = last_echo(folder.maps[label], "phase")
    return ProtocolImages(
        label,
        images.chi_ppm[label],
        None if magnitude is None else read_in_pose(magnitude, images.grid, pose),
        None if phase is None else phase_in_pose(phase, images.grid, pose),
    )


def _label_values(folder: StudyFolder, region: str) -> list[int]:
    """Label values of a region, whose name may include the side."""
    exact = [value for value, name in folder.names.items() if name == region]
    return exact or [value for value, name in folder.regions.items() if name == region]


def _box(images: StudyImages) -> Box3:
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
