"""Every stage beside the peers that pip and apt install, how cost grows, and the demo's commands.

Each measurement runs in a process of its own on one thread, ours and the peers' in turn, on the
same input: CPU seconds (user and system) of the call, the peak memory of the process, and the error
against the truth. Tables go to stdout and to ``--out``; to the page only where the run was the
whole one and no peer was missing.

Usage: python benchmarks/bench.py [--quick] [--out DIR] [--page PAGE.md] [--parts PART ...]
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from accelqsm.files.atomic import write_text
from bench_axes import FULL, QUICK, axes, growth, study_growth
from bench_demo import demo_commands
from bench_process import task_cost
from bench_stages import STAGES, missing_tools, stage_rows
from bench_tables import Growth, StageRow, demo_table, growth_table, stage_table
from page import filled

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
ROUNDS = 3
BUSY_LOAD = 0.5
"""Processes that wait for a core, from which on the machine is not idle."""


class Clock:
    """Prints what is done, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def say(self, line: str) -> None:
        """Print a line on stderr."""
        print(f"[{self.spent_s:5.0f} s] {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Measure the parts asked for and write their tables."""
    options = _options()
    clock = Clock()
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        clock.say(f"this machine is busy (load {load:.1f}): times will be too long")
    missing = missing_tools() if "stages" in options.parts else {}
    for tool, install in missing.items():
        clock.say(f"left out: {tool} is not installed ({install})")
    tables: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for part in options.parts:
            folder = Path(name) / part
            folder.mkdir()
            tables[part] = PARTS[part](folder, options.quick, clock)
            clock.say(f"{part}: done")
    tables["machine"] = _machine(load, clock.spent_s)
    for name, text in tables.items():
        print(f"\n## {name}\n\n{text}", flush=True)
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            write_text(options.out / f"{name}.md", text)
    why = not_for_the_page(options.quick, options.parts, list(missing))
    if why:
        clock.say(f"{options.page} stays as it is: {why}")
    else:
        fill(options.page, tables)
    return 0


def not_for_the_page(quick: bool, parts: list[str], missing: list[str]) -> str:
    """Why the tables of a run do not go into the page; empty where they do."""
    if quick:
        return "the run was a quick one"
    if set(parts) != set(PARTS):
        return f"only {', '.join(parts)} ran"
    return f"{', '.join(missing)} not installed" if missing else ""


def fill(page: Path, tables: dict[str, str]) -> None:
    """Write the tables into a page, between their markers."""
    text = page.read_text(encoding="utf-8")
    write_text(page, filled(text, tables, kind="bench", source="tables"))


def stages_part(folder: Path, quick: bool, clock: Clock) -> str:
    """Every stage beside its peers."""
    rows: list[StageRow] = []
    kind, written = "quick" if quick else "full", set()
    for stage in STAGES:
        if stage.inputs not in written:
            (folder / stage.inputs).mkdir()
            task_cost(f"bench_inputs:{stage.inputs}", folder / stage.inputs, kind, least_s=0)
            written.add(stage.inputs)
            clock.say(f"input: {stage.inputs}")
        rows += stage_rows(
            stage,
            folder / stage.inputs,
            rounds=1 if quick else ROUNDS,
            least_s=0.1 if quick else 0.5,
            said=clock.say,
        )
        clock.say(stage.title)
    return stage_table(rows)


def growth_part(folder: Path, quick: bool, clock: Clock) -> str:
    """How cost grows."""
    sizes = QUICK if quick else FULL
    task_cost("bench_growth:head", folder, least_s=0)
    rows: list[Growth] = []
    for axis in axes(sizes):
        rows.append(growth(axis, folder, least_s=0.1 if quick else 1.0))
        clock.say(f"{axis.what}: {axis.axis}")
    rows += _said(study_growth(folder, sizes), clock)
    return growth_table(rows)


def demo_part(folder: Path, quick: bool, clock: Clock) -> str:
    """The commands of the demo."""
    commands = []
    for words, cost in demo_commands(folder, quick=quick):
        commands.append((words, cost))
        clock.say(words)
    return demo_table(commands)


PARTS: dict[str, Callable[[Path, bool, Clock], str]] = {
    "stages": stages_part,
    "growth": growth_part,
    "demo": demo_part,
}


def _said(rows: Iterator[Growth], clock: Clock) -> Iterator[Growth]:
    for row in rows:
        clock.say(f"{row.what}: {row.axis}")
        yield row


def _machine(load: float, spent_s: float) -> str:
    """What was measured on, and how long it took."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    cores = len(os.sched_getaffinity(0))
    return (
        f"{cores} cores of {cpu}, Python {platform.python_version()}, torch {version('torch')}; "
        f"load {load:.1f} at the start; {spent_s / 60:.0f} minutes.\n"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="tiny inputs, to try it")
    parser.add_argument("--out", type=Path, help="folder for the tables")
    parser.add_argument("--page", type=Path, default=PAGE, help="page that takes the tables")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
