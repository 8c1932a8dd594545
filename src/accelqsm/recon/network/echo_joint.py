"""Network of all echoes: their components, unrolled with consistency of all channels."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from accelqsm.fourier import PHASE_ENCODES, fft, hann_window, ifft
from accelqsm.recon.methods.echo_components import EchoComponents, cosines, sines
from accelqsm.recon.network.architecture import EchoArchitecture
from accelqsm.recon.network.convolution import Convolution
from accelqsm.recon.network.protocol import check_maps
from accelqsm.recon.network.unrolled import LEAK, CascadeNetwork, unrolled
from accelqsm.recon.sense import Encoding, broadcast_maps

PHASE_SHARE = 0.15
"""Share of k-space along each axis, under a Hann window, that the echoes' phase is taken from."""


class EchoJoint(CascadeNetwork):
    """Unrolled network of cascades x <- DC(x + CNN(x)), where x holds all echoes of a scan.

    The convolutions are those of ReconNet3D, on the components of the demodulated echoes instead
    of on the echoes: every cascade takes the phase of the smooth part of its images out
    (``EchoComponents``), and then cosines over the echoes of the real part, and sines of the
    imaginary part, which has the fine phase and grows with echo time. The first component holds
    nearly all signal, while aliasing, whose phase differs from echo to echo, is shared between all.
    The first convolution of each cascade passes its hidden state from component to component,
    h_k = LeakyReLU(V * z_k + U * h_(k-1)), and with the same weights from the last to the first;
    the further layers take the mean of both. So any number of echoes goes in. U is initialised to
    zero, so that training can start from the weights of a joint ReconNet3D. Data consistency is
    that of ``unrolled``, each echo with its own pattern.

    LARO has a U-Net behind a layer that is recurrent over echoes, instance normalisation, ten
    unrolls by ADMM with ten conjugate gradients each, and takes planes; this network has few
    layers, five cascades of three conjugate gradients, and sees neighbouring planes.

    Source: Zhang et al. 2023, NeuroImage 268:119886, doi 10.1016/j.neuroimage.2023.119886 (LARO);
    Qin et al. 2019, IEEE Trans Med Imaging 38:280, doi 10.1109/TMI.2018.2863670.
    """

    trust_in_samples: ClassVar[float] = 2.0
    """What echoes share it puts in with more weight than one echo does. On digital heads errors of
    the image are smaller at the weight of a network of one echo, and nuclei keep up to a hundredth
    more at twice that."""

    most_acceleration_trusted: ClassVar[float] = 5.0
    """What other echoes tell makes up for samples that are missing, so that the weight of least
    error grows less with the acceleration than that of one echo: on two digital heads, four times
    the weight of training is as good as more at 8 as well as at 5."""

    def __init__(self, architecture: EchoArchitecture) -> None:
        n, width = architecture.cascades, architecture.width
        super().__init__(architecture, torch.zeros(n))
        self.onward = nn.ModuleList(Convolution(width, width, 1) for _ in range(n))
        for kernel in self.onward.parameters():
            nn.init.zeros_(kernel)

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
        return unrolled(
            encodings,
            torch.cat(wanted),
            self.refine,
            log_weights=self.log_weights,
            sample_weight=self.sample_weight or 1.0,
        )

    def refine(self, index: int, image: Tensor) -> Tensor:
        """Refine the echoes (echo, x, y, z): once in training, in use with a turned copy.

        Layers take voxels in patches. After half a turn in the plane about a voxel, patches begin
        elsewhere and edges come from the other side: errors that depend on either differ between
        the two, and are smaller in their mean.
        """
        refined = self._refine_components(index, image)
        if self.training:
            return refined
        turned = _half_turn(self._refine_components(index, _half_turn(image)))
        return (refined + turned) / 2

    def _refine_components(self, index: int, image: Tensor) -> Tensor:
        """Refine the components of the echoes (echo, x, y, z)."""
        plane = image.shape[-2:]
        # Odd, so that the window lies about the zero frequency and has no phase of its own.
        window = hann_window(plane, [round(PHASE_SHARE * n) // 2 * 2 + 1 for n in plane])
        with torch.no_grad():
            smooth = ifft(window.to(image.device) * fft(image, PHASE_ENCODES), PHASE_ENCODES)
        components = EchoComponents(smooth, cosines(len(image)), sines(len(image)))
        return components.inverse(super().refine(index, components.forward(image)))

    def change(self, index: int, images: Tensor) -> Tensor:
        """Change of all components by one cascade, real (component, channel, x, y, z)."""
        first, _, *further = self.blocks[index].children()
        change = self._states(first(images), self.onward[index])
        for layer in further:
            change = layer(change)
        return change

    @staticmethod
    def _states(entered: Tensor, onward: nn.Module) -> Tensor:
        """Mean of the hidden states from the components before, and from those after."""
        both = torch.stack([entered, entered.flip(0)], dim=1)
        state = functional.leaky_relu(both[0], LEAK)
        states = [state]
        for each in both[1:]:  # both directions in one convolution
            state = functional.leaky_relu(each + onward(state), LEAK)
            states.append(state)
        found = torch.stack(states)
        return (found[:, 0] + found[:, 1].flip(0)) / 2


def _half_turn(image: Tensor) -> Tensor:
    """Planes turned by half a turn about the voxel in their middle; twice is the identity."""
    shifts = [1 - image.shape[axis] % 2 for axis in PHASE_ENCODES]
    return image.flip(PHASE_ENCODES).roll(shifts, PHASE_ENCODES)
