"""Raw k-space as ISMRMRD/MRD HDF5: samples in bulk through h5py, header through ismrmrd.

Source: Inati et al. 2017, Magn Reson Med 77:411, doi 10.1002/mrm.26089.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.files.mrd.header import Encoding, parse_header
from accelqsm.fourier import centred_slice, ifft
from accelqsm.kspace import KSpace, calibration_box, scratch

CHUNK_BYTES = 2**26
"""Samples that are read or written at a time."""

_NOISE = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
_REVERSE = ismrmrd.ACQ_IS_REVERSE
_CALIBRATION = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
_CALIBRATION_TOO = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
_SINGLE = ("slice", "repetition", "phase", "set")
"""Counters of the lines that one 3D scan leaves alone."""

_NOT_IMAGE = (
    ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    ismrmrd.ACQ_IS_NAVIGATION_DATA,
    ismrmrd.ACQ_IS_PHASECORR_DATA,
    ismrmrd.ACQ_IS_HPFEEDBACK_DATA,
    ismrmrd.ACQ_IS_DUMMYSCAN_DATA,
    ismrmrd.ACQ_IS_RTFEEDBACK_DATA,
    ismrmrd.ACQ_IS_SURFACECOILCORRECTIONSCAN_DATA,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION_REFERENCE,
    ismrmrd.ACQ_IS_PHASE_STABILIZATION,
)


def read_mrd(path: Path) -> KSpace:
    """Read a Cartesian 3D multi-echo scan (contrast = echo) into hybrid space.

    Readout oversampling is removed, reversed readouts are turned, averages are averaged, lines
    that are no image data are skipped, and a noise scan is kept beside the samples. Samples
    larger than 2 GiB go to an unnamed temporary file.

    Raises:
        InputError: missing, truncated or foreign file, missing echoes or lines, NaN samples, or
            an encoding that is not one Cartesian 3D grid.
    """
    with _opened(path) as file:
        return _read(path, file)


def read_sampling(path: Path) -> Tensor:
    """The (ky, kz) pattern of a scan, bool (y, z), without reading its samples.

    Raises:
        InputError: as ``read_mrd``.
    """
    with _opened(path) as file:
        return torch.from_numpy(_survey(path, file).sampled)


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    # h5py reports damage inside the file as any of these.
    except (OSError, KeyError, RuntimeError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated or not an HDF5 file ({reason})") from error


@dataclass(frozen=True)
class _Lines:
    """Heads of all lines, and where those of image and calibration go on the (ky, kz) grid."""

    encoding: Encoding
    acquisition: Acquisition
    heads: npt.NDArray[np.void]
    is_image: npt.NDArray[np.bool_]
    is_apart: npt.NDArray[np.bool_]
    ky: npt.NDArray[np.int64]
    kz: npt.NDArray[np.int64]
    sampled: npt.NDArray[np.bool_]


def _survey(path: Path, file: h5py.File) -> _Lines:
    """Read the header and the lines' heads, without their samples."""
    if "ismrmrd_header" in file and "kspace" in file:
        raise InputError(f"{path}: expected an MRD file ('dataset/data'), found a fastMRI file")
    if "dataset/xml" not in file or "dataset/data" not in file:
        found = ", ".join(file) or "nothing"
        raise InputError(f"{path}: expected an MRD file with 'dataset/data', found {found}")
    encoding = parse_header(path, file["dataset/xml"][0])
    heads = file["dataset/data"].fields("head")[:]
    is_image = ~np.any([_has_flag(heads, flag) for flag in _NOT_IMAGE], axis=0)
    is_apart = np.zeros_like(is_image)
    if not encoding.calibration_in_image:
        alone = _has_flag(heads, _CALIBRATION)
        is_apart = is_image & (alone | _has_flag(heads, _CALIBRATION_TOO))
        is_image &= ~alone
    if not is_image.any():
        raise InputError(f"{path}: expected image lines, found {len(heads)} lines of other kinds")
    _check_lines(path, heads[is_image | is_apart])
    acquisition = encoding.acquisition(heads[int(np.argmax(is_image))])
    ky, kz = _positions(encoding, heads)
    sampled = _shared_pattern(path, encoding, heads["idx"]["contrast"], ky, kz, is_image)
    return _Lines(encoding, acquisition, heads, is_image, is_apart, ky, kz, sampled)


