"""ReconNet3D: the network, and nothing else.

Five cascades of five 3D convolutions, each followed by data consistency. One echo goes in as a
complex volume, of one channel as published or of all channels with their sensitivities; k-space is
under-sampled in the (ky, kz) plane alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.sense import Encoding, between, least_squares

Consistency = Literal["channel", "channels"]

LEAK = 0.1
INITIAL_LOG_WEIGHT = {"channel": math.log(10.0), "channels": 0.0}
FIRST_ITERATIONS = 8
ITERATIONS = 3
"""Conjugate gradients before the first cascade, and in each consistency of all channels."""


def check_consistency(consistency: str) -> None:
    """Raise an ``InputError`` for a consistency that no network has."""
    if consistency not in get_args(Consistency):
        raise InputError(
            f"consistency: expected one of {' '.join(get_args(Consistency))}, found '{consistency}'"
        )


@dataclass(frozen=True)
class Architecture:
    """Shape of the network.

    Attributes:
        width: channels of the hidden layers.
        cascades: blocks of convolutions, each followed by data consistency.
        readout_kernels: kernel size along x of each convolution of a block. Aliasing lies in the
            (y, z) plane, where every kernel is 3 x 3; context along x costs three times as much
            and is taken in some layers only.
        patch: voxels along y and z that are folded into channels before the first convolution:
            2 halves the plane, which quarters the cost and doubles the reach in it.
        consistency: with the samples of the one "channel" that goes in, or of all "channels".
    """

    width: int = 48
    cascades: int = 5
    readout_kernels: tuple[int, ...] = (3, 1, 3, 1, 1)
    patch: int = 2
    consistency: Consistency = "channel"

    def __post_init__(self) -> None:
        if self.consistency not in get_args(Consistency) or self.patch < 1:
            raise InputError(
                f"network: expected patch >= 1 and consistency {' or '.join(get_args(Consistency))}"
                f", found {self}"
            )
        if self.width < 1 or self.cascades < 1 or len(self.readout_kernels) < 2:
            raise InputError(
                f"network: expected width >= 1, cascades >= 1 and two layers or more, found {self}"
            )
        if any(size < 1 or size % 2 == 0 for size in self.readout_kernels):
            raise InputError(
                f"network: expected odd kernels along the readout, found {self.readout_kernels}"
            )

    @property
    def readout_reach(self) -> int:
        """Readout positions to either side that a result depends on."""
        return self.cascades * sum(size // 2 for size in self.readout_kernels)


class ReconNet3D(nn.Module):
    """Cascades x <- DC(x + CNN(x)) from an image of the samples on.

    Convolutions have no bias and LeakyReLU is positively homogeneous, so that the result scales
    with the data. The last convolution of each block starts at zero: untrained, the network
    returns what it starts from. Of one channel, that is the zero-filled image, and data
    consistency is soft with one learned weight per cascade, except for the last, which puts the
    measured samples back. Of all channels, it is a few steps of CG-SENSE, and consistency is
    min_x sum_c ||M F C_c x - y_c||^2 + exp(-log v) ||x - z||^2 about each refined image z, by a
    few conjugate gradients; for one channel of sensitivity one that is the same thing.

    Source: Schlemper et al. 2018, IEEE Trans Med Imaging 37:491, doi 10.1109/TMI.2017.2760978;
    Aggarwal et al. 2019, IEEE Trans Med Imaging 38:394, doi 10.1109/TMI.2018.2865356.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        # Not for reconstructions: what a CPU reconstructs is the same on all of them.
        self.half_on_cpu = False
        n = architecture.cascades
        soft = n - 1 if architecture.consistency == "channel" else n
        self.blocks = nn.ModuleList(_block(architecture) for _ in range(n))
        initial = INITIAL_LOG_WEIGHT[architecture.consistency]
        self.log_weights = nn.Parameter(torch.full((soft,), initial))
        for convolution in self.parameters():
            if convolution.dim() == 5:
                convolution.data = convolution.data.to(memory_format=torch.channels_last_3d)

    def forward(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        """Images of under-sampled planes.

        Args:
            measured: complex (batch, x, ky, kz), zero where nothing was measured; with ``maps``
                (channel, batch, x, ky, kz), of white noise.
            sampled: bool (ky, kz), or (batch, 1, ky, kz) for a pattern of each item.
            maps: complex (channel, x, y, z) or (channel, batch, x, y, z), sum |C_c|^2 at most 1,
                less where little signal is expected; for a network of all channels, and for that
                alone.

        Returns:
            complex (batch, x, y, z), the signal that the channels receive together.

        Raises:
            InputError: maps without a network of all channels, or the other way round.
        """
        if (maps is not None) != (self.architecture.consistency == "channels"):
            raise InputError(
                f"network of consistency '{self.architecture.consistency}': sensitivities are "
                "for 'channels', and for that alone"
            )
        if maps is None:
            return self._of_one_channel(measured, sampled)
        return self._of_all_channels(measured, sampled, between(maps, measured))

    def _of_one_channel(self, measured: Tensor, sampled: Tensor) -> Tensor:
        zero_filled = ifft(measured, PHASE_ENCODES)
        image = zero_filled
        for index in range(len(self.blocks)):
            weight = self.log_weights[index] if index < len(self.log_weights) else None
            image = data_consistency(
                self._refined(index, image), zero_filled, sampled, log_weight=weight
            )
        return image

    def _of_all_channels(self, measured: Tensor, sampled: Tensor, maps: Tensor) -> Tensor:
        encoding = Encoding(maps, sampled)
        wanted = encoding.adjoint(measured)
        image = least_squares(encoding, wanted, n_iterations=FIRST_ITERATIONS)
        for index, log_weight in enumerate(self.log_weights):
            image = least_squares(
                encoding,
                wanted,
                start=self._refined(index, image),
                weight=torch.exp(-log_weight),
                n_iterations=ITERATIONS,
            )
        return image * maps.abs().square().sum(0).sqrt()

    def _refined(self, index: int, image: Tensor) -> Tensor:
        """x + CNN(x) of one cascade."""
        patch = self.architecture.patch
        folded = _folded(_as_real(image), patch)
        # Convolutions in half the bits where that is faster; transforms stay as they are.
        half = image.is_cuda or self.half_on_cpu
        with torch.autocast(image.device.type, torch.bfloat16, enabled=half):
            change = self.blocks[index](folded)
        return image + _as_complex(_unfolded(change.to(image.real.dtype), patch, image.shape[-2:]))


def data_consistency(
    image: Tensor, zero_filled: Tensor, sampled: Tensor, *, log_weight: Tensor | None = None
) -> Tensor:
    """Pull the spectrum of an image towards the measured samples, where there are any.

    Z <- (Z + v y) / (1 + v) on the sampled positions, with v = exp(log_weight); Z <- y where the
    weight is None. As y is the spectrum of the zero-filled image there, the step is
    image + v / (1 + v) F^-1 M F (zero_filled - image).

    Args:
        image: complex (batch, x, y, z).
        zero_filled: complex (batch, x, y, z), the centred inverse transform of the samples.
        sampled: bool (ky, kz) or (batch, 1, ky, kz), centred.
        log_weight: log v, a scalar; None for hard consistency.

    Returns:
        complex (batch, x, y, z).

    Source: Schlemper et al. 2018, IEEE Trans Med Imaging 37:491, doi 10.1109/TMI.2017.2760978.
    """
    # Centring an image multiplies its spectrum by phases, which commute with the mask: shifting
    # the mask alone spares four shifts of the data.
    mask = torch.fft.ifftshift(sampled, dim=PHASE_ENCODES)
    weights = mask.to(image.real.dtype)
    if log_weight is not None:
        weights = weights * torch.sigmoid(log_weight)
    missing = torch.fft.fftn(zero_filled - image, dim=PHASE_ENCODES, norm="ortho")
    correction: Tensor = torch.fft.ifftn(missing * weights, dim=PHASE_ENCODES, norm="ortho")
    return image + correction


def _block(architecture: Architecture) -> nn.Sequential:
    """The convolutions of one cascade; the last starts at zero."""
    sizes = architecture.readout_kernels
    ends = 2 * architecture.patch**2
    widths = [ends, *[architecture.width] * (len(sizes) - 1), ends]
    layers: list[nn.Module] = []
    for (n_in, n_out), size in zip(pairwise(widths), sizes, strict=True):
        layers.append(nn.Conv3d(n_in, n_out, (size, 3, 3), padding=(size // 2, 1, 1), bias=False))
        layers.append(nn.LeakyReLU(LEAK, inplace=True))
    final = layers[-2]
    assert isinstance(final, nn.Conv3d)
    nn.init.zeros_(final.weight)
    return nn.Sequential(*layers[:-1])


def _as_real(image: Tensor) -> Tensor:
    """complex (batch, x, y, z) to real (batch, 2, x, y, z), without a copy in channels-last."""
    return torch.view_as_real(image).permute(0, 4, 1, 2, 3)


def _as_complex(parts: Tensor) -> Tensor:
    """real (batch, 2, x, y, z) to complex (batch, x, y, z)."""
    return torch.view_as_complex(parts.permute(0, 2, 3, 4, 1).contiguous())


def _folded(image: Tensor, patch: int) -> Tensor:
    """real (batch, n, x, y, z) to (batch, n p p, x, y / p, z / p), filled up with zeros."""
    if patch == 1:
        return image
    y, z = image.shape[-2:]
    image = functional.pad(image, (0, -z % patch, 0, -y % patch))
    n, channels, x, y, z = image.shape
    parts = image.reshape(n, channels, x, y // patch, patch, z // patch, patch)
    folded = parts.permute(0, 2, 3, 5, 1, 4, 6).reshape(n, x, y // patch, z // patch, -1)
    return folded.permute(0, 4, 1, 2, 3)


def _unfolded(image: Tensor, patch: int, plane: tuple[int, ...]) -> Tensor:
    """What ``_folded`` folded, cut to its plane."""
    if patch == 1:
        return image
    n, channels, x, y, z = image.shape
    parts = image.permute(0, 2, 3, 4, 1).reshape(n, x, y, z, channels // patch**2, patch, patch)
    whole = parts.permute(0, 4, 1, 2, 5, 3, 6).reshape(n, -1, x, y * patch, z * patch)
    return whole[..., : plane[0], : plane[1]]
