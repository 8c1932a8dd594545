"""Public functions that register a head once, and measure each of its scans from there."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelqsm.api.inputs import as_volume, name_of
from accelqsm.api.labels import check_named, labels_of
from accelqsm.api.nuclei import DEFAULT, SYN, MeasuredIn, as_atlas, head_of, source_of
from accelqsm.api.types import PathLike, VolumeLike
from accelqsm.files.atlas import read_atlas
from accelqsm.files.atlases import find_atlas
from accelqsm.nuclei.labels import select_rows
from accelqsm.nuclei.quality import flags
from accelqsm.nuclei.register import register_rigid
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.nuclei.volume import Volume, check_perpendicular
from accelqsm.pipeline.nuclei.atlas import measure_registered
from accelqsm.pipeline.nuclei.head import magnitude_of
from accelqsm.pipeline.nuclei.measure import measure_labels, result_of
from accelqsm.pipeline.nuclei.registration import register_atlas, scan_of_head
from accelqsm.results.nuclei import NucleiResult
from accelqsm.results.registration import Registration
from accelqsm.runtime.progress import step


def register_head(
    chi: MeasuredIn,
    *,
    atlas: PathLike,
    t1w: VolumeLike | None = None,
    syn: SynSettings = SYN,
) -> Registration:
    """Register a scan of a head to an atlas, for all scans of this head.

    Args:
        chi: maps of the scan, with its magnitude.
        atlas: a name ("cit168") or a folder.
        t1w: T1-weighted image of the same head, in any pose and grid.
        syn: settings of the deformable registration near the nuclei.

    Returns:
        Record of the transforms.

    Raises:
        InputError: inputs that cannot be read or do not fit each other.
    """
    head = head_of(chi)
    images = read_atlas(find_atlas(atlas))
    registered = register_atlas(
        head.chi,
        magnitude_of(head),
        head.brain,
        as_atlas(images, name=str(atlas)),
        t1w=_t1w(t1w),
        syn=syn,
    )
    return Registration(
        to_head=registered.to_head,
        to_template=registered.to_template,
        contrasts=registered.contrasts,
        atlas=str(atlas),
        syn=syn,
        source=source_of(chi, head, None)
        | {"t1w": "none" if t1w is None else name_of(t1w, "given")},
    )


def nuclei_of_head(
    chi: MeasuredIn,
    registration: Registration,
    *,
    atlas: PathLike,
    t1w: VolumeLike | None = None,
    reference: MeasuredIn | None = None,
    settings: MeasureSettings = DEFAULT,
) -> NucleiResult:
    """Nuclei of one scan of a head that was registered to an atlas.

    Args:
        chi: maps of the scan, with its magnitude.
        registration: of a scan of this head (``register_head``).
        atlas: the same atlas.
        t1w: the same T1-weighted image.
        reference: maps of the scan that was registered; this scan is registered to it rigidly.
            None for that scan itself.
        settings: settings of the measurement.

    Returns:
        Record of the table, the labels on the grid of the scan, and the quality metrics.

    Raises:
        InputError: inputs that cannot be read or do not fit each other.
    """
    head = head_of(chi)
    images = as_atlas(read_atlas(find_atlas(atlas)), name=str(atlas))
    anchor, to_reference = None, None
    if reference is not None:
        anchor = magnitude_of(head_of(reference))
        with step("Scan to reference scan: rigid"):
            to_reference = register_rigid(magnitude_of(head), anchor)
    registered = scan_of_head(
        head.chi,
        magnitude_of(head),
        registration,
        t1w=_t1w(t1w),
        reference=anchor,
        to_reference=to_reference,
    )
    source: dict[str, Any] = dict(source_of(chi, head, None)) | {
        "t1w": "none" if t1w is None else name_of(t1w, "given")
    }
    if to_reference is not None:
        source["to_reference"] = to_reference.tolist()
    return measure_registered(
        head, images, registered, settings=settings, syn=registration.syn, source=source
    )


def nuclei_of_labels(
    chi: MeasuredIn,
    *,
    labels: VolumeLike,
    lookup: PathLike,
    settings: MeasureSettings = DEFAULT,
) -> NucleiResult:
    """Nuclei of a scan with labels on its own grid, as a result with labels and figure.

    Args:
        chi: maps of the scan, with its magnitude.
        labels: integers on the grid of the map.
        lookup: columns index and name of the labels.
        settings: settings of the measurement.

    Raises:
        InputError: inputs that cannot be read or do not fit each other.
    """
    head = head_of(chi)
    image, rows = labels_of(labels, lookup, grid=head.chi.grid)
    check_named(image, rows)
    table = measure_labels(head, image.values, rows, settings=settings)
    table["flag"] = flags(table, rows, expected={}, centres_mm={})
    return result_of(
        head,
        table,
        image.values,
        select_rows(rows, settings.regions),
        settings=settings,
        quality=[],
        notes={},
        source=source_of(chi, head, None)
        | {"labels": name_of(labels, "given"), "lookup": name_of(lookup, "given")},
    )


def _t1w(t1w: VolumeLike | None) -> Volume | None:
    if t1w is None:
        return None
    image = as_volume(t1w, "T1w")
    check_perpendicular(image.grid, str(image.path))
    return Volume(np.asarray(image.values, dtype=np.float32), image.grid)
