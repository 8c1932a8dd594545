"""One call, measured: CPU and wall seconds, after a first call that compiles what it needs.

Usage: python benchmarks/bench_task.py MODULE:FUNCTION FOLDER RESULT LEAST_S [ARGUMENT ...]

The function makes the call from a folder of inputs; loading them is not measured. It may make a
second one, the least that must be done. A first call that takes long is measured itself, shorter
ones are repeated for LEAST_S and their median counts.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LONG_S, MOST_CALLS = 5.0, 20


def main() -> None:
    """Print a line of JSON; an array that the call returns is written to RESULT."""
    task, folder, result, least_s, *arguments = sys.argv[1:]
    module, _, name = task.partition(":")
    function = getattr(importlib.import_module(module), name)
    base_mb = resident_mb()
    made = function(Path(folder), *arguments)
    call, floor = made if isinstance(made, tuple) else (made, None)
    ready_mb = resident_mb()
    returned, cpu_s, wall_s = repeated(call, float(least_s))
    floor_s = 0.0 if floor is None else repeated(floor, float(least_s))[1]
    if hasattr(returned, "detach"):
        returned = returned.detach().resolve_conj().numpy()
    if hasattr(returned, "dtype"):
        import numpy as np

        if result:
            np.save(result, returned)
        returned = None
    spent_s = {"cpu_s": cpu_s, "wall_s": wall_s, "floor_s": floor_s}
    print(json.dumps(spent_s | {"base_mb": base_mb, "ready_mb": ready_mb, "value": returned}))


def repeated(call: Callable[[], Any], least_s: float) -> tuple[Any, float, float]:
    """What a call returns, and the medians of its CPU and wall seconds."""
    returned, *first = timed(call)
    runs = [first] if first[0] > LONG_S or not least_s else []
    while runs != [first] and len(runs) < MOST_CALLS and sum(cpu for cpu, _ in runs) < least_s:
        returned, *spent = timed(call)
        runs.append(spent)
    cpu_s, wall_s = (statistics.median(each) for each in zip(*runs, strict=True))
    return returned, cpu_s, wall_s


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """What a call returns, its CPU seconds with those of its children, and its wall seconds."""
    cpu, wall = cpu_s(), time.perf_counter()
    returned = call()
    return returned, cpu_s() - cpu, time.perf_counter() - wall


def cpu_s() -> float:
    """CPU seconds of this process and of those that it started and that have ended."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