def _read(path: Path, file: h5py.File) -> KSpace:
    survey = _survey(path, file)
    heads, is_image, sampled = survey.heads, survey.is_image, survey.sampled
    lines = file["dataset/data"]
    n_channels = int(heads[int(np.argmax(is_image))]["active_channels"])
    order = np.full(sampled.shape, -1)
    order[sampled] = np.arange(int(sampled.sum()))
    shape = (n_channels, survey.acquisition.n_echoes, survey.encoding.image[0], order.max() + 1)
    samples = scratch(shape)
    places = np.full(len(heads), -1)
    places[is_image] = order[survey.ky[is_image], survey.kz[is_image]]
    _average(path, lines, survey, places, samples)
    noise = _noise_samples(path, lines, heads)
    apart = _calibration(path, lines, survey, n_channels)
    return KSpace(survey.acquisition, torch.from_numpy(sampled), samples, noise, apart)


def _calibration(
    path: Path, lines: h5py.Dataset, survey: _Lines, n_channels: int
) -> npt.NDArray[np.complex64] | None:
    """The largest centre without gaps of the lines that were scanned apart."""
    chosen = np.flatnonzero(survey.is_apart)
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
    inside = survey.is_apart & (y >= 0) & (y < sizes[0]) & (z >= 0) & (z < sizes[1])
    places = np.where(inside, y * sizes[1] + z, -1)
    shape = (n_channels, len(measured), image[0], sizes[0] * sizes[1])
    centre = np.zeros(shape, dtype=np.complex64)
    _average(path, lines, survey, places, centre)
    return centre.reshape(*shape[:3], *sizes)


def _average(
    path: Path,
    lines: h5py.Dataset,
    survey: _Lines,
    places: npt.NDArray[np.int64],
    onto: npt.NDArray[np.complex64],
) -> None:
    """Put the mean of all lines of a place there, some lines after another.

    Args:
        path: named in errors.
        lines: of the file.
        survey: what their headers say.
        places: of each line, negative where it belongs nowhere.
        onto: zeros, (channel, echo, x, place); every place has a line of every echo.
    """
    n_channels = len(onto)
    counts = np.zeros((onto.shape[1], onto.shape[3]), dtype=np.int64)
    step = lines_at_once(n_channels, survey.encoding.encoded[0])
    for start in range(0, len(places), step):
        part = slice(start, start + step)
        chosen = np.flatnonzero(places[part] >= 0)
        if not len(chosen):
            continue
        readouts = _readouts(path, survey.encoding, lines[part][chosen], n_channels)
        echoes = survey.heads["idx"]["contrast"][part][chosen].astype(int)
        for echo in np.unique(echoes):
            here = echoes == echo
            columns, sums, repeats = _summed(places[part][chosen][here], readouts[here])
            onto[:, echo][..., columns] += sums.transpose(1, 2, 0)
            counts[echo, columns] += repeats
    if (counts > 1).any():
        onto /= counts[None, :, None, :]


