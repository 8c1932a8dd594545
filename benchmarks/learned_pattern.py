"""A learned sampling pattern against the Poisson disk, on other heads, by the same network.

A density is learned as by ``accelqsm pattern --learn``. On heads of other seeds, three kinds of
pattern of the same count, centre and voxels are compared, several of each: drawn from the density,
Poisson disks of the density, and the usual Poisson disk. Complex NRMSE of all echoes in a slab next
to the middle, and the root mean square error of the phase from first to last echo in the brain.

Usage: OMP_NUM_THREADS=1 python benchmarks/learned_pattern.py WORK [--setting small|demo]
       [--weights joint] [--acceleration 8] [--steps N] [--seeds N] [--echoes N]
WORK keeps the checkpoint: the same call goes on. The small setting takes a few CPU minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import torch
from torch import Tensor

from accelqsm.recon.network.protocol import Network
from accelqsm.recon.patterns.drawn import drawn_pattern
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.runtime.device import on_device
from accelqsm.training.data import Pair, validation_pairs
from accelqsm.training.patterns.learn import (
    draw,
    head_plane,
    joint_network,
    learned_density,
    reconstruct,
    spaced,
)
from accelqsm.training.patterns.settings import LearningSettings
from accelqsm.training.settings import FIRST_TRAINING_SEED
from accelqsm.training.volumes.digital import ECHOES, draw_head, simulate_echoes
from accelqsm.training.volumes.volumes import Volumes

FIRST_TEST_SEED = 3000
"""Of heads that neither a network nor a pattern has learned from."""


@dataclass(frozen=True)
class Setting:
    """Plane and length of a comparison."""

    shape: tuple[int, int]
    voxel_size_mm: tuple[float, float]
    calibration: tuple[int, int]
    heads: int
    test_heads: int
    echoes: int
    steps: int
    readouts: int


SETTINGS = {
    "small": Setting((48, 36), (4.4, 4.2), (10, 8), 3, 3, 2, 120, 3),
    "demo": Setting((264, 76), (0.8, 2.0), (40, 28), 12, 4, 3, 400, 4),
}


def main() -> None:
    """Learn, and print a table with a line for each kind of pattern."""
    torch.set_num_threads(1)
    options = arguments()
    chosen = SETTINGS[options.setting]
    settings = PatternSettings(
        shape=chosen.shape,
        acceleration=options.acceleration,
        calibration=chosen.calibration,
        voxel_size_mm=chosen.voxel_size_mm,
        echoes=options.echoes,
    )
    n_echoes = options.echoes if options.echoes > 1 else chosen.echoes
    learning = LearningSettings(
        weights=options.weights,
        steps=options.steps or chosen.steps,
        heads=chosen.heads,
        readouts=chosen.readouts,
        echoes_per_head=n_echoes if options.echoes == 1 else 2,
    )
    network = joint_network(learning.weights)
    heads = simulated(range(FIRST_TRAINING_SEED, FIRST_TRAINING_SEED + chosen.heads), settings,
                      n_echoes)  # fmt: skip
    begun = time.process_time()
    density = learned_density(options.work, network, heads, settings, learning)
    print(f"learned in {time.process_time() - begun:.0f} CPU s", flush=True)
    kinds: dict[str, Callable[[int], Tensor]] = {
        "learned, drawn": lambda seed: draw(density, seed=seed),
        "learned, spaced": lambda seed: spaced(density, settings, seed=seed),
        "Poisson disk": lambda seed: drawn_pattern(replace(settings, seed=seed)),
    }
    test_seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + chosen.test_heads)
    tests = [tested(seed, settings, n_echoes) for seed in test_seeds]
    print_table(kinds, network, tests, range(options.seeds), settings)


def arguments() -> argparse.Namespace:
    """Words of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("--setting", choices=SETTINGS, default="small")
    parser.add_argument("--weights", default="joint")
    parser.add_argument("--acceleration", type=float, default=8.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--echoes", type=int, default=1)
    return parser.parse_args()


def simulated(seeds: Sequence[int], settings: PatternSettings, n_echoes: int) -> list[Volumes]:
    """Heads on the plane of a pattern, one after the other."""
    plane = head_plane(settings)
    return [simulate_echoes(seed=seed, n_echoes=n_echoes, plane=plane) for seed in seeds]


def tested(seed: int, settings: PatternSettings, n_echoes: int) -> tuple[Pair, Tensor]:
    """A slab of a head, sampled everywhere, and where its brain is."""
    (head,) = simulated([seed], settings, n_echoes)
    readouts = 8
    (pair,) = validation_pairs([head], readouts=readouts, acceleration=1.0)
    _, fine = draw_head(seed, np.random.default_rng([seed, ECHOES]), head_plane(settings))
    start = head.images.shape[1] // 2 - readouts
    return pair, fine.brain[start : start + readouts, ::2, ::2]


def print_table(
    kinds: dict[str, Callable[[int], Tensor]],
    network: Network,
    tests: Sequence[tuple[Pair, Tensor]],
    seeds: Sequence[int],
    settings: PatternSettings,
) -> None:
    """Mean over heads and patterns, SD over patterns, and on how many heads it beats the disk."""
    found = {
        kind: np.array([[figures(network, *test, made(seed)) for seed in seeds] for test in tests])
        for kind, made in kinds.items()
    }
    counts = {int(made(0).sum()) for made in kinds.values()}
    print(f"{counts} samples of {settings.shape}, {len(tests)} heads, {len(seeds)} patterns each")
    print(f"{'pattern':18s} {'NRMSE %':>16s} {'phase, degrees':>16s}   heads better than the disk")
    disk = found["Poisson disk"].mean(1)
    for kind, errors in found.items():
        cells = [f"{fmean(each):8.3f} ({stdev(each):.3f})" for each in errors.mean(0).T.tolist()]
        better = (errors.mean(1) < disk).sum(0)
        print(f"{kind:18s} {cells[0]:>16s} {cells[1]:>16s}   {better[0]} and {better[1]}")


def figures(network: Network, pair: Pair, brain: Tensor, pattern: Tensor) -> tuple[float, float]:
    """NRMSE in percent, and phase error from first to last echo in degrees."""
    sampled = pattern[:, None] if pattern.ndim == 3 else pattern
    with torch.inference_mode():
        here = on_device(pair, network.device)
        image = reconstruct(network, here, sampled.to(network.device)).cpu()
    norm = torch.linalg.vector_norm
    nrmse = float(norm(image - pair.truth) / norm(pair.truth))
    evolved = [one[-1] * one[0].conj() for one in (image, pair.truth)]
    phase_rad = torch.angle(evolved[0] * evolved[1].conj())[brain]
    return 100 * nrmse, float(torch.rad2deg(phase_rad.square().mean().sqrt()))


if __name__ == "__main__":
    main()
