"""Convolutions of the networks: in bfloat16 where the processor multiplies it fast.

Fourier transforms and data consistency stay in single precision everywhere.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from accelqsm.runtime.device import convolves_in_bfloat16


def convolution_type(image: Tensor) -> AbstractContextManager[object]:
    """Context with convolutions in bfloat16 where that is fast."""
    enabled = convolves_in_bfloat16(image.device)
    return torch.autocast(image.device.type, torch.bfloat16, enabled=enabled)


class Convolution(nn.Conv3d):
    """3D convolution without bias, (size, 3, 3), with zeros around.

    torch 2.13 gives wrong gradients of 3D kernels in bfloat16 on CPUs with AMX, off by a tenth or
    not finite for one in ten sizes; images, their gradients, and all of 2D kernels are right. There
    the gradient of a kernel is taken as that of its 2D kernels.

    Args:
        n_in, n_out: channels.
        size: of the kernel along the readout, odd.
    """

    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__(n_in, n_out, (size, 3, 3), padding=(size // 2, 1, 1), bias=False)
        self.weight.data = self.weight.data.to(memory_format=torch.channels_last_3d)

    def forward(self, image: Tensor) -> Tensor:
        """Convolve (batch, channel, x, y, z)."""
        if image.is_cuda or not torch.is_autocast_enabled("cpu"):
            return super().forward(image)
        dtype = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            convolved = _Convolved.apply(image.to(dtype), self.weight.to(dtype))  # type: ignore[no-untyped-call]
        result: Tensor = convolved
        return result


class _Convolved(torch.autograd.Function):
    """Convolution whose kernel's gradient comes from 2D kernels."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(image, kernel)
        return functional.conv3d(image, kernel, padding=_padding(kernel))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        image, kernel = ctx.saved_tensors
        of_image = of_kernel = None
        if ctx.needs_input_grad[0]:
            of_image = _gradients(gradient, image, kernel, (True, False))[0]
        if ctx.needs_input_grad[1]:
            of_kernel = torch.stack(
                [
                    _gradients(*_planes(gradient, image, shift), kernel[:, :, 0], (False, True))[1]
                    for shift in range(-(kernel.shape[2] // 2), kernel.shape[2] // 2 + 1)
                ],
                dim=2,
            )
        return of_image, of_kernel


def _gradients(
    gradient: Tensor, image: Tensor, kernel: Tensor, wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Gradients for image and kernel of a convolution, of those that are wanted."""
    n = kernel.ndim - 2
    found = torch.ops.aten.convolution_backward(
        gradient, image, kernel, None, [1] * n, _padding(kernel), [1] * n, False, [0] * n, 1,
        [*wanted, False],
    )  # fmt: skip
    return found[0], found[1]


def _padding(kernel: Tensor) -> list[int]:
    return [size // 2 for size in kernel.shape[2:]]


def _planes(gradient: Tensor, image: Tensor, shift: int) -> tuple[Tensor, Tensor]:
    """Planes of a gradient, and those of the image that lie further by a shift, as 2D batches.

    Planes beyond the ends are zero, and left out.
    """
    n_x = image.shape[2]
    kept = slice(max(-shift, 0), n_x - max(shift, 0))
    moved = slice(kept.start + shift, kept.stop + shift)
    return _as_batch(gradient[:, :, kept]), _as_batch(image[:, :, moved])


def _as_batch(image: Tensor) -> Tensor:
    """(batch, channel, x, y, z) as (batch x, channel, y, z)."""
    return image.permute(0, 2, 1, 3, 4).flatten(0, 1)
