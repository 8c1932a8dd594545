"""Pipeline from under-sampled k-space to susceptibility.

Channels are processed in blocks: each reconstructed block is added to a few sums per voxel and
then discarded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from accelqsm.errors import InputWarning
from accelqsm.grid import Triple
from accelqsm.kspace import KSpace
from accelqsm.pipeline.checks import FOUND_INVERTED, inverted_fields, with_known_sign
from accelqsm.pipeline.maps import as_array, as_echoes, as_maps
from accelqsm.pipeline.sensitivities import prepared
from accelqsm.qsm.chain import QsmResult, susceptibility
from accelqsm.qsm.field.lags import LagProducts, LagSums
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.blocks import ImageBlock, combine
from accelqsm.recon.channels import prewhiten, virtual_reference
from accelqsm.recon.network.protocol import Network
from accelqsm.recon.null_space import null_share, phase_sd_rad
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.settings import ReconSettings, as_recon
from accelqsm.results.echoes import Reconstruction
from accelqsm.results.maps import SusceptibilityMaps
from accelqsm.runtime.device import CPU, device_name, on_device, on_gpu_or_cpu

DEFAULT = QsmSettings()

PHASE = (
    "that of a virtual channel (the strongest combination of channels with fixed weights): the "
    "same smooth offset in all echoes, and the evolution with echo time"
)
"""What is recorded of the phase of combined images."""


def map_susceptibility(
    kspace: KSpace,
    method: str | ReconSettings = "reconnet3d",
    *,
    mask: Tensor | None = None,
    mask_name: str = "from the magnitude",
    settings: QsmSettings = DEFAULT,
    network: Network | None = None,
    b0_direction: Triple | None = None,
    invert_phase: bool | None = None,
) -> SusceptibilityMaps:
    """Susceptibility maps from under-sampled k-space, on a GPU if its memory is sufficient.

    Args:
        kspace: samples of every channel and echo.
        method: name of a reconstruction, or its settings.
        mask: bool (x, y, z) to use instead of a brain extraction; incoherent voxels are removed.
        mask_name: source of the mask, for the record of the result.
        settings: settings of the QSM pipeline.
        network: a network to use instead of the weights that ``method`` names.
        b0_direction: unit vector along the array axes; by default that of the samples, else of
            their grid.
        invert_phase: phase decreases with TE where the field adds to B0; None: it is inverted
            where iron comes out clearly negative.

    Returns:
        Susceptibility with the maps and combined images that it is computed from.

    Raises:
        InputError: settings that do not belong together, or a scan that the method cannot use.

    Warns:
        InputWarning: a single echo, or phase of the other sign.
    """
    acquisition, recon = kspace.acquisition, as_recon(method)
    if b0_direction is not None:
        kspace = replace(kspace, b0_direction=b0_direction)
    # Selected once, so that the same network is used if the scan is recomputed on the CPU.
    scan = prepared(kspace, recon, network)
    warn_of_a_single_echo(kspace)

    def compute(device: torch.device) -> tuple[Tensor, Tensor | None, QsmResult]:
        sums = sum_channels(
            scan.kspace.on(device),
            scan.recon,
            network=scan.network,
            null_space=settings.uncertainty,
        )
        maps = susceptibility(
            sums.lags,
            grid=acquisition.grid,
            b0_direction=kspace.b0_direction,
            field_strength_t=acquisition.field_strength_t,
            mask=mask,
            phase_sd_rad=None if sums.null_share is None else phase_sd_rad(sums.null_share),
            settings=settings,
        )
        maps = replace(maps, magnitude=maps.magnitude * sums.unit)
        share = None if sums.null_share is None else sums.null_share.square().mean(0).sqrt().cpu()
        return sums.images.cpu(), share, on_device(maps, CPU)

    (images, share, maps), device = on_gpu_or_cpu(compute)
    maps, sign = _signed(maps, kspace, invert_phase)
    if sign["invert_phase"]:
        images = images.conj()
    found = as_maps(
        maps,
        acquisition.grid,
        name=kspace.name,
        echoes=as_echoes(images),
        recon=scan.recon,
        source=source_of(kspace) | scan.notes | sign | {"mask": mask_name},
        device=device_name(device),
        command="map",
    )
    if share is None:
        return found
    return replace(found, null_share=as_array(share))


def _signed(
    maps: QsmResult, kspace: KSpace, invert_phase: bool | None
) -> tuple[QsmResult, dict[str, Any]]:
    """Maps of the sign that was said or that iron has, and what is recorded of it."""
    if invert_phase:
        maps = inverted_fields(maps)
    maps, found = with_known_sign(
        maps,
        name=kspace.name,
        voxel_size_mm=kspace.acquisition.voxel_size_mm,
        tells_decay=kspace.acquisition.n_echoes > 1,
        inverted=invert_phase,
    )
    if not found:
        return maps, {"invert_phase": bool(invert_phase)}
    message = (
        f"{kspace.name}: samples whose transform is of the other sign give a mirrored image as "
        "well, of which the samples tell nothing: check left and right in the magnitude"
    )
    warnings.warn(InputWarning(message), stacklevel=4)
    return maps, FOUND_INVERTED


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
    scan = prepared(kspace, as_recon(method), network)

    def compute(device: torch.device) -> Tensor:
        sums = CombinedSums(prewhiten(scan.kspace.on(device)).balanced())
        for block in reconstruct(sums.kspace, scan.recon, network=scan.network):
            sums.add(block)
        return sums.images().cpu()

    images, device = on_gpu_or_cpu(compute)
    echoes = as_echoes(images)
    echoes.check(kspace.name)
    return Reconstruction(
        echoes,
        kspace.acquisition.grid,
        scan.recon,
        source_of(kspace) | scan.notes,
        device_name(device),
    )


@dataclass(frozen=True)
class SummedScan:
    """Sums over all channels of a scan.

    Attributes:
        lags: sums over channels of conj(S_e) S_e', for the field map.
        images: complex (echo, x, y, z), channels combined with the same weights for all echoes,
            in the unit of the (whitened) samples.
        unit: what the root of the sums is to be multiplied by, to be in that unit.
        null_share: (echo, x, y, z), share of each voxel's signal that no sample tells of; None
            where the method does not tell, or was not asked.
    """

    lags: LagProducts
    images: Tensor
    unit: float
    null_share: Tensor | None = None


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
        self._null: tuple[Tensor, Tensor] | None = None

    def add(self, block: ImageBlock) -> None:
        """Add a block of channels at some readout positions."""
        part = combine(block, self.kspace)
        self._numerator[:, block.x] += part.numerator
        self._power[block.x] += part.power
        if block.null_power is None:
            return
        if self._null is None:
            like = self._numerator.real
            self._null = torch.zeros_like(like), torch.zeros_like(like)
        self._null[0][:, block.x] += block.null_power
        self._null[1][:, block.x] += block.images.abs().square().sum(0)

    @property
    def null_share(self) -> Tensor | None:
        """Share of the signal that no sample tells of, (echo, x, y, z), where blocks tell it."""
        return None if self._null is None else null_share(*self._null)

    def images(self) -> Tensor:
        """Combined images, complex (echo, x, y, z): the sums over the root of their power.

        Their phase is that of a virtual channel: turned by the phase of its low-resolution first
        echo, which ``combine`` took away. The turn is the same in all echoes.
        """
        smallest = torch.finfo(self._power.dtype).tiny
        images = self._numerator / self._power.clamp_min(smallest).sqrt()
        angle = virtual_reference(self.kspace).angle()
        return images * torch.polar(torch.ones_like(angle), angle) / self.kspace.gain


def sum_channels(
    kspace: KSpace,
    method: str | ReconSettings,
    *,
    network: Network | None = None,
    null_space: bool = False,
) -> SummedScan:
    """Reconstruct a scan block by block and sum over channels.

    Args:
        kspace: samples of every channel and echo.
        method: name of a reconstruction, or its settings.
        network: a network to use instead of the weights that ``method`` names.
        null_space: tell of a network's images what no sample tells of.
    """
    white = prewhiten(kspace).balanced()
    acquisition, device = white.acquisition, white.sampled.device
    times_s, shape = acquisition.echo_times_s, acquisition.grid.shape
    lags = LagSums(shape, echo_times_s=times_s, device=device)
    combined, single = CombinedSums(white), len(times_s) == 1
    for block in reconstruct(white, method, network=network, null_space=null_space):
        if not single:
            lags.add(block.images, block.x)
        combined.add(block)
    images = combined.images()
    if single:
        # Phases of channels cannot be told from the field, that of their combination can.
        lags.add(white.gain * images[None])
    return SummedScan(lags.products(), images, 1 / white.gain, combined.null_share)


def warn_of_a_single_echo(kspace: KSpace) -> None:
    """Say what one echo does not tell.

    Warns:
        InputWarning: one echo.
    """
    if kspace.acquisition.n_echoes == 1:
        message = (
            f"{kspace.name}: a single echo, so that the phase offset at excitation is taken for "
            "field; two echoes or more would tell them apart"
        )
        warnings.warn(InputWarning(message), stacklevel=4)


def source_of(kspace: KSpace) -> dict[str, Any]:
    """Record of a scan: acceleration, number of channels, echo times, field."""
    acquisition = kspace.acquisition
    return {
        "acceleration": round(kspace.acceleration, 3),
        "n_channels": kspace.n_channels,
        "echo_times_s": list(acquisition.echo_times_s),
        "b0_tesla": acquisition.field_strength_t,
        "b0_direction": list(kspace.b0_direction or acquisition.b0_direction),
        "phase": PHASE,
    }
