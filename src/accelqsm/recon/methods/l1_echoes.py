"""Compressed sensing of all echoes: L1 penalty on wavelets of their principal components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, fft, hann_window, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.blocks import ImageBlock, all_readouts
from accelqsm.recon.channels import calibration_samples, compress_channels, low_resolution
from accelqsm.recon.method_settings import EchoWaveletSettings, MethodSettings
from accelqsm.recon.methods.echo_components import EchoComponents, principal_components
from accelqsm.recon.methods.fista import fista
from accelqsm.recon.methods.wavelet import Wavelet
from accelqsm.recon.sense import Encoding
from accelqsm.recon.sensitivities.estimate import estimate_in_slabs
from accelqsm.runtime.progress import track

DEFAULT = EchoWaveletSettings()
KNOWN_BEYOND_CENTRE = 3
"""Width of the window for the phase of the second round, in widths of the fully sampled centre:
what the first round finds there is reliable enough to demodulate with."""


def l1_echoes_blocks(
    kspace: KSpace, settings: MethodSettings[EchoWaveletSettings]
) -> Iterator[ImageBlock]:
    """Compressed-sensing images of all echoes together, with sensitivities by ESPIRiT.

    Args:
        kspace: whitened samples with a fully sampled centre.
        settings: settings of the method and of the sensitivities.

    Returns:
        One block, the joint image of all channels.

    Raises:
        InputError: a centre smaller than the calibration kernel.
    """
    few = compress_channels(kspace, settings.sensitivities.n_virtual)
    found = estimate_in_slabs(few, settings.sensitivities)
    echoes = range(few.acquisition.n_echoes)
    encodings = [Encoding(found.supported, few.pattern(echo)) for echo in echoes]
    centre = calibration_samples(few, echo=0, channels=slice(1), x=slice(1)).shape[-2:]
    known = [min(n, KNOWN_BEYOND_CENTRE * m) for n, m in zip(few.plane, centre, strict=True)]
    images = l1_echoes(
        torch.stack(
            [encodings[e].adjoint(few.planes(echoes=slice(e, e + 1))[:, 0]) for e in echoes]
        ),
        encodings,
        torch.stack([(found.maps.conj() * low_resolution(few, echo=e)).sum(0) for e in echoes]),
        window=hann_window(few.plane, known).to(few.sampled.device),
        settings=settings.method_settings,
    )
    yield ImageBlock(None, all_readouts(few), found.support * images[None])


def l1_echoes(
    wanted: Tensor,
    encodings: Sequence[Encoding],
    first: Tensor,
    *,
    window: Tensor,
    settings: EchoWaveletSettings = DEFAULT,
) -> Tensor:
    """Echoes that minimise 1/2 sum_ec ||M F C_c x_e - y_ec||^2 + lambda sum_k ||Psi z_k||_1.

    z_k are the principal components of the demodulated echoes (``EchoComponents``), Psi is the
    wavelet transform of ``l1_wavelet``, and lambda is ``regularisation`` times the largest
    magnitude of the zero-filled images. In the first round, phase and components come from images
    of low resolution; in the second from those of the first, of higher resolution.

    Args:
        wanted: zero-filled images A^H y, complex (echo, x, y, z).
        encodings: of each echo.
        first: images of low resolution, complex (echo, x, y, z).
        window: of the images that the second round takes the phase from, real (ky, kz).
        settings: regularisation, and iterations of FISTA.

    Returns:
        complex (echo, x, y, z).
    """
    threshold = settings.regularisation * float(wanted.abs().max())
    wavelet = Wavelet((wanted.shape[1], wanted.shape[2], wanted.shape[3]))
    shifts = wavelet.shifts()
    images = wanted

    def shrink(components: Tensor) -> Tensor:
        shift = next(shifts)
        return torch.stack([wavelet.shrink(each, threshold, shift) for each in components])

    for number in track(range(2), "L1 over echoes", 2):
        low = first if number == 0 else ifft(window * fft(images, PHASE_ENCODES), PHASE_ENCODES)
        components = EchoComponents(low, principal_components(low))

        def normal(values: Tensor, components: EchoComponents = components) -> Tensor:
            echoes = components.inverse(values)
            for encoding, echo in zip(encodings, echoes, strict=True):
                echo.copy_(encoding.normal(echo))
            return components.forward(echoes)

        found = fista(
            normal,
            components.forward(wanted),
            shrink,
            start=components.forward(images),
            n_iterations=settings.n_iterations,
        )
        images = components.inverse(found)
    return images
