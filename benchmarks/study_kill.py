"""Kill a study at random moments and start it again: nothing is lost, and nothing done twice.

A virtual study is run by Snakemake on two cores without disturbance, then in another folder with
``kill -9`` of the whole process group at random moments, each followed by a restart. In the end,
all results must be the same bytes, and no step may have ended twice. Stopped itself, it goes on
with the same ``--seed``.

Usage: python benchmarks/study_kill.py WORK [--subjects 12] [--preset demo] [--kills 10] [--seed S]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

CLI = (sys.executable, "-m", "accelqsm.cli")
OUTSIDE = (".sums", ".workflow")
"""Folders of caches, and of what the engine leaves."""
TOOK, KILLS = "undisturbed-s.txt", "kills.txt"
"""What an earlier call of this script came to, that was stopped itself."""
SHARE = (0.2, 1.6)
"""Moments are drawn from these shares of the undisturbed time over the number of kills, so that all
of them come to four fifths of it or so."""


def results(out: Path) -> dict[str, bytes]:
    """Contents of all files but logs, locks, caches and what the engine leaves."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and not path.name.endswith((".jsonl", ".lock"))
        and not set(OUTSIDE) & set(path.relative_to(out).parts)
    }


def ends(out: Path) -> Counter[str]:
    """How many times each step ended well, as its log tells."""
    lines = [line for path in out.rglob("*.log.jsonl") for line in path.read_text().splitlines()]
    events = [json.loads(line) for line in lines]
    return Counter(event["step"] for event in events if event["event"] == "end")


def workflow(bids: Path, out: Path, options: argparse.Namespace) -> list[str]:
    """Command that runs the study on some cores."""
    words = [*CLI, "workflow", str(bids), str(out), "--labels", "derivatives/truth"]
    words += ["--threads", str(options.threads)]
    return [*words, "--", "--cores", str(options.cores), "--quiet", "all"]


def run_killed(command: Sequence[str], log: Path, after_s: float) -> bool:
    """Run a command in a session of its own and kill all of it; False if it ended before."""
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        process.wait(after_s)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


def main() -> int:
    """Run the study undisturbed and disturbed, and compare; the number of differences."""
    options = _options()
    work: Path = options.work
    rng = np.random.default_rng(options.seed)
    print(f"seed {options.seed}", flush=True)
    bids, whole, killed = work / "bids", work / "whole", work / "killed"
    if not (bids / "settings.toml").is_file():
        words = ["--subjects", str(options.subjects), "--preset", options.preset]
        subprocess.run([*CLI, "simulate", str(bids), *words], check=True)
    took_s = _undisturbed_s(bids, whole, options)
    moments = rng.uniform(*SHARE, options.kills) * took_s / options.kills
    done = (work / KILLS).read_text().splitlines() if (work / KILLS).is_file() else []
    for number, moment in enumerate(moments[len(done) :], start=len(done) + 1):
        was = run_killed(workflow(bids, killed, options), work / "killed.log", float(moment))
        line = f"{number}: {'killed' if was else 'ended before'} after {moment:.1f} s, "
        done.append(f"{line}{sum(ends(killed).values())} steps ended")
        (work / KILLS).write_text("\n".join(done))
    print("\n".join(done), flush=True)
    start = time.perf_counter()
    subprocess.run(workflow(bids, killed, options), check=True, stdout=subprocess.DEVNULL)
    print(f"last restart: {time.perf_counter() - start:.0f} s", flush=True)
    return _compare(whole, killed)


def _undisturbed_s(bids: Path, whole: Path, options: argparse.Namespace) -> float:
    """Seconds of the undisturbed run, which an earlier call may have made."""
    record = options.work / TOOK
    if not record.is_file():
        start = time.perf_counter()
        subprocess.run(workflow(bids, whole, options), check=True, stdout=subprocess.DEVNULL)
        record.write_text(f"{time.perf_counter() - start:.0f}")
    took_s = float(record.read_text())
    print(f"undisturbed: {took_s:.0f} s, {sum(ends(whole).values())} steps", flush=True)
    return took_s


def _compare(whole: Path, killed: Path) -> int:
    one, two = results(whole), results(killed)
    unlike = sorted(name for name in one.keys() | two.keys() if one.get(name) != two.get(name))
    twice = sorted(step for step, number in ends(killed).items() if number > 1)
    print(f"{len(one)} files, {len(unlike)} unlike; {len(ends(killed))} steps, {len(twice)} twice")
    for name in (*unlike[:10], *twice[:10]):
        print(f"  {name}")
    return len(unlike) + len(twice)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("work", type=Path)
    parser.add_argument("--subjects", type=int, default=12)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="of each job")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
