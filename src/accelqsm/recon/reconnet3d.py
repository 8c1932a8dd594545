"""ReconNet3D: the network, and nothing else.

Five cascades of five 3D convolutions, each followed by data consistency. One channel and one echo
go in as a complex volume; k-space is under-sampled in the (ky, kz) plane alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft

LEAK = 0.1
INITIAL_LOG_WEIGHT = math.log(10.0)


@dataclass(frozen=True)
class Architecture:
    """Shape of the network.

    Attributes:
        width: channels of the hidden layers.
        cascades: blocks of convolutions, each followed by data consistency.
        readout_kernels: kernel size along x of each convolution of a block. Aliasing lies in the
            (y, z) plane, where every kernel is 3 x 3; context along x costs three times as much
            and is taken in some layers only.
    """

    width: int = 16
    cascades: int = 5
    readout_kernels: tuple[int, ...] = (3, 1, 3, 1, 1)

    def __post_init__(self) -> None:
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
    """Cascades x <- DC(x + CNN(x)) from the zero-filled image on.

    Convolutions have no bias and LeakyReLU is positively homogeneous, so that the result scales
    with the data. The last convolution of each block starts at zero: untrained, the network
    returns the zero-filled image. Data consistency is soft, with one learned weight per cascade,
    except for the last cascade, which puts the measured samples back.

    Source: Schlemper et al. 2018, IEEE Trans Med Imaging 37:491, doi 10.1109/TMI.2017.2760978.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        n = architecture.cascades
        self.blocks = nn.ModuleList(_block(architecture) for _ in range(n))
        self.log_weights = nn.Parameter(torch.full((n - 1,), INITIAL_LOG_WEIGHT))
        for convolution in self.parameters():
            if convolution.dim() == 5:
                convolution.data = convolution.data.to(memory_format=torch.channels_last_3d)

    def forward(self, measured: Tensor, sampled: Tensor) -> Tensor:
        """Images of under-sampled planes.

        Args:
            measured: complex (batch, x, ky, kz), zero where nothing was measured.
            sampled: bool (ky, kz), or (batch, 1, ky, kz) for a pattern of each item.

        Returns:
            complex (batch, x, y, z).
        """
        zero_filled = ifft(measured, PHASE_ENCODES)
        image = zero_filled
        for index, block in enumerate(self.blocks):
            refined = image + _as_complex(block(_as_real(image)))
            weight = self.log_weights[index] if index < len(self.log_weights) else None
            image = data_consistency(refined, zero_filled, sampled, log_weight=weight)
        return image


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
    widths = [2, *[architecture.width] * (len(sizes) - 1), 2]
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
