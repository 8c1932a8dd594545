"""Labels of nuclei on the grid of a map: propagated from an atlas, pasted, and chosen by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError, naming
from accelqsm.grid import Grid
from accelqsm.nuclei.atlas import SEVEN, Atlas, PropagatedLabels, paste, propagate_labels
from accelqsm.nuclei.labels import labels_outside, narrow_labels
from accelqsm.nuclei.measure import split_side
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.pipeline.nuclei.head import MappedHead
from accelqsm.pipeline.nuclei.registration import Transform


@dataclass(frozen=True)
class PlacedLabels:
    """Labels on the grid of a map, as they are measured.

    Attributes:
        labels: integers (x, y, z).
        unavailable: reason why a label cannot be measured, by index.
        probabilities: label probabilities (x, y, z) by index; empty for unweighted voxels.
    """

    labels: npt.NDArray[Any]
    unavailable: Mapping[int, str]
    probabilities: Mapping[int, npt.NDArray[np.float32]]


def propagate_to_map(
    atlas: Atlas, transform: Transform, *, grid: Grid, threshold: float, name: str
) -> PropagatedLabels:
    """Propagate the labels of an atlas to the part of a map's grid that they occupy.

    Args:
        atlas: template and labels.
        transform: of the scan to the template.
        grid: of the map.
        threshold: least probability of a label.
        name: of the map, for messages.

    Raises:
        InputError: no nucleus near the scan.
    """
    with naming(name):
        return propagate_labels(
            atlas,
            grid,
            to_template=transform.forward,
            from_template=transform.inverse,
            threshold=threshold,
        )


def place_labels(
    propagated: PropagatedLabels,
    rows: pd.DataFrame,
    *,
    grid: Grid,
    brain: npt.NDArray[np.bool_],
    weighted: bool,
) -> PlacedLabels:
    """Paste propagated labels into the grid of a map, and find those that lie partly outside.

    Args:
        propagated: labels in the part of the grid that they occupy.
        rows: columns index and name, of the labels that are measured.
        grid: of the map.
        brain: bool (x, y, z).
        weighted: keep the probabilities of the labels.
    """
    offset = propagated.offset
    in_image = propagated.of_scan(np.ones(grid.shape, dtype=bool))
    unavailable = labels_outside(
        propagated.labels, propagated.of_scan(brain), rows, in_image=in_image
    )
    indices = rows["index"].tolist() if weighted else []
    return PlacedLabels(
        paste(propagated.labels, offset, grid),
        unavailable,
        {i: paste(propagated.probabilities[i], offset, grid) for i in indices},
    )


def propagate_and_place(
    head: MappedHead,
    atlas: Atlas,
    transform: Transform,
    rows: pd.DataFrame,
    settings: MeasureSettings,
) -> tuple[PropagatedLabels, PlacedLabels]:
    """Labels of an atlas where they lie in the map, and in the whole of its grid."""
    grid = head.chi.grid
    found = propagate_to_map(
        atlas, transform, grid=grid, threshold=settings.threshold, name=head.name
    )
    placed = place_labels(found, rows, grid=grid, brain=head.brain, weighted=settings.weighted)
    return found, placed


def select_labels(labels: npt.NDArray[Any], rows: pd.DataFrame, name: str) -> npt.NDArray[Any]:
    """Select the labels of the given rows, zero elsewhere.

    Raises:
        InputError: none of them has a voxel; ``name`` is used in the message.
    """
    chosen = narrow_labels(np.where(np.isin(labels, rows["index"]), labels, 0))
    if not chosen.any():
        names = ", ".join(dict.fromkeys(split_side(str(region))[0] for region in rows["name"]))
        raise InputError(f"{name}: expected voxels of {names}, found none")
    return chosen


def seven_or_all(lookup: pd.DataFrame) -> tuple[str, ...]:
    """The seven nuclei of the published study if an atlas has them all, else all of its nuclei."""
    names = dict.fromkeys(split_side(str(name))[0] for name in lookup["name"])
    return SEVEN if set(SEVEN) <= set(names) else tuple(names)
