"""One scan and an atlas: where the nuclei are, what they measure, and whether to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atlas import AtlasImages, find_atlas, read_atlas
from accelqsm.files.nifti import Image, check_finite, check_same_grid, read_image, read_volume
from accelqsm.grid import Grid
from accelqsm.nuclei.atlas import SEVEN, Atlas, PropagatedLabels, one_hot, paste, propagate_labels
from accelqsm.nuclei.contrast import with_contrast_of
from accelqsm.nuclei.labels import chosen_rows, cut_off, erode
from accelqsm.nuclei.measure import measure_nuclei, split_side
from accelqsm.nuclei.metrics import (
    Metrics,
    bend_metrics,
    t1w_metrics,
    template_metrics,
    tissue_metrics,
)
from accelqsm.nuclei.quality import Expected, centre_mm, flags
from accelqsm.nuclei.register import (
    SynSettings,
    TemplateMap,
    paired_contrasts,
    register_affine,
    register_rigid,
    register_template,
)
from accelqsm.nuclei.volume import (
    Volume,
    affine_transform,
    check_perpendicular,
    resampled,
)
from accelqsm.results.nuclei import (
    MeasureOptions,
    quality_figure,
    reference_ppm,
    referred,
    write_results,
)
from accelqsm.runtime.progress import step


def atlas_nuclei(
    chimap: Path,
    magnitude: Path,
    out: Path,
    *,
    t1w: Path | None = None,
    atlas: str = "cit168",
    mask: Path | None = None,
    r2star: Path | None = None,
    options: MeasureOptions | None = None,
    syn: SynSettings | None = None,
) -> pd.DataFrame:
    """Bring an atlas to a scan and measure its nuclei.

    Magnitude to T1w is rigid, T1w to the template affine and then SyN around the nuclei, with
    every contrast that both have, in which the template is given this head's brightness of the
    nuclei. The labels come to the map; the map stays as it is.

    Args:
        chimap: susceptibility, ppm.
        magnitude: of the same scan and grid; echoes of a 4D image are combined.
        out: folder for ``nuclei.tsv`` (and its JSON), ``dseg.nii.gz``, ``quality.tsv``,
            ``quality.png`` and ``settings.toml``.
        t1w: of the same head, in any pose and grid.
        atlas: "cit168", or a folder (``files.atlas.read_atlas``).
        mask: brain, on the map's grid; by default where the map is not zero.
        r2star: on the map's grid, 1/s, for the CSF reference.
        options: how to measure.
        syn: how the head is bent to the template.

    Returns:
        The table as written.

    Raises:
        InputError: files that cannot be read or do not fit each other.
    """
    options, syn = options or MeasureOptions(), syn or SynSettings()
    chi, mag = read_pair(chimap, magnitude)
    brain = read_brain(mask, chi, chimap)
    known = as_atlas(read_atlas(find_atlas(atlas)))
    regions = options.regions or seven_or_all(known.lookup)
    rows = chosen_rows(known.lookup, regions)
    value_ppm = reference_ppm(chi.values, chi.grid, brain, options.reference, r2star=r2star)
    head, to_head = _head(mag, chi, t1w)
    with step("Head to template: affine"):
        contrast = (
            "T1w" if "T1w" in head and "T1w" in known.templates else next(iter(known.templates))
        )
        affine = register_affine(
            known.templates[contrast],
            head.get(contrast, next(iter(head.values()))),
            template_brain=known.brain,
            scan_brain=_brain_in(head, brain, chi.grid, to_head),
        )
    with step("Head to template: SyN around the nuclei"):
        transform = _bent(known, head, affine, syn)
    with step("Labels to the map, values, quality"):
        propagated = _propagated(known, chi.grid, transform, to_head, options, chimap)
        table = measured(chi, brain, propagated, rows, options, value_ppm)
        labels = paste(propagated.labels, propagated.offset, chi.grid)
        expected, centres = _expected(known, transform, to_head, propagated, rows)
        table["flag"] = flags(table, rows, expected=expected, centres_mm=centres)
        metrics = _metrics(known, head, transform, to_head, mag, brain, labels, rows)
        labels = chosen_labels(labels, rows, chimap)
        figure = quality_figure(chi, mag, labels, rows, notes=_notes(table))
        source = {
            "chimap": str(chimap),
            "magnitude": str(magnitude),
            "t1w": "none" if t1w is None else str(t1w),
            "atlas": known.name,
            "mask": "where the map is not zero" if mask is None else str(mask),
            "contrasts": [name for name in known.templates if name in head] or [contrast],
            "syn": asdict(syn),
        }
        write_results(
            out, table, labels, chi.grid, rows,
            quality=metrics, figure=figure, source=source, options=options,
        )  # fmt: skip
    return table


def read_pair(chimap: Path, magnitude: Path) -> tuple[Volume, Volume]:
    """A map and the magnitude of its scan, which must share a grid.

    Raises:
        InputError: unreadable files, different grids (says so when an axis is flipped), shear.
    """
    chi = read_volume(chimap)
    mag = read_image(magnitude)
    check_finite(mag.values, magnitude)
    _check_flip(mag.grid, chi.grid, magnitude, chimap)
    check_same_grid(mag.grid, chi.grid, magnitude, reference=chimap)
    check_perpendicular(chi.grid, str(chimap))
    return (
        Volume(np.asarray(chi.values, dtype=np.float32), chi.grid),
        Volume(combined(mag), mag.grid),
    )


def combined(image: Image) -> npt.NDArray[np.float32]:
    """One magnitude: the root of the sum of squares over the echoes of a 4D image."""
    values = np.asarray(image.values, dtype=np.float32)
    return values if values.ndim == 3 else np.sqrt((values**2).sum(-1))


def read_brain(mask: Path | None, chi: Volume, chimap: Path) -> npt.NDArray[np.bool_]:
    """The brain: a mask, or where the map is not zero.

    Raises:
        InputError: nothing inside, or a mask on another grid.
    """
    if mask is None:
        inside: npt.NDArray[np.bool_] = chi.values != 0
        if not inside.any():
            raise InputError(f"{chimap}: expected a map with values, found zeros alone")
        return inside
    inside = read_volume(mask, grid=chi.grid).values > 0.5
    if not inside.any():
        raise InputError(f"{mask}: expected a mask with voxels above 0.5, found none")
    return inside


def as_atlas(images: AtlasImages) -> Atlas:
    """An atlas as read, ready to be propagated."""
    templates = {
        name: Volume(np.asarray(image.values, dtype=np.float32), image.grid)
        for name, image in images.templates.items()
    }
    first = next(iter(templates.values()))
    brain = first if images.brain is None else Volume(images.brain.values, images.brain.grid)
    indices = [int(i) for i in images.lookup["index"]]
    if images.labels is None:
        probabilities = {i: Volume(p, images.label_grid) for i, p in images.probabilities.items()}
    else:
        probabilities = one_hot(Volume(images.labels, images.label_grid), indices)
    return Atlas(
        str(images.folder),
        templates,
        Volume(
            (brain.values > (0 if images.brain is None else 0.5)).astype(np.float32), brain.grid
        ),
        probabilities,
        images.lookup,
        probabilistic=images.labels is None,
    )


def chosen_labels(
    labels: npt.NDArray[np.int16], rows: pd.DataFrame, path: Path
) -> npt.NDArray[np.int16]:
    """The labels of the chosen rows alone.

    Raises:
        InputError: none of them has a voxel; ``path`` is said to lack them.
    """
    chosen = np.where(np.isin(labels, rows["index"]), labels, 0).astype(np.int16)
    if not chosen.any():
        names = ", ".join(dict.fromkeys(split_side(str(name))[0] for name in rows["name"]))
        raise InputError(f"{path}: expected voxels of {names}, found none")
    return chosen


def seven_or_all(lookup: pd.DataFrame) -> tuple[str, ...]:
    """The study's seven nuclei where a lookup has them all, else every region of it."""
    names = dict.fromkeys(split_side(str(name))[0] for name in lookup["name"])
    return SEVEN if set(SEVEN) <= set(names) else tuple(names)


