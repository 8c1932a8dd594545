"""Splitting of enhanced DICOM files with several parts or echoes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.files.dicom.header.parts import COMPONENTS
from accelqsm.files.dicom.series import Stack

if TYPE_CHECKING:
    from pydicom import Dataset


def can_split(paths: Iterable[Path]) -> bool:
    """Whether the pixels of all files are uncompressed."""
    import pydicom

    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meta = pydicom.dcmread(path, force=True, specific_tags=["SOPClassUID"]).file_meta
        syntax = meta.get("TransferSyntaxUID")
        if syntax is None or syntax.is_encapsulated or syntax.is_deflated:
            return False
    return True


def write_frames(stack: Stack, folder: Path) -> list[Path]:
    """Write the frames of one stack as separate enhanced files, one for each of its files."""
    import pydicom

    written = []
    for count, path in enumerate(stack.files):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            alone = _only(
                pydicom.dcmread(path, force=True),
                [index for of, index in stack.frames if of == path],
                {part: word for word, part in COMPONENTS.items()}[stack.part],
            )
            alone.save_as(folder / f"{count}.dcm", enforce_file_format=True)
        written.append(folder / f"{count}.dcm")
    return written


def _only(dataset: Dataset, indices: list[int], component: str) -> Dataset:
    """Copy of a data set with a subset of its frames."""
    frames = dataset.PerFrameFunctionalGroupsSequence
    size = len(dataset.PixelData) // len(frames)
    dataset.PixelData = b"".join(dataset.PixelData[i * size : (i + 1) * size] for i in indices)
    dataset.PerFrameFunctionalGroupsSequence = [frames[i] for i in indices]
    dataset.NumberOfFrames = len(indices)
    dataset.ComplexImageComponent = component
    return dataset
