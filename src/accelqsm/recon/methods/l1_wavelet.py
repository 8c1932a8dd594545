"""Compressed sensing: image of all channels with an L1 penalty on wavelet coefficients."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, all_readouts
from accelqsm.recon.channels import compress_channels
from accelqsm.recon.method_settings import MethodSettings, WaveletSettings
from accelqsm.recon.methods.fista import fista
from accelqsm.recon.methods.wavelet import Wavelet
from accelqsm.recon.sense import Encoding
from accelqsm.recon.sensitivities.estimate import estimate_in_slabs
from accelqsm.runtime.progress import track

DEFAULT = WaveletSettings()


def l1_wavelet_blocks(
    kspace: KSpace, settings: MethodSettings[WaveletSettings]
) -> Iterator[ImageBlock]:
    """Compressed-sensing images with sensitivities by ESPIRiT, echo by echo.

    The wavelet transform includes the readout axis, so that there is a single block.

    Args:
        kspace: whitened samples with a fully sampled centre.
        settings: settings of the method and of the sensitivities.

    Returns:
        One block, the joint image of all channels.

    Raises:
        InputError: a centre smaller than the calibration kernel.
    """
    few = compress_channels(kspace, settings.sensitivities.n_virtual)
    found, n_echoes = estimate_in_slabs(few, settings.sensitivities), few.acquisition.n_echoes
    maps = found.supported
    images = maps.new_empty(1, n_echoes, *few.acquisition.grid.shape)
    for echo in track(range(n_echoes), "L1-wavelet", n_echoes):
        measured = few.planes(echoes=slice(echo, echo + 1))[:, 0]
        image = l1_wavelet(
            measured, maps, sampled=few.pattern(echo), settings=settings.method_settings
        )
        images[0, echo] = found.support * image
    yield ImageBlock(None, all_readouts(few), images)


def l1_wavelet(
    measured: Tensor,
    maps: Tensor,
    *,
    sampled: Tensor,
    settings: WaveletSettings = DEFAULT,
) -> Tensor:
    """Image that minimises 1/2 sum_c ||M F C_c x - y_c||^2 + lambda ||Psi x||_1, by FISTA.

    Psi is an orthogonal wavelet transform over all three axes, with a random shift in each
    iteration, which makes it nearly shift-invariant; lambda is ``regularisation`` times the largest
    magnitude of the zero-filled image.

    Args:
        measured: hybrid-space samples of one echo, complex (channel, x, ky, kz), zero where not
            sampled.
        maps: complex (channel, x, y, z), sum |C_c|^2 <= 1.
        sampled: bool (ky, kz).
        settings: regularisation, and iterations of FISTA, whose step is one since ||A|| <= 1.

    Returns:
        complex (x, y, z).

    Source: Lustig et al. 2007, Magn Reson Med 58:1182, doi 10.1002/mrm.21391.
    """
    encoding = Encoding(maps, sampled)
    wanted = encoding.adjoint(measured)
    threshold = settings.regularisation * float(wanted.abs().max())
    wavelet = Wavelet((wanted.shape[0], wanted.shape[1], wanted.shape[2]))
    shifts = wavelet.shifts()
    return fista(
        encoding.normal,
        wanted,
        lambda image: wavelet.shrink(image, threshold, next(shifts)),
        n_iterations=settings.n_iterations,
    )
