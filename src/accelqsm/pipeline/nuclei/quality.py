"""Quality control of registered labels: expected sizes and positions, metrics and a figure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import ndimage

from accelqsm.errors import InputWarning
from accelqsm.figures.figure import Figure
from accelqsm.figures.outlines import outline_figure
from accelqsm.grid import centred_grid
from accelqsm.nuclei.atlas import Atlas, PropagatedLabels
from accelqsm.nuclei.measure import split_side
from accelqsm.nuclei.metrics import (
    Metrics,
    affine_metrics,
    jacobian_metrics,
    t1w_metrics,
    template_metrics,
    tissue_metrics,
)
from accelqsm.nuclei.quality import Expected, centre_mm, registration_doubts
from accelqsm.nuclei.volume import (
    Volume,
    affine_transform,
    box_around,
    crop_to_nonzero,
    resample_to,
)
from accelqsm.pipeline.nuclei.registration import RegisteredHead

FIGURE_MARGIN_MM = 30.0
PLAUSIBLE = "plausible"


def expected_nuclei(
    atlas: Atlas, registered: RegisteredHead, propagated: PropagatedLabels, rows: pd.DataFrame
) -> tuple[dict[int, Expected], dict[int, npt.NDArray[np.float64]]]:
    """Size and position predicted by the affine transform, and centre of each label in mm."""
    affine = registered.to_template.affine
    to_scan = affine_transform(np.linalg.inv(affine @ registered.to_head))
    volume_ratio = 1 / abs(float(np.linalg.det(affine[:3, :3])))
    volumes_mm3 = atlas.volumes_mm3()
    expected, centres_mm = {}, {}
    for index in (int(i) for i in rows["index"]):
        label = crop_to_nonzero(atlas.probabilities[index], margin_mm=0.0)
        centre = np.asarray(ndimage.center_of_mass(label.values))
        world = affine_transform(label.grid.matrix)(centre[:, None])
        x, y, z = to_scan(world)[:, 0].tolist()
        expected[index] = Expected(volumes_mm3[index] * volume_ratio, (x, y, z))
        centres_mm[index] = centre_mm(propagated.labels, index, propagated.grid)
    return expected, centres_mm


def atlas_metrics(
    atlas: Atlas,
    registered: RegisteredHead,
    brain: npt.NDArray[np.bool_],
    labels: npt.NDArray[Any],
    rows: pd.DataFrame,
) -> Metrics:
    """Quality metrics of a registration: mutual information, Jacobian, and labels on tissue.

    Args:
        atlas: template and labels.
        registered: the head's images and their transform to the template.
        brain: bool (x, y, z), on the grid of the scan.
        labels: integers (x, y, z), on the grid of the scan.
        rows: columns index and name.
    """
    images, magnitude = registered.images, registered.magnitude
    t1w, to_head = images.get("T1w"), registered.to_head
    signal, of_t1w = None, list[tuple[str, float, str]]()
    if t1w is not None:
        signal = resample_to(t1w, magnitude.grid, affine_transform(to_head)).values
        of_t1w = t1w_metrics(t1w, magnitude, brain, to_head, t1w_signal=signal)
    return [
        *of_t1w,
        *template_metrics(atlas.templates, images, registered.to_template),
        *affine_metrics(
            atlas.brain,
            Volume(brain.astype(np.float32), magnitude.grid),
            registered.to_template.affine @ to_head,
        ),
        *jacobian_metrics(registered.to_template, atlas, rows),
        *tissue_metrics(labels, rows, brain, t1w_signal=signal),
    ]


def registration_status(name: str, metrics: Metrics) -> str:
    """Status of a registration: "plausible", or "doubtful" with the reasons.

    Args:
        name: of the map, for the warning.
        metrics: quality metrics of the registration.

    Warns:
        InputWarning: a doubtful registration.
    """
    doubts = registration_doubts(metrics)
    if not doubts:
        return PLAUSIBLE
    said = "; ".join(doubts)
    warnings.warn(
        InputWarning(f"{name}: the registration is doubtful, and so are all values: {said}"),
        stacklevel=3,
    )
    return f"doubtful: {said}"


def notes_of(table: pd.DataFrame) -> dict[str, str]:
    """Notes and flags of each region, for the figure."""
    notes: dict[str, str] = {}
    for region, side, note, flag in zip(
        table["region"], table["side"], table["note"], table["flag"], strict=True
    ):
        said = "; ".join(text for text in (note, flag) if text)
        if said and side != "both":
            notes[region] = f"{notes.get(region, '')} {side}: {said}".strip()
    return notes


def quality_figure(
    chi: Volume,
    magnitude: Volume,
    labels: npt.NDArray[Any],
    lookup: pd.DataFrame,
    *,
    notes: Mapping[str, str],
) -> Figure:
    """Figure of the outlines of all regions, on an axial grid of 1 mm around them."""
    around = box_around(Volume(labels, chi.grid), margin_mm=1.0)
    last = np.asarray(around.shape) - 1
    corners = np.stack([np.asarray(corner) * last for corner in np.ndindex(2, 2, 2)], axis=1)
    ends = affine_transform(around.matrix)(corners.astype(np.float64))
    low, high = ends.min(1) - FIGURE_MARGIN_MM, ends.max(1) + FIGURE_MARGIN_MM
    x, y, z = (int(n) for n in np.ceil(high - low))
    middle = low + np.array([x // 2, y // 2, z // 2])
    grid = centred_grid(
        (x, y, z), (1.0, 1.0, 1.0), centre_mm=(float(middle[0]), float(middle[1]), float(middle[2]))
    )
    regions: dict[str, list[int]] = {}
    for index, name in zip(lookup["index"], lookup["name"], strict=True):
        regions.setdefault(split_side(str(name))[0], []).append(int(index))
    volumes = {}
    for region, indices in regions.items():
        here = np.isin(labels, indices).astype(np.float32)
        if here.any():
            volumes[region] = resample_to(Volume(here, chi.grid), grid).values
    return outline_figure(
        resample_to(chi, grid).values,
        resample_to(magnitude, grid).values,
        volumes,
        voxel_size_mm=1.0,
        notes=notes,
    )
