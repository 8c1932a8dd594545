"""Reader of raw k-space in ISMRMRD/MRD HDF5 files, with bulk reading through h5py.

Source: Inati et al. 2017, Magn Reson Med 77:411, doi 10.1002/mrm.26089.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt
import torch

from accelqsm.errors import InputError
from accelqsm.files.mrd.header import Encoding
from accelqsm.files.mrd.lines import NOISE, REVERSE, Lines, has_flag, open_mrd, survey_lines
from accelqsm.fourier import centred_slice, ifft
from accelqsm.kspace import KSpace, calibration_box, scratch

CHUNK_BYTES = 2**26
"""Size of the blocks in which samples are read or written."""


def read_mrd(path: Path) -> KSpace:
    """Read a Cartesian 3D multi-echo scan (contrast = echo) into hybrid space.

    Readout oversampling is removed, reversed readouts are flipped, averages are averaged, lines
    other than image data are skipped, and a noise scan is kept in the record. Samples larger than
    2 GiB go to an unnamed temporary file.

    Raises:
        InputError: missing, truncated or foreign file, missing echoes or lines, NaN samples, or
            an encoding that is not one Cartesian 3D grid.
    """
    with open_mrd(path) as file:
        return _read(path, file)


def _read(path: Path, file: h5py.File) -> KSpace:
    survey = survey_lines(path, file)
    heads, is_image, sampled = survey.heads, survey.is_image, survey.sampled
    lines = file["dataset/data"]
    n_channels = int(heads[int(np.argmax(is_image))]["active_channels"])
    order = np.full(sampled.shape, -1)
    order[sampled] = np.arange(int(sampled.sum()))
    shape = (n_channels, survey.acquisition.n_echoes, survey.encoding.image[0], order.max() + 1)
    samples = scratch(shape)
    positions = np.full(len(heads), -1)
    positions[is_image] = order[survey.ky[is_image], survey.kz[is_image]]
    _average(path, lines, survey, positions, samples)
    noise = _noise_samples(path, lines, heads)
    calibration = _calibration(path, lines, survey, n_channels)
    return KSpace(survey.acquisition, torch.from_numpy(sampled), samples, noise, calibration)


def _calibration(
    path: Path, lines: h5py.Dataset, survey: Lines, n_channels: int
) -> npt.NDArray[np.complex64] | None:
    """Largest fully sampled centre of the separate calibration lines, or None without any."""
    chosen = np.flatnonzero(survey.is_calibration)
    if not len(chosen):
        return None
    image = survey.encoding.image
    echo = survey.heads["idx"]["contrast"][chosen].astype(int)
    ky, kz = survey.ky[chosen], survey.kz[chosen]
    inside = (ky >= 0) & (ky < image[1]) & (kz >= 0) & (kz < image[2])
    measured = np.zeros((int(echo.max()) + 1, image[1], image[2]), dtype=bool)
    measured[echo[inside], ky[inside], kz[inside]] = True
    try:
        rows, columns = calibration_box(torch.from_numpy(measured.all(0)))
    except InputError:
        raise InputError(
            f"{path}: expected calibration lines through the zero frequency in every echo that "
            f"has them, found {len(chosen)} lines without"
        ) from None
    sizes = rows.stop - rows.start, columns.stop - columns.start
    y, z = survey.ky - rows.start, survey.kz - columns.start
    inside = survey.is_calibration & (y >= 0) & (y < sizes[0]) & (z >= 0) & (z < sizes[1])
    positions = np.where(inside, y * sizes[1] + z, -1)
    shape = (n_channels, len(measured), image[0], sizes[0] * sizes[1])
    centre = np.zeros(shape, dtype=np.complex64)
    _average(path, lines, survey, positions, centre)
    return centre.reshape(*shape[:3], *sizes)


def _average(
    path: Path,
    lines: h5py.Dataset,
    survey: Lines,
    positions: npt.NDArray[np.int64],
    out: npt.NDArray[np.complex64],
) -> None:
    """Average all lines of each k-space position, block by block, into ``out``.

    Args:
        path: the file, for messages.
        lines: lines of the file.
        survey: headers of the lines.
        positions: k-space position of each line, negative for lines to be skipped.
        out: zeros, (channel, echo, x, position); every position has a line of every echo.
    """
    n_channels = len(out)
    counts = np.zeros((out.shape[1], out.shape[3]), dtype=np.int64)
    step = lines_at_once(n_channels, survey.encoding.encoded[0])
    for start in range(0, len(positions), step):
        part = slice(start, start + step)
        chosen = np.flatnonzero(positions[part] >= 0)
        if not len(chosen):
            continue
        readouts = _readouts(path, survey.encoding, lines[part][chosen], n_channels)
        echoes = survey.heads["idx"]["contrast"][part][chosen].astype(int)
        for echo in np.unique(echoes):
            here = echoes == echo
            columns, sums, repeats = _sum_repeats(positions[part][chosen][here], readouts[here])
            out[:, echo][..., columns] += sums.transpose(1, 2, 0)
            counts[echo, columns] += repeats
    if (counts > 1).any():
        out /= counts[None, :, None, :]


def lines_at_once(n_channels: int, n_samples: int) -> int:
    """Number of lines in a block of ``CHUNK_BYTES``."""
    return max(1, CHUNK_BYTES // (8 * n_channels * n_samples))


def _sum_repeats(
    positions: npt.NDArray[np.int64], readouts: npt.NDArray[np.complex64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.complex64], npt.NDArray[np.int64]]:
    """Unique positions in order, the sum of the readouts at each, and their number."""
    ordered = np.argsort(positions, kind="stable")
    columns, first, repeats = np.unique(positions[ordered], return_index=True, return_counts=True)
    return columns, np.add.reduceat(readouts[ordered], first, axis=0), repeats


def _readouts(
    path: Path, encoding: Encoding, lines: npt.NDArray[np.void], n_channels: int
) -> npt.NDArray[np.complex64]:
    """Readouts in image space without oversampling, (line, channel, x)."""
    n_encoded = encoding.encoded[0]
    kspace = np.zeros((len(lines), n_channels, n_encoded), dtype=np.complex64)
    for target, line in zip(kspace, lines, strict=True):
        head = line["head"]
        values = _samples(path, line)
        values = values[:, int(head["discard_pre"]) : values.shape[1] - int(head["discard_post"])]
        centre = int(head["center_sample"]) - int(head["discard_pre"])
        if has_flag(head, REVERSE):
            values, centre = values[:, ::-1], values.shape[1] - 1 - centre
        start = n_encoded // 2 - centre
        if start < 0 or start + values.shape[1] > n_encoded:
            raise InputError(
                f"{path}: a readout of {values.shape[1]} samples with centre {centre} does not fit "
                f"the encoded matrix of {n_encoded}"
            )
        target[:, start : start + values.shape[1]] = values
    not_finite = ~np.isfinite(kspace.view(np.float32)).all(axis=(1, 2))
    if not_finite.any():
        head = lines["head"][int(np.argmax(not_finite))]
        raise InputError(
            f"{path}: line {int(head['scan_counter'])}: expected finite samples, found NaN or "
            "infinity"
        )
    image = ifft(torch.from_numpy(kspace), (-1,))
    return image[..., centred_slice(n_encoded, encoding.image[0])].numpy()


def _samples(path: Path, line: npt.NDArray[np.void]) -> npt.NDArray[np.complex64]:
    """Samples of one line, (channel, sample)."""
    head = line["head"]
    shape = (int(head["active_channels"]), int(head["number_of_samples"]))
    if line["data"].size != 2 * shape[0] * shape[1]:
        raise InputError(
            f"{path}: line {int(head['scan_counter'])}: expected {shape[0]} channels of {shape[1]} "
            f"samples, found {line['data'].size // 2} samples in all"
        )
    values: npt.NDArray[np.complex64] = line["data"].view(np.complex64).reshape(shape)
    return values


def _noise_samples(
    path: Path, lines: h5py.Dataset, heads: npt.NDArray[np.void]
) -> npt.NDArray[np.complex64] | None:
    indices = np.flatnonzero(has_flag(heads, NOISE))
    if not len(indices):
        return None
    if len(np.unique(heads["active_channels"][indices])) > 1:
        raise InputError(f"{path}: expected the same channels in every line of the noise scan")
    noise = np.concatenate([_samples(path, line) for line in lines[indices]], axis=1)
    if not np.isfinite(noise.view(np.float32)).all():
        raise InputError(f"{path}: expected finite samples, found NaN or infinity in the noise")
    return noise
