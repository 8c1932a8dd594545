"""Line headers of an MRD file: image and calibration lines and their (ky, kz) positions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.files.foreign import refuse_foreign
from accelqsm.files.mrd.header import Encoding, parse_header

NOISE = ismrmrd.ACQ_IS_NOISE_MEASUREMENT
REVERSE = ismrmrd.ACQ_IS_REVERSE
_CALIBRATION = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
_CALIBRATION_TOO = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
_SINGLE = ("slice", "repetition", "phase", "set")
"""Counters that are constant in one 3D scan."""

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


def read_sampling(path: Path) -> npt.NDArray[np.bool_]:
    """Sampling pattern in (ky, kz) of a scan, bool (y, z), without reading its samples.

    Raises:
        InputError: as ``read_mrd``.
    """
    with open_mrd(path) as file:
        return survey_lines(path, file).sampled


@contextmanager
def open_mrd(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; raise InputError for a missing or damaged one."""
    refuse_foreign(path, wanted="raw data")
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
class Lines:
    """Headers of all lines, with the (ky, kz) positions of image and calibration lines.

    Attributes:
    encoding, acquisition: from the header of the file.
    heads: header of each line.
    is_image, is_calibration: bool for each line; a calibration line is of a separate scan.
    ky, kz: indices of each line on the image's grid, zero frequency at n // 2.
    sampled: sampling pattern of the image, bool (y, z).
    """

    encoding: Encoding
    acquisition: Acquisition
    heads: npt.NDArray[np.void]
    is_image: npt.NDArray[np.bool_]
    is_calibration: npt.NDArray[np.bool_]
    ky: npt.NDArray[np.int64]
    kz: npt.NDArray[np.int64]
    sampled: npt.NDArray[np.bool_]


def survey_lines(path: Path, file: h5py.File) -> Lines:
    """Read the header and the headers of the lines, without their samples."""
    if "ismrmrd_header" in file and "kspace" in file:
        raise InputError(f"{path}: expected an MRD file ('dataset/data'), found a fastMRI file")
    if "dataset/xml" not in file or "dataset/data" not in file:
        found = ", ".join(file) or "nothing"
        raise InputError(f"{path}: expected an MRD file with 'dataset/data', found {found}")
    encoding = parse_header(path, file["dataset/xml"][0])
    heads = file["dataset/data"].fields("head")[:]
    is_image = ~np.any([has_flag(heads, flag) for flag in _NOT_IMAGE], axis=0)
    is_calibration = np.zeros_like(is_image)
    if not encoding.calibration_in_image:
        alone = has_flag(heads, _CALIBRATION)
        is_calibration = is_image & (alone | has_flag(heads, _CALIBRATION_TOO))
        is_image &= ~alone
    if not is_image.any():
        raise InputError(f"{path}: expected image lines, found {len(heads)} lines of other kinds")
    _check_lines(path, heads[is_image | is_calibration])
    acquisition = encoding.acquisition(heads[int(np.argmax(is_image))])
    ky, kz = _positions(encoding, heads)
    sampled = _shared_pattern(path, encoding, heads["idx"]["contrast"], ky, kz, is_image)
    return Lines(encoding, acquisition, heads, is_image, is_calibration, ky, kz, sampled)


def _check_lines(path: Path, heads: npt.NDArray[np.void]) -> None:
    """Check that the lines are of a single Cartesian 3D scan with one set of channels."""
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


def has_flag(heads: npt.NDArray[np.void], flag: int) -> npt.NDArray[np.bool_]:
    """Whether a flag is set in each line header."""
    return np.asarray(heads["flags"] & np.uint64(1 << (flag - 1)) != 0, dtype=np.bool_)


def _positions(
    encoding: Encoding, heads: npt.NDArray[np.void]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of every line on the (ky, kz) grid of the image, zero frequency at n // 2."""
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
