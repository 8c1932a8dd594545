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
from accelqsm.files.megre.signal import check_like
from accelqsm.files.mrd.alignment import align_readouts
from accelqsm.files.mrd.lines import (
    BLOCK_BYTES,
    NOISE,
    REVERSE,
    Lines,
    has_flag,
    open_mrd,
    survey_lines,
)
from accelqsm.files.mrd.readouts import ReadoutGrid, images_of, samples_of
from accelqsm.files.mrd.repeats import check_repeats
from accelqsm.grid import Triple
from accelqsm.kspace import KSpace, calibration_box, sample_index, scratch

CENTRAL, MOST_BEYOND = 0.25, 100.0
"""The half of k-space about its zero frequency has the largest samples: beyond it, none is so many
times as large."""


def read_mrd(path: Path, *, b0_direction: Triple | None = None) -> KSpace:
    """Read a Cartesian 3D multi-echo scan (contrast = echo) into hybrid space.

    Readout oversampling is removed, reversed readouts are flipped, averages are averaged, lines
    other than image data are skipped, and a noise scan is kept in the record. Samples larger than
    2 GiB go to an unnamed temporary file.

    Args:
        path: HDF5 file.
        b0_direction: unit vector of the main field along the array axes, where the directions in
            the lines are not to be trusted.

    Raises:
        InputError: missing, truncated or foreign file, missing echoes or lines, NaN samples,
            values that cannot be in their unit, repeats that are no averages, or an encoding that
            is not one Cartesian 3D grid.

    Warns:
        InputWarning: what the file does not say, or says otherwise than its samples.
    """
    with open_mrd(path) as file:
        return _read(path, file, b0_direction)


def _read(path: Path, file: h5py.File, b0_direction: Triple | None) -> KSpace:
    survey = survey_lines(path, file, b0_said=b0_direction is not None)
    heads, is_image, sampled = survey.heads, survey.is_image, survey.sampled
    lines = survey.data
    n_channels = survey.n_channels
    pattern = torch.from_numpy(sampled)
    n_echoes = survey.acquisition.n_echoes
    order = sample_index(pattern).expand(n_echoes, -1, -1).numpy()
    shape = (n_channels, n_echoes, survey.encoding.image[0], order.max() + 1)
    samples = scratch(shape)
    positions = np.full(len(heads), -1)
    echo = heads["idx"]["contrast"][is_image].astype(int)
    positions[is_image] = order[echo, survey.ky[is_image], survey.kz[is_image]]
    grid = ReadoutGrid.of(survey.encoding, survey.encoding)
    check_repeats(path, survey, positions, grid)
    _average(path, survey, positions, samples, grid)
    _check_echoes(path, samples, sampled)
    _align(path, survey, samples, grid)
    noise = _noise_samples(path, lines, heads)
    apart = _calibration(path, survey, n_channels)
    return KSpace(
        survey.acquisition,
        pattern,
        samples,
        noise,
        apart,
        b0_direction=b0_direction,
        name=str(path),
    )


def _align(
    path: Path, survey: Lines, samples: npt.NDArray[np.complex64], grid: ReadoutGrid
) -> None:
    """Turn and centre readouts of alternating direction, as their samples tell."""
    heads = survey.heads[survey.is_image]
    turned, contrast = has_flag(heads, REVERSE), heads["idx"]["contrast"]
    backwards = heads[turned if turned.any() else contrast == 1]
    last = backwards["number_of_samples"].astype(int) - backwards["discard_post"] - 1
    centre = 2 * backwards["center_sample"].astype(int) - backwards["discard_pre"]
    echoes = range(survey.acquisition.n_echoes)
    align_readouts(
        path,
        samples,
        sampled=torch.from_numpy(survey.sampled),
        flagged=[float(turned[contrast == echo].mean()) for echo in echoes],
        echo_times_s=survey.acquisition.echo_times_s,
        n_readout=grid.n,
        ambiguous=abs(int((last - centre)[0])) if len(backwards) else 0,
    )


