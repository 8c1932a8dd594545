"""CIT168 atlas as published: download, checksums and reader."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atlas_images import AtlasImages
from accelqsm.files.nifti import read_image, read_volume
from accelqsm.files.text.json_object import read_json_object

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


def cache_folder() -> Path:
    """Folder of downloaded files."""
    import pooch

    return Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("accelqsm"))


def read_cit168(folder: Path) -> AtlasImages:
    """Read CIT168: probabilities of the two most likely of 32 structures in each voxel.

    Source: Pauli, Nili, Tyszka 2018, Sci Data 5:180063, doi 10.1038/sdata.2018.63 (CC BY 4.0).
    """
    names_path, image_path = folder / CIT168_NAMES, folder / CIT168_IMAGE
    template = read_volume(folder / CIT168_TEMPLATE)
    names = read_json_object(names_path).get("labels")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(f"{names_path}: expected a list 'labels', found none")
    image = read_image(image_path, colours=True)
    packed = image.stored
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
        [{"index": i, "name": _abbreviate(names[i])} for i in range(1, len(names))]
    )
    return AtlasImages(folder, {"T1w": template}, None, None, probabilities, image.grid, lookup)


def _abbreviate(name: str) -> str:
    side, _, structure = name.strip().partition(" ")
    return f"{side} {CIT168_ABBREVIATIONS.get(structure, structure)}"


def cached_cit168() -> Path:
    """Folder of the CIT168 atlas, downloaded to the cache if it is not there yet.

    Raises:
        InputError: a wrong checksum, or no network.
    """
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
