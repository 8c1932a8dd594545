"""Simulated scanner: noisy k-space of every channel and echo from a digital head."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.fourier import READOUT, cropped_spectrum, ifft
from accelqsm.grid import Shape
from accelqsm.kspace import KSpace, check_pattern
from accelqsm.simulate.coils import HeadCoil, head_coil
from accelqsm.simulate.field import field_map
from accelqsm.simulate.heads.head import Head
from accelqsm.simulate.signal import spoiled_gradient_echo

__all__ = ["acquire", "field_map", "scan", "spoiled_gradient_echo", "transverse_signal"]

NOISE_SAMPLES = 8192
SLAB_HALF_WIDTH = 0.46
SLAB_EDGE = 0.012
"""Half-height and steepness of the slab's edges, as fractions of the field of view."""
WHITE_MATTER_T1_S = 1.0
READOUTS_AT_ONCE = 16


def scan(
    head: Head,
    acquisition: Acquisition,
    patterns: Mapping[str, Tensor],
    *,
    n_channels: int,
    snr: float,
    seed: int,
    coil_seed: int = 0,
    sessions: Mapping[str, str] | None = None,
) -> dict[str, KSpace]:
    """Scan a head once per sampling pattern: the same signal, with noise of each session.

    S_ce = C_c M exp(-TE_e R2*) exp(i (phi_c + 2 pi df TE_e)) on the fine grid of the head, Fourier
    transformed and cropped to the acquired k-space, plus noise of covariance sigma^2 Psi.

    Args:
        head: tissue on ``acquisition.grid.refined(factors)`` for some whole factors.
        acquisition: grid, echo times, field strength, repetition time and flip angle.
        patterns: name -> pattern of each scan, as that of ``KSpace``: bool (y, z), or
            (echo, y, z).
        n_channels: number of receive loops.
        snr: signal of white matter at echo time zero, in the optimally combined fully sampled
            image, over the standard deviation of its noise per real component.
        seed: seed of shim and noise, which differ between scans.
        coil_seed: seed of the coil, which is the same for all scans.
        sessions: name -> name of the scan whose k-space it is drawn from, noise included, as if
            that had been sampled fully; by default each is a scan of its own.

    Returns:
        Hybrid-space samples and a noise scan, by pattern name.

    Raises:
        InputError: grids that do not nest, patterns of another shape, or a non-positive SNR.

    Source: Marques et al. 2021, Magn Reson Med 86:526, doi 10.1002/mrm.28716.
    """
    _check_refinement(head, acquisition)
    if not snr > 0:
        raise InputError(f"snr: expected a positive number, found {snr}")
    coil = head_coil(head.grid, n_channels=n_channels, seed=coil_seed)
    echoes = transverse_signal(head, acquisition, seed=seed)
    samples = _noiseless_samples(coil, echoes, acquisition, patterns)
    sigma = (
        _reference_signal(
            head, acquisition, head_coil(acquisition.grid, n_channels=n_channels, seed=coil_seed)
        )
        / snr
    )
    mixing = np.linalg.cholesky(coil.noise_covariance) * sigma
    scans = {}
    for name, sampled in patterns.items():
        session = (sessions or {}).get(name, name)
        key = zlib.crc32(session.encode())
        rng = np.random.default_rng([seed, 6, key])
        if session == name:
            _add_noise(samples[name], mixing, rng)
        else:
            both = (p.expand(acquisition.n_echoes, -1, -1) for p in (patterns[session], sampled))
            rngs = rng, np.random.default_rng([seed, 9, key])
            _add_noise_of_session(samples[name], mixing, *both, rngs=rngs)
        noise_scan = _noise(mixing, (NOISE_SAMPLES,), rng)
        scans[name] = KSpace(acquisition, sampled, samples[name], noise_scan)
    return scans


def transverse_signal(head: Head, acquisition: Acquisition, *, seed: int) -> Tensor:
    """Signal of every echo without receive sensitivity, complex64 (echo, x, y, z).

    Includes the intra-voxel dephasing by field gradients G across the voxel size d,
    prod_i sinc(G_i TE d_i).
    """
    steady = spoiled_gradient_echo(
        head.proton_density,
        head.t1_s,
        repetition_time_s=acquisition.repetition_time_s,
        flip_angle_deg=acquisition.flip_angle_deg,
    ) * _slab_profile(head.grid.shape[2])
    field_hz = field_map(head, field_strength_t=acquisition.field_strength_t, seed=seed)
    echoes = torch.empty(acquisition.n_echoes, *head.grid.shape, dtype=torch.complex64)
    # In Hz per voxel.
    gradients = torch.gradient(field_hz)
    for echo, echo_time_s in zip(echoes, acquisition.echo_times_s, strict=True):
        magnitude = steady * torch.exp(-echo_time_s * head.r2star_per_s)
        for gradient in gradients:
            magnitude *= torch.sinc(gradient * echo_time_s)
        torch.polar(magnitude, 2 * torch.pi * echo_time_s * field_hz, out=echo)
    return echoes


def acquire(image: Tensor, shape: Shape) -> Tensor:
    """Hybrid-space samples of a fine image (..., x, y, z), cropped to k-space of ``shape``.

    Axis x is in image space; the scale preserves the values of a smooth image.
    """
    for axis, size in zip((-1, -2, -3), reversed(shape), strict=True):
        image = cropped_spectrum(image, axis, size) * (size / image.shape[axis]) ** 0.5
    return ifft(image, READOUT)


