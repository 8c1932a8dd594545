"""Blocks of reconstructed images, and coil combination block by block."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon.channels import low_resolution

READOUTS_AT_ONCE = 4


@dataclass(frozen=True)
class ImageBlock:
    """A block of reconstructed images; all blocks cover every channel and readout position once.

    Attributes:
        channels: the channels of the block; None for a joint image of all channels.
        x: the readout positions of the block.
        images: complex64 (channel, echo, x, y, z), all echoes and the whole (y, z) plane; one
            "channel" for a joint image.
        null_power: float32 (echo, x, y, z), power of the part of the images that no sample tells
            of, summed over channels; None where it was not asked for, or is not known.
    """

    channels: slice | None
    x: slice
    images: Tensor
    null_power: Tensor | None = None


@dataclass(frozen=True)
class CombinedBlock:
    """Contribution of a block to the coil-combined images.

    Attributes:
        x: the readout positions of the block.
        numerator: complex64 (echo, x, y, z), sum_c conj(C_c) S_ce.
        power: float32 (x, y, z), sum_c |C_c|^2.
    """

    x: slice
    numerator: Tensor
    power: Tensor


def combine(block: ImageBlock, kspace: KSpace) -> CombinedBlock:
    """Coil combination of a block: the sums sum_c conj(C_c) S_ce and sum_c |C_c|^2.

    C_c is the channel's low-resolution first echo, the same for all echoes, so that phase
    differences between echoes are preserved. Summed over blocks, numerator / sqrt(power) is the
    combined image. A joint image of all channels is already combined: the phase of its
    sensitivities is that of the same low-resolution echo.

    Args:
        block: images of some channels and readout positions.
        kspace: the samples that the block was reconstructed from.

    Source: Roemer et al. 1990, Magn Reson Med 16:192, doi 10.1002/mrm.1910160203.
    """
    if block.channels is None:
        ones = torch.ones_like(block.images[0, 0].real)
        return CombinedBlock(block.x, block.images[0], ones)
    maps = low_resolution(kspace, channels=block.channels, x=block.x)
    numerator = torch.einsum("cxyz,cexyz->exyz", maps.conj(), block.images)
    return CombinedBlock(block.x, numerator, maps.abs().square().sum(0))


def readout_slabs(kspace: KSpace, at_once: int = READOUTS_AT_ONCE) -> list[slice]:
    """Slices of at most ``at_once`` readout positions, as equal as can be, that cover the axis."""
    n = kspace.acquisition.grid.shape[0]
    n_slabs = -(-n // at_once)
    ends = [n * number // n_slabs for number in range(n_slabs + 1)]
    return [slice(start, stop) for start, stop in pairwise(ends)]


def all_readouts(kspace: KSpace) -> slice:
    """Slice of all readout positions."""
    return slice(0, kspace.acquisition.grid.shape[0])
