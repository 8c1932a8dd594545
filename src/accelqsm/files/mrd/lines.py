"""Line headers of an MRD file: image and calibration lines and their (ky, kz) positions."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError, InputWarning, naming
from accelqsm.files.foreign import refuse_foreign
from accelqsm.files.mrd.header import Encoding
from accelqsm.files.mrd.orientation import centre_mm, directions_of
from accelqsm.files.mrd.parse import parse_header
from accelqsm.files.mrd.text import check_stored, header_text, scan_group
from accelqsm.runtime.hdf5 import check_values
from accelqsm.runtime.reading import check_regular

NOISE, REVERSE = 19, 22
_CALIBRATION, _CALIBRATION_TOO = 20, 21
_SINGLE = ("slice", "repetition", "phase", "set")
"""Counters that are constant in one 3D scan."""

_NOT_IMAGE = (NOISE, 23, 24, 26, 27, 28, 29, 30, 31)
"""Flags (ismrmrd.h) of noise, navigation, phase correction, feedback, dummies, surface coil
correction and phase stabilisation."""

BLOCK_BYTES = 2**26
"""Size of the blocks in which lines are read."""

SAME_FIELD_OF_VIEW = 0.01
LEAST_APART = 0.05
"""Positions at which patterns of two echoes differ, of the lines of one: fewer are lines that are
missing or misplaced."""


def read_sampling(path: Path) -> npt.NDArray[np.bool_]:
    """Sampling pattern in (ky, kz) of a scan, as that of ``KSpace``, without its samples.

    Raises:
        InputError: as ``read_mrd``.
    """
    with open_mrd(path) as file:
        return survey_lines(path, file).sampled


@contextmanager
def open_mrd(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; raise InputError for a missing or damaged one."""
    refuse_foreign(path, wanted="raw data")
    check_regular(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    # h5py reports damage inside the file as any of these.
    except (OSError, KeyError, RuntimeError, UnicodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated or not an HDF5 file ({reason})") from error


@dataclass(frozen=True)
class Lines:
    """Heads of all lines, and where those of image and calibration go on the (ky, kz) grid.

    Attributes:
        data: lines with their samples, in the file.
        encoding: of the image.
        apart: of the calibration that was scanned apart.
        acquisition: what the scanner did.
        heads: of all lines.
        is_image, is_calibration: which lines belong to the image, and to the calibration.
        ky, kz: of every line, on the image's grid.
        sampled: bool (y, z), or (echo, y, z) where the echoes' patterns differ.
    """

    data: h5py.Dataset
    encoding: Encoding
    apart: Encoding
    acquisition: Acquisition
    heads: npt.NDArray[np.void]
    is_image: npt.NDArray[np.bool_]
    is_calibration: npt.NDArray[np.bool_]
    ky: npt.NDArray[np.int64]
    kz: npt.NDArray[np.int64]
    sampled: npt.NDArray[np.bool_]

    @property
    def n_channels(self) -> int:
        """Of the lines of the image."""
        return int(self.heads[int(np.argmax(self.is_image))]["active_channels"])


def survey_lines(path: Path, file: h5py.File, *, b0_said: bool = False) -> Lines:
    """Read the header and the lines' heads, without their samples.

    Args:
        path: named in errors.
        file: opened.
        b0_said: whether the direction of B0 is known apart from the file.
    """
    group = scan_group(path, file)
    if isinstance(group.get("xml"), h5py.Dataset):
        check_values(path, group["xml"])
    encodings = parse_header(path, header_text(path, group))
    check_stored(path, group["data"])
    check_values(path, group["data"])
    heads = _heads(path, group["data"])
    is_image = ~np.any([has_flag(heads, flag) for flag in _NOT_IMAGE], axis=0)
    # A readout that is discarded as a whole was not measured.
    is_image &= _kept(heads)[0] > 0
    second = _second_encoding(path, encodings, heads, is_image)
    is_calibration = second
    if not encodings[0].calibration_in_image:
        alone = has_flag(heads, _CALIBRATION)
        if not second.any():
            is_calibration = is_image & (alone | has_flag(heads, _CALIBRATION_TOO))
        is_image &= ~alone
    is_image &= ~second
    if not is_image.any():
        raise InputError(f"{path}: expected image lines, found {len(heads)} lines of other kinds")
    _check_lines(path, heads[is_image | is_calibration])
    _check_kept(path, heads[is_image])
    _check_kept(path, heads[is_calibration & ~is_image], what="calibration of echo")
    encoding = _oversampled(path, encodings[0], heads[is_image])
    directions = directions_of(path, heads[is_image], said=b0_said)
    with naming(path):
        acquisition = encoding.acquisition(directions, centre_mm(heads[is_image][0]))
    ky, kz = _positions(encoding, encodings[-1], heads, second)
    sampled = _pattern(path, encoding, heads["idx"]["contrast"], ky, kz, is_image)
    apart = encodings[-1] if second.any() else encoding
    return Lines(
        group["data"],
        encoding,
        apart,
        acquisition,
        heads,
        is_image,
        is_calibration,
        ky,
        kz,
        sampled,
    )


def _heads(path: Path, data: h5py.Dataset) -> npt.NDArray[np.void]:
    """Heads of all lines.

    h5py reads a field alone by reading all of them, and never frees the variable-length ones among
    those that it leaves out. So blocks of whole lines are read.
    """
    step = max(1, BLOCK_BYTES * len(data) // max(1, path.stat().st_size))
    heads = np.empty(len(data), data.dtype["head"])
    for start in range(0, len(data), step):
        heads[start : start + step] = data[start : start + step]["head"]
    return heads


def _second_encoding(
    path: Path,
    encodings: tuple[Encoding, ...],
    heads: npt.NDArray[np.void],
    is_image: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """Lines of a calibration that has an encoding of its own, the second.

    Raises:
        InputError: another second encoding, or one whose samples lie elsewhere in k-space.
    """
    space = heads["encoding_space_ref"]
    second = np.asarray(is_image & (space == 1), dtype=np.bool_)
    if (space[is_image] >= len(encodings)).any():
        raise InputError(
            f"{path}: expected lines of {len(encodings)} encodings, found encoding_space_ref "
            f"{int(space[is_image].max())}"
        )
    if len(encodings) == 1:
        return second
    flagged = has_flag(heads, _CALIBRATION) | has_flag(heads, _CALIBRATION_TOO)
    if len(encodings) > 2 or not second.any() or second[is_image].all():
        raise InputError(f"{path}: expected one encoding, found {len(encodings)}")
    if encodings[0].calibration_in_image and not flagged[second].all():
        raise InputError(
            f"{path}: expected one encoding, found 2, and {int((second & ~flagged).sum())} lines "
            "of the second that are not flagged as calibration"
        )
    fields = [encoding.fov_mm[1:] for encoding in encodings]
    if not np.allclose(fields[0], fields[1], rtol=SAME_FIELD_OF_VIEW):
        shown = " and ".join(" x ".join(f"{mm:g}" for mm in field) for field in fields)
        raise InputError(
            f"{path}: expected image and calibration with the same phase-encoded field of view, "
            f"found {shown} mm"
        )
    return second


def _oversampled(path: Path, encoding: Encoding, heads: npt.NDArray[np.void]) -> Encoding:
    """The encoding, less an oversampling that the lines do not have any more.

    Warns:
        InputWarning: lines without the oversampling that the header states, or with fewer samples
            than it states about a centre in the middle.
    """
    n_encoded, n_image = encoding.encoded[0], encoding.image[0]
    sizes, centre = _kept(heads)
    n = int(sizes[0])
    turned = has_flag(heads, REVERSE)
    middle = (centre == n // 2) | (turned & (centre == n - 1 - n // 2))
    if n >= n_encoded or (sizes != n).any() or not middle.all():
        return encoding
    if n == n_image:
        _warn(
            f"{path}: readouts of {n} samples where the header says {n_encoded}: their "
            f"oversampling has been removed, and they are read as {n}"
        )
        return encoding.without_oversampling()
    if not turned.all():
        _warn(
            f"{path}: readouts of {n} samples about their centre where the header says "
            f"{n_encoded}; the rest is taken as not measured, and the resolution is lower"
        )
    return encoding


def _kept(
    heads: npt.NDArray[np.void],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Samples of each line that are not discarded, and the place of its centre among them."""
    before = heads["discard_pre"].astype(np.int64)
    sizes = heads["number_of_samples"].astype(np.int64) - before - heads["discard_post"]
    return sizes, heads["center_sample"].astype(np.int64) - before


def _check_kept(path: Path, heads: npt.NDArray[np.void], what: str = "echo") -> None:
    """Refuse readouts of one echo that hold different samples: the missing ones are not zero.

    Raises:
        InputError: with the two kinds of which there are most.

    Warns:
        InputWarning: echoes that hold different numbers of samples.
    """
    sizes, centre = _kept(heads)
    contrast, turned = heads["idx"]["contrast"], has_flag(heads, REVERSE)
    measured = {}
    for echo in np.unique(contrast).tolist():
        for direction in (False, True):
            chosen = (contrast == echo) & (turned == direction)
            kinds, counts = np.unique(
                np.stack([sizes[chosen], centre[chosen]]), axis=1, return_counts=True
            )
            if len(counts) > 1:
                most = np.argsort(-counts, kind="stable")[:2]
                found = " and ".join(
                    f"{counts[n]} of {kinds[0, n]} (centre {kinds[1, n]})" for n in most
                )
                raise InputError(
                    f"{path}: {what} {echo + 1}: expected the same samples in every readout after "
                    f"discard_pre and discard_post, found {found}"
                )
        measured[echo + 1] = int(sizes[contrast == echo].max())
    fewest = min(measured, key=lambda echo: measured[echo], default=0)
    if measured and measured[fewest] < max(measured.values()):
        _warn(
            f"{path}: {what} {fewest}: readouts of {measured[fewest]} samples where other echoes "
            f"have {max(measured.values())}; the rest is taken as not measured, and the resolution "
            "is lower"
        )


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
    encoding: Encoding,
    other: Encoding,
    heads: npt.NDArray[np.void],
    second: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices of every line on the image's (ky, kz) grid, zero frequency at n // 2."""
    found = []
    for axis in (1, 2):
        centre = np.where(second, other.centre[axis - 1], encoding.centre[axis - 1])
        step = heads["idx"][f"kspace_encode_step_{axis}"].astype(np.int64)
        found.append(step - centre + encoding.image[axis] // 2)
    return found[0], found[1]


def _pattern(
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
    counts, apart = patterns.sum((1, 2)), (patterns != patterns[0]).sum((1, 2))
    for echo, (count, missing) in enumerate(zip(counts, apart, strict=True), start=1):
        if missing and (count != counts[0] or missing < LEAST_APART * count):
            raise InputError(
                f"{path}: echo {echo} differs from echo 1 at {missing} (ky, kz) positions; "
                "expected one pattern for all echoes, or another of as many lines for each"
            )
    found_pattern: npt.NDArray[np.bool_] = patterns if apart.any() else patterns[0]
    return found_pattern


def _warn(message: str) -> None:
    warnings.warn(InputWarning(message), stacklevel=4)
