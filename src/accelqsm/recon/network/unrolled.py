"""Cascades of refinement by convolutions and consistency with the samples of all channels."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from accelqsm.recon.network.convolution import Convolution, convolution_type
from accelqsm.recon.network.folding import as_complex, as_real, fold, unfold
from accelqsm.recon.network.module import NetworkModule
from accelqsm.recon.network.protocol import Sizes
from accelqsm.recon.sense import Encoding, least_squares

FIRST_ITERATIONS_PER_AF, LEAST_FIRST_ITERATIONS, FIRST_WEIGHT = 2.0, 4, 1e-2
"""Iterations, of which more samples left out need more, and Tikhonov weight of the CG-SENSE image
that the cascades start from."""

ITERATIONS = 3
"""Conjugate-gradient iterations of each data consistency in training."""

LEAK = 0.1


class CascadeSizes(Sizes, Protocol):
    """What the architecture of cascades tells besides."""

    @property
    def width(self) -> int: ...

    @property
    def cascades(self) -> int: ...

    @property
    def readout_kernels(self) -> tuple[int, ...]: ...

    @property
    def patch(self) -> int: ...


class CascadeNetwork(NetworkModule):
    """Network of cascades: blocks of convolutions, and log v of their data consistency.

    Convolutions have no bias and LeakyReLU is positively homogeneous, so that the result scales
    with the data. The last convolution of each block is initialised to zero: untrained, a network
    returns the image that the cascades start from.

    Attributes:
        sample_weight: factor of the weight of the samples in every data consistency; None is 1,
            the weight of training, where none was set.
        trust_in_samples: factor of the weight that the noise of a scan asks for.
        most_acceleration_trusted: from which on that weight grows no more.
    """

    architecture: CascadeSizes
    sample_weight: float | None = None
    trust_in_samples: ClassVar[float] = 1.0
    most_acceleration_trusted: ClassVar[float] = math.inf

    def __init__(self, architecture: CascadeSizes, log_weights: Tensor) -> None:
        super().__init__(architecture)
        self.blocks = nn.ModuleList(_block(architecture) for _ in range(architecture.cascades))
        self.log_weights = nn.Parameter(log_weights)

    def weighing(self, sample_weight: float) -> Self:
        """The same network, with another weight of the samples than in its training."""
        other = copy.copy(self)
        other.sample_weight = sample_weight
        return other

    def refine(self, index: int, image: Tensor) -> Tensor:
        """Convolutional refinement x + CNN(x) of one cascade."""
        patch = self.architecture.patch
        folded = fold(as_real(image), patch)
        with convolution_type(image):
            change = self.change(index, folded)
        return image + as_complex(unfold(change.to(image.real.dtype), patch, image.shape[-2:]))

    def change(self, index: int, images: Tensor) -> Tensor:
        """CNN(x) of one cascade, real (batch, channel, x, y, z)."""
        change: Tensor = self.blocks[index](images)
        return change


def _block(architecture: CascadeSizes) -> nn.Sequential:
    """Convolutions of one cascade, with LeakyReLU between them."""
    sizes = architecture.readout_kernels
    ends = 2 * architecture.patch**2
    widths = [ends, *[architecture.width] * (len(sizes) - 1), ends]
    layers: list[nn.Module] = []
    for (n_in, n_out), size in zip(pairwise(widths), sizes, strict=True):
        layers.append(final := Convolution(n_in, n_out, size))
        layers.append(nn.LeakyReLU(LEAK, inplace=True))
    nn.init.zeros_(final.weight)
    return nn.Sequential(*layers[:-1])


def unrolled(
    encodings: Sequence[Encoding],
    wanted: Tensor,
    refine: Callable[[int, Tensor], Tensor],
    *,
    log_weights: Tensor,
    sample_weight: float = 1.0,
) -> Tensor:
    """Cascades x <- argmin_x w sum_c ||M F C_c x - y_c||^2 + ||x - z||^2 / v, z = refine(x).

    The first x is CG-SENSE of twice as many iterations as the acceleration, each minimum a few
    conjugate gradients, whose number grows with the root of w, as that of an equal error does.

    Args:
        encodings: forward model of all channels, or one for each of as many equal parts of the
            batch, which are then solved one after the other with less memory.
        wanted: A^H y, complex (batch, x, y, z).
        refine: (number of the cascade, x) to z.
        log_weights: log v of each cascade.
        sample_weight: w.

    Returns:
        complex (batch, x, y, z), the signal of all channels: x times the norm of the sensitivities.

    Source: Aggarwal et al. 2019, IEEE Trans Med Imaging 38:394, doi 10.1109/TMI.2018.2865356.
    """
    n = len(encodings)
    acceleration = n / sum(encoding.sampled_share for encoding in encodings)
    n_first = max(LEAST_FIRST_ITERATIONS, round(FIRST_ITERATIONS_PER_AF * acceleration))
    parts = list(zip(encodings, wanted.chunk(n), strict=True))
    image = torch.cat(
        [
            least_squares(encoding, part, weight=FIRST_WEIGHT, n_iterations=n_first)
            for encoding, part in parts
        ]
    )
    n_iterations = round(ITERATIONS * math.sqrt(max(sample_weight, 1.0)))
    for index, log_weight in enumerate(log_weights):
        weight, starts = torch.exp(-log_weight) / sample_weight, refine(index, image).chunk(n)
        image = torch.cat(
            [
                least_squares(encoding, part, start=start, weight=weight, n_iterations=n_iterations)
                for (encoding, part), start in zip(parts, starts, strict=True)
            ]
        )
    norms = [encoding.maps.abs().square().sum(0).sqrt() for encoding in encodings]
    return torch.cat([part * norm for part, norm in zip(image.chunk(n), norms, strict=True)])
