"""Mutants of every input, each given to the command that reads it.

A mutant is an intact input of ``fuzz_corpus`` with one change of ``fuzz_mutants``. It runs in a
process of its own, forked from one that has loaded everything, in a folder of its own. Checked
are: status 0, 2 or 65, and no traceback; at most 10 s of CPU, 60 s in all (other programs may
compute too) and 1.5 GB; nothing written outside OUT, inputs as before; no OUT at all after a
refusal; and after status 0, whether the result is that of the intact input, or a warning was given,
or a second look at it refuses it.

Usage: python benchmarks/fuzz.py [N] [SEED] [--only I] [--log FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import shutil
import signal
import stat
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from accelqsm.cli import main as command_line
from fuzz_corpus import CASES, Case, write_corpus
from fuzz_mutants import mutate

MOST_CPU_S, MOST_WALL_S, MOST_BYTES = 10, 60.0, 1.5e9
STATUSES = (0, 2, 65)
LARGEST_PPM = 20.0


@dataclass(frozen=True)
class Outcome:
    """What a mutant did.

    Attributes:
        number, case, change: which mutant.
        status: of its process, negative for a signal.
        cpu_s, wall_s, peak_bytes: time of the CPU and of the clock, and resident memory.
        faults: what must not be.
        verdict: after status 0: same, told, refused later, or other.
        said: what it printed on stderr.
    """

    number: int
    case: str
    change: str
    status: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    faults: tuple[str, ...]
    verdict: str
    said: str

    @property
    def family(self) -> str:
        """What was changed: the kind of file, or options."""
        return self.change.partition(":")[0]


def main() -> int:
    """Run the mutants and print counts by kind of input; status 1 if anything is at fault."""
    options = _options()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as work:
        corpus = Path(work) / "corpus"
        corpus.mkdir()
        write_corpus(corpus)
        intact = {case.name: _intact(corpus, Path(work), case) for case in CASES}
        numbers = range(options.n) if options.only is None else [options.only]
        debug = () if options.only is None else ("--debug",)
        outcomes = []
        for n in numbers:
            outcomes.append(_run((options.seed, n), corpus, Path(work), intact, debug))
            if outcomes[-1].faults:
                print(_line(outcomes[-1]), flush=True)
    _print_counts(outcomes)
    if options.log:
        options.log.write_text("\n".join(map(_line, outcomes)) + "\n")
    if options.only is not None:
        print(outcomes[0], outcomes[0].said, sep="\n")
    return any(one.faults for one in outcomes)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("n", type=int, nargs="?", default=2000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--only", type=int, help="run one mutant, and show all it says")
    parser.add_argument("--log", type=Path, help="write a line for every mutant")
    return parser.parse_args()


def _intact(corpus: Path, work: Path, case: Case) -> bytes:
    """Result of the intact input; run here once as well, so that forks find all modules loaded."""
    place = _place(corpus, work / "intact", case)
    before = os.getcwd()
    os.chdir(place)
    try:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            status = command_line(list(case.words))
        if status:
            raise SystemExit(f"{case.name}: expected status 0 of the intact input, found {status}")
    finally:
        os.chdir(before)
    return _result(place, case)


def _place(corpus: Path, place: Path, case: Case) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    for name in ("tmp", "home"):
        (place / name).mkdir(parents=True)
    for name in case.inputs:
        if (corpus / name).is_dir():
            shutil.copytree(corpus / name, place / name)
        else:
            shutil.copy(corpus / name, place / name)
    return place


def _run(
    number: tuple[int, int],
    corpus: Path,
    work: Path,
    intact: dict[str, bytes],
    debug: tuple[str, ...] = (),
) -> Outcome:
    """Make a mutant of seed and number, run it, and look at what it left."""
    rng = np.random.default_rng(number)
    case = CASES[int(rng.integers(len(CASES)))]
    place = _place(corpus, work / "mutant", case)
    words = list(case.words)
    change = mutate(place, case.inputs, words, rng)
    before = _contents(place)
    status, cpu_s, wall_s, peak = _in_a_fork(place, work / "said", [*debug, *words])
    said = (work / "said").read_text(errors="replace")
    faults = []
    if status not in STATUSES:
        faults.append(f"status {status}")
    if "Traceback" in said:
        faults.append("traceback")
    if status == 65 and said.count("accelqsm: ") - said.count("accelqsm: warning: ") != 1:
        faults.append("not one line")
    if cpu_s >= MOST_CPU_S or wall_s > MOST_WALL_S:
        faults.append("time")
    if peak > MOST_BYTES:
        faults.append("memory")
    changed = {name for name, _ in before.items() ^ _contents(place).items()}
    if any(not _in_out(name, case) for name in changed) or (work / "said.outside").read_text():
        faults.append("outside OUT")
    if status and any(_in_out(name, case) for name in changed):
        faults.append("left after a refusal")
    verdict = "" if status else _verdict(place, case, said, intact[case.name])
    return Outcome(
        number[1], case.name, change, status, cpu_s, wall_s, peak, tuple(faults), verdict, said
    )


def _in_a_fork(place: Path, said: Path, words: list[str]) -> tuple[int, float, float, int]:
    """Status, seconds of CPU and in all, and peak of memory of a command in its own process."""
    outside = Path(f"{said}.outside")
    outside.write_text("")
    started = time.perf_counter()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            _prepare(place, said, outside)
            status = command_line(words)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    while True:
        pid, state, used = os.wait4(child, os.WNOHANG)
        wall_s = time.perf_counter() - started
        if pid:
            cpu_s = used.ru_utime + used.ru_stime
            return os.waitstatus_to_exitcode(state), cpu_s, wall_s, used.ru_maxrss * 1024
        if wall_s > MOST_WALL_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)


def _prepare(place: Path, said: Path, outside: Path) -> None:
    """In the child: its folder, its streams, its bounds, and a watch on what it opens to write."""
    os.chdir(place)
    tempfile.tempdir = None
    os.environ.update(TMPDIR=str(place / "tmp"), HOME=str(place / "home"))
    handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + 2 * 2**30,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_S, MOST_CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    home = str(place.resolve())
    log = os.open(outside, os.O_WRONLY | os.O_APPEND)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        path: Any = None
        if event == "open" and isinstance(arguments[2], int):
            path = arguments[0] if arguments[2] & (os.O_WRONLY | os.O_RDWR) else None
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate"):
            path = arguments[0]
        elif event in ("os.rename", "os.link", "os.symlink"):
            path = arguments[1]
        if isinstance(path, str | bytes):
            full = os.path.realpath(os.fsdecode(path))
            inside = full == home or full.startswith((f"{home}/", "/dev/"))
            if not inside:
                os.write(log, f"{event} {full}\n".encode())

    sys.addaudithook(watch)


def _contents(place: Path) -> dict[str, tuple[Any, ...]]:
    """All that lies in the folder of a mutant, temporary folders included."""
    found: dict[str, tuple[Any, ...]] = {}
    for folder, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = Path(folder, name)
            state = path.lstat()
            inside = str(path.relative_to(place))
            found[inside] = (state.st_mode,)
            if stat.S_ISREG(state.st_mode) and state.st_size < 2**27:
                found[inside] += (hashlib.sha256(path.read_bytes()).digest(),)
    return found


def _in_out(name: str, case: Case) -> bool:
    """Whether a path is OUT or in it; the OUT of a table brings its description and settings."""
    return Path(name).parts[0] in (case.out, "out.json", "out.toml")


def _result(place: Path, case: Case) -> bytes:
    return (place / case.result).read_bytes()


def _verdict(place: Path, case: Case, said: str, intact: bytes) -> str:
    """Of a run with status 0: the intact result, another that was told of, or another."""
    path = place / case.result
    if not path.is_file():
        return "nothing written"  # such as --help
    if path.read_bytes() == intact:
        return "same"
    if "warning: " in said:
        return "told"
    return "refused later" if _refused_by_a_second_look(path) else "other"


def _refused_by_a_second_look(path: Path) -> bool:
    """Whether the result itself shows that it is wrong."""
    from accelqsm.errors import InputError
    from accelqsm.files.nifti import read_volume
    from accelqsm.files.tables import read_table

    try:
        if path.name.endswith(".nii.gz"):
            values = read_volume(path).values
            return not 0 < np.abs(values).max() < LARGEST_PPM
        if path.suffix == ".tsv":
            numbers = read_table(path).select_dtypes("number").to_numpy()
            return bool(np.isinf(numbers).any() or np.nanmax(np.abs(numbers)) > 1e9)
    except InputError:
        return True
    return False


def _print_counts(outcomes: list[Outcome]) -> None:
    columns = ("mutants", "refused", "same", "told", "refused later", "other", "at fault")
    print("| input |", " | ".join(columns), "|")
    for family in (*sorted({one.family for one in outcomes}), "all"):
        here = [one for one in outcomes if family in (one.family, "all")]
        verdicts = Counter(one.verdict for one in here)
        refused = sum(one.status in (2, 65) for one in here)
        kept = [verdicts[name] for name in ("same", "told", "refused later", "other")]
        print("|", family, "|", " | ".join(map(str, (
            len(here), refused, *kept, sum(bool(one.faults) for one in here)))), "|")  # fmt: skip
    slowest = max(outcomes, key=lambda one: one.cpu_s)
    largest = max(outcomes, key=lambda one: one.peak_bytes)
    print(
        f"slowest: {slowest.cpu_s:.1f} s of CPU (mutant {slowest.number}, {slowest.change}); most "
        f"memory: {largest.peak_bytes / 1e9:.2f} GB (mutant {largest.number}, {largest.change})"
    )


def _line(one: Outcome) -> str:
    last = ascii((one.said.strip().splitlines() or [""])[-1][:160])
    return (
        f"{one.number}\t{one.case}\t{ascii(one.change)[1:-1]}\t{one.status}\t{one.cpu_s:.2f}\t{one.wall_s:.2f}\t"
        f"{one.peak_bytes / 1e6:.0f}\t{', '.join(one.faults)}\t{one.verdict}\t{last}"
    )


if __name__ == "__main__":
    sys.exit(main())
