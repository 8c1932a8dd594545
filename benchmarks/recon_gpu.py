"""GPU seconds and memory of every reconstruction of the table of several echoes.

The scan and the methods of recon_echoes.py: samples in memory to images on the GPU, sensitivities
included. Each method runs twice, since the first run loads and chooses kernels; the second is
printed, as a Markdown table. BART's program is not built for a GPU here. Without a GPU the same
runs on the CPU.
Usage: python benchmarks/recon_gpu.py [--head SEED] [--af AF ...] [--methods METHOD ...]
    [--pattern TABLE, as written by ``accelqsm pattern``, in place of Poisson disks]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from accelqsm.kspace import KSpace
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.settings import ReconSettings
from accelqsm.runtime.device import best_device, device_name
from gpu import clock
from recon_echoes import METHODS, brain, measured, pattern, pattern_of_file

RUNS = 2


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--head", type=int, default=62, metavar="SEED")
    parser.add_argument("--af", type=int, nargs="+", default=[3, 4, 5, 8])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--pattern", type=Path, metavar="TABLE")
    options = parser.parse_args()
    patterns = (
        {af: pattern(af, seed=options.head, of_each_echo=False) for af in options.af}
        if options.pattern is None
        else pattern_of_file(options.pattern)
    )
    echoes, maps = brain(options.head)
    print(f"{device_name(best_device())}, torch {torch.__version__}\n")
    print("| AF | method | s | GPU memory, MB |\n|---|---|---:|---:|")
    for acceleration, sampled in patterns.items():
        kspace = measured(echoes, maps, sampled, snr=100.0, seed=options.head)
        for name in options.methods:
            for _ in range(RUNS):
                seconds, mb = timed_run(kspace, METHODS[name])
            print(f"| {acceleration} | {name} | {seconds:.2f} | {mb:.0f} |", flush=True)


def timed_run(kspace: KSpace, settings: ReconSettings) -> tuple[float, float]:
    """Seconds from samples in memory to images, and the largest memory of the GPU in MB."""
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    start = clock()
    for _ in reconstruct(kspace.on(best_device()), settings):
        pass
    return clock() - start, torch.cuda.max_memory_allocated() / 2**20 if gpu else 0.0


if __name__ == "__main__":
    main()
