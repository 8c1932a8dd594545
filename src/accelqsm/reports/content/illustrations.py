"""Pictures of one subject of a study: figures of its maps, quality of its labels, and viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accelqsm.errors import InputError
from accelqsm.figures.extreme import LargestDifference, largest_difference
from accelqsm.figures.figure import Figure
from accelqsm.reports.content.left_out import LeftOut
from accelqsm.reports.content.pictures import (
    DIFFERENCES,
    StudyImages,
    figures_of_maps,
    read_images,
    viewer_of_maps,
)
from accelqsm.reports.content.scans import StudyFolder
from accelqsm.reports.page.content import Viewer
from accelqsm.results.comparison import Comparison


@dataclass(frozen=True)
class Illustrations:
    """What the maps of a study add to its report.

    Attributes:
        maps: figures of the maps.
        differences: figure of where they differ.
        viewer: viewer of the maps.
        notes: what the reader must know of them.
    """

    maps: Sequence[Figure] = ()
    differences: Sequence[Figure] = ()
    viewer: Viewer | None = None
    notes: Sequence[str] = field(default_factory=list)


def illustrations(
    folder: StudyFolder, notes: LeftOut, largest: LargestDifference | None
) -> Illustrations:
    """Figures and viewer of the maps of one subject; parts that cannot be made are noted.

    Args:
        folder: its files.
        notes: collects what is left out.
        largest: the difference at which the maps are shown.
    """
    read = notes.make("Pictures of the maps", lambda: read_images(folder))
    if not read:
        return Illustrations()
    images: StudyImages = read[0]
    figures = {
        title: notes.make(title, draw)
        for title, draw in figures_of_maps(folder, images, largest).items()
    }
    differences = figures.pop(DIFFERENCES, [])
    viewer = notes.make("Viewer", lambda: viewer_of_maps(folder, images, notes))
    return Illustrations(
        [figure for made in figures.values() for figure in made],
        differences,
        next(iter(viewer), None),
        images.notes,
    )


def subject_shown(stored: Comparison, subjects: Sequence[str]) -> LargestDifference | None:
    """The largest difference among some subjects; None where none has a pair of values."""
    if stored.values is None:
        return None
    own = stored.values[stored.values["subject"].astype(str).isin(subjects)]
    try:
        return largest_difference(own, reference=stored.reference)
    except InputError:
        return None
