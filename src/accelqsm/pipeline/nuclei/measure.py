"""Values of labels on the grid of a map, relative to the reference, and the record of a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.nuclei.interval import interval_ppb
from accelqsm.nuclei.labels import erode, select_rows
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.nuclei.quality import Expected, flags
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.pipeline.nuclei.head import MappedHead, magnitude_of
from accelqsm.pipeline.nuclei.labels import PlacedLabels, select_labels
from accelqsm.pipeline.nuclei.quality import (
    PLAUSIBLE,
    notes_of,
    quality_figure,
    registration_status,
)
from accelqsm.results.nuclei import NucleiResult
from accelqsm.units import PPB_PER_PPM

DEFAULT = MeasureSettings()

Predicted = tuple[Mapping[int, Expected], Mapping[int, npt.NDArray[np.float64]]]


def measure_labels(
    head: MappedHead,
    labels: npt.NDArray[Any],
    lookup: pd.DataFrame,
    *,
    settings: MeasureSettings = DEFAULT,
) -> pd.DataFrame:
    """Measure nuclei with labels on the grid of the map.

    Args:
        head: the map with its mask.
        labels: integers (x, y, z).
        lookup: columns index and name.
        settings: settings of the measurement.

    Returns:
        One row per nucleus and side (``nuclei.measure.measure_nuclei``), with its reference.

    Raises:
        InputError: labels that do not fit, or a reference that cannot be found.
    """
    rows = select_rows(lookup, settings.regions)
    placed = PlacedLabels(labels, {}, {})
    return measure_with_reference(
        head, placed, rows, settings, head.reference_ppm(settings.reference)
    )


def measure_with_reference(
    head: MappedHead,
    placed: PlacedLabels,
    rows: pd.DataFrame,
    settings: MeasureSettings,
    level_ppm: float,
) -> pd.DataFrame:
    """Measure nuclei relative to the mean of the reference region."""
    grid = head.chi.grid
    labels = erode(placed.labels, distance_mm=settings.erosion_mm, voxel_size_mm=grid.voxel_size_mm)
    table = measure_nuclei(
        head.chi.values,
        labels,
        rows,
        voxel_volume_mm3=grid.voxel_volume_mm3,
        mask=head.within,
        probabilities=placed.probabilities or None,
        min_voxels=settings.min_voxels,
        unavailable=placed.unavailable,
    )
    level_ppb = level_ppm * PPB_PER_PPM
    for column in ("mean_ppb", "median_ppb"):
        table[column] = table[column] - level_ppb
    table["reference"], table["reference_ppb"] = settings.reference, level_ppb
    if head.chi_sd_ppm is None:
        return table
    half_ppb = interval_ppb(
        head.chi.values,
        head.chi_sd_ppm,
        labels,
        rows,
        voxel_volume_mm3=grid.voxel_volume_mm3,
        mask=head.within,
        probabilities=placed.probabilities or None,
    )
    for column, sign in (("low_ppb", -1), ("high_ppb", 1)):
        table[column] = table["mean_ppb"] + sign * half_ppb
    return table


def result_of(
    head: MappedHead,
    table: pd.DataFrame,
    labels: npt.NDArray[Any],
    rows: pd.DataFrame,
    *,
    settings: MeasureSettings,
    quality: list[tuple[str, float, str]],
    notes: Mapping[str, str],
    source: Mapping[str, Any],
) -> NucleiResult:
    """Record of a measurement, with a figure of the labels for quality control."""
    shown = select_labels(labels, rows, head.name)
    return NucleiResult(
        table=table,
        labels=shown,
        grid=head.chi.grid,
        lookup=rows,
        quality=quality,
        figure=quality_figure(head.chi, magnitude_of(head), shown, rows, notes=notes),
        settings=settings,
        source=source,
    )


def registered_result(
    head: MappedHead,
    table: pd.DataFrame,
    labels: npt.NDArray[Any],
    rows: pd.DataFrame,
    *,
    settings: MeasureSettings,
    metrics: list[tuple[str, float, str]],
    source: Mapping[str, Any],
    predicted: Predicted = ({}, {}),
) -> NucleiResult:
    """Record with labels that a registration placed: its status, flags, and notes in the figure.

    Args:
        head: the mapped head.
        table: values, which are given their flags here.
        labels: integers (x, y, z).
        rows: columns index and name.
        settings: settings of the measurement.
        metrics: quality metrics of the registration.
        source: record of the inputs, without the status.
        predicted: size and position that the registration predicts, and the centre of each label
            in mm, by index.
    """
    status, (expected, centres_mm) = registration_status(head.name, metrics), predicted
    table["flag"] = flags(
        table, rows, expected=expected, centres_mm=centres_mm, doubtful=status != PLAUSIBLE
    )
    return result_of(
        head,
        table,
        labels,
        rows,
        settings=settings,
        quality=metrics,
        notes=notes_of(table),
        source={**source, "registration": status},
    )
