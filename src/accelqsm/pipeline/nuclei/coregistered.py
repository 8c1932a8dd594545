"""Nuclei measured with the labels of another scan of the same head, rigidly co-registered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from accelqsm.nuclei.atlas import Atlas, one_hot
from accelqsm.nuclei.labels import select_rows
from accelqsm.nuclei.metrics import scan_fall
from accelqsm.nuclei.register import motion_of, mutual_information, register_rigid
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.nuclei.volume import Volume, centre_of, resample_to
from accelqsm.pipeline.nuclei.head import MappedHead, magnitude_of, resample_head, within_brain
from accelqsm.pipeline.nuclei.labels import PlacedLabels, propagate_and_place
from accelqsm.pipeline.nuclei.measure import DEFAULT, measure_with_reference, registered_result
from accelqsm.pipeline.nuclei.registration import Transform
from accelqsm.results.nuclei import NucleiResult
from accelqsm.runtime.progress import step


def measure_coregistered(
    head: MappedHead,
    labels: Volume,
    lookup: pd.DataFrame,
    *,
    reference_magnitude: Volume,
    resample: bool = False,
    settings: MeasureSettings = DEFAULT,
    source: Mapping[str, Any] | None = None,
) -> NucleiResult:
    """Measure nuclei with the rigidly co-registered labels of another scan of the same head.

    By default the labels are propagated to the map. ``resample`` resamples the map to the labels
    (linear), as Zhou et al. 2025 did with FLIRT, which smooths this map but not the reference's.

    Args:
        head: map and magnitude of this scan.
        labels: integers on the grid of the other scan.
        lookup: columns index and name.
        reference_magnitude: magnitude of the other scan.
        resample: resample the map instead of propagating the labels.
        settings: settings of the measurement.
        source: record of the inputs.

    Raises:
        InputError: images that do not fit each other, or nuclei outside the scan.

    Source: Zhou et al. 2025, Front Neurosci 19:1522227, doi 10.3389/fnins.2025.1522227.
    """
    head = within_brain(head)
    rows = select_rows(lookup, settings.regions)
    level_ppm = head.reference_ppm(settings.reference)
    with step("Scan to reference scan: rigid"):
        forward = register_rigid(magnitude_of(head), reference_magnitude)
    transform = Transform.of_matrix(forward)
    fall = scan_fall(magnitude_of(head), reference_magnitude, head.brain, forward)
    with step("Values and quality"):
        if resample:
            head = resample_head(head, labels, transform)
            placed = PlacedLabels(labels.values, {}, {})
            reference_on_grid = reference_magnitude
        else:
            indices = [int(i) for i in rows["index"]]
            as_atlas = Atlas("", {}, labels, one_hot(labels, indices), rows, probabilistic=False)
            _, placed = propagate_and_place(head, as_atlas, transform, rows, settings)
            reference_on_grid = resample_to(reference_magnitude, head.chi.grid, transform.forward)
        table = measure_with_reference(head, placed, rows, settings, level_ppm)
        brain, inverse = head.brain, np.asarray(np.linalg.inv(forward), dtype=np.float64)
        shift_mm, turn_deg = motion_of(inverse, centre_of(reference_magnitude.grid))
        similarity = mutual_information(
            magnitude_of(head).values[brain], reference_on_grid.values[brain]
        )
        metrics = [
            ("motion_shift", shift_mm, "mm"),
            ("motion_turn", turn_deg, "degree"),
            ("mutual_information_scans", similarity, "nat"),
            ("similarity_fall_scans", fall, "1"),
        ]
        moved = {
            "moved": "map" if resample else "labels",
            "to_reference": [[float(v) for v in row] for row in forward],
        }
        return registered_result(
            head,
            table,
            placed.labels,
            rows,
            settings=settings,
            metrics=metrics,
            source=dict(source or {}) | moved,
        )
