"""Quality metrics of a registration: similarity and how it falls, scale, labels on tissue."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.nuclei.atlas import Atlas
from accelqsm.nuclei.register import (
    Matrix,
    TemplateMap,
    coarse_image,
    motion_of,
    mutual_information,
    paired_contrasts,
)
from accelqsm.nuclei.volume import Mapping as WorldMapping
from accelqsm.nuclei.volume import (
    Volume,
    affine_transform,
    centre_of,
    grid_points,
    isotropic_grid,
    resample_to,
    value_at,
)

Metrics = list[tuple[str, float, str]]
"""List of (name, value, unit)."""

FALL_MM = 6.0
"""Displacement by which the similarity of two images must have fallen."""

COMPARED_MM = 2.0
"""Voxel size at which similarity is compared with that of displaced images."""

FLUID_OF_MEDIAN = 0.55
"""T1-weighted signal below this fraction of the brain's median is fluid."""


def similarity_fall(
    fixed: Volume, moving: Volume, mapping: WorldMapping, where: npt.NDArray[np.bool_]
) -> float:
    """Mutual information of two registered images over that of the same images 6 mm apart.

    Where a registration succeeded, similarity falls steeply in every direction; images of two
    heads, or one of them upside down, are hardly less similar 6 mm from where they were laid.

    Args:
        fixed: the image whose voxels are compared.
        moving: the other image.
        mapping: takes world points of ``fixed`` to those of ``moving``.
        where: voxels of ``fixed`` to compare (x, y, z).

    Returns:
        Ratio to the mean over six directions; 1 where they do not differ, or nothing is compared.
    """
    points, values = grid_points(fixed.grid)[:, where], fixed.values[where]
    if not values.size:
        return 1.0

    def similarity(offset_mm: npt.NDArray[np.float64]) -> float:
        there = mapping(points + offset_mm[:, None])
        return mutual_information(values, value_at(moving, there))

    apart = [similarity(FALL_MM * sign * axis) for axis in np.eye(3) for sign in (-1, 1)]
    return similarity(np.zeros(3)) / float(np.mean(apart)) if np.mean(apart) > 0 else 1.0


def scan_fall(fixed: Volume, moving: Volume, brain: npt.NDArray[np.bool_], matrix: Matrix) -> float:
    """``similarity_fall`` of two images of one head in the brain, at 2 mm.

    Args:
        fixed, moving: the two images.
        brain: brain mask on the grid of ``fixed`` (x, y, z).
        matrix: 4 x 4, takes world points of ``fixed`` to those of ``moving``.
    """
    coarse = coarse_image(fixed)
    inside = resample_to(Volume(brain.astype(np.float32), fixed.grid), coarse.grid).values > 0.5
    return similarity_fall(coarse, coarse_image(moving), affine_transform(matrix), inside)


def t1w_metrics(
    t1w: Volume,
    magnitude: Volume,
    brain: npt.NDArray[np.bool_],
    to_t1w: Matrix,
    *,
    t1w_signal: npt.NDArray[np.float32],
) -> Metrics:
    """Mutual information of T1w and magnitude in the brain (nat), and motion between them.

    Args:
        t1w, magnitude: images of one head.
        brain: brain mask on the grid of the magnitude (x, y, z).
        to_t1w: 4 x 4, takes world points of the magnitude to those of the T1w.
        t1w_signal: the T1w resampled to the grid of the magnitude (x, y, z).
    """
    shift_mm, turn_deg = motion_of(to_t1w, centre_of(magnitude.grid))
    similarity = mutual_information(t1w_signal[brain], magnitude.values[brain])
    return [
        ("mutual_information_t1w_magnitude", similarity, "nat"),
        ("similarity_fall_t1w_magnitude", scan_fall(magnitude, t1w, brain, to_t1w), "1"),
        ("t1w_shift", shift_mm, "mm"),
        ("t1w_turn", turn_deg, "degree"),
    ]


