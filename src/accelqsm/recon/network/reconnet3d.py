"""ReconNet3D: cascades of 3D convolutions and data consistency.

Five cascades of five 3D convolutions, each followed by data consistency: per coil, as published,
or joint, of one image with the samples of all channels. Echoes are reconstructed one by one;
k-space is under-sampled in the (ky, kz) plane.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.recon.method_settings import JOINT, PER_COIL
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.protocol import check_maps
from accelqsm.recon.network.unrolled import CascadeNetwork, unrolled
from accelqsm.recon.sense import Encoding, broadcast_maps

INITIAL_LOG_WEIGHT = {PER_COIL: math.log(10.0), JOINT: 0.0}


class ReconNet3D(CascadeNetwork):
    """Unrolled network of cascades x <- DC(x + CNN(x)).

    Per coil, the initial image is the zero-filled one, and data
    consistency is soft with one learned weight per cascade, except for the last cascade, which
    replaces the sampled positions by the measured samples. Joint, the initial image is a few
    iterations of CG-SENSE, and data consistency is
    min_x sum_c ||M F C_c x - y_c||^2 + exp(-log v) ||x - z||^2 about each refined image z, by a
    few conjugate gradients; for one channel of unit sensitivity the two are the same.

    Source: Schlemper et al. 2018, IEEE Trans Med Imaging 37:491, doi 10.1109/TMI.2017.2760978;
    Aggarwal et al. 2019, IEEE Trans Med Imaging 38:394, doi 10.1109/TMI.2018.2865356.
    """

    def __init__(self, architecture: Architecture) -> None:
        n = architecture.cascades
        soft = n - 1 if architecture.consistency == PER_COIL else n
        initial = INITIAL_LOG_WEIGHT[architecture.consistency]
        super().__init__(architecture, torch.full((soft,), initial))

    def forward(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        """Reconstruct under-sampled planes.

        Args:
            measured: complex (batch, x, ky, kz), zero where not sampled; with ``maps``
                (channel, batch, x, ky, kz), with white noise.
            sampled: bool (ky, kz), or (batch, 1, ky, kz) for a pattern of each item.
            maps: complex (channel, x, y, z) or (channel, batch, x, y, z), sum |C_c|^2 at most 1,
                less where little signal is expected; only for joint consistency.

        Returns:
            complex (batch, x, y, z), the signal of the channel or of all channels.

        Raises:
            InputError: maps with per-coil consistency, or none with joint.
        """
        check_maps(self.consistency, maps)
        if maps is None:
            return self._per_coil(measured, sampled)
        return self._joint(measured, sampled, broadcast_maps(maps, measured))

    def _per_coil(self, measured: Tensor, sampled: Tensor) -> Tensor:
        zero_filled = ifft(measured, PHASE_ENCODES)
        image = zero_filled
        for index in range(len(self.blocks)):
            soft = index < len(self.log_weights)
            weight = self.log_weights[index] + math.log(self.sample_weight or 1.0) if soft else None
            image = data_consistency(
                self.refine(index, image), zero_filled, sampled, log_weight=weight
            )
        return image

    def _joint(self, measured: Tensor, sampled: Tensor, maps: Tensor) -> Tensor:
        encoding = Encoding(maps, sampled)
        return unrolled(
            [encoding],
            encoding.adjoint(measured),
            self.refine,
            log_weights=self.log_weights,
            sample_weight=self.sample_weight or 1.0,
        )


def data_consistency(
    image: Tensor, zero_filled: Tensor, sampled: Tensor, *, log_weight: Tensor | None = None
) -> Tensor:
    """Soft data consistency of an image with the measured samples of one channel.

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
    # only the mask saves four shifts of the data.
    mask = torch.fft.ifftshift(sampled, dim=PHASE_ENCODES)
    weights = mask.to(image.real.dtype)
    if log_weight is not None:
        weights = weights * torch.sigmoid(log_weight)
    missing = torch.fft.fftn(zero_filled - image, dim=PHASE_ENCODES, norm="ortho")
    correction: Tensor = torch.fft.ifftn(missing * weights, dim=PHASE_ENCODES, norm="ortho")
    return image + correction
