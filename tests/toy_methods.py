"""A toy reconstruction and a toy network, with their settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace
from accelqsm.options.setting import Settings, setting
from accelqsm.recon.blocks import ImageBlock, all_readouts
from accelqsm.recon.settings import ReconSettings


@dataclass(frozen=True)
class ToySettings(Settings):
    """Of every toy."""

    factor: float = setting(2.0, above=0, help="of the result")


def scaled(kspace: KSpace, settings: ReconSettings) -> Iterator[ImageBlock]:
    """The zero-filled images times a factor."""
    assert isinstance(settings.method_settings, ToySettings)
    images = settings.method_settings.factor * ifft(kspace.planes(), PHASE_ENCODES)
    yield ImageBlock(slice(0, kspace.n_channels), all_readouts(kspace), images)


class ToyNetwork(nn.Module):
    """The zero-filled image times a weight."""

    consistency, readout_reach, hidden_per_voxel = "per-coil", 0, 1.0

    def __init__(self, architecture: ToySettings) -> None:
        super().__init__()
        self.architecture = architecture
        self.weight = nn.Parameter(torch.tensor(architecture.factor))

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def forward(self, measured: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
        return self.weight * ifft(measured, PHASE_ENCODES)
