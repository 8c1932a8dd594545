"""DCRNet: complex residual network on single planes, with data consistency at its end.

Each (ky, kz) plane of each echo is reconstructed by itself: per coil, or as one image of all
channels that is made consistent with the samples of each.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from accelqsm.recon.network.architecture import DcrArchitecture
from accelqsm.recon.network.convolution import convolution_type
from accelqsm.recon.network.module import NetworkModule
from accelqsm.recon.network.protocol import check_maps
from accelqsm.recon.sense import Encoding, broadcast_maps, unit_maps

KERNEL = 3
SMALLEST_LEVEL = 1e-30


class DcrNet(NetworkModule):
    """Residual network z = x + CNN(x) of complex layers, then x <- z + w A^H (y - A z).

    x is the zero-filled image A^H y, and A = M F C_c with sensitivities of norm one, or with C = 1
    per coil. With w = 1 and one channel, the sampled positions are replaced by the samples; w is
    learned and starts there.

    Layers: a complex convolution, batch normalisation and ReLU of real and imaginary parts apart;
    after the first, residual blocks of two such layers, whose input is added behind the first of
    the two; a complex 1 x 1 convolution, initialised to zero: untrained, the network returns the
    zero-filled image. ReLU of the parts does not commute with a phase, nor with multiplication by
    i. Every plane is scaled to a mean square of 1 before and scaled back after, so that the result
    scales with the samples in spite of the normalisation.

    Of the 742,787 published parameters it has 741,377: no biases of the convolutions, 2 x 64 in
    each of 11 layers, which batch normalisation takes away again, and 2 of the last. What is left:
    2 x 64 x 9 weights of the first convolution, 10 x 2 x 64 x 64 x 9 of the blocks, 2 x 64 of the
    last, 11 x 2 x 2 x 64 of the normalisation, and w.

    Published are also: sensitivities that come from the zero-filled images, w = 0.8 for all
    channels, and a loss before and after the consistency.

    Source: Gao et al. 2021, NeuroImage 240:118404, doi 10.1016/j.neuroimage.2021.118404.
    """

    def __init__(self, architecture: DcrArchitecture) -> None:
        super().__init__(architecture)
        width = architecture.width
        widths = [1, *[width] * (2 * architecture.blocks + 1)]
        self.layers = nn.ModuleList(ComplexLayer(n_in, n_out) for n_in, n_out in pairwise(widths))
        self.final = ComplexConvolution(width, 1, 1)
        nn.init.zeros_(self.final.real)
        nn.init.zeros_(self.final.imaginary)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        """Reconstruct under-sampled planes.

        Args:
            measured: complex (batch, x, ky, kz), zero where not sampled; with ``maps``
                (channel, batch, x, ky, kz).
            sampled: bool (ky, kz), or (batch, 1, ky, kz) for a pattern of each item.
            maps: complex (channel, x, y, z) or (channel, batch, x, y, z); only for joint
                consistency.

        Returns:
            complex (batch, x, y, z), the signal of the channel or of all channels.

        Raises:
            InputError: maps with per-coil consistency, or none with joint.
        """
        check_maps(self.consistency, maps)
        if maps is None:
            measured, maps = measured[None], torch.ones_like(measured[None, :1, :1, :1, :1])
        else:
            maps = unit_maps(broadcast_maps(maps, measured))
        encoding = Encoding(maps, sampled)
        image = encoding.adjoint(measured)
        refined = self._refine(image)
        return refined + self.weight * (image - encoding.normal(refined))

    def _refine(self, image: Tensor) -> Tensor:
        """x + CNN(x), plane by plane."""
        planes = image.reshape(-1, *image.shape[-2:])
        level = planes.abs().square().mean((-2, -1), keepdim=True).sqrt().clamp_min(SMALLEST_LEVEL)
        parts = torch.view_as_real(planes / level).permute(0, 3, 1, 2)
        with convolution_type(image):
            change = self._convolved(parts.contiguous(memory_format=torch.channels_last))
        change = change.to(image.real.dtype).permute(0, 2, 3, 1).contiguous()
        return image + (level * torch.view_as_complex(change)).reshape(image.shape)

    def _convolved(self, parts: Tensor) -> Tensor:
        hidden = self.layers[0](parts)
        for first, second in zip(self.layers[1::2], self.layers[2::2], strict=True):
            hidden = second(first(hidden) + hidden)
        change: Tensor = self.final(hidden)
        return change


class ComplexConvolution(nn.Module):
    """Complex convolution without bias, (W_r + i W_i) * (x_r + i x_i), of planes.

    Args:
        n_in, n_out: complex channels.
        size: of the kernel along y and z, odd.
    """

    def __init__(self, n_in: int, n_out: int, size: int) -> None:
        super().__init__()
        self.real, self.imaginary = (
            nn.Parameter(nn.Conv2d(n_in, n_out, size).weight.detach()) for _ in range(2)
        )

    def forward(self, parts: Tensor) -> Tensor:
        """Convolve (plane, 2 n_in, y, z), real parts of all channels before imaginary ones."""
        rows = (
            torch.cat([self.real, -self.imaginary], 1),
            torch.cat([self.imaginary, self.real], 1),
        )
        return functional.conv2d(parts, torch.cat(rows), padding=self.real.shape[-1] // 2)


class ComplexLayer(nn.Module):
    """Complex convolution, batch normalisation and ReLU of real and imaginary parts apart."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convolution = ComplexConvolution(n_in, n_out, KERNEL)
        self.normalisation = nn.BatchNorm2d(2 * n_out)

    def forward(self, parts: Tensor) -> Tensor:
        """Of (plane, 2 n_in, y, z), (plane, 2 n_out, y, z)."""
        normal: Tensor = self.normalisation(self.convolution(parts))
        return normal.relu()
