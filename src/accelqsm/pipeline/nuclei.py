"""Pipeline that measures nuclei in a susceptibility map, one row per nucleus and side.

The labels are those of a registered atlas, those of another scan of the same head (rigidly
co-registered), or are already on the grid of the map.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.morphology import diameter_mm, in_head_mm, scale_of
from accelqsm.nuclei.atlas import Atlas, PropagatedLabels, one_hot
from accelqsm.nuclei.interval import interval_ppb
from accelqsm.nuclei.labels import erode, select_rows
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.nuclei.metrics import scan_fall
from accelqsm.nuclei.quality import flags
from accelqsm.nuclei.register import motion_of, mutual_information, register_rigid
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.nuclei.volume import Volume, centre_of, resample_to
from accelqsm.pipeline.labels import (
    PlacedLabels,
    place_labels,
    propagate_to_map,
    select_labels,
    seven_or_all,
)
from accelqsm.pipeline.quality import (
    PLAUSIBLE,
    atlas_metrics,
    expected_nuclei,
    notes_of,
    quality_figure,
    registration_status,
)
from accelqsm.pipeline.registration import RegisteredHead, Transform, register_atlas
from accelqsm.reference.region import reference_region
from accelqsm.reference.registry import REFERENCES
from accelqsm.results.nuclei import NucleiResult
from accelqsm.runtime.progress import step
from accelqsm.units import PPB_PER_PPM

Mask = npt.NDArray[np.bool_]
DEFAULT, SYN = MeasureSettings(), SynSettings()


@dataclass(frozen=True)
class MappedHead:
    """Susceptibility map with brain mask, magnitude and R2*, all on one grid.

    Attributes:
        chi: susceptibility in ppm.
        brain: bool (x, y, z).
        name: name of the map, for messages.
        magnitude: magnitude of the same scan; needed for registration.
        r2star_per_s: (x, y, z) in 1/s, for a reference that needs it.
        within: mask in which nuclei are measured; None for everywhere.
        chi_sd_ppm: standard deviation of susceptibility (x, y, z), where it is known.
    """

    chi: Volume
    brain: Mask
    name: str
    magnitude: Volume | None = None
    r2star_per_s: npt.NDArray[Any] | None = None
    within: Mask | None = None
    chi_sd_ppm: npt.NDArray[Any] | None = None

    def reference_ppm(self, kind: str) -> float:
        """Mean susceptibility of the reference region, in ppm.

        Raises:
            InputError: an empty mask, or no such region.
        """
        if not self.brain.any() and kind != "none":
            raise InputError(f"--reference {kind}: expected a mask with voxels, found none")
        if REFERENCES[kind].needs_r2star and self.r2star_per_s is None:
            raise InputError(f"--reference {kind}: expected an R2* map (--r2star FILE), found none")
        size_mm = self.chi.grid.voxel_size_mm
        scale = scale_of(diameter_mm(self.brain, voxel_size_mm=size_mm), voxel_size_mm=size_mm)
        size_mm = in_head_mm(size_mm, scale)
        region = reference_region(kind, self.brain, self.r2star_per_s, voxel_size_mm=size_mm)
        return 0.0 if region is None else float(self.chi.values[region].mean(dtype=np.float64))


def measure_atlas(
    head: MappedHead,
    atlas: Atlas,
    *,
    t1w: Volume | None = None,
    settings: MeasureSettings = DEFAULT,
    syn: SynSettings = SYN,
    source: Mapping[str, Any] | None = None,
) -> NucleiResult:
    """Measure nuclei with the labels of an atlas that is registered to the scan.

    Registration is rigid from magnitude to T1w, affine and then deformable (SyN, near the nuclei)
    from T1w to the template, with every contrast that both have; the intensities of nuclei in the
    template are matched to those of the scan. Labels are propagated to the map, which is not
    resampled.

    Args:
        head: map and magnitude of one scan.
        atlas: template and labels.
        t1w: T1-weighted image of the same head, in any pose and grid.
        settings: settings of the measurement.
        syn: settings of the deformable registration.
        source: record of the inputs.

    Raises:
        InputError: images that do not fit each other, or nuclei outside the scan.
    """
    ready = _ready(head, atlas, settings)
    registered = register_atlas(head.chi, magnitude_of(head), head.brain, atlas, t1w=t1w, syn=syn)
    return _measured(ready, atlas, registered, settings, syn, source)


def measure_registered(
    head: MappedHead,
    atlas: Atlas,
    registered: RegisteredHead,
    *,
    settings: MeasureSettings = DEFAULT,
    syn: SynSettings = SYN,
    source: Mapping[str, Any] | None = None,
) -> NucleiResult:
    """Measure nuclei with the labels of an atlas that the head is registered to already.

    Args:
        head: map and magnitude of one scan.
        atlas: template and labels.
        registered: the scan, with its transform to the template.
        settings: settings of the measurement.
        syn: settings that the head was registered with.
        source: record of the inputs.

    Raises:
        InputError: images that do not fit each other, or nuclei outside the scan.
    """
    return _measured(_ready(head, atlas, settings), atlas, registered, settings, syn, source)


def _measured(
    ready: tuple[MappedHead, pd.DataFrame, float],
    atlas: Atlas,
    registered: RegisteredHead,
    settings: MeasureSettings,
    syn: SynSettings,
    source: Mapping[str, Any] | None,
) -> NucleiResult:
    """Measure a head that is ready (``_ready``) and registered."""
    head, rows, level_ppm = ready
    with step("Labels to the map, values, quality"):
        propagated, placed = _propagated(head, atlas, registered.transform, rows, settings)
        table = measure_with_reference(head, placed, rows, settings, level_ppm)
        expected, centres_mm = expected_nuclei(atlas, registered, propagated, rows)
        metrics = atlas_metrics(atlas, registered, head.brain, placed.labels, rows)
        status = registration_status(head.name, metrics)
        table["flag"] = flags(
            table,
            rows,
            expected=expected,
            centres_mm=centres_mm,
            doubtful=status != PLAUSIBLE,
        )
        return result_of(
            head,
            table,
            placed.labels,
            rows,
            settings=settings,
            quality=metrics,
            notes=notes_of(table),
            source=dict(source or {})
            | _registered_source(registered, atlas, syn)
            | {"registration": status},
        )


def _ready(
    head: MappedHead, atlas: Atlas, settings: MeasureSettings
) -> tuple[MappedHead, pd.DataFrame, float]:
    """The head within its brain, the labels to measure, and the reference's level in ppm."""
    head = _within_brain(head)
    rows = select_rows(atlas.lookup, settings.regions or seven_or_all(atlas.lookup))
    return head, rows, head.reference_ppm(settings.reference)


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
    head = _within_brain(head)
    rows = select_rows(lookup, settings.regions)
    level_ppm = head.reference_ppm(settings.reference)
    with step("Scan to reference scan: rigid"):
        forward = register_rigid(magnitude_of(head), reference_magnitude)
    transform = Transform.of_matrix(forward)
    fall = scan_fall(magnitude_of(head), reference_magnitude, head.brain, forward)
    with step("Values and quality"):
        if resample:
            head = _resample_head(head, labels, transform)
            placed = PlacedLabels(labels.values, {}, {})
            reference_on_grid = reference_magnitude
        else:
            indices = [int(i) for i in rows["index"]]
            as_atlas = Atlas("", {}, labels, one_hot(labels, indices), rows, probabilistic=False)
            _, placed = _propagated(head, as_atlas, transform, rows, settings)
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
        status = registration_status(head.name, metrics)
        table["flag"] = flags(table, rows, expected={}, centres_mm={}, doubtful=status != PLAUSIBLE)
        return result_of(
            head,
            table,
            placed.labels,
            rows,
            settings=settings,
            quality=metrics,
            notes=notes_of(table),
            source=dict(source or {})
            | {
                "moved": "map" if resample else "labels",
                "to_reference": [[float(v) for v in row] for row in forward],
                "registration": status,
            },
        )


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


