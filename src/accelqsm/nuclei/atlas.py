"""Atlas of nuclei: template images and labels, and their propagation to a scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.grid import Grid
from accelqsm.nuclei.depth import REACH_MM, depth_mm
from accelqsm.nuclei.labels import narrow_labels
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.nuclei.volume import Mapping as WorldMapping
from accelqsm.nuclei.volume import (
    Volume,
    box_around,
    check_size,
    grid_points,
    part_of,
    slabs,
    value_at,
)
from accelqsm.nuclei.volume import affine_transform as by_matrix

SEVEN = ("Pu", "Ca", "GPe", "GPi", "RN", "SNc", "SNr")
"""The nuclei of Zhou et al. 2025, doi 10.3389/fnins.2025.1522227."""

MARGIN_MM = 3.0


@dataclass(frozen=True)
class Atlas:
    """Template images and label probabilities in template space.

    Attributes:
        name: for messages and settings.
        templates: image by contrast, "T1w", "magnitude" or "susceptibility".
        brain: brain mask, above one half inside.
        probabilities: label probabilities (0 to 1) by index; ones and zeros for a deterministic
            atlas.
        lookup: columns index and name.
        probabilistic: whether ``probabilities`` are frequencies over subjects.
    """

    name: str
    templates: Mapping[str, Volume]
    brain: Volume
    probabilities: Mapping[int, Volume]
    lookup: pd.DataFrame
    probabilistic: bool

    def box(self, margin_mm: float) -> Grid:
        """Bounding box of all labels in the template, with a margin."""
        return box_around(self.union(self.probabilities), margin_mm=margin_mm)

    def union(self, indices: Iterable[int]) -> Volume:
        """Largest probability over some labels in each voxel."""
        first, *others = (self.probabilities[index] for index in indices)
        largest = first.values
        for other in others:
            largest = np.maximum(largest, other.values)
        return Volume(largest, first.grid)

    def volumes_mm3(self) -> dict[int, float]:
        """Volume of each label in the template: the sum of its probabilities."""
        return {
            index: float(p.values.sum(dtype=np.float64)) * p.grid.voxel_volume_mm3
            for index, p in self.probabilities.items()
        }


@dataclass(frozen=True)
class PropagatedLabels:
    """Labels of an atlas propagated to part of a scan's grid.

    Attributes:
        grid: grid of ``labels`` and ``probabilities``; may extend beyond the scan.
        labels: integers (x, y, z), 0 or an index of the atlas.
        probabilities: float32 (x, y, z) by index, 0 to 1.
        offset: index of its first voxel in the scan.
    """

    grid: Grid
    labels: npt.NDArray[Any]
    probabilities: Mapping[int, npt.NDArray[np.float32]]
    offset: tuple[int, int, int]

    def of_scan(self, values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Crop a mask of the scan to ``grid``, False beyond the scan."""
        x, y, z = (-o for o in self.offset)
        return np.asarray(paste(values, (x, y, z), self.grid), dtype=bool)


def one_hot(labels: Volume, indices: list[int]) -> dict[int, Volume]:
    """Label probabilities of a deterministic atlas: 1 in the label, else 0.

    Raises:
        InputError: labels that are not whole numbers.
    """
    if not np.array_equal(labels.values, np.round(labels.values)):
        raise InputError("atlas labels: expected whole numbers, found fractions")
    return {
        index: Volume((labels.values == index).astype(np.float32), labels.grid) for index in indices
    }


def propagate_labels(
    atlas: Atlas,
    scan: Grid,
    *,
    to_template: WorldMapping,
    from_template: WorldMapping,
    threshold: float = MeasureSettings.threshold,
) -> PropagatedLabels:
    """Propagate the labels of an atlas to a scan, one by one so that no label is interpolated.

    In a deterministic atlas the signed distance of each label from its smoothed surface is
    interpolated (linear), because partial volumes would round off edges. The label of the largest
    depth wins, with the surroundings of all labels as a further class: otherwise, a thin nucleus
    that touches another one would lose the boundary voxels that are half in each. In a
    probabilistic atlas the largest probability wins where it reaches ``threshold``.

    Args:
        atlas: labels in template space.
        scan: grid of the scan; labels beyond it are propagated too, to be counted.
        to_template: maps world points of the scan to those of the template.
        from_template: its inverse.
        threshold: least probability, for a probabilistic atlas.

    Raises:
        InputError: no nucleus near the scan.

    Source: Raya and Udupa 1990, IEEE Trans Med Imaging 9:32, doi 10.1109/42.52980 (distances).
    """
    grid, offset = _reach(atlas, scan, from_template)
    probabilities = {
        index: np.zeros(grid.shape, dtype=np.float32) for index in atlas.lookup["index"].tolist()
    }
    indices = narrow_labels(np.asarray(list(probabilities), dtype=np.int64))
    labels = np.zeros(grid.shape, dtype=indices.dtype)
    depths = None if atlas.probabilistic else _depths(atlas)
    for start, stop in slabs(grid):
        points = to_template(grid_points(grid, start, stop))
        for index in probabilities:
            probabilities[index][start:stop] = value_at(atlas.probabilities[index], points)
        if depths is None:
            votes = np.stack([p[start:stop] for p in probabilities.values()])
            wins = votes.max(0) >= threshold
        else:
            *each, in_any = (value_at(d, points, outside=-REACH_MM) for d in depths)
            votes = np.stack(each)
            wins = votes.max(0) >= -in_any
        labels[start:stop] = np.where(wins, indices[votes.argmax(0)], 0)
    return PropagatedLabels(grid, labels, probabilities, offset)


def paste(part: npt.NDArray[np.generic], offset: tuple[int, int, int], scan: Grid) -> np.ndarray:
    """Paste a part of a scan's grid into the whole grid, zero elsewhere; crop what lies beyond."""
    whole = np.zeros(scan.shape, dtype=part.dtype)
    into, of = [], []
    for start, n, size in zip(offset, part.shape, scan.shape, strict=True):
        low, high = max(start, 0), min(start + n, size)
        into.append(slice(low, max(low, high)))
        of.append(slice(low - start, max(low, high) - start))
    whole[tuple(into)] = part[tuple(of)]
    return whole


def _reach(
    atlas: Atlas, scan: Grid, from_template: WorldMapping
) -> tuple[Grid, tuple[int, int, int]]:
    """Grid of the voxels, within the scan or beyond, that the propagated labels can occupy."""
    box = atlas.box(MARGIN_MM)
    points = from_template(grid_points(box)[:, ::2, ::2, ::2]).reshape(3, -1)
    index = by_matrix(np.linalg.inv(scan.matrix))(points)
    margin = MARGIN_MM / np.asarray(scan.voxel_size_mm)
    lowest, highest = np.floor(index.min(1) - margin), np.ceil(index.max(1) + margin) + 1
    check_size([float(v) for v in highest - lowest], scan)
    low, high = lowest.astype(int), highest.astype(int)
    if (high <= 0).any() or (low >= np.asarray(scan.shape)).any():
        raise InputError("expected the nuclei inside the image, found them outside")
    a, b = [int(v) for v in low], [int(v) for v in high]
    return part_of(scan, a, b), (a[0], a[1], a[2])


def _depths(atlas: Atlas) -> list[Volume]:
    """Depth maps of each label of the lookup, and of their union."""
    indices = atlas.lookup["index"].tolist()
    volumes = [*(atlas.probabilities[index] for index in indices), atlas.union(indices)]
    return [depth_mm(volume) for volume in volumes]
