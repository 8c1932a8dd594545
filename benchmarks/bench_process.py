"""Processes of their own for what is measured: CPU seconds, wall seconds and peak memory of each.

Nothing is imported here but the standard library: on Linux a process inherits the peak memory of
the one that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KIB_PER_MB = 1024
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


class TaskError(RuntimeError):
    """A process that failed, with the end of what it said."""


@dataclass(frozen=True)
class Cost:
    """What one process took.

    Attributes:
        wall_s, cpu_s: of the process, or of the call that it measured.
        peak_mb: largest resident memory of the process and of those that it started.
        base_mb: resident before the input of the call was made; zero of a command.
        ready_mb: resident before the call, its input included.
        floor_s: CPU seconds of the least that must be done; zero where it is not known.
        value: what the call returned, where that is a number or a record.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    base_mb: float = 0.0
    ready_mb: float = 0.0
    floor_s: float = 0.0
    value: Any = None


def command_cost(words: Sequence[str], *, threads: int | None = None) -> Cost:
    """Cost of ``accelqsm`` with ``words``, start of Python included; on all cores unless said."""
    cost, _ = _run([sys.executable, "-m", "accelqsm.cli", *words], threads)
    return cost


def task_cost(
    task: str, folder: Path, *arguments: str, result: str = "", least_s: float = 1.0
) -> Cost:
    """Cost of one call in a process of its own on one thread (``bench_task.py``).

    Args:
        task: MODULE:FUNCTION, which makes the call from a folder of inputs.
        folder: of the inputs.
        arguments: further ones of the function.
        result: file that an array that the call returns is written to, none where empty.
        least_s: CPU seconds that calls are repeated for.
    """
    words = [str(HERE / "bench_task.py"), task, str(folder), str(result), str(least_s), *arguments]
    whole, said = _run([sys.executable, *words], 1)
    found = json.loads(said.splitlines()[-1])
    return Cost(peak_mb=whole.peak_mb, **found)


def _run(words: list[str], threads: int | None) -> tuple[Cost, str]:
    """Run a program to its end; what it took, and what it said on stdout."""
    given = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            words, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=os.environ | given
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - start
        for file in (out, err):
            file.seek(0)
        if status:
            said = "\n".join((err.read() or out.read()).strip().splitlines()[-12:])
            raise TaskError(f"{' '.join(words[1:])} ended with {process.returncode}:\n{said}")
        cpu_s = usage.ru_utime + usage.ru_stime
        return Cost(wall_s, cpu_s, usage.ru_maxrss / KIB_PER_MB), out.read()
