"""Network of all echoes: recurrent over echoes, unrolled with consistency of all channels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from accelqsm.recon.network.architecture import EchoArchitecture
from accelqsm.recon.network.protocol import check_maps
from accelqsm.recon.network.unrolled import CascadeNetwork, unrolled
from accelqsm.recon.sense import Encoding, broadcast_maps

LEAK = 0.1


class EchoJoint(CascadeNetwork):
    """Unrolled network of cascades x <- DC(x + CNN(x)), where x holds all echoes of a scan.

    The convolutions of a cascade pass a hidden state from echo to echo, forward and backward with
    the same weights, so that any number of echoes goes in, and reversed echoes give the reversed
    images. Data consistency is that of ``unrolled``, echo by echo, each with its own pattern.
    Convolutions have no bias and LeakyReLU is positively homogeneous, so that the result scales
    with the data; it does not commute with a phase. The last convolution of each cascade is
    initialised to zero: untrained, the network is CG-SENSE.

    LARO has a U-Net behind the recurrent layer, instance normalisation, ten unrolls by ADMM with
    ten conjugate gradients each, and takes planes; this network has few layers, five cascades of
    three conjugate gradients, and sees neighbouring planes.

    Source: Zhang et al. 2023, NeuroImage 268:119886, doi 10.1016/j.neuroimage.2023.119886 (LARO);
    Qin et al. 2019, IEEE Trans Med Imaging 38:280, doi 10.1109/TMI.2018.2863670.
    """

    def __init__(self, architecture: EchoArchitecture) -> None:
        n = architecture.cascades
        super().__init__(architecture, (EchoBlock(architecture) for _ in range(n)), torch.zeros(n))

    def forward(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        """Reconstruct all echoes of under-sampled planes.

        Args:
            measured: complex (channel, echo, x, ky, kz), zero where not sampled, with white noise.
            sampled: bool (ky, kz), or (echo, 1, ky, kz) for a pattern of each echo.
            maps: complex (channel, x, y, z) or (channel, echo, x, y, z), sum |C_c|^2 at most 1,
                less where little signal is expected.

        Returns:
            complex (echo, x, y, z), the signal of all channels.

        Raises:
            InputError: no maps.
        """
        check_maps(self.consistency, maps)
        assert maps is not None
        maps = broadcast_maps(maps, measured).expand(-1, measured.shape[1], -1, -1, -1)
        patterns = sampled.expand(measured.shape[1], 1, *sampled.shape[-2:])
        encodings = [
            Encoding(maps[:, echo : echo + 1], patterns[echo, 0])
            for echo in range(measured.shape[1])
        ]
        wanted = [
            encoding.adjoint(measured[:, echo : echo + 1])
            for echo, encoding in enumerate(encodings)
        ]
        return unrolled(encodings, torch.cat(wanted), self.refine, log_weights=self.log_weights)


class EchoBlock(nn.Module):
    """Convolutions of one cascade: one that enters, one from echo to echo, and further ones.

    h_e = LeakyReLU(V * x_e + U * h_(e-1)), and the same from the last echo to the first; the
    further layers take the mean of both.
    """

    def __init__(self, architecture: EchoArchitecture) -> None:
        super().__init__()
        first, *further = architecture.readout_kernels
        width, ends = architecture.width, 2 * architecture.patch**2
        self.enter = _convolution(ends, width, first)
        self.onward = _convolution(width, width, 1)
        widths = [*[width] * len(further), ends]
        self.further = nn.ModuleList(
            _convolution(n_in, n_out, size)
            for (n_in, n_out), size in zip(pairwise(widths), further, strict=True)
        )
        nn.init.zeros_(self.further[-1].weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Change of the images, real (echo, channel, x, y, z)."""
        hidden = self._states(self.enter(images))
        for convolution in self.further[:-1]:
            hidden = functional.leaky_relu(convolution(hidden), LEAK)
        change: Tensor = self.further[-1](hidden)
        return change

    def _states(self, entered: Tensor) -> Tensor:
        """Mean of the hidden states that come from the echoes before, and from those after."""
        both = torch.stack([entered, entered.flip(0)], dim=1)
        state = functional.leaky_relu(both[0], LEAK)
        states = [state]
        for each in both[1:]:  # both directions in one convolution
            state = functional.leaky_relu(each + self.onward(state), LEAK)
            states.append(state)
        found = torch.stack(states)
        return (found[:, 0] + found[:, 1].flip(0)) / 2


def _convolution(n_in: int, n_out: int, size: int) -> nn.Conv3d:
    return nn.Conv3d(n_in, n_out, (size, 3, 3), padding=(size // 2, 1, 1), bias=False)
