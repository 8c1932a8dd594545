"""Figures of a virtual study: those of the published one, and the forest plot of its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from accelqsm.agreement.values import POOLED
from accelqsm.figures.extreme import LargestDifference, largest_difference, subject_figure
from accelqsm.figures.figure import Figure
from accelqsm.figures.plots import bland_altman_figure
from accelqsm.figures.summary.forest import forest_figure
from accelqsm.reports.content.forest import forest_rows
from accelqsm.reports.content.pictures import DIFFERENCES, figures_of_maps, read_images
from accelqsm.results.comparison import Comparison
from accelqsm.virtual.protocols import PROTOCOLS
from virtual_study_numbers import PI
from virtual_study_tables import ACCELERATIONS, AGAIN, Numbers, comparison
from virtual_study_values import REFERENCE, TRUE_LABELS, Dataset

SHOWN = (REFERENCE, *(name for name, p in PROTOCOLS.items() if p.label in ACCELERATIONS))


def plots(numbers: Numbers) -> Iterator[tuple[str, Figure]]:
    """Bland-Altman plots, values of the subject that differs most, and forest plot of verdicts."""
    study, null = numbers.study[TRUE_LABELS], numbers.null[TRUE_LABELS].agreement
    assert study.values is not None
    again = null[null["protocol"] == AGAIN].set_index("region")["repeatability"]
    yield (
        "figure-4",
        bland_altman_figure(
            study.values,
            study.agreement,
            reference=PI,
            regions=[r for r in dict.fromkeys(study.agreement["region"]) if r != POOLED],
            rescan_ppb={
                (region, protocol): float(again[region])
                for region in again.index
                for protocol in ACCELERATIONS
            },
        ),
    )
    yield "figure-5", subject_figure(study.values, largest_of(study), reference=PI)
    yield "forest", forest_figure(forest_rows(study))


def pictures(
    dataset: Dataset, values: pd.DataFrame, subjects: Sequence[str]
) -> Iterator[tuple[str, Figure]]:
    """Nuclei, protocols and magnified nuclei of the first subject; maps of the one of figure 5.

    Those of subjects whose maps are not in this part of the study were drawn with theirs.
    """
    first = str(values["subject"].iloc[0])
    if first in subjects:
        found = _of_maps(dataset, first, None)
        titles = "The nuclei", "Protocols side by side", "Nuclei, magnified"
        for number, title in enumerate(titles, 1):
            yield f"figure-{number}", found[title]()
    largest = largest_of(comparison(values, ACCELERATIONS))
    if largest.subject in subjects:
        found = _of_maps(dataset, largest.subject, largest)
        yield "figure-5-nuclei", found["Nuclei, magnified"]()
        yield "figure-5-differences", found[DIFFERENCES]()


def largest_of(study: Comparison) -> LargestDifference:
    """The largest difference from the reference at the accelerations of the published study."""
    assert study.values is not None
    most = ACCELERATIONS.index("AF5") + 1
    own = study.values[study.values["protocol"].isin([PI, *ACCELERATIONS[:most]])]
    return largest_difference(own, reference=PI)


def _of_maps(
    dataset: Dataset, subject: str, largest: LargestDifference | None
) -> dict[str, Callable[[], Figure]]:
    folder = dataset.folder(subject, SHOWN)
    return dict(figures_of_maps(folder, read_images(folder), largest))
