"""CG-SENSE: least-squares image of all channels by conjugate gradients."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, readout_slabs
from accelqsm.recon.channels import compress_channels
from accelqsm.recon.method_settings import MethodSettings, SenseSettings
from accelqsm.recon.sense import Encoding, broadcast_maps, least_squares
from accelqsm.recon.sensitivities.espirit import needed_noise_power
from accelqsm.recon.sensitivities.estimate import estimate
from accelqsm.runtime.progress import track

DEFAULT = SenseSettings()


def cg_sense_blocks(
    kspace: KSpace, settings: MethodSettings[SenseSettings]
) -> Iterator[ImageBlock]:
    """CG-SENSE images with sensitivities by ESPIRiT, in slabs of readout positions.

    Args:
        kspace: whitened samples with a fully sampled centre.
        settings: settings of the method and of the sensitivities.

    Returns:
        Blocks of a joint image of all channels.

    Raises:
        InputError: a centre smaller than the calibration kernel.
    """
    few = compress_channels(kspace, settings.sensitivities.n_virtual)
    slabs, noise_power = readout_slabs(few), needed_noise_power(few, settings.sensitivities)
    for x in track(slabs, "CG-SENSE", len(slabs)):
        found = estimate(few, x=x, settings=settings.sensitivities, noise_power=noise_power)
        image = cg_sense(
            few.planes(x=x),
            found.supported,
            sampled=few.sampled,
            settings=settings.method_settings,
        )
        yield ImageBlock(None, x, found.support * image[None])


def cg_sense(
    measured: Tensor,
    maps: Tensor,
    *,
    sampled: Tensor,
    start: Tensor | None = None,
    settings: SenseSettings = DEFAULT,
) -> Tensor:
    """Image x that minimises sum_c ||M F C_c x - y_c||^2 + weight ||x - x0||^2.

    Args:
        measured: hybrid-space samples, complex (channel, ..., x, ky, kz), with white noise, zero
            where not sampled.
        maps: complex (channel, x, y, z) or with the axes of the samples, sum |C_c|^2 <= 1.
        sampled: bool (ky, kz), or (echo, ky, kz) of samples (channel, echo, x, ky, kz).
        start: x0, (..., x, y, z); zero if absent.
        settings: Tikhonov weight, and number of iterations of conjugate gradients.

    Returns:
        complex (..., x, y, z).

    Source: Pruessmann et al. 2001, Magn Reson Med 46:638, doi 10.1002/mrm.1241.
    """
    encoding = Encoding(broadcast_maps(maps, measured), sampled)
    return least_squares(
        encoding,
        encoding.adjoint(measured),
        start=start,
        weight=settings.weight,
        n_iterations=settings.n_iterations,
    )