def _check_flip(found: Grid, expected: Grid, path: Path, reference: Path) -> None:
    """Say that an axis is flipped, because a distance between corners does not."""
    if found.shape != expected.shape:
        return
    ours, theirs = found.matrix[:3, :3], expected.matrix[:3, :3]
    for axis, name in enumerate("xyz"):
        if np.allclose(ours[:, axis], -theirs[:, axis], atol=1e-3):
            raise InputError(
                f"{path}: expected the same affine as {reference}, found its {name} axis flipped"
            )


def _head(
    mag: Volume, chi: Volume, t1w: Path | None
) -> tuple[dict[str, Volume], npt.NDArray[np.float64]]:
    """The head's images by contrast in one world, and the way from the map's world to it."""
    own = {"magnitude": mag, "susceptibility": chi}
    if t1w is None:
        return own, np.eye(4)
    image = read_volume(t1w)
    check_perpendicular(image.grid, str(t1w))
    t1 = Volume(np.asarray(image.values, dtype=np.float32), image.grid)
    with step("T1w to magnitude: rigid"):
        to_head = register_rigid(mag, t1)
    back = affine_transform(np.linalg.inv(to_head))
    return {"T1w": t1} | {name: resampled(v, t1.grid, back) for name, v in own.items()}, to_head


def _bent(
    atlas: Atlas, head: Mapping[str, Volume], affine: npt.NDArray[np.float64], syn: SynSettings
) -> TemplateMap:
    """SyN, roughly first, and then to a template whose nuclei are as bright as this head's."""
    box = atlas.box(syn.margin_mm)
    templates, images = paired_contrasts(atlas.templates, head)
    if atlas.templates.keys() & head.keys():
        rough = register_template(templates, images, box=box, affine=affine, settings=syn.rough)
        templates = {
            name: with_contrast_of(
                images[name], template, probabilities=atlas.probabilities, transform=rough
            )
            for name, template in templates.items()
        }
    return register_template(templates, images, box=box, affine=affine, settings=syn)


