"""antsRegistration in a process of its own, with a number of threads of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from accelqsm.errors import InputError

SEED = 1
MOST_THREADS = 8
THREADS = "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"


def usable_threads() -> int:
    """Threads for a step whose result does not depend on them: OMP_NUM_THREADS, or one a core."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdecimal() and int(asked):
        return min(int(asked), MOST_THREADS)
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, MOST_THREADS)


def ants_registration(arguments: Sequence[str], *, threads: int) -> None:
    """Run antsRegistration in single precision, with a fixed seed.

    Args:
        arguments: of the program, with files for images and transforms.
        threads: of ITK, which reads their number once a process.

    Raises:
        InputError: not installed, or images that it cannot register, with its last line.
    """
    package = find_spec("ants")
    if package is None or not package.submodule_search_locations:
        raise InputError(
            "registration: expected the package antspyx, found none (pip install antspyx)"
        )
    folder = next(iter(package.submodule_search_locations))
    program = [sys.executable, "-I", str(Path(__file__).with_name("child.py")), folder]
    common = ["--float", "1", "--random-seed", str(SEED)]
    done = subprocess.run(
        [*program, "-d", "3", *arguments, *common],
        env=os.environ | {THREADS: str(threads)},
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
        raise InputError(
            "registration: expected images that can be compared, found that antsRegistration "
            f"ended with {done.returncode}: {said[-1].strip() if said else 'without a word'}"
        )
