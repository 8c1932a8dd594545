"""Memory of one process over many subjects: what the first needs, the last needs too.

A simulated scan is put under the names of many subjects (hard links), and run in one process. After
each subject the resident memory is read, and the peak since the last one.

Usage: python benchmarks/study_memory.py WORK [--subjects 50] [--preset small]
"""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
from pathlib import Path

from accelqsm.files.bids.dataset import read_dataset
from accelqsm.study.context import Context
from accelqsm.study.defaults import complete
from accelqsm.study.plan import Selection
from accelqsm.study.run import run_participants
from accelqsm.study.settings import Study, StudySettings

FIRST = "sub-01"


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def peak_mb() -> float:
    """Peak of the resident memory since the last call of ``forget_peak``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def forget_peak() -> None:
    """Set the peak to what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def write_subjects(bids: Path, number: int, preset: str) -> None:
    """Simulate one head, and give its files the names of all."""
    if not (bids / "settings.toml").is_file():
        words = ["simulate", str(bids), "--preset", preset, "--protocols", "pi", "af5"]
        subprocess.run([sys.executable, "-m", "accelqsm.cli", *words], check=True)
    for path in [p for p in bids.rglob(f"{FIRST}*") if p.is_file()]:
        for other in (f"sub-{i:02d}" for i in range(2, number + 1)):
            link = Path(str(path).replace(FIRST, other))
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.link(path, link)


def main() -> int:
    """Print a table, and whether the last subject needs what the second did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path)
    parser.add_argument("--subjects", type=int, default=50)
    parser.add_argument("--preset", default="small")
    options = parser.parse_args()
    bids = options.work / "bids"
    write_subjects(bids, options.subjects, options.preset)
    dataset = read_dataset(bids)
    study, _ = complete(Study(study=StudySettings(labels="derivatives/truth")), dataset)
    context = Context(dataset, study, options.work / "out")
    print("| Subject | Peak MB | Left MB |\n|---|---:|---:|")
    peaks = []
    for subject in dataset.subjects:
        gc.collect()
        forget_peak()
        outcome = run_participants(context, Selection(subjects=(subject.removeprefix("sub-"),)))
        if outcome.failed:
            raise SystemExit(str(outcome.failed))
        peaks.append(peak_mb())
        print(f"| {subject} | {peaks[-1]:.0f} | {resident_mb():.0f} |", flush=True)
    share = peaks[-1] / peaks[0] - 1
    print(f"\nlast against first: {100 * share:+.1f} %")
    return 0 if abs(share) <= 0.05 else 1


if __name__ == "__main__":
    sys.exit(main())
