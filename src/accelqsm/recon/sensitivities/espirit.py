"""Receive sensitivities from the fully sampled centre of k-space (ESPIRiT)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, centred_slice, fft
from accelqsm.kspace import KSpace
from accelqsm.recon.channels import calibration_noise_sd, calibration_samples, low_resolution
from accelqsm.recon.method_settings import SensitivitySettings
from accelqsm.recon.sense import in_phase_with
from accelqsm.runtime.arrays import as_tensor

DEFAULT = SensitivitySettings()
SMALLEST_KERNEL, LEAST_ROWS = 3, 0.45
"""A kernel smaller than the settings' is taken where the centre has fewer windows than this share
of the numbers in one: the space of the signal would lack much of itself."""

UNLIKE_ECHOES = 2
"""Echoes whose windows count for that: those of further ones are much like theirs."""

ENOUGH_ROWS = 16
"""Windows per number in one, beyond which further echoes add nothing."""

POWER_ITERATIONS = 12
AIR, TISSUE = 0.7, 0.95
"""Eigenvalues between which the support rises from its minimum to 1."""

LEAST_NOISE = 0.01
"""Of the largest singular value: the least that is taken for noise. Windows of a finite centre are
of low rank but for so much, and samples that a scanner filtered tell of too little noise."""

LEAST_SUPPORT = 0.1
KNOWN = 1e-3
"""Of the largest of given sensitivities, what is more than nothing."""


@dataclass(frozen=True)
class Sensitivities:
    """Receive sensitivities and their support.

    Attributes:
        maps: complex64 (channel, x, y, z), sum |C_c|^2 = 1, also in air.
        support: float32 (x, y, z), 1 where the eigenvalue of the sensitivities is near 1, down to
            0.1 where it is lower, as in air. Unconstrained values in air amplify the noise of the
            tissue that aliases onto it: ``support * maps`` in a reconstruction acts as a prior
            standard deviation of ``support`` on the image there.
    """

    maps: Tensor
    support: Tensor

    @property
    def supported(self) -> Tensor:
        """Sensitivities weighted by their support, support * maps."""
        return self.support * self.maps


def espirit(
    kspace: KSpace,
    *,
    x: slice = slice(None),
    settings: SensitivitySettings = DEFAULT,
    noise_power: float | None = None,
) -> Sensitivities:
    """Receive sensitivities C_c by ESPIRiT, with sum |C_c|^2 = 1.

    Windows of k x k samples of all channels and echoes (the rows of the calibration matrix) span a
    space of low rank; the sensitivities at a voxel are the eigenvector to the eigenvalue one of the
    projection onto it. A singular vector belongs to that space by lambda / (lambda + n), lambda its
    squared singular value and n the largest that noise alone would give (Marchenko and Pastur):
    little of the signal is cut off at high SNR, and little noise let in at low. The phase of each
    voxel is relative to the low-resolution combination of the channels in the first echo. In air
    the largest eigenvalue is smaller than one.

    Args:
        kspace: whitened samples with a fully sampled centre. Where it has sensitivities that were
            found apart, these are taken, with their phase turned as above.
        x: which readout positions.
        settings: size k of the kernel, the part of the centre that the windows are taken from,
            and a threshold in place of the weights by noise. Where the centre has few windows, k
            is smaller.
        noise_power: mean squared magnitude of the noise of a sample; found from the samples unless
            given.

    Returns:
        Sensitivities and their support.

    Raises:
        InputError: a centre smaller than the kernel, or a plane too small for it.

    Source: Uecker et al. 2014, Magn Reson Med 71:990, doi 10.1002/mrm.24751; weights in place of a
    threshold also in Iyer et al., arXiv 1811.05672, from Stein's unbiased risk estimate.
    """
    reference = low_resolution(kspace, x=x)
    if kspace.sensitivities is not None:
        return _given(kspace, kspace.sensitivities[:, x], reference)
    if noise_power is None:
        noise_power = needed_noise_power(kspace, settings)
    windows = _windows(kspace, x, settings)
    maps, support = torch.empty_like(reference), torch.empty_like(reference[0].real)
    values, vectors = torch.linalg.eigh(windows.grams)
    for position, (squares, own) in enumerate(zip(values, vectors, strict=True)):
        weights = _weights(squares, windows.n_rows, noise_power, settings.singular_share)
        projection = _projection(own, weights, windows.kernel, kspace.plane)
        maps[:, position], eigenvalue = _largest(projection, reference[:, position])
        support[position] = ((eigenvalue - AIR) / (TISSUE - AIR)).clamp(LEAST_SUPPORT, 1.0)
    return Sensitivities(maps, support)


def noise_power_of(kspace: KSpace) -> float:
    """Mean squared magnitude of the noise of the centre, over the channels that have any."""
    sd = kspace.gain * calibration_noise_sd(kspace)
    return float(2 * np.square(sd[sd > 0]).mean()) if sd.any() else 0.0


def needed_noise_power(kspace: KSpace, settings: SensitivitySettings) -> float:
    """The same, 0 where the sensitivities do not depend on it; for scans in several parts."""
    needless = kspace.sensitivities is not None or settings.singular_share is not None
    return 0.0 if needless else noise_power_of(kspace)


def _given(
    kspace: KSpace, sensitivities: npt.NDArray[np.complex64], reference: Tensor
) -> Sensitivities:
    """Sensitivities that were found apart, in phase with the reference."""
    given = as_tensor(sensitivities).to(kspace.sampled.device)
    size = torch.linalg.vector_norm(torch.view_as_real(given), dim=(0, 4))
    known = size > KNOWN * size.max()
    weak = torch.linalg.vector_norm(torch.view_as_real(reference), dim=(0, 4)).clamp_min(1e-20)
    maps = torch.where(known, given / size.clamp_min(1e-20), reference / weak)
    return Sensitivities(in_phase_with(reference, maps), torch.where(known, 1.0, LEAST_SUPPORT))


def _part(centre: Tensor, largest: tuple[int, int] | None) -> Tensor:
    """Crop a centre of k-space (..., ky, kz) to at most the given size."""
    if largest is None:
        return centre
    y, z = (
        centred_slice(n, min(n, most)) for n, most in zip(centre.shape[-2:], largest, strict=True)
    )
    return centre[..., y, z]


def _check(centre: Tensor, kspace: KSpace, kernel: int) -> None:
    """Check that the calibration region and the plane are large enough for the kernel."""
    if min(centre.shape[-2:]) < kernel:
        raise InputError(
            f"calibration: expected {kernel} x {kernel} samples or more for the sensitivities, "
            f"found {centre.shape[-2]} x {centre.shape[-1]}"
        )
    n_y, n_z = kspace.plane
    if min(n_y, n_z) < 2 * kernel - 1:
        raise InputError(
            f"sensitivities: expected {2 * kernel - 1} positions or more along ky and kz for a "
            f"kernel of {kernel}, found {n_y} x {n_z}"
        )


@dataclass(frozen=True)
class _Windows:
    """Gram matrices A^H A (x, n, n) of calibration matrices A of n_rows rows, n = channel k^2."""

    grams: Tensor
    n_rows: int
    kernel: int


def _windows(kspace: KSpace, x: slice, settings: SensitivitySettings) -> _Windows:
    """Windows of the largest kernel that there are enough of, from as many echoes as it takes."""
    first = _part(calibration_samples(kspace, echo=0, x=x), settings.calibration)
    _check(first, kspace, settings.kernel)
    apart, n_channels = kspace.calibration, kspace.n_channels
    n_echoes = kspace.acquisition.n_echoes if apart is None else apart.shape[1]
    unlike = min(n_echoes, UNLIKE_ECHOES)
    kernels = range(settings.kernel, min(settings.kernel, SMALLEST_KERNEL) - 1, -1)
    enough = (k for k in kernels if unlike * _n_rows(first, k) >= LEAST_ROWS * n_channels * k**2)
    kernel = next(enough, kernels[-1])
    grams, n_rows = _grams(first, kernel), _n_rows(first, kernel)
    middle = (kspace.plane[0] // 2, kspace.plane[1] // 2)
    for echo in range(1, n_echoes):
        if n_rows >= ENOUGH_ROWS * n_channels * kernel**2:
            break
        if apart is None and not kspace.pattern(echo)[middle]:
            continue
        centre = _part(calibration_samples(kspace, echo=echo, x=x), settings.calibration)
        if min(centre.shape[-2:]) >= kernel:
            grams, n_rows = grams + _grams(centre, kernel), n_rows + _n_rows(centre, kernel)
    return _Windows(grams, n_rows, kernel)


def _n_rows(centre: Tensor, kernel: int) -> int:
    """Windows of a centre (..., ky, kz)."""
    n_y, n_z = centre.shape[-2:]
    return (n_y - kernel + 1) * (n_z - kernel + 1)


def _grams(centre: Tensor, kernel: int) -> Tensor:
    """Gram matrices A^H A of the calibration matrix of every readout position."""
    windows = centre.unfold(-2, kernel, 1).unfold(-2, kernel, 1)
    channels, n_x = centre.shape[:2]
    rows = windows.permute(1, 2, 3, 0, 4, 5).reshape(n_x, -1, channels * kernel**2)
    grams: Tensor = rows.mH @ rows
    return grams


def _weights(values: Tensor, n_rows: int, noise_power: float, share: float | None) -> Tensor:
    """How far each singular vector belongs to the signal, from its squared singular value."""
    if share is not None:
        return (values > share**2 * values[-1]).to(values)
    signal = values.clamp_min(0)
    largest = noise_power * (math.sqrt(n_rows) + math.sqrt(len(values))) ** 2
    noise = (LEAST_NOISE**2 * signal[-1]).clamp_min(largest)
    return signal / (signal + noise).clamp_min(torch.finfo(values.dtype).tiny)


def _projection(vectors: Tensor, weights: Tensor, kernel: int, plane: tuple[int, int]) -> Tensor:
    """Projection onto the space of the signal at every voxel, (y, z, channel, channel)."""
    n_y, n_z = plane
    channels, reach = len(vectors) // kernel**2, kernel - 1
    space = (weights * vectors.conj()) @ vectors.T
    lags = _lags(space.reshape(channels, kernel**2, channels, kernel**2), kernel)
    padded = lags.new_zeros(channels, channels, n_y, n_z)
    y, z = (slice(n // 2 - reach, n // 2 + kernel) for n in plane)
    padded[..., y, z] = lags
    scale = math.sqrt(n_y * n_z) / kernel**2
    return scale * fft(padded, PHASE_ENCODES).permute(2, 3, 0, 1)


def _largest(projection: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Sensitivities (channel, y, z) of one plane, relative to the reference phase; eigenvalues."""
    vector = reference.permute(1, 2, 0)[..., None]
    vector = vector / _norm(vector).clamp_min(1e-20)
    start = vector
    for _ in range(POWER_ITERATIONS):
        vector = projection @ vector
        eigenvalue = _norm(vector)
        vector /= eigenvalue.clamp_min(1e-20)
    along = (start.mH @ vector).squeeze(-1)
    vector = vector[..., 0] * torch.polar(torch.ones_like(along.abs()), -along.angle())
    maps: Tensor = vector.permute(2, 0, 1)
    return maps, eigenvalue[..., 0, 0]


def _norm(vector: Tensor) -> Tensor:
    """Norm over the channels of (y, z, channel, 1), as (y, z, 1, 1)."""
    # Real and imaginary parts as an axis: the complex norm takes 40 times as long on a CPU.
    norm: Tensor = torch.linalg.vector_norm(torch.view_as_real(vector), dim=(2, 4))
    return norm[..., None]


def _lags(products: Tensor, kernel: int) -> Tensor:
    """Sums over the pairs of positions (a, b) in a window with the same lag b - a.

    Args:
        products: (channel, k^2, channel, k^2).
        kernel: k.

    Returns:
        (channel, channel, 2 k - 1, 2 k - 1), lag zero in the middle.
    """
    n = 2 * kernel - 1
    y, z = np.divmod(np.arange(kernel**2), kernel)
    place = (y[None] - y[:, None] + kernel - 1) * n + z[None] - z[:, None] + kernel - 1
    channels = products.shape[0]
    flat = products.permute(0, 2, 1, 3).reshape(channels, channels, -1)
    sums = flat.new_zeros(channels, channels, n * n)
    sums.index_add_(2, torch.from_numpy(place.ravel()).to(flat.device), flat)
    return sums.reshape(channels, channels, n, n)
