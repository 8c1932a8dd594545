"""Intensity matching of a template to a scan, so that iron content does not bias registration."""

from __future__ import annotations

from collections.abc import Mapping as Named

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from accelqsm.nuclei.register import TemplateMap
from accelqsm.nuclei.volume import Volume, resample_to

SURROUNDINGS_MM = 2.0
"""Voxels nearer to a nucleus are not used as surrounding tissue."""

LEAST_PROBABILITY = 0.05
"""Label probability up to which a voxel counts as outside the label."""

LEAST_VOXELS = 10.0
RIDGE = 0.05
"""Added to the diagonal of the mixing matrix, as overlapping labels cannot be separated."""


def match_contrast(
    scan: Volume, template: Volume, *, probabilities: Named[int, Volume], transform: TemplateMap
) -> Volume:
    """Template whose nuclei have the mean intensity that they have in the scan.

    Two nuclei that touch, as SNc and SNr do, have an edge to the surrounding tissue and one
    between them. Where the iron of a subject divides the contrast of the two edges differently
    than in the template, image registration shifts the boundaries to match intensities. Therefore
    the template is changed in each label until its mean there is that of the scan, resampled by
    ``transform``, for all labels jointly, as the smooth edges of labels overlap. First, mean and
    standard deviation outside the labels are matched.

    Args:
        scan: image of the contrast of ``template``, or of inverted contrast.
        template: image to be changed, on any grid.
        probabilities: label probabilities by index, all on one grid.
        transform: from the scan to the template, approximately correct.

    Returns:
        The template on the grid of ``transform``; unchanged where either image has no contrast
        outside nuclei.
    """
    of_scan = resample_to(scan, transform.grid, transform.from_template).values.astype(np.float64)
    own = resample_to(template, transform.grid).values.astype(np.float64)
    each = {index: resample_to(p, transform.grid).values for index, p in probabilities.items()}
    large = [index for index, p in each.items() if p.sum() > LEAST_VOXELS]
    if not large:
        return template
    labels = np.stack([each[index] for index in large]).astype(np.float64)
    far = _away_from(labels.sum(0), transform.grid.voxel_size_mm)
    spread, found = float(own[far].std()), float(of_scan[far].std())
    if not (spread > 0 and found > 0):
        return template
    centred = of_scan - of_scan[far].mean()
    sign = np.sign((centred * (own - own[far].mean()))[far].sum()) or 1.0
    wanted = own[far].mean() + sign * spread / found * centred
    weights = labels / labels.sum((1, 2, 3), keepdims=True)
    mixing = np.einsum("ixyz,jxyz->ij", weights, labels) + RIDGE * np.eye(len(large))
    missing = np.einsum("ixyz,xyz->i", weights, wanted - own)
    changed = own + np.einsum("i,ixyz->xyz", np.linalg.solve(mixing, missing), labels)
    return Volume(changed.astype(np.float32), transform.grid)


def _away_from(
    labels: npt.NDArray[np.float64], sizes_mm: tuple[float, float, float]
) -> npt.NDArray[np.bool_]:
    """Voxels further than ``SURROUNDINGS_MM`` from any label."""
    distance = ndimage.distance_transform_edt(labels <= LEAST_PROBABILITY, sampling=sizes_mm)
    return np.asarray(distance > SURROUNDINGS_MM)
