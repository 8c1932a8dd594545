"""Registry of named atlases, and lookup of an atlas by name or folder."""

from __future__ import annotations

import os
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.options.registry import Choice, Registry


class NamedAtlas(Choice):
    """A named atlas; its function returns the folder with its files."""


ATLASES: Registry[NamedAtlas] = Registry(
    "atlas",
    [
        NamedAtlas(
            "cit168",
            "accelqsm.files.cit168:cached_cit168",
            "the CIT168 atlas of subcortical nuclei (Pauli et al. 2018)",
            citations=("pauli2018",),
        ),
    ],
)
DEFAULT = "cit168"


def find_atlas(atlas: str | os.PathLike[str]) -> Path:
    """Folder of an atlas, given as a path or by name (downloaded to the cache if needed).

    Raises:
        InputError: no such folder, or no network.
    """
    name = str(atlas).lower()
    if name in ATLASES and not Path(atlas).is_dir():
        folder: Path = ATLASES[name].load()()
        return folder
    folder = Path(atlas)
    if not folder.is_dir():
        names = " or ".join(ATLASES.names)
        raise InputError(f"{folder}: expected a folder with an atlas or {names}, found none")
    return folder
