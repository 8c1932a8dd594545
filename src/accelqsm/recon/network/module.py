"""What all networks have in common: sizes that their architecture tells, and their device."""

from __future__ import annotations

import torch
from torch import nn

from accelqsm.recon.network.protocol import Sizes


class NetworkModule(nn.Module):
    """Module that is constructed from its architecture alone."""

    architecture: Sizes

    def __init__(self, architecture: Sizes) -> None:
        super().__init__()
        self.architecture = architecture

    @property
    def consistency(self) -> str:
        """Per-coil or joint."""
        return self.architecture.consistency

    @property
    def readout_reach(self) -> int:
        """Half-width of the receptive field along the readout, in positions."""
        return self.architecture.readout_reach

    @property
    def hidden_per_voxel(self) -> float:
        """Values of a hidden layer per voxel of an image."""
        return self.architecture.hidden_per_voxel

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.parameters()).device