def _noiseless_samples(
    coil: HeadCoil, echoes: Tensor, acquisition: Acquisition, patterns: Mapping[str, Tensor]
) -> dict[str, npt.NDArray[np.complex64]]:
    """Signal of every channel at the sampled positions, (channel, echo, x, sample) by name."""
    shape = acquisition.grid.shape
    for name, sampled in patterns.items():
        check_pattern(f"pattern {name}", sampled, (shape[1], shape[2]), acquisition.n_echoes)
    of_echoes = {
        name: sampled.expand(acquisition.n_echoes, *shape[1:]) for name, sampled in patterns.items()
    }
    samples = {
        name: np.empty((len(coil), len(each), shape[0], int(each[0].sum())), dtype=np.complex64)
        for name, each in of_echoes.items()
    }
    for channel, sensitivity in enumerate(coil):
        for number, echo in enumerate(echoes):
            hybrid = acquire(sensitivity * echo, shape)
            for name, each in of_echoes.items():
                samples[name][channel, number] = hybrid[:, each[number]].numpy()
    return samples


def _reference_signal(head: Head, acquisition: Acquisition, coil: HeadCoil) -> float:
    """White-matter signal at echo time zero, in noise SD of the optimal combination."""
    strided = tuple(
        slice(full // 2 - (size // 2) * (full // size), None, full // size)
        for full, size in zip(head.grid.shape, acquisition.grid.shape, strict=True)
    )
    brain, t1_s = head.brain[strided], head.t1_s[strided]
    white = brain & (t1_s < WHITE_MATTER_T1_S) & (head.labels[strided] == 0)
    chosen = white if white.any() else (brain if brain.any() else torch.ones_like(brain))
    steady = spoiled_gradient_echo(
        head.proton_density[strided][chosen],
        t1_s[chosen],
        repetition_time_s=acquisition.repetition_time_s,
        flip_angle_deg=acquisition.flip_angle_deg,
    )
    received = torch.stack([sensitivity[chosen] for sensitivity in coil])
    covariance = torch.from_numpy(coil.noise_covariance).to(received)
    whitened = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance), received, upper=False
    )
    return float((steady * whitened.abs().square().sum(0).sqrt()).mean())


def _add_noise(
    samples: npt.NDArray[np.complex64],
    mixing: npt.NDArray[np.complexfloating],
    rng: np.random.Generator,
) -> None:
    """Add noise to (channel, echo, x, sample) in place."""
    _, n_echoes, n_readout, n_samples = samples.shape
    for echo in range(n_echoes):
        for start in range(0, n_readout, READOUTS_AT_ONCE):
            part = samples[:, echo, start : start + READOUTS_AT_ONCE]
            part += _noise(mixing, (part.shape[1], n_samples), rng)


def _add_noise_of_session(
    samples: npt.NDArray[np.complex64],
    mixing: npt.NDArray[np.complexfloating],
    own: Tensor,
    drawn: Tensor,
    *,
    rngs: tuple[np.random.Generator, np.random.Generator],
) -> None:
    """Add the noise of a session to samples that are drawn from it, in place.

    Args:
        samples: (channel, echo, x, sample).
        mixing: as in ``_noise``.
        own, drawn: bool (echo, y, z), where the session was sampled, and what is drawn from it.
        rngs: of the noise at the session's own samples, and at all others.
    """
    lines = samples.shape[:3]
    parts = []
    for here, rng in zip((own, ~own), rngs, strict=True):
        part = np.zeros((*lines, int(here[0].sum())), dtype=np.complex64)
        _add_noise(part, mixing, rng)
        parts.append((here.numpy(), part))
    for echo, wanted in enumerate(drawn.numpy()):
        plane = np.empty((lines[0], lines[2], *wanted.shape), dtype=np.complex64)
        for places, part in parts:
            plane[..., places[echo]] = part[:, echo]
        samples[:, echo] += plane[..., wanted]


def _noise(
    mixing: npt.NDArray[np.complexfloating], shape: tuple[int, ...], rng: np.random.Generator
) -> npt.NDArray[np.complex64]:
    """Complex noise (channel, ...), ``mixing`` times independent unit noise per real component."""
    white = rng.standard_normal((len(mixing), *shape, 2), dtype=np.float32)
    independent = white.view(np.complex64)[..., 0]
    return np.tensordot(mixing.astype(np.complex64), independent, axes=1)


def _slab_profile(n_partitions: int) -> Tensor:
    """Slab excitation profile along z, almost zero at the edges of the field of view."""
    position = (torch.arange(n_partitions) - n_partitions // 2).abs() / n_partitions
    return torch.sigmoid((SLAB_HALF_WIDTH - position) / SLAB_EDGE)


def _check_refinement(head: Head, acquisition: Acquisition) -> None:
    """Check that the grid of the head is an integer refinement of the acquired grid."""
    fine, coarse = head.grid, acquisition.grid
    x, y, z = (max(1, a // b) for a, b in zip(fine.shape, coarse.shape, strict=True))
    expected = coarse.refined((x, y, z))
    if expected.shape != fine.shape or not np.allclose(expected.matrix, fine.matrix, atol=1e-3):
        raise InputError(
            f"head grid: expected a whole refinement of the acquired grid {coarse.shape}, "
            f"found {fine.shape}"
        )
