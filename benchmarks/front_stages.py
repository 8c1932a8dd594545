"""CPU seconds of the stages before the field, at the published size, on one thread.

A digital head laid out on the scanned grid, one channel, for the brain mask, the coherence and the
unwrapping; random samples of 32 channels for the prewhitening, of some readout positions, whose
time is multiplied. Each stage runs once to load what is compiled.
Usage: python benchmarks/front_stages.py [--runs 3]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace
from accelqsm.qsm.brain import coherent_sums, found_brain
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.field.mdi import lag1_phase_rad
from accelqsm.qsm.field.unwrap import unwrap_spun
from accelqsm.recon.channels import prewhiten
from accelqsm.simulate.heads.head import digital_head
from accelqsm.simulate.scanner import transverse_signal
from accelqsm.virtual.protocols import PRESETS

SEED = 62
SNR = 60.0
ACCELERATION = 5
SHARE = 8
"""Of the readout positions, one of so many is prewhitened."""

PAPER = PRESETS["paper"]
Result = TypeVar("Result")


def main() -> None:
    """Print a table of the median over the runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    n_runs = parser.parse_args().runs
    torch.set_num_threads(1)
    products = head_products()
    size_mm = PAPER.acquisition.grid.voxel_size_mm
    brain, mask_s = timed(lambda: found_brain(products.magnitude[0], None, size_mm), n_runs)
    (sums, mask), edge_s = timed(
        lambda: coherent_sums(products, brain.mask, least_coherence=0.9), n_runs
    )
    phase_rad, power = lag1_phase_rad(sums), sums.products[0].abs()
    _, unwrap_s = timed(lambda: unwrap_spun(phase_rad, power, mask), n_runs)
    kspace = some_samples()
    _, white_s = timed(lambda: prewhiten(kspace), n_runs)
    _, gain_s = timed(kspace.balanced, n_runs)
    print("| stage | CPU s |\n|---|---:|")
    print(f"| prewhitening | {SHARE * white_s:.2f} |\n| largest sample | {SHARE * gain_s:.2f} |")
    print(f"| brain mask | {mask_s:.2f} |\n| coherence, edge of the mask | {edge_s:.2f} |")
    print(f"| unwrapping, SPUN | {unwrap_s:.2f} |")
    print(f"\n{int(brain.mask.sum())} voxels, {int(mask.sum())} of them coherent.")


def timed(call: Callable[[], Result], n_runs: int) -> tuple[Result, float]:
    """The last result of a function, and the median of its CPU seconds after a first run."""
    result, seconds = call(), []
    for _ in range(n_runs):
        start = time.process_time()
        result = call()
        seconds.append(time.process_time() - start)
    return result, statistics.median(seconds)


def head_products() -> LagProducts:
    """Sums of one channel of a digital head with noise."""
    acquisition = PAPER.acquisition
    head = digital_head(acquisition.grid, seed=SEED, age_years=45.0)
    echoes = transverse_signal(head, acquisition, seed=SEED)
    generator = torch.Generator().manual_seed(SEED)
    noise = torch.view_as_complex(torch.randn(*echoes.shape, 2, generator=generator))
    echoes += echoes[0].abs()[head.brain].mean() / SNR * noise
    return lag_products(echoes[None], echo_times_s=acquisition.echo_times_s)


def some_samples() -> KSpace:
    """Random samples of the published channels, echoes and planes, at fewer readout positions."""
    (n_x, n_y, n_z), rng = PAPER.shape, np.random.default_rng(SEED)
    sampled = torch.zeros(n_y * n_z, dtype=torch.bool)
    sampled[::ACCELERATION] = True
    shape = PAPER.n_channels, len(PAPER.echo_times_s), n_x // SHARE, int(sampled.sum())
    samples = rng.standard_normal((*shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    noise = rng.standard_normal((PAPER.n_channels, 8192, 2), dtype=np.float32)
    grid = centred_grid((shape[2], n_y, n_z), PAPER.voxel_size_mm)
    acquisition = replace(PAPER.acquisition, grid=grid)
    return KSpace(acquisition, sampled.view(n_y, n_z), samples, noise.view(np.complex64)[..., 0])


if __name__ == "__main__":
    main()
