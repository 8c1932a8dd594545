"""Splitting of enhanced DICOM files with several parts or echoes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from accelqsm.errors import InputError
from accelqsm.files.dicom.header.parts import COMPONENTS
from accelqsm.files.dicom.series import Stack

if TYPE_CHECKING:
    from pydicom import Dataset

AS_THEY_ARE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes without compression."""


def can_split(paths: Iterable[Path]) -> bool:
    """Whether the pixels of all files are uncompressed."""
    import pydicom

    for path in paths:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            meta = pydicom.dcmread(path, force=True, specific_tags=["SOPClassUID"]).file_meta
        syntax = meta.get("TransferSyntaxUID")
        if syntax not in AS_THEY_ARE:
            return False
    return True


def write_frames(stack: Stack, folder: Path) -> list[Path]:
    """Write the frames of one stack as separate enhanced files, one for each of its files.

    Raises:
        InputError: a file that cannot be read or taken apart.
    """
    component = {part: word for word, part in COMPONENTS.items()}[stack.part]
    written = []
    for count, path in enumerate(stack.files):
        indices = [index for of, index in stack.frames if of == path]
        written.append(folder / f"{count}.dcm")
        try:
            _write_some(path, indices, component, written[-1])
        except Exception as error:  # a damaged element may break pydicom anywhere
            reason = " ".join(str(error).split())[:120]
            raise InputError(f"{path.name}: cannot be taken apart ({reason})") from error
    return written


def _write_some(path: Path, indices: list[int], component: str, to: Path) -> None:
    import pydicom

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        alone = _only(pydicom.dcmread(path, force=True), indices, component)
        alone.save_as(to, enforce_file_format=True)


def _only(dataset: Dataset, indices: list[int], component: str) -> Dataset:
    """Copy of a data set with a subset of its frames."""
    frames = dataset.PerFrameFunctionalGroupsSequence
    size = len(dataset.PixelData) // len(frames)
    dataset.PixelData = b"".join(dataset.PixelData[i * size : (i + 1) * size] for i in indices)
    dataset.PerFrameFunctionalGroupsSequence = [frames[i] for i in indices]
    dataset.NumberOfFrames = len(indices)
    dataset.ComplexImageComponent = component
    return dataset
