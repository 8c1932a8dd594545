"""Writer of k-space as an ISMRMRD/MRD file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
from ismrmrd.hdf5 import acquisition_dtype

from accelqsm.errors import InputError
from accelqsm.files.atomic import whole_file
from accelqsm.files.mrd.header import build_header, line_geometry
from accelqsm.files.mrd.reader import lines_at_once
from accelqsm.fourier import READOUT, fft
from accelqsm.kspace import KSpace
from accelqsm.runtime.arrays import as_tensor
from accelqsm.runtime.disk import check_free, reserve

OVERHEAD_BYTES = 2**16
"""Of HDF5, besides the lines."""
HEAP_BYTES = 64
"""Of the heap for samples, for each line."""

_NOISE = ismrmrd.ACQ_IS_NOISE_MEASUREMENT


def write_mrd(path: str | Path, kspace: KSpace) -> None:
    """Write k-space as an MRD file: noise scan first, then one line per (ky, kz) and echo.

    The file is written atomically.

    Args:
        path: HDF5 file to write, such as ``scan.h5``.
        kspace: samples of every channel and echo, with or without a noise scan.

    Raises:
        InputError: a separate calibration scan, which is not supported.
        DiskError: no space for it.
    """
    path = Path(path)
    if kspace.calibration is not None:
        raise InputError(
            f"{path}: expected samples with a fully sampled centre, found a separate calibration"
        )
    acquisition = kspace.acquisition
    header = build_header(
        acquisition, n_channels=kspace.n_channels, acceleration=kspace.acceleration
    )
    noise = _noise_lines(kspace)
    patterns = [kspace.pattern(echo).cpu().numpy() for echo in range(acquisition.n_echoes)]
    positions = np.stack([np.argwhere(pattern) for pattern in patterns], axis=1)
    n_lines = len(noise) + len(positions) * acquisition.n_echoes
    values = 8 * kspace.n_channels * acquisition.grid.shape[0]
    n_bytes = int(1.05 * n_lines * (acquisition_dtype.itemsize + values + HEAP_BYTES))
    n_bytes += OVERHEAD_BYTES
    check_free(path.parent, n_bytes, name=path, use="the raw data")
    with whole_file(path) as temporary, _reserved(temporary, n_bytes) as file:
        group = file.create_group("dataset")
        group.create_dataset("xml", data=[header.encode()], dtype=h5py.special_dtype(vlen=bytes))
        lines = group.create_dataset(
            "data", (n_lines,), maxshape=(None,), chunks=(64,), dtype=acquisition_dtype
        )
        lines[: len(noise)] = noise
        end = len(noise)
        for chunk in _image_lines(kspace, positions):
            chunk["head"]["scan_counter"] = np.arange(end, end + len(chunk))
            lines[end : end + len(chunk)] = chunk
            end += len(chunk)


@contextmanager
def _reserved(path: Path, n_bytes: int) -> Iterator[h5py.File]:
    """A new HDF5 file with its own space on the disk, given back when it is closed.

    HDF5 crashes the process where the disk fills while it writes (SIGSEGV); an error before it
    begins is an ``OSError`` that can be told.
    """
    with h5py.File(path, "w"):
        pass
    with path.open("r+b") as file:
        reserve(file, n_bytes)
    with h5py.File(path, "r+") as file:
        yield file


def _blank_lines(n: int, n_samples: int, kspace: KSpace) -> npt.NDArray[np.void]:
    lines = np.zeros(n, dtype=acquisition_dtype)
    head = lines["head"]
    head["version"] = 1
    head["number_of_samples"] = n_samples
    head["center_sample"] = n_samples // 2
    head["available_channels"] = head["active_channels"] = kspace.n_channels
    for name, vector in line_geometry(kspace.acquisition.grid).items():
        head[name] = vector
    lines["traj"] = [np.zeros(0, np.float32)] * n
    return lines


def _noise_lines(kspace: KSpace) -> npt.NDArray[np.void]:
    if kspace.noise_samples is None:
        return _blank_lines(0, 1, kspace)
    n_samples = kspace.acquisition.grid.shape[0]
    n_lines = kspace.noise_samples.shape[1] // n_samples
    lines = _blank_lines(n_lines, n_samples, kspace)
    lines["head"]["flags"] = 1 << (_NOISE - 1)
    for n in range(n_lines):
        part = kspace.noise_samples[:, n * n_samples : (n + 1) * n_samples]
        lines["data"][n] = np.ascontiguousarray(part).view(np.float32).ravel()
    return lines


def _image_lines(
    kspace: KSpace, positions: npt.NDArray[np.int64]
) -> Iterator[npt.NDArray[np.void]]:
    """Iterate over blocks of image lines in acquisition order, all echoes of each sample.

    Args:
        kspace: the samples.
        positions: (ky, kz) of each sample and echo, (sample, echo, 2).
    """
    n_echoes, n_x = kspace.acquisition.n_echoes, kspace.acquisition.grid.shape[0]
    step = max(1, lines_at_once(kspace.n_channels, n_x) // n_echoes)
    for start in range(0, len(positions), step):
        part = positions[start : start + step]
        image = as_tensor(kspace.samples[..., start : start + step])
        samples = fft(image.permute(3, 1, 0, 2).unsqueeze(-1).unsqueeze(-1), READOUT)
        values = samples.reshape(len(part) * n_echoes, -1).contiguous().numpy().view(np.float32)
        lines = _blank_lines(len(values), n_x, kspace)
        index = lines["head"]["idx"]
        index["kspace_encode_step_1"] = part[..., 0].ravel()
        index["kspace_encode_step_2"] = part[..., 1].ravel()
        index["contrast"] = np.tile(np.arange(n_echoes), len(part))
        for n, row in enumerate(values):
            lines["data"][n] = row
        yield lines
