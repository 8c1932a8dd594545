"""Receive channels: noise prewhitening, coil compression and low-resolution images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, centred_slice, ifft
from accelqsm.kspace import KSpace, calibration_box, scratch

READOUTS_AT_ONCE = 16


def prewhiten(kspace: KSpace) -> KSpace:
    """Prewhiten the channels, so that their noise is uncorrelated and of complex variance 1.

    s <- L^-1 s, with the noise covariance Psi = <n n^H> = L L^H.

    Args:
        kspace: samples with a noise scan; without one they are returned unchanged.

    Returns:
        Whitened samples without noise scan: a memory map in a temporary file if the input is a
        memory map, an array otherwise.

    Raises:
        InputError: a noise scan of another number of channels, or too short for their covariance.

    Source: Roemer et al. 1990, Magn Reson Med 16:192, doi 10.1002/mrm.1910160203.
    """
    noise = kspace.noise_samples
    if noise is None:
        return kspace
    whitening = _whitening_matrix(noise, kspace.n_channels)
    on_disk = isinstance(kspace.samples, np.memmap)
    whitened = scratch(kspace.samples.shape, on_disk=on_disk)
    _mix(kspace.samples, whitening, whitened)
    calibration = _mix_calibration(kspace, whitening)
    return replace(kspace, samples=whitened, noise_samples=None, calibration=calibration)


def compress_channels(kspace: KSpace, n_virtual: int) -> KSpace:
    """Compress to the virtual channels of most signal (SVD coil compression); noise stays white.

    Args:
        kspace: whitened samples with a fully sampled centre.
        n_virtual: channels to keep; samples with no more channels are returned unchanged.

    Returns:
        Samples of ``n_virtual`` channels by decreasing signal in the centre of echo one; a memory
        map if the input is a memory map.

    Source: Buehrer et al. 2007, Magn Reson Med 57:1131, doi 10.1002/mrm.21237.
    """
    if kspace.n_channels <= n_virtual:
        return kspace
    centre = calibration_samples(kspace, echo=0).flatten(1)
    mixing = _principal_rows(centre @ centre.mH, n_virtual).cpu().numpy()
    on_disk = isinstance(kspace.samples, np.memmap)
    kept = scratch((n_virtual, *kspace.samples.shape[1:]), on_disk=on_disk)
    _mix(kspace.samples, mixing, kept)
    return replace(kspace, samples=kept, calibration=_mix_calibration(kspace, mixing))


def compress_maps(maps: Tensor, image: Tensor, n_virtual: int) -> Tensor:
    """Compress sensitivities (channel, x, y, z) to virtual channels of most signal of an image."""
    if len(maps) <= n_virtual:
        return maps
    received = (maps * image).flatten(1)
    return torch.einsum("vc,cxyz->vxyz", _principal_rows(received @ received.mH, n_virtual), maps)


def calibration_samples(
    kspace: KSpace, *, echo: int, channels: slice = slice(None), x: slice = slice(None)
) -> Tensor:
    """Fully sampled centre of one echo, complex (channel, x, ky, kz), on the pattern's device.

    From a separate calibration scan where there is one, else from the samples themselves.
    """
    if kspace.calibration is not None:
        separate = kspace.calibration[channels, min(echo, kspace.calibration.shape[1] - 1), x]
        return torch.from_numpy(np.ascontiguousarray(separate)).to(kspace.sampled.device)
    sampled = kspace.sampled.cpu()
    order = torch.full(sampled.shape, -1)
    order[sampled] = torch.arange(int(sampled.sum()))
    chosen = kspace.samples[channels, echo, x][..., order[calibration_box(sampled)].numpy()]
    return torch.from_numpy(np.ascontiguousarray(chosen)).to(kspace.sampled.device)


def low_resolution(
    kspace: KSpace, *, echo: int = 0, channels: slice = slice(None), x: slice = slice(None)
) -> Tensor:
    """Low-resolution images of one echo from the calibration region with a Hann window.

    They replace receive sensitivities in the coil combination: the same weights for every echo
    preserve the evolution of the phase with echo time.

    Args:
        kspace: samples with a fully sampled centre.
        echo: index of the echo.
        channels: the channels to use.
        x: the readout positions to use.

    Returns:
        complex64 (channel, x, y, z).

    Raises:
        InputError: a pattern without a measured zero frequency.

    Source: McKenzie et al. 2002, Magn Reson Med 47:529, doi 10.1002/mrm.10087.
    """
    centre = calibration_samples(kspace, echo=echo, channels=channels, x=x)
    windows = [
        torch.hann_window(n + 2, periodic=False, device=centre.device)[1:-1]
        for n in centre.shape[-2:]
    ]
    planes = centre.new_zeros(*centre.shape[:-2], *kspace.sampled.shape)
    y, z = (centred_slice(n, m) for n, m in zip(planes.shape[-2:], centre.shape[-2:], strict=True))
    planes[..., y, z] = centre * torch.outer(windows[0], windows[1])
    return ifft(planes, PHASE_ENCODES)


def _mix(
    samples: npt.NDArray[np.complex64],
    mixing: npt.NDArray[np.complex64],
    out: npt.NDArray[np.complex64],
) -> None:
    """Write mixing @ samples to ``out``, a few readout positions at a time."""
    for start in range(0, samples.shape[2], READOUTS_AT_ONCE):
        here = slice(start, start + READOUTS_AT_ONCE)
        part = np.ascontiguousarray(samples[:, :, here])
        mixed = mixing @ part.reshape(len(samples), -1)
        out[:, :, here] = mixed.reshape(len(mixing), *part.shape[1:])


def _mix_calibration(
    kspace: KSpace, mixing: npt.NDArray[np.complex64]
) -> npt.NDArray[np.complex64] | None:
    """mixing @ calibration, or None without a separate calibration scan."""
    if kspace.calibration is None:
        return None
    mixed = mixing @ kspace.calibration.reshape(kspace.n_channels, -1)
    return np.asarray(mixed.reshape(len(mixing), *kspace.calibration.shape[1:]), np.complex64)


def _principal_rows(covariance: Tensor, n: int) -> Tensor:
    """Projection onto the eigenvectors of the ``n`` largest eigenvalues, (n, channel)."""
    vectors = torch.linalg.eigh(covariance)[1]
    rows: Tensor = vectors[:, -n:].flip(-1).mH.resolve_conj()
    return rows


def _whitening_matrix(
    noise: npt.NDArray[np.complex64], n_channels: int
) -> npt.NDArray[np.complex64]:
    """Whitening matrix L^-1 of the noise covariance L L^H."""
    if noise.ndim != 2 or noise.shape[0] != n_channels or noise.shape[1] < 2 * n_channels:
        raise InputError(
            f"noise scan: expected ({n_channels}, {2 * n_channels} samples or more), "
            f"found {noise.shape}"
        )
    samples = np.asarray(noise, dtype=np.complex128)
    covariance = samples @ samples.conj().T / samples.shape[1]
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        raise InputError(
            "noise scan: expected independent channels, found a singular covariance"
        ) from None
    return np.asarray(np.linalg.inv(lower), dtype=np.complex64)