def _check_echoes(
    path: Path, samples: npt.NDArray[np.complex64], sampled: npt.NDArray[np.bool_]
) -> None:
    """Refuse an echo without signal or of another scale, and samples beyond those of the centre."""
    peaks = np.zeros(samples.shape[1::2], np.float32)
    for channel in samples:
        for peak, echo in zip(peaks, channel, strict=True):
            np.maximum(peak, np.abs(echo).max(axis=0), out=peak)
    for echo, peak in enumerate(peaks, start=1):
        if not peak.any():
            raise InputError(f"{path}: echo {echo}: expected signal, found zeros alone")
    check_like(peaks.max(axis=1).tolist(), [str(path)] * len(peaks), "a largest sample")
    for echo, peak in enumerate(peaks, start=1):
        places = np.argwhere(sampled if sampled.ndim == 2 else sampled[echo - 1])
        central = (np.abs(places / sampled.shape[-2:] - 0.5) < CENTRAL).all(axis=1)
        if not central.any() or central.all():
            continue
        middle, beyond = float(peak[central].max()), float(peak[~central].max())
        if beyond > MOST_BEYOND * middle:
            ky, kz = places[~central][int(peak[~central].argmax())]
            raise InputError(
                f"{path}: echo {echo}: expected the largest samples in the centre of k-space "
                f"({middle:.3g}), found {beyond:.3g} at ky {ky}, kz {kz}"
            )


def _calibration(path: Path, survey: Lines, n_channels: int) -> npt.NDArray[np.complex64] | None:
    """The largest centre without gaps of the lines that were scanned apart."""
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
    _average(path, survey, positions, centre, ReadoutGrid.of(survey.apart, survey.encoding))
    return centre.reshape(*shape[:3], *sizes)


def _average(
    path: Path,
    survey: Lines,
    positions: npt.NDArray[np.int64],
    out: npt.NDArray[np.complex64],
    grid: ReadoutGrid,
) -> None:
    """Average all lines of each k-space position, block by block, into ``out``.

    Args:
        path: named in errors.
        survey: the lines, and what their heads say.
        positions: of each line, negative where it belongs nowhere.
        out: zeros, (channel, echo, x, place); every place has a line of every echo.
        grid: that the readouts are transformed on.
    """
    n_channels = len(out)
    counts = np.zeros((out.shape[1], out.shape[3]), dtype=np.int64)
    step = lines_at_once(n_channels, grid.n)
    for start in range(0, len(positions), step):
        part = slice(start, start + step)
        chosen = np.flatnonzero(positions[part] >= 0)
        if not len(chosen):
            continue
        readouts = images_of(path, survey.data[part][chosen], n_channels, grid)
        echoes = survey.heads["idx"]["contrast"][part][chosen].astype(int)
        for echo in np.unique(echoes):
            here = echoes == echo
            columns, sums, repeats = _sum_repeats(positions[part][chosen][here], readouts[here])
            out[:, echo][..., columns] += sums.transpose(1, 2, 0)
            counts[echo, columns] += repeats
    if (counts > 1).any():
        out /= counts[None, :, None, :]


def lines_at_once(n_channels: int, n_samples: int) -> int:
    """Number of lines in a block of ``BLOCK_BYTES``."""
    return max(1, BLOCK_BYTES // (8 * n_channels * n_samples))


def _sum_repeats(
    positions: npt.NDArray[np.int64], readouts: npt.NDArray[np.complex64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.complex64], npt.NDArray[np.int64]]:
    """Unique positions in order, the sum of the readouts at each, and their number."""
    ordered = np.argsort(positions, kind="stable")
    columns, first, repeats = np.unique(positions[ordered], return_index=True, return_counts=True)
    return columns, np.add.reduceat(readouts[ordered], first, axis=0), repeats


def _noise_samples(
    path: Path, lines: h5py.Dataset, heads: npt.NDArray[np.void]
) -> npt.NDArray[np.complex64] | None:
    indices = np.flatnonzero(has_flag(heads, NOISE))
    if not len(indices):
        return None
    if len(np.unique(heads["active_channels"][indices])) > 1:
        raise InputError(f"{path}: expected the same channels in every line of the noise scan")
    noise = np.concatenate([samples_of(path, line) for line in lines[indices]], axis=1)
    if not np.isfinite(noise.view(np.float32)).all():
        raise InputError(f"{path}: expected finite samples, found NaN or infinity in the noise")
    return noise