def _propagated(
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


def magnitude_of(head: MappedHead) -> Volume:
    """Magnitude of the scan.

    Raises:
        InputError: none was given.
    """
    if head.magnitude is None:
        raise InputError(f"{head.name}: expected the magnitude of its scan, found none")
    return head.magnitude


def _within_brain(head: MappedHead) -> MappedHead:
    """Restrict the measurement to the brain mask.

    Raises:
        InputError: a map of zeros.
    """
    if not head.brain.any():
        raise InputError(f"{head.name}: expected a map with values, found zeros alone")
    return replace(head, within=head.brain)


def _resample_head(head: MappedHead, labels: Volume, transform: Transform) -> MappedHead:
    """Resample map, magnitude and brain mask to the grid of the labels (linear)."""
    grid = labels.grid
    inside = Volume(head.brain.astype(np.float32), head.chi.grid)
    brain = resample_to(inside, grid, transform.inverse).values > 0.5
    sd = None if head.chi_sd_ppm is None else Volume(head.chi_sd_ppm, head.chi.grid)
    return replace(
        head,
        chi=resample_to(head.chi, grid, transform.inverse),
        magnitude=resample_to(magnitude_of(head), grid, transform.inverse),
        brain=brain,
        within=brain,
        chi_sd_ppm=None if sd is None else resample_to(sd, grid, transform.inverse).values,
    )


def _registered_source(
    registered: RegisteredHead, atlas: Atlas, syn: SynSettings
) -> dict[str, Any]:
    from accelqsm.options.table import plain

    return {"atlas": atlas.name, "contrasts": list(registered.contrasts), "syn": plain(syn)}
