"""Simulated T1-weighted scan (MPRAGE)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.grid import Grid, centred_grid
from accelqsm.simulate.heads.head import Head

WHITE_MATTER_T1_S = 1.0
BIAS_LARGEST = 0.25
FIELD_OF_VIEW_MM = (192, 240, 200)


def t1w_grid(voxel_mm: float = 1.0) -> Grid:
    """Grid of isotropic voxels over a whole head."""
    x, y, z = (round(extent / voxel_mm) for extent in FIELD_OF_VIEW_MM)
    return centred_grid((x, y, z), (voxel_mm,) * 3, centre_mm=(0.0, -17.0, 0.0))


T1W_GRID = t1w_grid()
"""Grid of 1 mm voxels over a whole head."""


@dataclass(frozen=True)
class Mprage:
    """Timing of an MPRAGE at 3 T.

    Attributes:
        repetition_time_s: time between inversions.
        inversion_time_s: time from inversion to the excitation at the centre of k-space.
        echo_spacing_s: time between excitations.
        n_excitations: excitations after each inversion; the middle one is the centre of k-space.
        flip_angle_deg: flip angle of each excitation.
        echo_time_s: time from excitation to echo.
        inversion_efficiency: 1 for complete inversion.

    Raises:
        InputError: a train of excitations that does not fit between two inversions.
    """

    repetition_time_s: float = 2.3
    inversion_time_s: float = 0.9
    echo_spacing_s: float = 0.007
    n_excitations: int = 176
    flip_angle_deg: float = 9.0
    echo_time_s: float = 0.003
    inversion_efficiency: float = 0.96

    def __post_init__(self) -> None:
        if min(self.waiting_times_s) < 0:
            raise InputError(
                f"MPRAGE: expected {self.n_excitations} excitations of {self.echo_spacing_s:g} s "
                f"around {self.inversion_time_s:g} s to fit into {self.repetition_time_s:g} s"
            )

    @property
    def waiting_times_s(self) -> tuple[float, float]:
        """Free recovery before and after the train of excitations, in seconds."""
        before = self.n_excitations // 2 * self.echo_spacing_s
        after = (self.n_excitations - self.n_excitations // 2) * self.echo_spacing_s
        return (
            self.inversion_time_s - before,
            self.repetition_time_s - self.inversion_time_s - after,
        )


def mprage_signal(
    proton_density: Tensor, t1_s: Tensor, r2star_per_s: Tensor, *, timing: Mprage
) -> Tensor:
    """Steady-state MPRAGE signal at the centre of k-space.

    Free recovery and excitation are affine maps Mz -> a Mz + b, and so is a whole cycle, Mz ->
    A Mz + B; the steady state is Mz = B / (1 - A), and the signal is
    M0 |Mz(centre)| sin(alpha) exp(-TE R2*).

    Args:
        proton_density: (x, y, z), any unit.
        t1_s: (x, y, z), longitudinal relaxation time in seconds.
        r2star_per_s: (x, y, z), transverse relaxation rate.
        timing: sequence timing.

    Returns:
        (x, y, z) in the unit of ``proton_density``, never negative.

    Source: Wang et al. 2014, PLoS ONE 9:e96899, doi 10.1371/journal.pone.0096899.
    """
    t1_s = t1_s.clamp_min(1e-3)
    angle = math.radians(timing.flip_angle_deg)
    before, after = timing.waiting_times_s
    half = timing.n_excitations // 2
    recover_before, recover_after = _recovery(t1_s, before), _recovery(t1_s, after)
    to_centre = _train(t1_s, timing.echo_spacing_s, math.cos(angle), half)
    to_end = _train(t1_s, timing.echo_spacing_s, math.cos(angle), timing.n_excitations - half)
    inversion = (
        torch.full_like(t1_s, 1 - 2 * timing.inversion_efficiency),
        torch.zeros_like(t1_s),
    )
    first = _compose(_compose(inversion, recover_before), to_centre)
    slope, offset = _compose(_compose(first, to_end), recover_after)
    steady = offset / (1 - slope)
    centre = first[0] * steady + first[1]
    return (
        proton_density
        * centre.abs()
        * math.sin(angle)
        * torch.exp(-timing.echo_time_s * r2star_per_s)
    )


def t1w_scan(head: Head, *, snr: float, seed: int, timing: Mprage | None = None) -> Tensor:
    """MPRAGE magnitude of a head, with receive bias field and Rician noise.

    ``|b M + n|``: b is a smooth bias field between 0.75 and 1, n complex white noise.

    Args:
        head: tissue on the grid of the scan.
        snr: mean signal of white matter over the noise's standard deviation per real component.
        seed: seed of the bias field and the noise.
        timing: sequence timing; by default a typical protocol at 3 T.

    Returns:
        (x, y, z), float32; white matter is near 1000.

    Raises:
        InputError: a non-positive SNR, or a head without white matter on its grid.
    """
    if not snr > 0:
        raise InputError(f"snr: expected a positive number, found {snr}")
    white = head.brain & (head.t1_s < WHITE_MATTER_T1_S) & (head.labels == 0)
    if not white.any():
        raise InputError("T1w scan: expected white matter on the grid, found none")
    signal = mprage_signal(
        head.proton_density, head.t1_s, head.r2star_per_s, timing=timing or Mprage()
    )
    signal = signal * (1000.0 / signal[white].mean())
    rng = np.random.default_rng([seed, 9])
    signal = signal * _bias_field(head.grid, rng)
    noise = torch.from_numpy(rng.standard_normal((2, *head.grid.shape), dtype=np.float32))
    return torch.hypot(signal + 1000.0 / snr * noise[0], 1000.0 / snr * noise[1])


Step = tuple[Tensor, Tensor]
"""Affine map of the magnetisation, Mz -> slope * Mz + offset."""


def _recovery(t1_s: Tensor, time_s: float) -> Step:
    left = torch.exp(-time_s / t1_s)
    return left, 1 - left


def _train(t1_s: Tensor, spacing_s: float, cosine: float, n: int) -> Step:
    """``n`` excitations, each followed by recovery, as a geometric series."""
    left, gained = _recovery(t1_s, spacing_s)
    ratio = left * cosine
    slope = ratio**n
    return slope, gained * (1 - slope) / (1 - ratio)


def _compose(first: Step, second: Step) -> Step:
    return first[0] * second[0], first[1] * second[0] + second[1]


def _bias_field(grid: Grid, rng: np.random.Generator) -> Tensor:
    """Smooth receive bias field (x, y, z) between 1 - BIAS_LARGEST and 1."""
    weights = torch.from_numpy(rng.uniform(-1, 1, 6)).float()
    x, y, z = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in grid.shape), indexing="ij")
    terms = [x, y, z, x * y, y * z, x * x - z * z]
    shape = sum(w * t for w, t in zip(weights, terms, strict=True))
    assert isinstance(shape, Tensor)
    lowest, highest = shape.min(), shape.max()
    return 1 - BIAS_LARGEST * (highest - shape) / (highest - lowest)
