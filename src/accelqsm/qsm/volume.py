"""Crop of a volume to its mask, zero-padded for periodic Fourier transforms."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.fft import next_fast_len
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Shape, Triple


@dataclass(frozen=True)
class Box:
    """Bounding box of a mask, and the periodic size that it is zero-padded to.

    Attributes:
        inside: the box as three slices of the volume.
        shape: size of the box.
        padded: size of the periodic volume, a fast size for the FFT.
    """

    inside: tuple[slice, slice, slice]
    shape: Shape
    padded: Shape

    def crop(self, volume: Tensor) -> Tensor:
        """Crop ``volume`` (..., x, y, z) to the box."""
        return volume[(..., *self.inside)]

    def frame(self, volume: Tensor) -> Tensor:
        """Crop ``volume`` to the box and zero-pad it to the periodic size."""
        framed = volume.new_zeros(self.padded)
        framed[: self.shape[0], : self.shape[1], : self.shape[2]] = self.crop(volume)
        return framed

    def unframe(self, framed: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of ``frame``: a volume of ``shape``, zero outside the box."""
        volume = framed.new_zeros(shape)
        volume[self.inside] = framed[: self.shape[0], : self.shape[1], : self.shape[2]]
        return volume


def box_of(mask: Tensor, *, margin_voxels: Shape, multiple_of: Shape = (1, 1, 1)) -> Box:
    """Bounding box of ``mask``, with at least ``margin_voxels`` of zeros between periods.

    A kernel that reaches ``margin_voxels`` to either side fits into the periodic volume, whose
    sizes are multiples of ``multiple_of``.

    Raises:
        InputError: a mask that is not a bool (x, y, z) or that is empty.
    """
    if mask.dtype != torch.bool or mask.ndim != 3:
        raise InputError(f"mask: expected bool (x, y, z), found {mask.dtype} {tuple(mask.shape)}")
    spans = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        occupied = mask.any(others[1]).any(others[0]).nonzero()
        if occupied.numel() == 0:
            raise InputError("mask: expected some voxels, found none")
        spans.append(slice(int(occupied[0]), int(occupied[-1]) + 1))
    sizes = [s.stop - s.start for s in spans]
    padded = [
        factor * int(next_fast_len(-(-(max(size, margin + 1) + margin) // factor), real=True))
        for size, margin, factor in zip(sizes, margin_voxels, multiple_of, strict=True)
    ]
    return Box(
        (spans[0], spans[1], spans[2]),
        (sizes[0], sizes[1], sizes[2]),
        (padded[0], padded[1], padded[2]),
    )


def voxels_within(distance_mm: float, voxel_size_mm: Triple) -> Shape:
    """Number of voxels along each axis that covers ``distance_mm``."""
    x, y, z = (math.ceil(distance_mm / size) for size in voxel_size_mm)
    return x, y, z
