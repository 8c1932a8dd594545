"""Weight of the samples against a network, from the noise of a scan."""

from __future__ import annotations

import math

import numpy as np
import torch

from accelqsm.kspace import KSpace
from accelqsm.recon.channels import low_resolution, noise_sd, some_readouts
from accelqsm.recon.method_settings import JOINT
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.network.unrolled import CascadeNetwork

WEIGHT_PER_SNR, MOST = 1 / 160, 6.0
"""Weight of the samples per acceleration and signal-to-noise ratio, from one digital head, and the
largest that it leads to: more was not measured. For a network of one echo; others have a multiple
of both (``CascadeNetwork.trust_in_samples``), and may stop growing with the acceleration
(``CascadeNetwork.most_acceleration_trusted``)."""


def weighed(network: Network, kspace: KSpace) -> Network:
    """A network with the weight of the samples that the noise of a scan asks for.

    Networks per coil, those without a weight, and one whose weight was set stay as they are.
    """
    if not isinstance(network, CascadeNetwork) or network.consistency != JOINT:
        return network
    if network.sample_weight is not None:
        return network
    weight = sample_weight(
        kspace, network.trust_in_samples, most_acceleration=network.most_acceleration_trusted
    )
    return network.weighing(weight)


def sample_weight(
    kspace: KSpace, trust: float = 1.0, *, most_acceleration: float = math.inf
) -> float:
    """Weight of the samples relative to that of training, 1 or more.

    Training finds one weight for noise of every size and for three accelerations. The weight of
    least error is inversely proportional to the noise, and grows with the acceleration: the fewer
    samples there are, the less noise they bring, and the more the network has put in.

    Args:
        kspace: the samples.
        trust: factor of a network (``CascadeNetwork.trust_in_samples``).
        most_acceleration: from which on the weight grows no more
            (``CascadeNetwork.most_acceleration_trusted``).
    """
    acceleration = min(kspace.acceleration, most_acceleration)
    wanted = WEIGHT_PER_SNR * acceleration * signal_to_noise(kspace)
    return max(trust * min(wanted, MOST), 1.0)


def signal_to_noise(kspace: KSpace) -> float:
    """Signal of the first echo, all channels, over the SD of the noise of each part of a voxel.

    The signal is the root of the mean power, weighted by the power itself, so that air around the
    head does not count; channels whose samples have no noise are left out. 0 if all are, or where
    no centre of k-space tells of the signal.
    """
    centre = tuple(n // 2 for n in kspace.plane)
    if kspace.calibration is None and not kspace.pattern(0)[centre]:
        return 0.0
    sd = noise_sd(kspace)
    power = torch.zeros(())
    for channel in np.flatnonzero(sd).tolist():
        here = slice(channel, channel + 1)
        image = low_resolution(kspace, channels=here, x=some_readouts(kspace))[0]
        power = power + (image.abs() / (kspace.gain * sd[channel])).square().cpu()
    total = float(power.sum())
    return math.sqrt(float(power.square().sum()) / total) if total > 0 else 0.0
