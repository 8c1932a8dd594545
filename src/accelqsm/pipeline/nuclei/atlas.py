"""Nuclei measured with the labels of an atlas that is registered to the scan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from accelqsm.nuclei.atlas import Atlas
from accelqsm.nuclei.labels import select_rows
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.nuclei.volume import Volume
from accelqsm.pipeline.nuclei.head import MappedHead, magnitude_of, within_brain
from accelqsm.pipeline.nuclei.labels import propagate_and_place, seven_or_all
from accelqsm.pipeline.nuclei.measure import DEFAULT, measure_with_reference, registered_result
from accelqsm.pipeline.nuclei.quality import atlas_metrics, expected_nuclei
from accelqsm.pipeline.nuclei.registration import RegisteredHead, register_atlas
from accelqsm.results.nuclei import NucleiResult
from accelqsm.runtime.progress import step

SYN = SynSettings()


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
        propagated, placed = propagate_and_place(head, atlas, registered.transform, rows, settings)
        table = measure_with_reference(head, placed, rows, settings, level_ppm)
        predicted = expected_nuclei(atlas, registered, propagated, rows)
        return registered_result(
            head,
            table,
            placed.labels,
            rows,
            settings=settings,
            metrics=atlas_metrics(atlas, registered, head.brain, placed.labels, rows),
            source=dict(source or {}) | _registered_source(registered, atlas, syn),
            predicted=predicted,
        )


def _ready(
    head: MappedHead, atlas: Atlas, settings: MeasureSettings
) -> tuple[MappedHead, pd.DataFrame, float]:
    """The head within its brain, the labels to measure, and the reference's level in ppm."""
    head = within_brain(head)
    rows = select_rows(atlas.lookup, settings.regions or seven_or_all(atlas.lookup))
    return head, rows, head.reference_ppm(settings.reference)


def _registered_source(
    registered: RegisteredHead, atlas: Atlas, syn: SynSettings
) -> dict[str, Any]:
    from accelqsm.options.table import plain

    return {"atlas": atlas.name, "contrasts": list(registered.contrasts), "syn": plain(syn)}
