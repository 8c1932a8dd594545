"""Under-sampled Cartesian k-space of a multi-coil, multi-echo acquisition."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.fourier import centred_slice
from accelqsm.grid import Triple
from accelqsm.runtime.arrays import as_tensor
from accelqsm.runtime.disk import reserved_file
from accelqsm.units import gain_to_one

LARGEST_IN_MEMORY_BYTES = 2 * 2**30


@dataclass(frozen=True)
class KSpace:
    """Cartesian k-space samples of every channel and echo, in hybrid space.

    The readout is fully sampled, and its inverse transform is applied once: axis x of ``samples``
    is image space, the last axis lists the sampled (ky, kz) positions. All transforms are centred
    and orthonormal (``accelqsm.fourier``).

    Attributes:
        acquisition: grid, echo times and field strength; ``acquisition.grid.shape`` is (x, y, z).
        sampled: bool, True where (ky, kz) was measured in all channels: (y, z), shared by all
            echoes, or (echo, y, z), a pattern of as many samples for each echo. ``planes`` returns
            its result on the device of this tensor.
        samples: complex64 (channel, echo, x, sample), in the row-major order of
            ``pattern(echo).nonzero()``; an array or a memory map.
        noise_samples: complex64 (channel, sample) measured without excitation, or None where
            there is no such scan or the samples have been whitened with it.
        calibration: complex64 (channel, echo, x, ky, kz), a fully sampled centre of k-space from
            a separate scan, zero frequency at n // 2; where it has fewer echoes, its last one
            serves all later echoes. None where the samples have their own fully sampled centre.
        sensitivities: complex64 (channel, x, y, z), receive sensitivities from a separate source;
            None where they are to be estimated from the samples.
        b0_direction: unit vector of the main field along the array axes, where the grid's is not
            to be trusted.
        name: of the file, for warnings.
        gain: factor that planes and calibration come out with, a power of two (``balanced``).
    """

    acquisition: Acquisition
    sampled: Tensor
    samples: npt.NDArray[np.complex64]
    noise_samples: npt.NDArray[np.complex64] | None = None
    calibration: npt.NDArray[np.complex64] | None = None
    sensitivities: npt.NDArray[np.complex64] | None = None
    b0_direction: Triple | None = None
    name: str = "k-space"
    gain: float = 1.0

    def __post_init__(self) -> None:
        x, y, z = self.acquisition.grid.shape
        check_pattern("k-space pattern", self.sampled, (y, z), self.acquisition.n_echoes)
        expected = (self.acquisition.n_echoes, x, int(self.pattern(0).sum()))
        if self.samples.ndim != 4 or self.samples.shape[1:] != expected:
            raise InputError(
                f"k-space samples: expected (channel, {', '.join(map(str, expected))}), "
                f"found {self.samples.shape}"
            )
        if self.calibration is not None and (
            self.calibration.ndim != 5
            or self.calibration.shape[0] != self.n_channels
            or self.calibration.shape[2] != x
        ):
            raise InputError(
                f"calibration: expected ({self.n_channels}, echo, {x}, ky, kz), "
                f"found {self.calibration.shape}"
            )
        shape = (self.n_channels, x, y, z)
        if self.sensitivities is not None and self.sensitivities.shape != shape:
            raise InputError(
                f"sensitivities: expected (channel, x, y, z) {shape}, "
                f"found {self.sensitivities.shape}"
            )

    @property
    def n_channels(self) -> int:
        """Number of receive channels."""
        return int(self.samples.shape[0])

    @property
    def acceleration(self) -> float:
        """Acceleration factor: positions of the full (ky, kz) plane over sampled positions."""
        return self.sampled.numel() / int(self.sampled.sum())

    @property
    def plane(self) -> tuple[int, int]:
        """Size (y, z) of the full (ky, kz) plane."""
        return self.acquisition.grid.shape[1], self.acquisition.grid.shape[2]

    @property
    def shared_pattern(self) -> bool:
        """Whether one pattern is shared by all echoes."""
        return self.sampled.ndim == 2

    def pattern(self, echo: int) -> Tensor:
        """Sampling pattern of one echo, bool (y, z)."""
        return self.sampled if self.shared_pattern else self.sampled[echo]

    def on(self, device: torch.device) -> KSpace:
        """Copy of the record whose samples are reconstructed on ``device``."""
        return replace(self, sampled=self.sampled.to(device))

    def balanced(self) -> KSpace:
        """The same samples, with a gain that brings the largest to about 1 (``gain_to_one``)."""
        largest = max((float(np.abs(part).max(initial=0)) for part in self._parts()), default=0.0)
        return replace(self, gain=gain_to_one(largest))

    def _parts(self) -> Iterator[npt.NDArray[np.complex64]]:
        """Samples of one channel and echo after another."""
        return (echo for channel in self.samples for echo in channel)

    def planes(
        self,
        channels: slice = slice(None),
        x: slice = slice(None),
        echoes: slice = slice(None),
    ) -> Tensor:
        """Hybrid-space samples on the full (ky, kz) plane, zero where not sampled.

        Returns:
            complex64 (channel, echo, x, y, z) of the chosen channels, readout positions and echoes,
            on the device of ``sampled``.
        """
        chosen = as_tensor(self.samples[channels, echoes, x])
        chosen = chosen.to(self.sampled.device)
        planes = chosen.new_zeros(*chosen.shape[:3], *self.plane)
        if self.shared_pattern:
            planes[..., self.sampled] = chosen * self.gain
            return planes
        for n, sampled in enumerate(self.sampled[echoes]):
            planes[:, n, :, sampled] = chosen[:, n] * self.gain
        return planes


def check_pattern(name: str, sampled: Tensor, plane: tuple[int, int], n_echoes: int) -> None:
    """Check that a sampling pattern is of all echoes, or one of as many samples for each.

    Args:
        name: named in errors.
        sampled: bool (y, z) or (echo, y, z).
        plane: (y, z).
        n_echoes: number of echoes.

    Raises:
        InputError: another type, shape, or number of samples in some echo.
    """
    shapes = (plane, (n_echoes, *plane))
    if sampled.dtype != torch.bool or tuple(sampled.shape) not in shapes:
        raise InputError(
            f"{name}: expected bool {plane} or {shapes[1]}, "
            f"found {sampled.dtype} {tuple(sampled.shape)}"
        )
    counts = sampled.reshape(-1, *plane).sum((1, 2)).tolist()
    for echo, count in enumerate(counts, start=1):
        if count != counts[0]:
            raise InputError(
                f"{name}: expected as many samples in every echo, "
                f"found {counts[0]} in echo 1 and {count} in echo {echo}"
            )


def sample_index(sampled: Tensor) -> Tensor:
    """Index of each position among the samples of its echo, int (..., y, z); -1 elsewhere."""
    index = sampled.flatten(-2).cumsum(-1).reshape(sampled.shape) - 1
    return index.masked_fill(~sampled, -1)


def from_centre(sampled: Tensor) -> Tensor:
    """Order of the sampled positions from the centre of k-space outwards, (sample,).

    The distance of a position is relative to the extent of k-space along each axis.

    Args:
        sampled: bool (y, z).
    """
    places, plane = sampled.nonzero().double(), torch.tensor(sampled.shape, device=sampled.device)
    order: Tensor = ((places - plane // 2) / plane).norm(dim=1).argsort(stable=True)
    return order


def calibration_box(sampled: Tensor) -> tuple[slice, slice]:
    """Largest fully sampled rectangle centred on the zero frequency.

    Args:
        sampled: bool (y, z).

    Returns:
        Slices along y and z; the zero frequency ``n // 2`` stays at ``size // 2``.

    Raises:
        InputError: the zero frequency itself was not measured.
    """
    mask = sampled.cpu().numpy()
    n_y, n_z = mask.shape
    best = (0, 0)
    for size_y in range(1, n_y + 1):
        full = np.asarray(mask[centred_slice(n_y, size_y)].all(axis=0))
        sizes = [s for s in range(1, n_z + 1) if full[centred_slice(n_z, s)].all()]
        if not sizes:
            break
        if size_y * sizes[-1] > best[0] * best[1]:
            best = (size_y, sizes[-1])
    if best == (0, 0):
        raise InputError("sampling pattern: expected a measured zero frequency, found none")
    return centred_slice(n_y, best[0]), centred_slice(n_z, best[1])


def scratch(shape: tuple[int, ...], *, on_disk: bool | None = None) -> npt.NDArray[np.complex64]:
    """Allocate complex64 zeros in memory, or in a memory-mapped unnamed temporary file.

    Without ``on_disk``, arrays beyond 2 GiB go to the file, whose space is reserved.

    Raises:
        DiskError: no space for temporary files.
    """
    if on_disk is None:
        on_disk = 8 * math.prod(shape) > LARGEST_IN_MEMORY_BYTES
    if not on_disk:
        return np.zeros(shape, np.complex64)
    with reserved_file(8 * math.prod(shape), "the samples") as file:
        # The mapping keeps the file alive after its name and handle are gone.
        return np.memmap(file, np.complex64, "w+", shape=shape)
