"""Receive sensitivities that were found apart: NumPy, NIfTI or HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from accelqsm.errors import InputError
from accelqsm.files.nifti import read_header, read_image
from accelqsm.grid import Shape
from accelqsm.runtime.reading import check_regular

FORMATS = "a complex array (channel, x, y, z) in .npy or .h5, or (x, y, z, channel) in .nii[.gz]"


def read_sensitivities(path: Path, *, n_channels: int, shape: Shape) -> npt.NDArray[np.complex64]:
    """Maps of every receive channel on the grid of a raw scan, complex64 (channel, x, y, z).

    Args:
        path: a complex array (channel, x, y, z) as ``.npy`` or the only array of an ``.h5``; or
            (x, y, z, channel) as complex NIfTI, in the array axes of the scan (readout, PE1, PE2).
            Any scale; zero where nothing is known.
        n_channels: of the scan.
        shape: of the scan's grid.

    Raises:
        InputError: no such file or array, another shape, real values, NaN, or zeros alone.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; expected {FORMATS}")
    check_regular(path)
    try:
        values = _array(path, (n_channels, *shape))
    except (OSError, ValueError, EOFError, RuntimeError, KeyError) as error:
        if isinstance(error, InputError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: expected {FORMATS} ({reason})") from error
    _check_array(path, values.shape, values.dtype, (n_channels, *shape))
    largest = float(np.abs(values).max())
    if not 0 < largest < np.inf:
        raise InputError(
            f"{path}: expected finite sensitivities, not all 0, found a largest of {largest:g}"
        )
    return np.asarray(values / largest, dtype=np.complex64)


def _check_array(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], expected: tuple[int, ...]
) -> None:
    if shape != expected or dtype.kind != "c":
        raise InputError(
            f"{path}: expected complex sensitivities (channel, x, y, z) {expected}, found {dtype} "
            f"{shape}"
        )


def _array(path: Path, expected: tuple[int, ...]) -> npt.NDArray[Any]:
    """What the file holds, channels first; of HDF5, as much as is expected at most."""
    if path.name.endswith((".nii", ".nii.gz")):
        header = read_header(path)
        _check_array(path, (*header.shape[3:], *header.shape[:3]), header.dtype, expected)
        return np.moveaxis(read_image(path).values, -1, 0)
    if path.suffix == ".npy":
        # Mapped, because the size of the file is compared with the header's then.
        return np.asarray(np.lib.format.open_memmap(path, mode="r"))
    if path.suffix not in (".h5", ".hdf5", ".mat"):
        raise InputError(f"{path}: expected {FORMATS}, found '{path.suffix}'")
    with h5py.File(path, "r") as file:
        arrays = [file[name] for name in file if isinstance(file[name], h5py.Dataset)]
        if len(arrays) != 1:
            raise InputError(f"{path}: expected one array, found {len(arrays)}")
        if arrays[0].shape != expected:
            raise InputError(f"{path}: expected an array {expected}, found {arrays[0].shape}")
        if arrays[0].dtype.hasobject:
            raise InputError(f"{path}: expected an array of numbers, found {arrays[0].dtype}")
        values = arrays[0][()]
    if values.dtype.names and len(values.dtype.names) == 2:
        real, imaginary = (values[name] for name in values.dtype.names)
        return np.asarray(real + 1j * imaginary)
    return np.asarray(values)
