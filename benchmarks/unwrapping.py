"""Wrong voxels and CPU time of phase unwrapping, beside scikit-image, as a Markdown table.

A digital head at TE 28 ms, 1.5 x 1.5 x 2 mm at 3 T, whose k-space is cut from a grid twice as
fine. A voxel is wrong where it differs from the true phase by more than pi, after the whole turns
that are most common are taken off. Where the field changes by more than a turn across a voxel,
its signal cancels and its phase says nothing: the last columns leave such voxels out.
Needs the [bench] extra. Usage: python benchmarks/unwrapping.py [SEED ...]
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.grid import centred_grid
from accelqsm.qsm.field.unwrap import unwrap_spun
from accelqsm.simulate.field import field_map
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.scanner import acquire, transverse_signal

ECHO_TIMES_S = (0.0001, 0.028)
"""The first only gives the signal at time zero, to which the noise is set."""

WHITE_MATTER_T1_S = 1.0
SNRS = (100.0, 30.0)
N_RUNS = 5
Unwrap = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Phantom:
    """A head without noise; every volume is (x, y, z).

    Attributes:
        image: complex, at TE 28 ms, white matter being 1 at time zero.
        brain: bool.
        phase_rad: true phase, not wrapped.
        step_rad: largest true step to a neighbour.
    """

    image: Tensor
    brain: Tensor
    phase_rad: Tensor
    step_rad: Tensor


def phantom(seed: int) -> Phantom:
    """Lay out a head on the fine grid and cut its k-space to the acquired one."""
    grid = centred_grid((108, 132, 74), (1.5, 1.5, 2.0), centre_mm=(0.0, -17.0, 5.0))
    acquisition = Acquisition(grid, ECHO_TIMES_S, 3.0, repetition_time_s=0.035, flip_angle_deg=15.0)
    head = digital_head(grid.refined((2, 2, 2)), seed=seed)
    at_start, image = (
        ifft(acquire(echo, grid.shape), PHASE_ENCODES)
        for echo in transverse_signal(head, acquisition, seed=seed)
    )
    field_hz = field_map(head, field_strength_t=3.0, seed=seed)
    here = (slice(None, None, 2),) * 3
    brain = head.brain[here]
    white = brain & (head.t1_s[here] < WHITE_MATTER_T1_S) & (head.labels[here] == 0)
    phase_rad = math.tau * ECHO_TIMES_S[-1] * field_hz[here]
    return Phantom(image / at_start.abs()[white].median(), brain, phase_rad, _largest(phase_rad))


def _largest(phase_rad: Tensor) -> Tensor:
    """Largest step from each voxel to one of its 6 neighbours."""
    largest = torch.zeros_like(phase_rad)
    for axis, size in enumerate(phase_rad.shape):
        step = phase_rad.diff(dim=axis).abs()
        for start in (0, 1):
            part = largest.narrow(axis, start, size - 1)
            part.copy_(torch.maximum(part, step))
    return largest


def by_skimage(phase_rad: Tensor, magnitude: Tensor, mask: Tensor) -> Tensor:
    """scikit-image's best-path unwrapping (which does not use the magnitude) inside a mask."""
    from skimage.restoration import unwrap_phase

    masked = np.ma.array(phase_rad.double().numpy(), mask=~mask.numpy())
    return torch.from_numpy(np.asarray(unwrap_phase(masked).filled(0))).to(phase_rad)


def noisy(head: Phantom, snr: float) -> Tensor:
    """The image with noise."""
    noise = torch.randn(
        head.image.shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)
    )
    return head.image + noise * (math.sqrt(2) / snr)


def wrong_voxels(unwrapped: Tensor, true_rad: Tensor, brain: Tensor) -> Tensor:
    """Where a phase is off by more than pi after the most common whole turns, bool (x, y, z)."""
    error = (unwrapped - true_rad) / math.tau
    return (error - error[brain].round().median()).abs() > 0.5


def row(name: str, unwrap: Unwrap, head: Phantom, snr: float) -> str:
    """One line of the table."""
    image = noisy(head, snr)
    wrapped, magnitude = image.angle(), image.abs()
    unwrap(wrapped, magnitude, head.brain)
    seconds = []
    for _ in range(N_RUNS):
        start = time.process_time()
        unwrapped = unwrap(wrapped, magnitude, head.brain)
        seconds.append(time.process_time() - start)
    wrong = wrong_voxels(unwrapped, head.phase_rad, head.brain)
    shares = [
        float(wrong[head.brain & (head.step_rad < limit)].float().mean())
        for limit in (math.inf, math.tau, math.pi)
    ]
    nanoseconds = 1e9 * statistics.median(seconds) / int(head.brain.sum())
    found = " | ".join(f"{share:.5f}" for share in shares)
    return f"| {name} | {snr:g} | {found} | {nanoseconds:.0f} |"


def main() -> None:
    """Both methods on the same heads and the same noise, one after the other."""
    torch.set_num_threads(1)
    print(
        "| Head | Method | SNR | Wrong | Below a turn a voxel | Below half a turn | CPU ns/voxel |"
    )
    print("|---:|---|---:|---:|---:|---:|---:|")
    for seed in [int(word) for word in sys.argv[1:]] or [3, 7]:
        head = phantom(seed)
        for snr in SNRS:
            for name, unwrap in (("SPUN", unwrap_spun), ("scikit-image", by_skimage)):
                print(f"| {seed} {row(name, unwrap, head, snr)}", flush=True)


if __name__ == "__main__":
    main()