def lines_at_once(n_channels: int, n_samples: int) -> int:
    """How many lines make a part of ``CHUNK_BYTES``."""
    return max(1, CHUNK_BYTES // (8 * n_channels * n_samples))


def _summed(
    places: npt.NDArray[np.int64], readouts: npt.NDArray[np.complex64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.complex64], npt.NDArray[np.int64]]:
    """Places in order, the sum of the readouts at each, and how many there were."""
    ordered = np.argsort(places, kind="stable")
    columns, first, repeats = np.unique(places[ordered], return_index=True, return_counts=True)
    return columns, np.add.reduceat(readouts[ordered], first, axis=0), repeats


def _check_lines(path: Path, heads: npt.NDArray[np.void]) -> None:
    """Refuse what is no single Cartesian 3D scan of one set of channels."""
    dimensions = int(heads["trajectory_dimensions"].max())
    if dimensions:
        raise InputError(
            f"{path}: expected Cartesian lines, found lines with a trajectory of {dimensions} "
            "dimensions"
        )
    for counter in _SINGLE:
        found = np.unique(heads["idx"][counter])
        if len(found) > 1:
            raise InputError(
                f"{path}: expected one {counter}, found {len(found)} ({found[0]} to {found[-1]})"
            )
    channels = np.unique(heads["active_channels"])
    if len(channels) > 1 or channels[0] < 1:
        raise InputError(
            f"{path}: expected the same channels in every line, found "
            f"{' and '.join(map(str, channels))}"
        )


def _has_flag(heads: npt.NDArray[np.void], flag: int) -> npt.NDArray[np.bool_]:
    return np.asarray(heads["flags"] & np.uint64(1 << (flag - 1)) != 0, dtype=np.bool_)


def _positions(
    encoding: Encoding, heads: npt.NDArray[np.void]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of every line on the image's (ky, kz) grid, zero frequency at n // 2."""
    _, ny, nz = encoding.image
    ky = heads["idx"]["kspace_encode_step_1"].astype(np.int64) - encoding.centre[0] + ny // 2
    kz = heads["idx"]["kspace_encode_step_2"].astype(np.int64) - encoding.centre[1] + nz // 2
    return ky, kz


def _shared_pattern(
    path: Path,
    encoding: Encoding,
    contrast: npt.NDArray[np.uint16],
    ky: npt.NDArray[np.int64],
    kz: npt.NDArray[np.int64],
    is_image: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    _, ny, nz = encoding.image
    inside = (ky >= 0) & (ky < ny) & (kz >= 0) & (kz < nz)
    if not inside[is_image].all():
        n = int((~inside[is_image]).sum())
        raise InputError(f"{path}: {n} lines lie outside the {ny} x {nz} phase-encoding matrix")
    n_echoes = len(encoding.echo_times_s)
    found = sorted(set(contrast[is_image].tolist()))
    if found != list(range(n_echoes)):
        raise InputError(
            f"{path}: expected contrasts 0..{n_echoes - 1} (one per echo time), found {found}"
        )
    patterns = np.zeros((n_echoes, ny, nz), dtype=bool)
    patterns[contrast[is_image].astype(int), ky[is_image], kz[is_image]] = True
    for echo, pattern in enumerate(patterns):
        missing = int((pattern != patterns[0]).sum())
        if missing:
            raise InputError(
                f"{path}: echo {echo + 1} differs from echo 1 at {missing} (ky, kz) positions; "
                "expected one pattern for all echoes"
            )
    shared: npt.NDArray[np.bool_] = patterns[0]
    return shared


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
        if _has_flag(head, _REVERSE):
            values, centre = values[:, ::-1], values.shape[1] - 1 - centre
        start = n_encoded // 2 - centre
        if start < 0 or start + values.shape[1] > n_encoded:
            raise InputError(
                f"{path}: a readout of {values.shape[1]} samples with centre {centre} does not fit "
                f"the encoded matrix of {n_encoded}"
            )
        target[:, start : start + values.shape[1]] = values
    spoilt = ~np.isfinite(kspace.view(np.float32)).all(axis=(1, 2))
    if spoilt.any():
        head = lines["head"][int(np.argmax(spoilt))]
        raise InputError(
            f"{path}: line {int(head['scan_counter'])}: expected finite samples, found NaN or "
            "infinity"
        )
    image = ifft(torch.from_numpy(kspace), (-1,))
    return image[..., centred_slice(n_encoded, encoding.image[0])].numpy()


def _samples(path: Path, line: npt.NDArray[np.void]) -> npt.NDArray[np.complex64]:
    """The samples of one line, (channel, sample)."""
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
    indices = np.flatnonzero(_has_flag(heads, _NOISE))
    if not len(indices):
        return None
    if len(np.unique(heads["active_channels"][indices])) > 1:
        raise InputError(f"{path}: expected the same channels in every line of the noise scan")
    noise = np.concatenate([_samples(path, line) for line in lines[indices]], axis=1)
    if not np.isfinite(noise.view(np.float32)).all():
        raise InputError(f"{path}: expected finite samples, found NaN or infinity in the noise")
    return noise
