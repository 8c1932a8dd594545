"""One head, two scans: the labels of one measured in the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.nifti import check_finite, read_image, read_volume
from accelqsm.files.tables import read_table
from accelqsm.nuclei.atlas import Atlas, PropagatedLabels, one_hot, paste, propagate_labels
from accelqsm.nuclei.labels import chosen_rows, erode
from accelqsm.nuclei.measure import measure_nuclei
from accelqsm.nuclei.quality import flags
from accelqsm.nuclei.register import motion_of, mutual_information, register_rigid
from accelqsm.nuclei.volume import (
    Volume,
    affine_transform,
    centre_of,
    check_perpendicular,
    resampled,
)
from accelqsm.pipeline.labels import whole_numbers
from accelqsm.pipeline.nuclei import chosen_labels, combined, measured, read_brain, read_pair
from accelqsm.results.nuclei import (
    MeasureOptions,
    quality_figure,
    reference_ppm,
    referred,
    write_results,
)
from accelqsm.runtime.progress import step


def rescan_nuclei(
    chimap: Path,
    magnitude: Path,
    out: Path,
    *,
    reference_magnitude: Path,
    labels: Path,
    lookup: Path,
    resample: bool = False,
    mask: Path | None = None,
    r2star: Path | None = None,
    options: MeasureOptions | None = None,
) -> pd.DataFrame:
    """Measure one scan's nuclei in another scan of the same head, registered rigidly.

    By default the labels move to the map. ``resample`` moves the map to the labels (linear), as
    Zhou et al. 2025 did with FLIRT; that smooths this map and not the reference's.

    Args:
        chimap, magnitude: of this scan, on one grid.
        out: folder, as of ``study.nuclei.atlas_nuclei``.
        reference_magnitude: of the scan on whose grid ``labels`` lie.
        labels: NIfTI of whole numbers.
        lookup: tab-separated, columns index and name.
        resample: move the map instead of the labels.
        mask: brain, on the map's grid; by default where the map is not zero.
        r2star: on the map's grid, for the CSF reference.
        options: how to measure.

    Returns:
        The table as written.

    Raises:
        InputError: files that cannot be read or do not fit each other.

    Source: Zhou et al. 2025, Front Neurosci 19:1522227, doi 10.3389/fnins.2025.1522227.
    """
    options = options or MeasureOptions()
    chi, mag = read_pair(chimap, magnitude)
    brain = read_brain(mask, chi, chimap)
    image = read_image(reference_magnitude)
    check_finite(image.values, reference_magnitude)
    check_perpendicular(image.grid, str(reference_magnitude))
    first = Volume(combined(image), image.grid)
    theirs = Volume(
        whole_numbers(read_volume(labels, grid=image.grid)).astype(np.int16), image.grid
    )
    rows = chosen_rows(read_table(lookup, columns=("index", "name")), options.regions)
    chosen_labels(theirs.values, rows, labels)
    value_ppm = reference_ppm(chi.values, chi.grid, brain, options.reference, r2star=r2star)
    with step("Scan to reference scan: rigid"):
        to_first = register_rigid(mag, first)
    to_scan = np.asarray(np.linalg.inv(to_first), dtype=np.float64)
    with step("Values and quality"):
        if resample:
            back = affine_transform(to_scan)
            chi = resampled(chi, first.grid, back)
            inside = Volume(brain.astype(np.float32), mag.grid)
            brain = resampled(inside, first.grid, back).values > 0.5
            mag = resampled(mag, first.grid, back)
            ours: npt.NDArray[np.int16] = theirs.values
            met = mag.values, first.values
            table = measure_nuclei(
                chi.values,
                erode(ours, distance_mm=options.erosion_mm, voxel_size_mm=chi.grid.voxel_size_mm),
                rows,
                voxel_volume_mm3=chi.grid.voxel_volume_mm3,
                mask=brain,
                min_voxels=options.min_voxels,
            )
            table = referred(table, options.reference, value_ppm)
        else:
            propagated = _moved_labels(theirs, rows, mag, to_first, chimap)
            ours = paste(propagated.labels, propagated.offset, mag.grid)
            met = mag.values, resampled(first, mag.grid, affine_transform(to_first)).values
            table = measured(chi, brain, propagated, rows, options, value_ppm)
        table["flag"] = flags(table, rows, expected={}, centres_mm={})
        shift_mm, turn_deg = motion_of(to_scan, centre_of(first.grid))
        quality = [
            ("motion_shift", shift_mm, "mm"),
            ("motion_turn", turn_deg, "degree"),
            (
                "mutual_information_scans",
                mutual_information(met[0][brain], met[1][brain]),
                "nat",
            ),
        ]
        shown = chosen_labels(ours, rows, chimap)
        write_results(
            out,
            table,
            shown,
            chi.grid,
            rows,
            quality=quality,
            figure=quality_figure(chi, mag, shown, rows, notes={}),
            source={
                "chimap": str(chimap),
                "magnitude": str(magnitude),
                "reference_magnitude": str(reference_magnitude),
                "labels": str(labels),
                "lookup": str(lookup),
                "moved": "map" if resample else "labels",
                "to_reference": [[float(v) for v in row] for row in to_first],
            },
            options=options,
        )
    return table


def _moved_labels(
    theirs: Volume,
    rows: pd.DataFrame,
    mag: Volume,
    to_first: npt.NDArray[np.float64],
    chimap: Path,
) -> PropagatedLabels:
    indices = [int(i) for i in rows["index"]]
    as_atlas = Atlas("", {}, theirs, one_hot(theirs, indices), rows, probabilistic=False)
    try:
        return propagate_labels(
            as_atlas,
            mag.grid,
            to_template=affine_transform(to_first),
            from_template=affine_transform(np.linalg.inv(to_first)),
        )
    except InputError as error:
        raise InputError(f"{chimap}: {error}") from error
