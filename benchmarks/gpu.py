"""A scan of the published size on a GPU: seconds and memory from k-space to susceptibility.

300 x 280 x 96 voxels, 32 channels, 8 echoes, Poisson disk of AF 5, a noise scan: a digital head
laid out on the scanned grid itself, which spares minutes. The samples lie in memory; the time runs
from there to susceptibility on the CPU, prewhitening, network, sums and the whole chain included.
Each network runs twice, since the first run loads and chooses kernels. Then the demo's size on
the GPU and on the CPU, and how far the nuclei lie apart.

Usage: python benchmarks/gpu.py [--cases paper agreement] [--weights NAME ..., all of the package]
"""

from __future__ import annotations

import argparse
import time

import torch

from accelqsm.kspace import KSpace
from accelqsm.pipeline import scan as subject
from accelqsm.recon.network import run as network_run
from accelqsm.recon.weights import load_network, name_of, packaged_weights
from accelqsm.simulate.heads.head import LOOKUP, Head, digital_head
from accelqsm.simulate.scanner import scan
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS, Preset
from accelqsm.virtual.sampling import sampling_pattern
from stages import CHAIN_STAGES, timed

SEED = 62
STAGES = {
    "prewhiten": subject,
    "estimate_in_slabs": network_run,
    "sum_channels": subject,
} | CHAIN_STAGES
WITHIN_SUMS = ("prewhiten", "estimate_in_slabs")
"""Stages that the sums over channels hold; taken from them in the tables."""


def main() -> None:
    """Print a table for each case and network asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=("paper", "agreement"), default=["paper"])
    parser.add_argument("--weights", nargs="+", default=list(packaged_weights()))
    options = parser.parse_args()
    if torch.cuda.is_available():
        print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}", flush=True)
    if "paper" in options.cases:
        kspace, _ = scanned(PRESETS["paper"])
        for name in options.weights:
            for run in ("first", "second"):
                print(
                    f"\n### paper size, {name}, {run} run\n\n{timed_run(kspace, name)}", flush=True
                )
    if "agreement" in options.cases:
        kspace, head = scanned(PRESETS["demo"])
        for name in options.weights:
            print(f"\n### demo size, {name}: GPU less CPU\n\n{agreement(kspace, head, name)}")


def scanned(preset: Preset) -> tuple[KSpace, Head]:
    """Samples of a digital head at AF 5, and the head on the scanned grid."""
    acquisition = preset.acquisition
    head = digital_head(acquisition.grid, seed=SEED, age_years=45.0)
    sampled = sampling_pattern(PROTOCOLS["af5"], preset, seed=SEED)
    scans = scan(
        head,
        acquisition,
        {"af5": sampled},
        n_channels=preset.n_channels,
        snr=preset.snr,
        seed=SEED,
    )
    return scans["af5"], head


def timed_run(kspace: KSpace, weights: str) -> str:
    """Markdown: seconds by stage and altogether, and the largest memory of the GPU."""
    seconds: dict[str, float] = {}
    plain = {(module, name): getattr(module, name) for name, module in STAGES.items()}
    for (module, name), call in plain.items():
        setattr(module, name, timed(name, call, seconds, clock))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    network = load_network(weights)
    start = time.perf_counter()
    subject.map_susceptibility(kspace, method=name_of(network), network=network)
    whole = time.perf_counter() - start
    for (module, name), call in plain.items():
        setattr(module, name, call)
    seconds["sum_channels"] -= sum(seconds.get(name, 0.0) for name in WITHIN_SUMS)
    rest = whole - sum(seconds.values())
    rows = [f"| `{name}` | {value:.2f} |" for name, value in seconds.items()]
    rows += [f"| rest | {rest:.2f} |", f"| **whole** | **{whole:.2f}** |"]
    if torch.cuda.is_available():
        rows.append(f"| GPU memory, GB | {torch.cuda.max_memory_allocated() / 2**30:.1f} |")
    return "\n".join(["| stage | s |", "|---|---:|", *rows])


def agreement(kspace: KSpace, head: Head, weights: str) -> str:
    """Markdown: nuclei of the map computed on the GPU and on the CPU, ppb."""
    maps, seconds = [], []
    available = torch.cuda.is_available
    for gpu in (True, False):
        torch.cuda.is_available = available if gpu else lambda: False
        start = time.perf_counter()
        network = load_network(weights)
        mapped = subject.map_susceptibility(
            kspace, method=name_of(network), network=network, mask=head.brain
        )
        seconds.append(time.perf_counter() - start)
        maps.append(1000 * mapped.chi_ppm)
    torch.cuda.is_available = available
    difference = (maps[0] - maps[1])[head.brain]
    lines = ["| nucleus | GPU | CPU | difference |", "|---|---:|---:|---:|"]
    for index, name in LOOKUP:
        ours, theirs = (float(m[head.labels == index].mean()) for m in maps)
        lines.append(f"| {name} | {ours:.2f} | {theirs:.2f} | {ours - theirs:+.2f} |")
    lines.append(f"\nVoxels of the brain: SD of the difference {float(difference.std()):.2f} ppb.")
    lines.append(f"GPU {seconds[0]:.1f} s, CPU {seconds[1]:.1f} s.")
    return "\n".join(lines)


def clock() -> float:
    """Seconds, after all that the GPU was asked to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
