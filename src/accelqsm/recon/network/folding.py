"""Planes as layers take them: parts of complex numbers and neighbouring voxels as channels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def as_real(image: Tensor) -> Tensor:
    """View complex (batch, x, y, z) as real (batch, 2, x, y, z) in channels-last format."""
    return torch.view_as_real(image).permute(0, 4, 1, 2, 3)


def as_complex(parts: Tensor) -> Tensor:
    """Convert real (batch, 2, x, y, z) to complex (batch, x, y, z)."""
    return torch.view_as_complex(parts.permute(0, 2, 3, 4, 1).contiguous())


def fold(image: Tensor, patch: int) -> Tensor:
    """Fold p x p voxels into channels, (batch, n p p, x, y / p, z / p), with zero padding."""
    if patch == 1:
        return image
    y, z = image.shape[-2:]
    image = functional.pad(image, (0, -z % patch, 0, -y % patch))
    n, channels, x, y, z = image.shape
    parts = image.reshape(n, channels, x, y // patch, patch, z // patch, patch)
    folded = parts.permute(0, 2, 3, 5, 1, 4, 6).reshape(n, x, y // patch, z // patch, -1)
    return folded.permute(0, 4, 1, 2, 3)


def unfold(image: Tensor, patch: int, plane: tuple[int, ...]) -> Tensor:
    """Inverse of ``fold``, cropped to the size of the plane."""
    if patch == 1:
        return image
    n, channels, x, y, z = image.shape
    parts = image.permute(0, 2, 3, 4, 1).reshape(n, x, y, z, channels // patch**2, patch, patch)
    whole = parts.permute(0, 4, 1, 2, 5, 3, 6).reshape(n, -1, x, y * patch, z * patch)
    return whole[..., : plane[0], : plane[1]]