def _brain_in(
    head: Mapping[str, Volume],
    brain: npt.NDArray[np.bool_],
    grid: Grid,
    to_head: npt.NDArray[np.float64],
) -> Volume:
    there = next(iter(head.values())).grid
    return resampled(
        Volume(brain.astype(np.float32), grid), there, affine_transform(np.linalg.inv(to_head))
    )


def _propagated(
    atlas: Atlas,
    scan: Grid,
    transform: TemplateMap,
    to_head: npt.NDArray[np.float64],
    options: MeasureOptions,
    chimap: Path,
) -> PropagatedLabels:
    forth, back = affine_transform(to_head), affine_transform(np.linalg.inv(to_head))
    try:
        return propagate_labels(
            atlas,
            scan,
            to_template=lambda points: transform.to_template(forth(points)),
            from_template=lambda points: back(transform.from_template(points)),
            threshold=options.threshold,
        )
    except InputError as error:
        raise InputError(f"{chimap}: {error}") from error


def measured(
    chi: Volume,
    brain: npt.NDArray[np.bool_],
    propagated: PropagatedLabels,
    rows: pd.DataFrame,
    options: MeasureOptions,
    reference_value_ppm: float,
) -> pd.DataFrame:
    """Values of the nuclei whose labels were propagated to a map, less that of the reference."""
    in_image = propagated.of_scan(np.ones(chi.grid.shape, dtype=bool))
    unavailable = cut_off(propagated.labels, propagated.of_scan(brain), rows, in_image=in_image)
    labels = erode(
        paste(propagated.labels, propagated.offset, chi.grid),
        distance_mm=options.erosion_mm,
        voxel_size_mm=chi.grid.voxel_size_mm,
    )
    probabilities = (
        {
            i: paste(propagated.probabilities[i], propagated.offset, chi.grid)
            for i in rows["index"].tolist()
        }
        if options.weighted
        else None
    )
    table = measure_nuclei(
        chi.values,
        labels,
        rows,
        voxel_volume_mm3=chi.grid.voxel_volume_mm3,
        mask=brain,
        probabilities=probabilities,
        min_voxels=options.min_voxels,
        unavailable=unavailable,
    )
    return referred(table, options.reference, reference_value_ppm)


def _expected(
    atlas: Atlas,
    transform: TemplateMap,
    to_head: npt.NDArray[np.float64],
    propagated: PropagatedLabels,
    rows: pd.DataFrame,
) -> tuple[dict[int, Expected], dict[int, npt.NDArray[np.float64]]]:
    """Size and place by the affine map alone, and where the labels are."""
    to_scan = affine_transform(np.linalg.inv(transform.affine @ to_head))
    growth = 1 / abs(float(np.linalg.det(transform.affine[:3, :3])))
    expected, centres = {}, {}
    volumes = atlas.volumes_mm3()
    for index in (int(i) for i in rows["index"]):
        share = atlas.probabilities[index]
        total = share.values.sum(dtype=np.float64)
        at = [float((np.indices(share.grid.shape)[a] * share.values).sum() / total)
              for a in range(3)]  # fmt: skip
        x, y, z = to_scan(affine_transform(share.grid.matrix)(np.asarray(at)[:, None]))[
            :, 0
        ].tolist()
        expected[index] = Expected(volumes[index] * growth, (x, y, z))
        centres[index] = centre_mm(propagated.labels, index, propagated.grid)
    return expected, centres


def _metrics(
    atlas: Atlas,
    head: Mapping[str, Volume],
    transform: TemplateMap,
    to_head: npt.NDArray[np.float64],
    mag: Volume,
    brain: npt.NDArray[np.bool_],
    labels: npt.NDArray[np.int16],
    rows: pd.DataFrame,
) -> Metrics:
    t1w, signal = head.get("T1w"), None
    if t1w is not None:
        signal = resampled(t1w, mag.grid, affine_transform(to_head)).values
    return [
        *([] if t1w is None else t1w_metrics(t1w, mag, brain, to_head)),
        *template_metrics(atlas.templates, head, transform),
        *bend_metrics(transform, atlas, rows),
        *tissue_metrics(labels, rows, brain, t1w_signal=signal),
    ]


def _notes(table: pd.DataFrame) -> dict[str, str]:
    """What is odd about each region, for the figure."""
    notes: dict[str, str] = {}
    for region, side, note, flag in zip(
        table["region"], table["side"], table["note"], table["flag"], strict=True
    ):
        said = "; ".join(text for text in (note, flag) if text)
        if said and side != "both":
            notes[region] = f"{notes.get(region, '')} {side}: {said}".strip()
    return notes
