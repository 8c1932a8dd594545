"""Quality metrics of a registration: mutual information, Jacobian, and labels on tissue."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.nuclei.atlas import Atlas
from accelqsm.nuclei.register import (
    Matrix,
    TemplateMap,
    motion_of,
    mutual_information,
    paired_contrasts,
)
from accelqsm.nuclei.volume import Volume, affine_transform, centre_of, resample_to

Metrics = list[tuple[str, float, str]]
"""List of (name, value, unit)."""

FLUID_OF_MEDIAN = 0.55
"""T1-weighted signal below this fraction of the brain's median is fluid."""


def t1w_metrics(
    t1w: Volume, magnitude: Volume, brain: npt.NDArray[np.bool_], to_t1w: Matrix
) -> Metrics:
    """Mutual information of T1w and magnitude in the brain (nat), and motion between them.

    Args:
        t1w, magnitude: images of one head.
        brain: brain mask on the grid of the magnitude (x, y, z).
        to_t1w: 4 x 4, takes world points of the magnitude to those of the T1w.
    """
    t1w_signal = resample_to(t1w, magnitude.grid, affine_transform(to_t1w)).values[brain]
    shift_mm, turn_deg = motion_of(to_t1w, centre_of(magnitude.grid))
    similarity = mutual_information(t1w_signal, magnitude.values[brain])
    return [
        ("mutual_information_t1w_magnitude", similarity, "nat"),
        ("t1w_shift", shift_mm, "mm"),
        ("t1w_turn", turn_deg, "degree"),
    ]


def template_metrics(
    templates: Mapping[str, Volume], head: Mapping[str, Volume], transform: TemplateMap
) -> Metrics:
    """Mutual information (nat) of head and template near the nuclei, affine and deformable.

    Args:
        templates, head: images by contrast; the contrasts that were registered are compared.
        transform: from the head's world to the template's.
    """
    metrics: Metrics = []
    templates, head = paired_contrasts(templates, head)
    transforms = {
        "_affine": affine_transform(np.linalg.inv(transform.affine)),
        "": transform.from_template,
    }
    for name, template in templates.items():
        of_template = resample_to(template, transform.grid).values
        for suffix, mapping in transforms.items():
            of_head = resample_to(head[name], transform.grid, mapping).values
            value = mutual_information(of_template, of_head)
            metrics.append((f"mutual_information_template_{name}{suffix}", value, "nat"))
    return metrics


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
