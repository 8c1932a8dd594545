"""A template that looks like the scan: brightness of the nuclei is no reason to bend it."""

from __future__ import annotations

from collections.abc import Mapping as Named

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.nuclei.register import TemplateMap
from accelqsm.nuclei.volume import Volume, resampled

SURROUNDINGS_MM = 2.0
"""Voxels nearer to a nucleus do not tell of the tissue between nuclei."""

FAINT = 0.05
"""Share of a voxel below which a label is not there."""

LEAST_VOXELS = 10.0
CAUTION = 0.05
"""Added to each label's share of its own voxels: labels in one place are not told apart."""


def with_contrast_of(
    scan: Volume, template: Volume, *, probabilities: Named[int, Volume], transform: TemplateMap
) -> Volume:
    """The template with every nucleus as bright against its surroundings as in the scan.

    Two nuclei that touch, as SNc and SNr do, make one step to the tissue and one between them.
    Where the iron of a person divides the two steps otherwise than the template's, an image
    registration moves the boundaries to where the brightness agrees. So the brightness is made to
    agree: in each label the template is raised until its mean there is that of the scan, which
    ``way`` takes there, all labels at once, as the blurred edge of each lies in others too.
    Outside the labels, mean and standard deviation of the two agree first.

    Args:
        scan: of the contrast of ``template``, or with its sign turned.
        template: to be changed.
        probabilities: how much of each voxel belongs to each label, by index, all on one grid.
        transform: from the scan to the template, near the truth.

    Returns:
        The template on its own grid; unchanged where either image has no contrast outside nuclei.
    """
    there = resampled(scan, transform.grid, transform.from_template).values.astype(np.float64)
    own = resampled(template, transform.grid).values.astype(np.float64)
    each = {
        index: resampled(share, transform.grid).values for index, share in probabilities.items()
    }
    large = [index for index, share in each.items() if share.sum() > LEAST_VOXELS]
    if not large:
        return template
    labels = np.stack([each[index] for index in large]).astype(np.float64)
    far = _away_from(labels.sum(0), transform.grid.voxel_size_mm)
    spread, found = float(own[far].std()), float(there[far].std())
    if not (spread > 0 and found > 0):
        return template
    sign = np.sign(((there - there[far].mean()) * (own - own[far].mean()))[far].sum()) or 1.0
    wanted = own[far].mean() + sign * spread / found * (there - there[far].mean())
    weights = labels / labels.sum((1, 2, 3), keepdims=True)
    mixing = np.einsum("ixyz,jxyz->ij", weights, labels) + CAUTION * np.eye(len(large))
    missing = np.einsum("ixyz,xyz->i", weights, wanted - own)
    changes = zip(large, np.linalg.solve(mixing, missing), strict=True)
    raised = sum(np.float32(change) * probabilities[index].values for index, change in changes)
    added = resampled(Volume(np.asarray(raised), probabilities[large[0]].grid), template.grid)
    return Volume(template.values + added.values, template.grid)


def _away_from(
    labels: npt.NDArray[np.float64], sizes_mm: tuple[float, float, float]
) -> npt.NDArray[np.bool_]:
    """The voxels that lie more than ``SURROUNDINGS_MM`` from any label."""
    distance = ndimage.distance_transform_edt(labels <= FAINT, sampling=sizes_mm)
    return np.asarray(distance > SURROUNDINGS_MM)