def template_metrics(
    templates: Mapping[str, Volume], head: Mapping[str, Volume], transform: TemplateMap
) -> Metrics:
    """Mutual information (nat) of head and template near the nuclei, affine and deformable.

    And how it falls where the head is displaced (``similarity_fall``).

    Args:
        templates, head: images by contrast; the contrasts that were registered are compared.
        transform: from the head's world to the template's.
    """
    metrics: Metrics = []
    templates, head = paired_contrasts(templates, head)
    transforms: dict[str, WorldMapping] = {
        "_affine": affine_transform(np.linalg.inv(transform.affine)),
        "": transform.from_template,
    }
    for name, template in templates.items():
        of_template = resample_to(template, transform.grid).values
        for suffix, mapping in transforms.items():
            of_head = resample_to(head[name], transform.grid, mapping).values
            value = mutual_information(of_template, of_head)
            metrics.append((f"mutual_information_template_{name}{suffix}", value, "nat"))
        coarse = resample_to(template, isotropic_grid(transform.grid, COMPARED_MM))
        everywhere = np.ones(coarse.grid.shape, dtype=bool)
        fall = similarity_fall(coarse, head[name], transform.from_template, everywhere)
        metrics.append((f"similarity_fall_template_{name}", fall, "1"))
    return metrics


def affine_metrics(atlas_brain: Volume, scan_brain: Volume, affine: Matrix) -> Metrics:
    """Overlap of the brains (Dice) in the image, and the scales of the affine transform.

    Args:
        atlas_brain, scan_brain: above one half in the brain.
        affine: 4 x 4, takes world points of the scan to those of the template.
    """
    grid = isotropic_grid(scan_brain.grid, COMPARED_MM)
    theirs = resample_to(atlas_brain, grid, affine_transform(affine)).values > 0.5
    ours = resample_to(scan_brain, grid).values > 0.5
    scales = np.linalg.svd(affine[:3, :3], compute_uv=False)
    overlap = 2 * float((ours & theirs).sum()) / max(float(ours.sum() + theirs.sum()), 1.0)
    return [
        ("brain_overlap", overlap, "1"),
        ("affine_scale_least", float(scales.min()), "1"),
        ("affine_scale_largest", float(scales.max()), "1"),
    ]


def jacobian_metrics(transform: TemplateMap, atlas: Atlas, rows: pd.DataFrame) -> Metrics:
    """Smallest and largest Jacobian determinant, in the whole box and in the nuclei.

    Args:
        transform: from the head's world to the template's.
        atlas: the atlas of the nuclei.
        rows: columns index and name of the nuclei to include.
    """
    inside = resample_to(atlas.union(rows["index"].tolist()), transform.grid).values > 0.5
    jacobian = transform.jacobian()
    return [
        ("jacobian_least", float(jacobian.min()), "1"),
        ("jacobian_largest", float(jacobian.max()), "1"),
        ("jacobian_least_in_nuclei", float(jacobian[inside].min()), "1"),
        ("jacobian_largest_in_nuclei", float(jacobian[inside].max()), "1"),
    ]


def tissue_metrics(
    labels: npt.NDArray[np.int16],
    rows: pd.DataFrame,
    brain: npt.NDArray[np.bool_],
    *,
    t1w_signal: npt.NDArray[np.float32] | None = None,
) -> Metrics:
    """Fraction of each label that lies in the brain and, with a T1w signal, not in fluid.

    Args:
        labels: index of each voxel (x, y, z).
        rows: columns index and name.
        brain: brain mask on the same grid.
        t1w_signal: T1-weighted signal on the same grid, any unit.

    Returns:
        NaN for a label without voxels.
    """
    tissue = brain
    if t1w_signal is not None:
        tissue = brain & (t1w_signal > FLUID_OF_MEDIAN * np.median(t1w_signal[brain]))
    metrics: Metrics = []
    for index, name in zip(rows["index"], rows["name"], strict=True):
        here = labels == index
        fraction = float(tissue[here].mean()) if here.any() else float("nan")
        metrics.append((f"on_tissue_{'_'.join(str(name).split())}", fraction, "1"))
    return metrics
