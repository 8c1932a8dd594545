"""Which way to the nuclei: labels as they are, labels of another scan, or an atlas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from accelqsm.errors import InputError
from accelqsm.results.nuclei import MeasureOptions


def nuclei_command(
    chimap: Path,
    out: Path,
    *,
    magnitude: Path | None = None,
    t1w: Path | None = None,
    atlas: str | None = None,
    labels: Path | None = None,
    lookup: Path | None = None,
    reference_magnitude: Path | None = None,
    resample: bool = False,
    mask: Path | None = None,
    reference: str | None = None,
    r2star: Path | None = None,
    erosion_mm: float = 0.0,
    weighted: bool = False,
    threshold: float = 0.5,
    min_voxels: int = 3,
    regions: tuple[str, ...] | None = None,
) -> pd.DataFrame:
    """Measure the nuclei of a map; the arguments are those of ``accelqsm nuclei``.

    Returns:
        The table as written.

    Raises:
        InputError: arguments that do not belong together, or files that do not fit.
    """
    options = MeasureOptions(
        reference=reference or "brain",
        erosion_mm=erosion_mm,
        weighted=weighted,
        min_voxels=min_voxels,
        threshold=threshold,
        regions=regions,
    )
    if labels is None:
        if reference_magnitude is not None or resample or lookup is not None:
            raise InputError(
                "nuclei: expected --labels with --lookup, --reference-magnitude and --resample"
            )
        if magnitude is None:
            raise InputError("nuclei: expected --magnitude FILE, or --labels FILE, found neither")
        from accelqsm.pipeline.nuclei import atlas_nuclei

        return atlas_nuclei(
            chimap,
            magnitude,
            out,
            t1w=t1w,
            atlas=atlas or "cit168",
            mask=mask,
            r2star=r2star,
            options=options,
        )
    if lookup is None:
        raise InputError("nuclei: expected --lookup TSV with --labels, found none")
    if atlas is not None or t1w is not None or weighted:
        raise InputError("nuclei: expected --atlas, --t1w and --weighted without --labels")
    if reference_magnitude is not None:
        if magnitude is None:
            raise InputError("nuclei: expected --magnitude with --reference-magnitude, found none")
        from accelqsm.pipeline.rescan import rescan_nuclei

        return rescan_nuclei(
            chimap,
            magnitude,
            out,
            reference_magnitude=reference_magnitude,
            labels=labels,
            lookup=lookup,
            resample=resample,
            mask=mask,
            r2star=r2star,
            options=options,
        )
    if resample:
        raise InputError("nuclei: expected --reference-magnitude with --resample, found none")
    from accelqsm.pipeline.labels import nuclei_table

    return nuclei_table(
        chimap, out, labels=labels, lookup=lookup, mask=mask, r2star=r2star, options=options
    )
