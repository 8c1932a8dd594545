"""Public functions that measure nuclei in a susceptibility map."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.api.background import brain_and_doubt, say
from accelqsm.api.inputs import as_image, as_mask, as_volume, name_of
from accelqsm.api.labels import check_named, labels_of
from accelqsm.api.types import PathLike, VolumeLike
from accelqsm.errors import InputError
from accelqsm.files.atlas import read_atlas
from accelqsm.files.atlas_images import AtlasImages
from accelqsm.files.atlases import DEFAULT as DEFAULT_ATLAS
from accelqsm.files.atlases import find_atlas
from accelqsm.files.nifti import Image, check_finite, check_same_grid
from accelqsm.nuclei.atlas import Atlas, one_hot
from accelqsm.nuclei.labels import select_rows
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.nuclei.volume import Volume, check_perpendicular
from accelqsm.pipeline.nuclei.atlas import measure_atlas
from accelqsm.pipeline.nuclei.coregistered import measure_coregistered
from accelqsm.pipeline.nuclei.head import MappedHead
from accelqsm.pipeline.nuclei.labels import select_labels
from accelqsm.pipeline.nuclei.measure import measure_labels
from accelqsm.results.maps import SusceptibilityMaps
from accelqsm.results.nuclei import NucleiResult

MeasuredIn = MappedHead | SusceptibilityMaps | VolumeLike
DEFAULT, SYN = MeasureSettings(), SynSettings()
LARGEST_MEDIAN_PPM = 2.0
HIGH_QUANTILE, LEAST_HIGH_PPM = 0.99, 1e-3
"""Of |chi| in a brain, whose nuclei and veins have a tenth of a ppm."""


def measure_nuclei(
    chi: MeasuredIn,
    *,
    atlas: PathLike | None = None,
    t1w: VolumeLike | None = None,
    labels: VolumeLike | None = None,
    lookup: PathLike | pd.DataFrame | None = None,
    magnitude: VolumeLike | None = None,
    settings: MeasureSettings = DEFAULT,
) -> pd.DataFrame:
    """Susceptibility of each nucleus, of a registered atlas or of given labels.

    Args:
        chi: maps of a scan, a susceptibility map in ppm (path or image), or ``mapped_head``.
        atlas: a name ("cit168") or a folder.
        t1w: T1-weighted image of the same head, in any pose and grid.
        labels: integers on the map's grid, in place of an atlas.
        lookup: columns index and name of the labels.
        magnitude: magnitude of the same scan, where ``chi`` does not include it.
        settings: settings of the measurement.

    Returns:
        Columns region, side, mean_ppb, sd_ppb, median_ppb, iqr_ppb, n_voxels, volume_mm3, note,
        reference, reference_ppb, and flag where an atlas was registered.

    Raises:
        InputError: inputs that cannot be read or do not fit each other.
    """
    if labels is None:
        return locate_nuclei(
            chi, atlas=atlas, t1w=t1w, magnitude=magnitude, settings=settings
        ).table
    if atlas is not None or t1w is not None:
        raise InputError("nuclei: expected an atlas and a T1w image without labels")
    head = head_of(chi, magnitude)
    image, rows = labels_of(labels, lookup, grid=head.chi.grid)
    check_named(image, rows)
    return measure_labels(head, image.values, rows, settings=settings)


def locate_nuclei(
    chi: MeasuredIn,
    *,
    atlas: PathLike | None = None,
    t1w: VolumeLike | None = None,
    magnitude: VolumeLike | None = None,
    settings: MeasureSettings = DEFAULT,
    syn: SynSettings = SYN,
) -> NucleiResult:
    """Nuclei of a scan by registration of an atlas: table, labels, quality metrics and figure.

    Args:
        chi: maps of a scan, a susceptibility map in ppm (path or image), or ``mapped_head``.
        atlas: a name ("cit168", by default) or a folder.
        t1w: T1-weighted image of the same head, in any pose and grid.
        magnitude: magnitude of the same scan, where ``chi`` does not include it.
        settings: settings of the measurement.
        syn: settings of the deformable registration near the nuclei.

    Returns:
    Record of the table, the labels on the grid of the scan, and the quality metrics.

    Raises:
        InputError: inputs that cannot be read or do not fit each other.
    """
    head = head_of(chi, magnitude)
    wanted = DEFAULT_ATLAS if atlas is None else atlas
    images = read_atlas(find_atlas(wanted))
    image = None if t1w is None else _require_perpendicular(as_volume(t1w, "T1w"))
    return measure_atlas(
        head,
        as_atlas(images, name=str(wanted)),
        t1w=None if image is None else _volume(image),
        settings=settings,
        syn=syn,
        source=source_of(chi, head, magnitude)
        | {"t1w": "none" if t1w is None else name_of(t1w, "given")},
    )


def coregister_nuclei(
    chi: MeasuredIn,
    *,
    labels: VolumeLike,
    lookup: PathLike | pd.DataFrame,
    reference_magnitude: VolumeLike,
    magnitude: VolumeLike | None = None,
    resample: bool = False,
    settings: MeasureSettings = DEFAULT,
) -> NucleiResult:
    """Nuclei of a scan with the labels of another scan of the same head, rigidly co-registered.

    Args:
        chi: maps of this scan, its susceptibility map in ppm, or ``mapped_head``.
        labels: integers on the grid of the other scan.
        lookup: columns index and name of the labels.
        reference_magnitude: magnitude of the other scan.
        magnitude: magnitude of this scan, where ``chi`` does not include it.
        resample: resample the map instead of propagating the labels, which smooths it.
        settings: settings of the measurement.

    Returns:
    Record of the table, the labels and the quality metrics.

    Raises:
        InputError: inputs that cannot be read or do not fit each other.
    """
    head = head_of(chi, magnitude)
    reference = as_image(reference_magnitude, "reference magnitude")
    check_finite(reference.values, reference.path)
    _require_perpendicular(reference)
    image, rows = labels_of(labels, lookup, grid=reference.grid)
    select_labels(image.values, select_rows(rows, settings.regions), str(image.path))
    return measure_coregistered(
        head,
        Volume(image.values, reference.grid),
        rows,
        reference_magnitude=Volume(combine_echoes(reference), reference.grid),
        resample=resample,
        settings=settings,
        source=source_of(chi, head, magnitude)
        | {
            "reference_magnitude": name_of(reference_magnitude, "given"),
            "labels": name_of(labels, "given"),
            "lookup": name_of(lookup, "given"),
        },
    )


def mapped_head(
    chi: VolumeLike,
    *,
    magnitude: VolumeLike | None = None,
    mask: VolumeLike | None = None,
    r2star_per_s: VolumeLike | None = None,
    chi_sd: VolumeLike | None = None,
) -> MappedHead:
    """Combine a susceptibility map with magnitude, mask, R2* and its sd on the same grid.

    Args:
        chi: susceptibility in ppm (path or nibabel image).
        magnitude: magnitude of the same scan; echoes of a 4D image are combined.
        mask: the brain; by default where the map is not zero, or not its constant background.
        r2star_per_s: 1/s, for a reference that needs it.
        chi_sd: standard deviation of susceptibility in ppm, for intervals of the means.

    Returns:
    Record of the images, to be passed as ``chi`` to the other functions.

    Raises:
        InputError: images that cannot be read or do not share a grid.

    Warns:
        InputWarning: a map without a mask whose background is not exactly zero.
    """
    image = as_volume(chi, "susceptibility map")
    inside = as_mask(mask, image.grid)
    brain, doubt = brain_and_doubt(image) if inside is None else (inside, "")
    check_ppm(image, brain)
    say(doubt)
    rate = None if r2star_per_s is None else as_volume(r2star_per_s, "R2*", grid=image.grid)
    sd = None if chi_sd is None else as_volume(chi_sd, "standard deviation", grid=image.grid)
    return MappedHead(
        chi=_volume(image),
        brain=brain,
        name=str(image.path),
        magnitude=None if magnitude is None else _magnitude(magnitude, image),
        r2star_per_s=None if rate is None else rate.values.astype(np.float32),
        within=inside,
        chi_sd_ppm=None if sd is None else sd.values.astype(np.float32),
    )


def check_ppm(chi: Image, brain: npt.NDArray[np.bool_]) -> None:
    """Refuse a map whose values are those of ppb or of parts of one.

    Raises:
        InputError: with the median of |chi|, which is some hundredths of a ppm in a brain, or its
            highest hundredth, which is a tenth and more.
    """
    size = np.abs(chi.values[brain]) if brain.any() else np.zeros(1)
    high = float(np.quantile(size, HIGH_QUANTILE))
    if 0 < high < LEAST_HIGH_PPM:
        raise InputError(
            f"{chi.path}: expected susceptibility in ppm, found |chi| below {high:.3g} in 99 % of "
            "the brain, as maps in parts of one have; multiply by 1e6"
        )
    median = float(np.median(size))
    if median > LARGEST_MEDIAN_PPM:
        raise InputError(
            f"{chi.path}: expected susceptibility in ppm, found a median of |chi| of {median:.3g} "
            "in the brain, as maps in ppb have; divide by 1000"
        )


def head_of(chi: MeasuredIn, magnitude: VolumeLike | None = None) -> MappedHead:
    """Convert maps, a map or a ``MappedHead`` to a ``MappedHead``.

    Returns:
        The map with its magnitude, mask and R2*.
    """
    if isinstance(chi, MappedHead):
        return chi
    if isinstance(chi, SusceptibilityMaps):
        return MappedHead(
            chi=Volume(chi.chi_ppm, chi.grid),
            brain=chi.mask,
            name="susceptibility map",
            magnitude=None if chi.magnitude is None else Volume(chi.magnitude, chi.grid),
            r2star_per_s=chi.r2star_per_s,
            within=chi.mask,
            chi_sd_ppm=chi.chi_sd_ppm,
        )
    return mapped_head(chi, magnitude=magnitude)


def as_atlas(images: AtlasImages, *, name: str = "") -> Atlas:
    """Convert the images of an atlas to an ``Atlas``.

    Returns:
        Templates, brain mask and label probabilities, for registration.
    """
    templates = {name: _volume(image) for name, image in images.templates.items()}
    first = next(iter(templates.values()))
    brain = first if images.brain is None else Volume(images.brain.values, images.brain.grid)
    # A susceptibility map, too, is a template: it is below zero in half of the brain.
    inside = brain.values != 0 if images.brain is None else brain.values > 0.5
    indices = [int(i) for i in images.lookup["index"]]
    if images.labels is None:
        probabilities = {i: Volume(p, images.label_grid) for i, p in images.probabilities.items()}
    else:
        probabilities = one_hot(Volume(images.labels, images.label_grid), indices)
    return Atlas(
        name or str(images.folder),
        templates,
        Volume(inside.astype(np.float32), brain.grid),
        probabilities,
        images.lookup,
        probabilistic=images.labels is None,
    )


def combine_echoes(image: Image) -> npt.NDArray[np.float32]:
    """Combine echoes: root of the sum of squares over the echoes of a 4D image.

    Returns:
        float32 (x, y, z).
    """
    values = np.asarray(image.values, dtype=np.float32)
    return values if values.ndim == 3 else np.sqrt((values**2).sum(-1))


def source_of(chi: MeasuredIn, head: MappedHead, magnitude: VolumeLike | None) -> dict[str, Any]:
    """Record of the source of a map, its magnitude and its mask.

    Returns:
        Paths as text, or "given" for inputs in memory.
    """
    return {
        "chimap": name_of(chi, head.name),
        "magnitude": name_of(magnitude, "given"),
        "mask": "where the map is not zero" if head.within is None else "given",
    }


def _magnitude(magnitude: VolumeLike, chi: Image) -> Volume:
    image = as_image(magnitude, "magnitude", grid=None if _has_grid(magnitude) else chi.grid)
    check_finite(image.values, image.path)
    _check_flip(image, chi)
    check_same_grid(image.grid, chi.grid, image.path, reference=chi.path)
    check_perpendicular(chi.grid, str(chi.path))
    return Volume(combine_echoes(image), image.grid)


def _has_grid(value: VolumeLike) -> bool:
    return isinstance(value, str | os.PathLike) or hasattr(value, "affine")


def _check_flip(image: Image, chi: Image) -> None:
    """Check for a flipped axis, for a clearer message than that of a distance between corners."""
    if image.grid.shape != chi.grid.shape:
        return
    ours, theirs = image.grid.matrix[:3, :3], chi.grid.matrix[:3, :3]
    for axis, name in enumerate("xyz"):
        if np.allclose(ours[:, axis], -theirs[:, axis], atol=1e-3):
            raise InputError(
                f"{image.path}: expected the same affine as {chi.path}, found its {name} axis "
                "flipped"
            )


def _require_perpendicular(image: Image) -> Image:
    check_perpendicular(image.grid, str(image.path))
    return image


def _volume(image: Image) -> Volume:
    return Volume(np.asarray(image.values, dtype=np.float32), image.grid)
