"""Samples of lines, as any writer stores them, and their images along the readout."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from accelqsm.errors import InputError
from accelqsm.files.mrd.header import Encoding
from accelqsm.files.mrd.lines import REVERSE, has_flag
from accelqsm.fourier import centred_slice, ifft

WHOLE = 0.02


@dataclass(frozen=True)
class ReadoutGrid:
    """What readouts are transformed on.

    Attributes:
        n: samples of the transform, whose field of view is the encoded one.
        n_image: voxels that are kept about the middle.
        trimmed: whether samples beyond the resolution of the image are left out.
    """

    n: int
    n_image: int
    trimmed: bool = False

    @classmethod
    def of(cls, encoding: Encoding, image: Encoding) -> ReadoutGrid:
        """For lines of an encoding, with voxels along the readout as those of an image."""
        exact = encoding.fov_mm[0] / image.voxel_size_mm[0]
        return cls(round(exact), image.image[0], trimmed=encoding is not image)


def images_of(
    path: Path, lines: npt.NDArray[np.void], n_channels: int, grid: ReadoutGrid
) -> npt.NDArray[np.complex64]:
    """Readouts in image space without oversampling, (line, channel, x).

    Raises:
        InputError: a readout that does not fit, or samples that are no numbers.
    """
    kspace = np.zeros((len(lines), n_channels, grid.n), dtype=np.complex64)
    for target, line in zip(kspace, lines, strict=True):
        _place(path, line, target, trimmed=grid.trimmed)
    spoilt = ~np.isfinite(kspace.view(np.float32)).all(axis=(1, 2))
    if spoilt.any():
        head = lines["head"][int(np.argmax(spoilt))]
        raise InputError(
            f"{path}: line {int(head['scan_counter'])}: expected finite samples, found NaN or "
            "infinity"
        )
    image = ifft(torch.from_numpy(kspace), (-1,))
    if grid.n < grid.n_image:
        # A calibration of a shorter field of view: nothing is known beyond it.
        wide = image.new_zeros(*image.shape[:-1], grid.n_image)
        wide[..., centred_slice(grid.n_image, grid.n)] = image
        return wide.numpy()
    return image[..., centred_slice(grid.n, grid.n_image)].numpy()


def _place(
    path: Path,
    line: npt.NDArray[np.void],
    target: npt.NDArray[np.complex64],
    *,
    trimmed: bool,
) -> None:
    """Put the samples of a line where they belong, zero frequency at n // 2."""
    head, n = line["head"], target.shape[-1]
    values = samples_of(path, line)
    before = int(head["discard_pre"])
    values = values[:, before : values.shape[1] - int(head["discard_post"])]
    size, centre = values.shape[1], int(head["center_sample"]) - before
    centres = [centre]
    if has_flag(head, REVERSE):
        values = values[:, ::-1]
        # The centre as it is stored; or as it is counted in the other direction.
        centres = [size - 1 - centre, centre]
    for found in centres:
        start = n // 2 - found
        if start >= 0 and start + size <= n:
            target[:, start : start + size] = values
            return
    start = n // 2 - centres[0]
    if trimmed or (len(centres) > 1 and size == n and abs(start) == 1):
        places = np.arange(start, start + size)
        kept = (places >= 0) & (places < n) if trimmed else np.full(size, True)
        # A sample beyond the edge of a full readout stands for the one at the other edge.
        target[:, places[kept] % n] = values[:, kept]
        return
    raise InputError(
        f"{path}: a readout of {size} samples with centre {centres[0]} does not fit "
        f"the encoded matrix of {n}"
    )


def samples_of(path: Path, line: npt.NDArray[np.void]) -> npt.NDArray[np.complex64]:
    """The samples of one line, (channel, sample), in single precision.

    Raises:
        InputError: another number of samples than its head says.
    """
    head = line["head"]
    shape = (int(head["active_channels"]), int(head["number_of_samples"]))
    values = _as_complex(np.asarray(line["data"]))
    if values.size != shape[0] * shape[1]:
        raise InputError(
            f"{path}: line {int(head['scan_counter'])}: expected {shape[0]} channels of {shape[1]} "
            f"samples, found {values.size} samples in all"
        )
    return values.reshape(shape)


def _as_complex(values: npt.NDArray[Any]) -> npt.NDArray[np.complex64]:
    """Complex numbers, or real and imaginary parts in turn or as fields, of any precision."""
    if values.dtype.names and len(values.dtype.names) == 2:
        real, imaginary = (values[name] for name in values.dtype.names)
        values = real + 1j * imaginary
    if values.dtype.kind != "c":
        values = values[: values.size // 2 * 2]
        if values.dtype != np.float32:
            values = values.astype(np.float64)
        values = np.ascontiguousarray(values).view(f"c{2 * values.dtype.itemsize}")
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.complex64] = values.astype(np.complex64, copy=False)
    return found
