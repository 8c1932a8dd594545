"""GRAPPA: missing samples as weighted sums of acquired neighbours in all channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, readout_slabs
from accelqsm.recon.channels import calibration_samples
from accelqsm.recon.method_settings import GrappaSettings, MethodSettings
from accelqsm.runtime.progress import track

DEFAULT = GrappaSettings()
EQUATIONS_PER_UNKNOWN = 24
SOURCES_AT_ONCE = 24_000_000
"""Source samples that are gathered at a time: 190 MB."""


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

    min_w |A w - b|^2 + lambda |w|^2, lambda = tikhonov trace(A^H A) / n.

    Args:
        calibration: hybrid-space samples, complex (channel, x, ky, kz), fully sampled.
        step: distance of acquired lines along y.
        settings: size of the kernel, and regularisation.

    Raises:
        InputError: a calibration region smaller than the kernel.

    Source: Griswold et al. 2002, Magn Reson Med 47:1202, doi 10.1002/mrm.10171.
    """
    near = Neighbours.of(settings.kernel)
    n_channels, n_x, n_y, n_z = calibration.shape
    first = near.lines[0] * step
    spans = (len(near.taps) - 1, near.lines[-1] * step - first, len(near.partitions) - 1)
    counts = [n - span for n, span in zip((n_x, n_y, n_z), spans, strict=True)]
    if min(counts) < 1:
        raise InputError(
            f"GRAPPA: expected a calibration region beyond {' x '.join(map(str, spans))} samples "
            f"along x, y, z, found {n_x} x {n_y} x {n_z}"
        )
    spectrum = fft(calibration, (1,))
    n_sources = n_channels * len(near.in_plane)
    # The centre of kx has nearly all of the signal; further equations only cost time.
    wanted = EQUATIONS_PER_UNKNOWN * n_sources * len(near.taps) // (counts[1] * counts[2])
    n_rows = min(counts[0], max(wanted, 8))
    start = (counts[0] - n_rows) // 2

    def shifted(tap: int, line: int, partition: int) -> Tensor:
        along_x = start + tap - near.taps[0]
        along_y, along_z = line - first, partition - near.partitions[0]
        return spectrum[
            :,
            along_x : along_x + n_rows,
            along_y : along_y + counts[1],
            along_z : along_z + counts[2],
        ].reshape(n_channels, -1)

    sources = torch.stack(
        [
            torch.stack(
                [shifted(tap, line * step, part) for line, part in near.in_plane], dim=1
            ).flatten(0, 1)
            for tap in near.taps
        ]
    ).flatten(0, 1)
    targets = torch.cat([shifted(0, missing, 0) for missing in range(1, step)])
    gram = sources @ sources.mH
    gram.diagonal().add_(settings.tikhonov * gram.diagonal().real.mean())
    # Sources are nearly collinear: the solution needs double precision.
    solution = torch.linalg.solve(
        gram.mT.to(torch.complex128), (targets @ sources.mH).mT.to(torch.complex128)
    ).to(calibration)
    return Kernel(step, near, solution.reshape(len(near.taps), n_sources, -1))


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
        fit_kernel(calibration_samples(kspace, echo=echo), step=step, settings=chosen)
        if step > 1
        else None
        for echo in range(kspace.acquisition.n_echoes)
    ]
    per_readout = kspace.n_channels * len(near.in_plane) * (n_y // step) * n_z
    thickness = max(1, SOURCES_AT_ONCE // per_readout)
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
    sources = torch.stack(
        [
            padded[:, :, lines + (before + line) * step, reach + part : reach + part + n_z]
            for line, part in near.in_plane
        ],
        dim=1,
    )
    rows = sources.permute(2, 3, 4, 0, 1).reshape(n_x, len(lines) * n_z, -1)
    values = (rows @ weights).reshape(n_x, len(lines), n_z, step - 1, n_channels)
    filled = planes.new_zeros(n_channels, n_x, n_y + 2 * step, n_z)
    for missing in range(1, step):
        filled[:, :, lines + step + missing] = values[..., missing - 1, :].permute(3, 0, 1, 2)
    return filled[:, :, step : step + n_y]
