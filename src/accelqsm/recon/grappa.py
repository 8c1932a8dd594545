"""GRAPPA: what was not measured is a weighted sum of neighbours in all channels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import calibration_samples

READOUT_TAPS = (-2, -1, 0, 1, 2)
ACQUIRED_LINES = (-1, 0, 1, 2)
PARTITIONS = (-1, 0, 1)
TIKHONOV = 1e-4
EQUATIONS_PER_UNKNOWN = 24
SOURCES_AT_ONCE = 24_000_000
"""Neighbours that are gathered at a time: 190 MB."""


@dataclass(frozen=True)
class Kernel:
    """Weights of one echo.

    Attributes:
        step: acquired lines along y are this far apart.
        weights: complex (readout tap, source, target); sources are (channel, acquired line,
            partition), targets are (missing line, channel).
    """

    step: int
    weights: Tensor

    def at_readouts(self, x: Tensor, n_x: int) -> Tensor:
        """Weights in hybrid space, (x, source, target): taps along kx Fourier-transformed.

        A shift by d along kx multiplies the image by exp(-2 pi i d x / n).
        """
        taps = torch.tensor(READOUT_TAPS, dtype=torch.float64)
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


def fit_kernel(calibration: Tensor, *, step: int) -> Kernel:
    """Weights by regularised least squares on the calibration region.

    min_w |A w - b|^2 + lambda |w|^2, lambda = 1e-4 trace(A^H A) / n.

    Args:
        calibration: hybrid-space samples, complex (channel, x, ky, kz), without gaps.
        step: distance of acquired lines along y.

    Raises:
        InputError: a calibration region smaller than the kernel.

    Source: Griswold et al. 2002, Magn Reson Med 47:1202, doi 10.1002/mrm.10171.
    """
    n_channels, n_x, n_y, n_z = calibration.shape
    first, last = ACQUIRED_LINES[0] * step, ACQUIRED_LINES[-1] * step
    spans = (READOUT_TAPS[-1] - READOUT_TAPS[0], last - first, PARTITIONS[-1] - PARTITIONS[0])
    counts = [n - span for n, span in zip((n_x, n_y, n_z), spans, strict=True)]
    if min(counts) < 1:
        raise InputError(
            f"GRAPPA: expected a calibration region beyond {' x '.join(map(str, spans))} samples "
            f"along x, y, z, found {n_x} x {n_y} x {n_z}"
        )
    spectrum = fft(calibration, (1,))
    n_sources = n_channels * len(ACQUIRED_LINES) * len(PARTITIONS)
    # The centre of kx holds nearly all of the signal; more equations than needed cost time only.
    wanted = EQUATIONS_PER_UNKNOWN * n_sources * len(READOUT_TAPS) // (counts[1] * counts[2])
    n_rows = min(counts[0], max(wanted, 8))
    start = (counts[0] - n_rows) // 2

    def shifted(tap: int, line: int, partition: int) -> Tensor:
        along_x = start + tap - READOUT_TAPS[0]
        along_y, along_z = line - first, partition - PARTITIONS[0]
        return spectrum[
            :,
            along_x : along_x + n_rows,
            along_y : along_y + counts[1],
            along_z : along_z + counts[2],
        ].reshape(n_channels, -1)

    sources = torch.stack(
        [
            torch.stack(
                [shifted(tap, line * step, part) for line in ACQUIRED_LINES for part in PARTITIONS],
                dim=1,
            ).flatten(0, 1)
            for tap in READOUT_TAPS
        ]
    ).flatten(0, 1)
    targets = torch.cat([shifted(0, missing, 0) for missing in range(1, step)])
    gram = sources @ sources.mH
    gram.diagonal().add_(TIKHONOV * gram.diagonal().real.mean())
    # Neighbours are nearly dependent: single precision would not do for the solution.
    solution = torch.linalg.solve(
        gram.mT.to(torch.complex128), (targets @ sources.mH).mT.to(torch.complex128)
    ).to(calibration)
    return Kernel(step, solution.reshape(len(READOUT_TAPS), n_sources, -1))


def grappa(kspace: KSpace) -> Iterator[tuple[slice, Tensor]]:
    """Images of all channels and echoes, one slab of readout positions after another.

    Args:
        kspace: every n-th line along y, with a fully sampled centre.

    Returns:
        Readout positions, and complex64 (channel, echo, x, y, z); measured samples are kept.

    Raises:
        InputError: another pattern, or a centre that is too small.

    Source: Griswold et al. 2002, Magn Reson Med 47:1202, doi 10.1002/mrm.10171.
    """
    step = line_step(kspace.sampled)
    n_x, n_y, n_z = kspace.acquisition.grid.shape
    kernels = [
        fit_kernel(calibration_samples(kspace, echo=echo), step=step) if step > 1 else None
        for echo in range(kspace.acquisition.n_echoes)
    ]
    per_readout = kspace.n_channels * len(ACQUIRED_LINES) * len(PARTITIONS) * (n_y // step) * n_z
    thickness = max(1, SOURCES_AT_ONCE // per_readout)
    for start in range(0, n_x, thickness):
        slab = slice(start, min(start + thickness, n_x))
        planes = kspace.planes(x=slab)
        for echo, kernel in enumerate(kernels):
            if kernel is not None:
                weights = kernel.at_readouts(torch.arange(slab.start, slab.stop), n_x)
                filled = fill_lines(planes[:, echo], weights, step=step)
                planes[:, echo] = torch.where(kspace.sampled, planes[:, echo], filled)
        yield slab, ifft(planes, PHASE_ENCODES)


def fill_lines(planes: Tensor, weights: Tensor, *, step: int) -> Tensor:
    """Apply hybrid-space weights to the acquired lines.

    Args:
        planes: complex (channel, x, ky, kz).
        weights: complex (x, source, target), of ``Kernel.at_readouts``.
        step: distance of acquired lines along y.

    Returns:
        complex (channel, x, ky, kz): estimates on the missing lines, zero on the acquired ones.
    """
    n_channels, n_x, n_y, n_z = planes.shape
    origin = n_y // 2 % step
    lines = torch.arange(origin - step, n_y, step)
    reach = PARTITIONS[-1]
    # Beyond the edge of k-space there is nothing.
    padded = planes.new_zeros(n_channels, n_x, n_y + 5 * step, n_z + 2 * reach)
    padded[:, :, 2 * step : 2 * step + n_y, reach : reach + n_z] = planes
    sources = torch.stack(
        [
            padded[:, :, lines + (2 + line) * step, reach + part : reach + part + n_z]
            for line in ACQUIRED_LINES
            for part in PARTITIONS
        ],
        dim=1,
    )
    rows = sources.permute(2, 3, 4, 0, 1).reshape(n_x, len(lines) * n_z, -1)
    values = (rows @ weights).reshape(n_x, len(lines), n_z, step - 1, n_channels)
    filled = planes.new_zeros(n_channels, n_x, n_y + 2 * step, n_z)
    for missing in range(1, step):
        filled[:, :, lines + step + missing] = values[..., missing - 1, :].permute(3, 0, 1, 2)
    return filled[:, :, step : step + n_y]
