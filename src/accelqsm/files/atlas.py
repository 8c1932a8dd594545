"""Atlases on disk: a folder with a template, labels and a table, or CIT168 as published."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.nifti import Image, read_image, read_volume
from accelqsm.files.tables import read_table
from accelqsm.grid import Grid, as_affine

CIT168 = "cit168"
CIT168_IMAGE = "CIT168.nii.gz"
CIT168_NAMES = "CIT168.json"
CIT168_TEMPLATE = "CIT168toMNI152-2009c_T1w_brain.nii.gz"
CIT168_URL = (
    "https://raw.githubusercontent.com/niivue/niivue-demo-images/"
    "f6f98294c1fa89a3a32e8a44eab92368374150a0/CIT168/"
)
CIT168_SHA256 = {
    CIT168_IMAGE: "18649d3a1ce27e920c3794ac3493504611b9f369a082d69406d594222c52dbce",
    CIT168_TEMPLATE: "d665acefc59bd0f16f26fa64cc53ee71833e04abf13e8e2e17e3a5be2a38d2bb",
    CIT168_NAMES: "fda972baea9d60b427ef052411df567e0607cffac95fb7dd8132b6e1c0f13590",
}
TEMPLATES: Mapping[str, str] = {"T1w": "T1w", "magnitude": "mag", "susceptibility": "Chimap"}
"""How the template of each contrast is named."""

CACHE_VARIABLE = "ACCELQSM_CACHE"
DOWNLOAD_TIMEOUT_S = 30

# The published names, in the abbreviations of Pauli et al. 2018.
CIT168_ABBREVIATIONS: Mapping[str, str] = {
    "Putamen": "Pu",
    "Caudate": "Ca",
    "Nucleus Accumbens": "NAC",
    "Extended Amygdala": "EXA",
    "Globus Pallidus externa": "GPe",
    "Globus Pallidus interna": "GPi",
    "Substantia Nigra pars compacta": "SNc",
    "Red Nucleus": "RN",
    "Substantia-Nigra-pars-reticulata": "SNr",
    "Parabrachial Pigmented": "PBP",
    "Ventral Tegmental Area": "VTA",
    "Ventral Pallidum": "VeP",
    "Habenular Nucleus": "HN",
    "Hypothalamus": "HTH",
    "Mammillary Nucleus": "MN",
    "Subthalamic Nucleus": "STH",
}


@dataclass(frozen=True)
class AtlasImages:
    """What an atlas's folder holds.

    Attributes:
        folder: where it is.
        templates: image by contrast, a key of ``TEMPLATES``.
        brain: mask of the brain, or None where the template's own zeros say it.
        labels: indices (x, y, z), or None where there are probabilities.
        probabilities: (x, y, z) by index; empty where there are labels.
        label_grid: of the labels or probabilities.
        lookup: columns index and name.
    """

    folder: Path
    templates: Mapping[str, Image]
    brain: Image | None
    labels: npt.NDArray[Any] | None
    probabilities: Mapping[int, npt.NDArray[np.float32]]
    label_grid: Grid
    lookup: pd.DataFrame


def find_atlas(atlas: str) -> Path:
    """The folder of an atlas: a path, or "cit168" from the cache or the network.

    CIT168 is kept in ``$ACCELQSM_CACHE``, by default the user's cache folder. Its files are
    checked by SHA-256 when they are downloaded, and again each time.

    Raises:
        InputError: no such folder, or no network; says what to do.
    """
    if atlas.lower() != CIT168 or Path(atlas).is_dir():
        folder = Path(atlas)
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder with an atlas or {CIT168}, found none")
        return folder
    return _cached_cit168()


def cache_folder() -> Path:
    """Where downloads are kept."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("accelqsm"))


def read_atlas(folder: Path) -> AtlasImages:
    """Read CIT168 as published, or a folder of ``*T1w``, ``*mag``, ``*Chimap``, ``*mask``,
    ``*dseg`` or ``*probseg`` images (``.nii`` or ``.nii.gz``) with one ``*.tsv`` of columns index
    and name.

    The volumes of ``*probseg`` are in the order of the table's rows.

    Raises:
        InputError: no template, labels or lookup; more than one of a kind; labels on several
            grids, or a label of the table that the image lacks.
    """
    if (folder / CIT168_IMAGE).is_file():
        return _read_cit168(folder)
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
    return read_table(tables[0], columns=("index", "name"))


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


def _read_cit168(folder: Path) -> AtlasImages:
    """The two most likely of 32 structures in each voxel, and their probabilities.

    Source: Pauli, Nili, Tyszka 2018, Sci Data 5:180063, doi 10.1038/sdata.2018.63 (CC BY 4.0).
    """
    names_path, image_path = folder / CIT168_NAMES, folder / CIT168_IMAGE
    template = read_volume(folder / CIT168_TEMPLATE)
    try:
        names = json.loads(names_path.read_text(encoding="utf-8"))["labels"]
    except FileNotFoundError:
        raise InputError(f"{names_path}: no such file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{names_path}: expected a list 'labels', found none") from error
    image = nibabel.Nifti1Image.from_filename(image_path)
    packed = np.asanyarray(image.dataobj)
    if packed.dtype.names is None or len(packed.dtype.names) != 4:
        raise InputError(
            f"{image_path}: expected two labels and two probabilities per voxel (RGBA32), "
            f"found {packed.dtype}"
        )
    first, second, p_first, p_second = (packed[name] for name in packed.dtype.names)
    probabilities = {
        index: ((first == index) * p_first + (second == index) * p_second).astype(np.float32)
        / np.float32(255)
        for index in range(1, len(names))
    }
    lookup = pd.DataFrame(
        [{"index": i, "name": _abbreviated(names[i])} for i in range(1, len(names))]
    )
    x, y, z = packed.shape
    grid = Grid((x, y, z), as_affine(image.affine))
    return AtlasImages(folder, {"T1w": template}, None, None, probabilities, grid, lookup)


def _abbreviated(name: str) -> str:
    side, _, structure = name.strip().partition(" ")
    return f"{side} {CIT168_ABBREVIATIONS.get(structure, structure)}"


def _cached_cit168() -> Path:
    import pooch

    folder = cache_folder() / CIT168
    for name, digest in CIT168_SHA256.items():
        try:
            pooch.retrieve(
                CIT168_URL + name,
                known_hash=f"sha256:{digest}",
                fname=name,
                path=folder,
                downloader=pooch.HTTPDownloader(timeout=DOWNLOAD_TIMEOUT_S),
            )
        except ValueError as error:
            raise InputError(
                f"{CIT168_URL}{name}: expected SHA-256 {digest}, found another; nothing was kept"
            ) from error
        except Exception as error:
            raise InputError(
                f"atlas {CIT168}: not in {folder}, and {CIT168_URL}{name} cannot be reached; "
                f"give a folder that has it with --atlas"
            ) from error
    return folder
