"""GRAPPA: missing samples as weighted sums of acquired neighbours in all channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.grid import Shape
from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, readout_slabs
from accelqsm.recon.channels import calibration_samples
from accelqsm.recon.method_settings import GrappaSettings, MethodSettings
from accelqsm.runtime.progress import track

DEFAULT = GrappaSettings()
EQUATIONS_PER_UNKNOWN = 24
SAMPLES_AT_ONCE, EQUATIONS_AT_ONCE = 1_000_000, 1_000_000
"""Samples of a block of readouts, and of sources of the equations, that are held at a time: 8 MB
for any number of channels, or one readout."""


@dataclass(frozen=True)
class Neighbours:
    """Offsets of the source samples of a GRAPPA kernel.

    Attributes:
        taps: along kx, in samples; symmetric about zero.
        lines: along ky, in steps between acquired lines; zero is the line before the missing one.
        partitions: along kz, in samples; symmetric about zero.
    """

    taps: range
    lines: range
    partitions: range

    @classmethod
    def of(cls, kernel: tuple[int, int, int]) -> Neighbours:
        """Offsets for a kernel of readout taps, acquired lines and partitions."""
        taps, lines, partitions = kernel
        return cls(
            range(-(taps // 2), taps // 2 + 1),
            range(1 - lines // 2, lines // 2 + 1),
            range(-(partitions // 2), partitions // 2 + 1),
        )

    @property
    def in_plane(self) -> list[tuple[int, int]]:
        """All (line, partition) offsets of the sources."""
        return [(line, part) for line in self.lines for part in self.partitions]


@dataclass(frozen=True)
class Kernel:
    """GRAPPA kernel of one echo.

    Attributes:
        step: distance between acquired lines along y.
        neighbours: offsets of the sources.
        weights: complex (readout tap, source, target); sources are (channel, acquired line,
            partition), targets are (missing line, channel).
    """

    step: int
    neighbours: Neighbours
    weights: Tensor

    def at_readouts(self, x: Tensor, n_x: int) -> Tensor:
        """Kernel weights in hybrid space, (x, source, target): taps along kx Fourier-transformed.

        A shift by d along kx multiplies the image by exp(-2 pi i d x / n).
        """
        taps = torch.tensor(list(self.neighbours.taps), dtype=torch.float64)
        angle = -2 * torch.pi * taps[None, :] * (x[:, None] - n_x // 2) / n_x
        phases = torch.polar(torch.ones_like(angle), angle).to(self.weights)
        return torch.einsum("xt,tsc->xsc", phases, self.weights)


def line_step(sampled: Tensor) -> int:
    """Distance between the regularly acquired lines along y.

    Raises:
        InputError: a pattern that is not every n-th line along y plus a centre.
    """
    full = sampled.all(dim=1).nonzero()[:, 0]
    n_y = sampled.shape[0]
    step = int(full.diff().max()) if len(full) > 1 else n_y
    expected = torch.arange(n_y // 2 % step, n_y, step, device=full.device)
    if step > n_y // 4 or not torch.isin(expected, full).all():
        raise InputError(
            "GRAPPA: expected every n-th line along y, through the zero frequency, and a fully "
            f"sampled centre; found {len(full)} complete lines of {n_y}"
        )
    return step


def fit_kernel(calibration: Tensor, *, step: int, settings: GrappaSettings = DEFAULT) -> Kernel:
    """Kernel weights by regularised least squares on the calibration region.

    min_w |A w - b|^2 + lambda |w|^2, lambda = tikhonov trace(A^H A) / n. The equations are summed
    a few readout samples at a time.

    Args:
        calibration: hybrid-space samples, complex (channel, x, ky, kz), fully sampled.
        step: distance of acquired lines along y.
        settings: size of the kernel, and regularisation.

    Raises:
        InputError: a calibration region smaller than the kernel.

    Source: Griswold et al. 2002, Magn Reson Med 47:1202, doi 10.1002/mrm.10171.
    """
    near = Neighbours.of(settings.kernel)
    n_channels, *sizes = calibration.shape
    counts = _n_places(near, step, tuple(sizes))
    n_rows = _n_rows(near, counts, n_channels)
    start = (counts[0] - n_rows) // 2
    spectrum = fft(calibration, (1,))[:, start : start + n_rows + len(near.taps) - 1]
    n_sources = n_channels * len(near.in_plane)
    n_unknowns = len(near.taps) * n_sources
    gram = calibration.new_zeros(n_unknowns, n_unknowns, dtype=torch.complex128)
    wanted = gram.new_zeros((step - 1) * n_channels, n_unknowns)
    at_once = max(1, EQUATIONS_AT_ONCE // (n_unknowns * counts[1] * counts[2]))
    for first in range(0, n_rows, at_once):
        rows = min(at_once, n_rows - first)
        part = spectrum[:, first : first + rows + len(near.taps) - 1]
        sources, targets = _equations(part, near, step, (rows, counts[1], counts[2]))
        gram += sources @ sources.mH
        wanted += targets @ sources.mH
    gram.diagonal().add_(settings.tikhonov * gram.diagonal().real.mean())
    # Sources are nearly collinear: sums and solution need double precision.
    solution = torch.linalg.solve(gram.mT, wanted.mT).to(calibration)
    return Kernel(step, near, solution.reshape(len(near.taps), n_sources, -1))


def _n_places(near: Neighbours, step: int, sizes: tuple[int, ...]) -> Shape:
    """Places of the kernel within a calibration region along x, y, z."""
    spans = (
        len(near.taps) - 1,
        (near.lines[-1] - near.lines[0]) * step,
        len(near.partitions) - 1,
    )
    x, y, z = (n - span for n, span in zip(sizes, spans, strict=True))
    if min(x, y, z) < 1:
        raise InputError(
            f"GRAPPA: expected a calibration region beyond {' x '.join(map(str, spans))} samples "
            f"along x, y, z, found {' x '.join(map(str, sizes))}"
        )
    return x, y, z


def _n_rows(near: Neighbours, counts: Shape, n_channels: int) -> int:
    """Places along kx that give enough equations.

    The centre of kx has nearly all of the signal; further equations only cost time.
    """
    n_unknowns = n_channels * len(near.in_plane) * len(near.taps)
    wanted = EQUATIONS_PER_UNKNOWN * n_unknowns // (counts[1] * counts[2])
    return min(counts[0], max(wanted, 8))


def _equations(
    spectrum: Tensor, near: Neighbours, step: int, counts: Shape
) -> tuple[Tensor, Tensor]:
    """A, (source, place), and b, (target, place), of some samples (channel, kx, ky, kz)."""
    first = near.lines[0] * step

    def shifted(tap: int, line: int, partition: int) -> Tensor:
        at = (tap - near.taps[0], line - first, partition - near.partitions[0])
        x, y, z = (slice(start, start + n) for start, n in zip(at, counts, strict=True))
        return spectrum[:, x, y, z].flatten(1)

    places = [(tap, line * step, part) for tap in near.taps for line, part in near.in_plane]
    n_channels, n_in_plane = len(spectrum), len(near.in_plane)
    # Filled in place: a list of all sources would be the same memory again.
    sources = spectrum.new_empty(
        len(near.taps), n_channels, n_in_plane, counts[0] * counts[1] * counts[2]
    )
    for n, place in enumerate(places):
        sources[n // n_in_plane, :, n % n_in_plane] = shifted(*place)
    targets = torch.cat([shifted(0, missing, 0) for missing in range(1, step)])
    return sources.flatten(0, 2), targets


def _calibration(kspace: KSpace, echo: int, step: int, settings: GrappaSettings) -> Tensor:
    """Fully sampled centre of one echo with as many samples along kx as ``fit_kernel`` uses."""
    near, n_x = Neighbours.of(settings.kernel), kspace.acquisition.grid.shape[0]
    found = []
    for channel in range(kspace.n_channels):
        one = calibration_samples(kspace, echo=echo, channels=slice(channel, channel + 1))
        counts = _n_places(near, step, tuple(one.shape[1:]))
        n_rows = _n_rows(near, counts, kspace.n_channels)
        start = (counts[0] - n_rows) // 2
        kept = slice(start, start + n_rows + len(near.taps) - 1)
        found.append(ifft(fft(one, (1,))[:, kept], (1,)) if n_rows < n_x else one)
    return torch.cat(found)


def grappa_blocks(kspace: KSpace, settings: MethodSettings[GrappaSettings]) -> Iterator[ImageBlock]:
    """GRAPPA images of every channel, in slabs of readout positions.

    Args:
        kspace: every n-th line along ky, with a fully sampled centre.
        settings: settings of the method.

    Returns:
        Blocks of images of every channel and echo, which keep the measured samples.

    Raises:
        InputError: another pattern, or a centre that is too small.

    Source: Griswold et al. 2002, Magn Reson Med 47:1202, doi 10.1002/mrm.10171.
    """
    chosen = settings.method_settings
    near = Neighbours.of(chosen.kernel)
    step = line_step(kspace.sampled)
    n_x, n_y, n_z = kspace.acquisition.grid.shape
    kernels = [
        fit_kernel(_calibration(kspace, echo, step, chosen), step=step, settings=chosen)
        if step > 1
        else None
        for echo in range(kspace.acquisition.n_echoes)
    ]
    n_sources, n_planes = len(near.in_plane) * -(-n_y // step), kspace.acquisition.n_echoes * n_y
    per_readout = kspace.n_channels * n_z * max(n_sources, n_planes)
    thickness = max(1, SAMPLES_AT_ONCE // per_readout)
    slabs = list(readout_slabs(kspace, thickness))
    for slab in track(slabs, "GRAPPA", len(slabs)):
        planes = kspace.planes(x=slab)
        for echo, kernel in enumerate(kernels):
            if kernel is not None:
                weights = kernel.at_readouts(torch.arange(slab.start, slab.stop), n_x)
                filled = fill_lines(planes[:, echo], weights, step=step, near=near)
                planes[:, echo] = torch.where(kspace.sampled, planes[:, echo], filled)
        yield ImageBlock(slice(0, kspace.n_channels), slab, ifft(planes, PHASE_ENCODES))


def fill_lines(planes: Tensor, weights: Tensor, *, step: int, near: Neighbours) -> Tensor:
    """Estimate missing lines by hybrid-space kernel weights on the acquired lines.

    Args:
        planes: complex (channel, x, ky, kz).
        weights: complex (x, source, target), from ``Kernel.at_readouts``.
        step: distance of acquired lines along y.
        near: offsets of the sources.

    Returns:
        complex (channel, x, ky, kz): estimates on the missing lines, zero on the acquired ones.
    """
    n_channels, n_x, n_y, n_z = planes.shape
    origin = n_y // 2 % step
    lines = torch.arange(origin - step, n_y, step)
    before, reach = 1 - near.lines[0], near.partitions[-1]
    # Zeros beyond the edge of k-space.
    padded = planes.new_zeros(
        n_channels, n_x, n_y + (before + near.lines[-1] + 1) * step, n_z + 2 * reach
    )
    padded[:, :, before * step : before * step + n_y, reach : reach + n_z] = planes
    rows = planes.new_empty(n_x, len(lines), n_z, n_channels, len(near.in_plane))
    for n, (line, part) in enumerate(near.in_plane):
        chosen = padded[:, :, lines + (before + line) * step, reach + part : reach + part + n_z]
        rows[..., n] = chosen.permute(1, 2, 3, 0)
    rows = rows.reshape(n_x, len(lines) * n_z, -1)
    values = (rows @ weights).reshape(n_x, len(lines), n_z, step - 1, n_channels)
    filled = planes.new_zeros(n_channels, n_x, n_y + 2 * step, n_z)
    for missing in range(1, step):
        filled[:, :, lines + step + missing] = values[..., missing - 1, :].permute(3, 0, 1, 2)
    return filled[:, :, step : step + n_y]
