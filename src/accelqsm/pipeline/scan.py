"""Pipeline from under-sampled k-space to susceptibility.

Channels are processed in blocks: each reconstructed block is added to a few sums per voxel and
then discarded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.pipeline.maps import as_echoes, as_maps
from accelqsm.pipeline.network import network_for
from accelqsm.qsm.chain import QsmResult, susceptibility
from accelqsm.qsm.field.lags import LagProducts, LagSums
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.blocks import ImageBlock, combine
from accelqsm.recon.channels import prewhiten
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.settings import ReconSettings, as_recon
from accelqsm.results.echoes import Reconstruction
from accelqsm.results.maps import SusceptibilityMaps
from accelqsm.runtime.device import CPU, device_name, on_device, on_gpu_or_cpu

DEFAULT = QsmSettings()


def map_susceptibility(
    kspace: KSpace,
    method: str | ReconSettings = "reconnet3d",
    *,
    mask: Tensor | None = None,
    mask_name: str = "from the magnitude",
    settings: QsmSettings = DEFAULT,
    network: Network | None = None,
) -> SusceptibilityMaps:
    """Susceptibility maps from under-sampled k-space, on a GPU if its memory is sufficient.

    Args:
        kspace: samples of every channel and echo.
        method: name of a reconstruction, or its settings.
        mask: bool (x, y, z) to use instead of a brain extraction; incoherent voxels are removed.
        mask_name: source of the mask, for the record of the result.
        settings: settings of the QSM pipeline.
        network: a network to use instead of the weights that ``method`` names.

    Returns:
        Susceptibility with the maps and combined images that it is computed from.

    Raises:
        InputError: settings that do not belong together, or a scan that the method cannot use.
    """
    acquisition, recon = kspace.acquisition, as_recon(method)
    # Selected once, so that the same network is used if the scan is recomputed on the CPU.
    network, weights = network_for(recon, network)

    def compute(device: torch.device) -> tuple[Tensor, QsmResult]:
        sums = sum_channels(kspace.on(device), recon, network=network)
        maps = susceptibility(
            sums.lags,
            grid=acquisition.grid,
            field_strength_t=acquisition.field_strength_t,
            mask=mask,
            settings=settings,
        )
        return sums.images.cpu(), on_device(maps, CPU)

    (images, maps), device = on_gpu_or_cpu(compute)
    return as_maps(
        maps,
        acquisition.grid,
        echoes=as_echoes(images),
        recon=recon,
        source=source_of(kspace) | weights | {"mask": mask_name},
        device=device_name(device),
        command="map",
    )


def combined_echoes(
    kspace: KSpace,
    method: str | ReconSettings = "reconnet3d",
    *,
    network: Network | None = None,
) -> Reconstruction:
    """Coil-combined magnitude and phase of every echo from under-sampled k-space.

    Args:
        kspace: samples of every channel and echo.
        method: name of a reconstruction, or its settings.
        network: a network to use instead of the weights that ``method`` names.

    Raises:
        InputError: settings that do not belong together, or a scan that the method cannot use.
    """
    recon = as_recon(method)
    network, weights = network_for(recon, network)

    def compute(device: torch.device) -> Tensor:
        sums = CombinedSums(prewhiten(kspace.on(device)))
        for block in reconstruct(sums.kspace, recon, network=network):
            sums.add(block)
        return sums.images().cpu()

    images, device = on_gpu_or_cpu(compute)
    return Reconstruction(
        as_echoes(images),
        kspace.acquisition.grid,
        recon,
        source_of(kspace) | weights,
        device_name(device),
    )


@dataclass(frozen=True)
class SummedScan:
    """Sums over all channels of a scan.

    Attributes:
        lags: sums over channels of conj(S_e) S_e', for the field map.
        images: complex (echo, x, y, z), channels combined with the same weights for all echoes.
    """

    lags: LagProducts
    images: Tensor


class CombinedSums:
    """Accumulator of coil-combined images, block by block.

    Args:
        kspace: the samples that the blocks are reconstructed from; the images lie on the device of
            its pattern (``KSpace.on``).
    """

    def __init__(self, kspace: KSpace) -> None:
        acquisition, device = kspace.acquisition, kspace.sampled.device
        shape, n_echoes = acquisition.grid.shape, acquisition.n_echoes
        self.kspace = kspace
        self._numerator = torch.zeros(n_echoes, *shape, dtype=torch.complex64, device=device)
        self._power = torch.zeros(shape, device=device)

    def add(self, block: ImageBlock) -> None:
        """Add a block of channels at some readout positions."""
        part = combine(block, self.kspace)
        self._numerator[:, block.x] += part.numerator
        self._power[block.x] += part.power

    def images(self) -> Tensor:
        """Combined images, complex (echo, x, y, z): the sums over the root of their power."""
        smallest = torch.finfo(self._power.dtype).tiny
        return self._numerator / self._power.clamp_min(smallest).sqrt()


def sum_channels(
    kspace: KSpace, method: str | ReconSettings, *, network: Network | None = None
) -> SummedScan:
    """Reconstruct a scan block by block and sum over channels.

    Args:
        kspace: samples of every channel and echo.
        method: name of a reconstruction, or its settings.
        network: a network to use instead of the weights that ``method`` names.
    """
    white = prewhiten(kspace)
    acquisition, device = white.acquisition, white.sampled.device
    lags = LagSums(acquisition.grid.shape, echo_times_s=acquisition.echo_times_s, device=device)
    combined = CombinedSums(white)
    for block in reconstruct(white, method, network=network):
        lags.add(block.images, block.x)
        combined.add(block)
    return SummedScan(lags.products(), combined.images())


def source_of(kspace: KSpace) -> dict[str, Any]:
    """Record of a scan: acceleration, number of channels, echo times, field."""
    acquisition = kspace.acquisition
    return {
        "acceleration": round(kspace.acceleration, 3),
        "n_channels": kspace.n_channels,
        "echo_times_s": list(acquisition.echo_times_s),
        "b0_tesla": acquisition.field_strength_t,
        "b0_direction": list(acquisition.b0_direction),
    }
