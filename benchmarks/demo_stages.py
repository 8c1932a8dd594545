"""Time and peak memory of each command that the demo consists of, as a Markdown table.

Each command runs in a process of its own, so that its CPU time and its peak memory are its own.
Usage: python benchmarks/demo_stages.py [FOLDER]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from accelqsm.results.study import LOOKUP_NAME, scan_files

PROTOCOLS = {"pi": "grappa", "af3": "reconnet3d", "af4": "reconnet3d", "af5": "reconnet3d"}


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    command: str
    wall_s: float
    cpu_s: float
    peak_gb: float


def measured(*words: str) -> Cost:
    """Run ``accelqsm`` with ``words`` and return what it cost."""
    start = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "accelqsm.cli", *words])
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"accelqsm {' '.join(words)} failed")
    return Cost(
        command=" ".join(Path(word).name if os.sep in word else word for word in words),
        wall_s=time.perf_counter() - start,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_gb=usage.ru_maxrss / 2**20,
    )


def main() -> None:
    """Run every command of the demo twice where code is compiled on first use, and report."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    scans, maps = folder / "scans", folder / "maps"
    costs = [measured("simulate", str(scans), "--protocols", *PROTOCOLS)]
    for protocol, method in PROTOCOLS.items():
        raw = scan_files(scans, "sub-01", protocol).raw
        words = ("map", str(raw), str(maps / protocol), "--method", method)
        if protocol == "pi":
            measured(*words)
        costs.append(measured(*words, *(("--overwrite",) if protocol == "pi" else ())))
    labels = scan_files(scans, "sub-01", "pi").labels
    chimap = str(maps / "pi" / "Chimap.nii.gz")
    table = ("--labels", str(labels), "--lookup", str(scans / LOOKUP_NAME))
    costs.append(measured("nuclei", chimap, *table, str(folder / "nuclei.tsv")))
    print("| Command | Wall s | CPU s | Peak GB |\n|---|---:|---:|---:|")
    for cost in costs:
        print(f"| `{cost.command}` | {cost.wall_s:.1f} | {cost.cpu_s:.1f} | {cost.peak_gb:.2f} |")
    if len(sys.argv) == 1:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
