"""Reader of atlases: a folder with template, labels and lookup table, or CIT168 as published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atlas_images import AtlasImages
from accelqsm.files.cit168 import CIT168_IMAGE, read_cit168
from accelqsm.files.nifti import Image, read_image, read_volume
from accelqsm.files.text.lookup import read_lookup
from accelqsm.grid import Grid

TEMPLATES: Mapping[str, str] = {"T1w": "T1w", "magnitude": "mag", "susceptibility": "Chimap"}
"""Suffix of the template of each contrast."""


def read_atlas(folder: Path) -> AtlasImages:
    """Read an atlas from a folder.

    The folder holds CIT168 as published, or ``*T1w``, ``*mag``, ``*Chimap``, ``*mask``, ``*dseg``
    or ``*probseg`` images (``.nii`` or ``.nii.gz``) with one ``*.tsv`` of columns index and name.

    The volumes of ``*probseg`` are in the order of the table's rows.

    Raises:
        InputError: no template, labels or lookup; more than one of a kind; labels on several
            grids, or a label of the table that the image lacks.
    """
    if (folder / CIT168_IMAGE).is_file():
        return read_cit168(folder)
    lookup = _lookup(folder)
    templates = {
        contrast: read_volume(path)
        for contrast, suffix in TEMPLATES.items()
        if (path := _one(folder, suffix, needed=False))
    }
    if not templates:
        raise InputError(
            f"{folder}: expected a template named *T1w.nii.gz, *mag.nii.gz or *Chimap.nii.gz, "
            "found none"
        )
    mask = _one(folder, "mask", needed=False)
    brain = None if mask is None else read_volume(mask)
    stored = _one(folder, "probseg", needed=False)
    if stored is not None:
        probabilities, grid = _probabilities(stored, lookup)
        return AtlasImages(folder, templates, brain, None, probabilities, grid, lookup)
    path = _one(folder, "dseg", needed=True)
    assert path is not None
    image = read_volume(path)
    _check_labels(image, lookup)
    return AtlasImages(folder, templates, brain, image.values, {}, image.grid, lookup)


def _lookup(folder: Path) -> pd.DataFrame:
    tables = sorted(folder.glob("*.tsv"))
    if len(tables) != 1:
        raise InputError(
            f"{folder}: expected one table *.tsv with columns index and name of the labels, "
            f"found {len(tables) or 'none'}"
        )
    return read_lookup(tables[0])


def _one(folder: Path, suffix: str, *, needed: bool) -> Path | None:
    found = sorted(p for end in (".nii", ".nii.gz") for p in folder.glob(f"*{suffix}{end}"))
    if len(found) > 1:
        raise InputError(
            f"{folder}: expected one image *{suffix}.nii.gz, found {found[0].name} and "
            f"{found[1].name}"
        )
    if needed and not found:
        raise InputError(
            f"{folder}: expected labels named *{suffix}.nii.gz or *probseg.nii.gz, found none"
        )
    return found[0] if found else None


def _check_labels(image: Image, lookup: pd.DataFrame) -> None:
    present = set(np.unique(image.values).tolist())
    for index, name in zip(lookup["index"], lookup["name"], strict=True):
        if index not in present:
            raise InputError(f"{image.path}: expected voxels of label {index} ({name}), found none")


def _probabilities(
    path: Path, lookup: pd.DataFrame
) -> tuple[dict[int, npt.NDArray[np.float32]], Grid]:
    image = read_image(path)
    n = image.values.shape[3] if image.values.ndim == 4 else 1
    if n != len(lookup):
        raise InputError(
            f"{path}: expected one volume for each of the {len(lookup)} labels, found {n}"
        )
    values = image.values.reshape(*image.grid.shape, n).astype(np.float32)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise InputError(
            f"{path}: expected probabilities from 0 to 1, found {values.min():g} to "
            f"{values.max():g}"
        )
    probabilities = {int(index): values[..., i] for i, index in enumerate(lookup["index"])}
    for (index, probability), name in zip(probabilities.items(), lookup["name"], strict=True):
        if not probability.any():
            raise InputError(f"{path}: expected voxels of label {index} ({name}), found none")
    return probabilities, image.grid
