"""Receive channels: noise, prewhitening, coil compression and low-resolution images."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, centred_slice, hann_window, ifft
from accelqsm.kspace import KSpace, calibration_box, from_centre, sample_index, scratch
from accelqsm.runtime.arrays import as_tensor

COLUMNS_AT_ONCE = 2**16
FAR, QUIET = 0.1, 0.1
"""Shares of the samples farthest from the centre, and of the readout positions of least energy,
that tell of the noise."""

READOUTS = 48
"""Readout positions that are looked at for signal and noise, at most twice as many."""


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
    return replace(_mixed(kspace, whitening, whitened), noise_samples=None)


def noise_sd(kspace: KSpace) -> npt.NDArray[np.float64]:
    """SD of the real part of each channel's noise, (channel,), in the unit of the samples.

    From the median power of the samples far from the centre, in the last echo, at the readout
    positions of least energy, which lie in the air beside the head. Where there is no air it is
    too large, by the fine structure of the head. Samples of nought were not measured.
    """
    echo = kspace.acquisition.n_echoes - 1
    order = from_centre(kspace.pattern(echo).cpu()).numpy()
    channels = [samples[echo, some_readouts(kspace)] for samples in kspace.samples]
    order = order[np.any([(samples != 0).any(0) for samples in channels], axis=0)[order]]
    return _quiet_sd(np.stack([_power(samples[:, _far(order)]) for samples in channels]))


def calibration_noise_sd(kspace: KSpace) -> npt.NDArray[np.float64]:
    """The same of the centre of k-space, in its unit where it was measured apart."""
    if kspace.calibration is None:
        return noise_sd(kspace)
    samples = kspace.calibration[:, -1, some_readouts(kspace)]
    order = from_centre(torch.ones(samples.shape[2:], dtype=torch.bool)).numpy()
    return _quiet_sd(_power(samples.reshape(*samples.shape[:2], -1)[..., _far(order)]))


def _far(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The last positions of an order from the centre outwards, as they lie in memory."""
    return np.sort(order[-max(1, round(FAR * len(order))) :])


def _power(samples: npt.NDArray[np.complex64]) -> npt.NDArray[np.float64]:
    return np.abs(samples).astype(np.float64) ** 2


def _quiet_sd(power: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """SD of the real part of noise, (channel,), from powers (channel, x, sample)."""
    energy = power.sum(2)
    energy = (energy / np.maximum(energy.sum(1, keepdims=True), np.finfo(np.float64).tiny)).sum(0)
    measured = np.flatnonzero(energy)
    if not len(measured):
        return np.zeros(len(power))
    quiet = measured[np.argsort(energy[measured], kind="stable")]
    quiet = quiet[: max(1, round(QUIET * len(quiet)))]
    # The power of complex noise of SD s in each part is exponential, of median 2 s^2 ln 2.
    found: npt.NDArray[np.float64] = np.sqrt(
        np.median(power[:, quiet].reshape(len(power), -1), axis=1) / (2 * math.log(2))
    )
    return found


def some_readouts(kspace: KSpace) -> slice:
    """Evenly spaced readout positions, the first among them."""
    return slice(None, None, max(1, kspace.acquisition.grid.shape[0] // READOUTS))


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
    return _mixed(kspace, mixing, kept)


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
    device = kspace.sampled.device
    if kspace.calibration is not None:
        apart = kspace.calibration[channels, min(echo, kspace.calibration.shape[1] - 1), x]
        return kspace.gain * as_tensor(apart).to(device)
    sampled = kspace.pattern(echo).cpu()
    columns = sample_index(sampled)[calibration_box(sampled)].numpy()
    chosen = kspace.samples[channels, echo, x][..., columns]
    return kspace.gain * as_tensor(chosen).to(device)


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
    planes = centre.new_zeros(*centre.shape[:-2], *kspace.plane)
    y, z = (centred_slice(n, m) for n, m in zip(planes.shape[-2:], centre.shape[-2:], strict=True))
    planes[..., y, z] = centre
    window = hann_window(planes.shape[-2:], centre.shape[-2:])
    return ifft(planes * window.to(planes.device), PHASE_ENCODES)


def virtual_reference(kspace: KSpace) -> Tensor:
    """The low-resolution first echo of the strongest virtual channel, complex (x, y, z).

    Its weights are the same everywhere, so that its phase is that of the object and one smooth
    offset, without the wraps and poles of a single channel.

    Args:
        kspace: samples with a fully sampled centre.

    Source: Parker et al. 2014, Magn Reson Med 72:563, doi 10.1002/mrm.24959.
    """
    centre = calibration_samples(kspace, echo=0).flatten(1)
    weights = _principal_rows(centre @ centre.mH, 1)[0]
    total = torch.zeros(kspace.acquisition.grid.shape, dtype=centre.dtype, device=centre.device)
    for channel, weight in enumerate(weights):
        total += weight * low_resolution(kspace, channels=slice(channel, channel + 1))[0]
    return total


def _mix(
    samples: npt.NDArray[np.complex64],
    mixing: npt.NDArray[np.complex64],
    out: npt.NDArray[np.complex64],
) -> None:
    """Write mixing @ samples to ``out``, echo by echo: each is a matrix as it lies in memory."""
    for echo in range(samples.shape[1]):
        columns = samples[:, echo].reshape(len(samples), -1)
        rows = out[:, echo].reshape(len(out), -1)
        assert np.may_share_memory(rows, out), "what is written must be a view"
        for start in range(0, columns.shape[1], COLUMNS_AT_ONCE):
            here = slice(start, start + COLUMNS_AT_ONCE)
            rows[:, here] = mixing @ columns[:, here]


def _mixed(
    kspace: KSpace, mixing: npt.NDArray[np.complex64], samples: npt.NDArray[np.complex64]
) -> KSpace:
    """Mixed samples, with mixing @ calibration and sensitivities where they were found apart."""

    def mixed(values: npt.NDArray[np.complex64] | None) -> npt.NDArray[np.complex64] | None:
        if values is None:
            return None
        found = mixing @ values.reshape(kspace.n_channels, -1)
        return np.asarray(found.reshape(len(mixing), *values.shape[1:]), np.complex64)

    return replace(
        kspace,
        samples=samples,
        calibration=mixed(kspace.calibration),
        sensitivities=mixed(kspace.sensitivities),
    )


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
