"""Pose of one scan relative to another, from the labels of both, to show them side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from accelqsm.files.nifti import read_volume
from accelqsm.grid import Grid
from accelqsm.nuclei.quality import centre_mm
from accelqsm.nuclei.register import motion_of
from accelqsm.nuclei.volume import Volume, affine_transform, resample_to

LEAST_LABELS = 4
LARGEST_RESIDUAL_MM = 2.0
"""Root mean square distance of the centres of labels; beyond it the labels are not one head's."""
Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class Pose:
    """Rigid transform from world points of the reference to those of another scan.

    Attributes:
        matrix: 4 x 4.
        shift_mm: displacement of the centre of the labels.
        turn_deg: angle of the rotation.
    """

    matrix: npt.NDArray[np.float64]
    shift_mm: float
    turn_deg: float


def pose_of_labels(own: Labels, own_grid: Grid, reference: Labels, grid: Grid) -> Pose | None:
    """Rigid transform that takes the centres of the reference's labels to those of a scan.

    Least squares over the labels of both, by singular value decomposition (Arun et al. 1987, doi
    10.1109/TPAMI.1987.4767965). None for fewer than four labels, or if the centres do not match.

    Args:
        own: integers (x, y, z) of the scan.
        own_grid: their grid.
        reference: integers (x, y, z) of the reference, of the same meaning.
        grid: their grid.
    """
    common = sorted((set(np.unique(own)) & set(np.unique(reference))) - {0})
    if len(common) < LEAST_LABELS:
        return None
    there = np.stack([centre_mm(own, int(i), own_grid) for i in common])
    here = np.stack([centre_mm(reference, int(i), grid) for i in common])
    u, _, vt = np.linalg.svd((here - here.mean(0)).T @ (there - there.mean(0)))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    matrix = np.eye(4)
    matrix[:3, :3] = vt.T @ flip @ u.T
    matrix[:3, 3] = there.mean(0) - matrix[:3, :3] @ here.mean(0)
    residual = affine_transform(matrix)(here.T).T - there
    if np.sqrt((residual**2).sum(1).mean()) > LARGEST_RESIDUAL_MM:
        return None
    return Pose(matrix, *motion_of(matrix, here.mean(0)))


def read_in_pose(path: Path, grid: Grid, pose: Pose | None, *, order: int = 3) -> Labels:
    """Image of a scan on the grid of the reference, interpolated (order 1 or 3) if it was moved.

    Raises:
        InputError: an image that cannot be read, or is not on the grid without a pose.
    """
    if pose is None:
        return np.asarray(read_volume(path, grid=grid).values)
    image = read_volume(path)
    values = np.nan_to_num(np.asarray(image.values, dtype=np.float32))
    mapping = affine_transform(pose.matrix)
    return resample_to(Volume(values, image.grid), grid, mapping, order=order).values


def phase_in_pose(path: Path, grid: Grid, pose: Pose | None) -> Labels:
    """Phase (rad) of a scan on the grid of the reference.

    If it was moved, cosine and sine are interpolated, which have no wraps, and the angle taken.

    Raises:
        InputError: as ``read_in_pose``.
    """
    if pose is None:
        return read_in_pose(path, grid, None)
    image = read_volume(path)
    phase = np.nan_to_num(np.asarray(image.values, dtype=np.float32))
    mapping = affine_transform(pose.matrix)
    cosine, sine = (
        resample_to(Volume(part, image.grid), grid, mapping, order=1).values
        for part in (np.cos(phase), np.sin(phase))
    )
    return np.arctan2(sine, cosine)
