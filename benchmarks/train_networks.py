"""Train every network in earnest, one after the other, each in a folder of OUT; resumes.

All learn from the same number of digital heads, at accelerations of 3 to 8 and a signal-to-noise
ratio of 5 to 100 at the peak, with Poisson disks that are drawn anew at each step; DCRNet also with
fixed ones, as published. --processes trains each on as many GPUs by torchrun; --small takes slabs
for a CPU.
Usage: python benchmarks/train_networks.py OUT [RUN ...] [--steps N] [--processes N] [--data SCANS]
    [--small] [--print, the commands alone]
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

COMMON = "--accelerations 3 4 5 6 8 --noise 0.01 0.2 --validation-heads 3 --half-weights"
RUNS = {
    "reconnet3d-joint": "--network reconnet3d --consistency joint",
    "dcrnet-joint": "--network dcrnet",
    "dcrnet-per-coil": "--network dcrnet --dcrnet-consistency per-coil",
    "dcrnet-joint-fixed": "--network dcrnet --fixed-patterns",
    "echo-joint": "--network echo-joint",
}
"""What differs from run to run, but for the slabs."""

LARGE = {
    "reconnet3d": "--readouts 12 --items 4",
    "dcrnet": "--readouts 4 --items 4",
    "echo-joint": "--readouts 8 --items 4 --volumes-per-head 12",
}
SMALL = {
    "reconnet3d": "--readouts 8 --items 1",
    "dcrnet": "--readouts 1 --items 4",
    "echo-joint": "--readouts 4 --items 1 --volumes-per-head 6",
}
"""Slabs of a step by network: on a GPU, where items suit 1, 2 and 4 processes, and on a
CPU with 16 GB."""


def main() -> None:
    """Run, or print, the commands."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="*", metavar="RUN", help=f"of {', '.join(RUNS)}; all of them")
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--heads", type=int, default=48)
    parser.add_argument("--data", help="folder of fully sampled scans instead of digital heads")
    parser.add_argument("--small", action="store_true", help="slabs for a CPU")
    parser.add_argument("--print", action="store_true")
    options = parser.parse_args()
    if unknown := set(options.runs) - RUNS.keys():
        parser.error(f"expected runs among {', '.join(RUNS)}, found {', '.join(sorted(unknown))}")
    for run in options.runs or RUNS:
        command = [*launcher(options.processes), *words(options, run)]
        print(shlex.join(command), flush=True)
        if not options.print:
            subprocess.run(command, check=True)


def words(options: argparse.Namespace, run: str) -> list[str]:
    """Arguments of ``accelqsm`` for a run."""
    data = ["--data", options.data] if options.data else ["--heads", str(options.heads)]
    slabs = (SMALL if options.small else LARGE)[shlex.split(RUNS[run])[1]]
    own = shlex.split(f"{RUNS[run]} {slabs} {COMMON}")
    return ["train", str(options.out / run), *own, "--steps", str(options.steps), *data]


def launcher(n_processes: int) -> list[str]:
    """What starts ``accelqsm`` in one process or several."""
    module = ["-m", "accelqsm.cli"]
    if n_processes == 1:
        return [sys.executable, *module]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    return [sys.executable, *torchrun, str(n_processes), *module]


if __name__ == "__main__":
    main()
