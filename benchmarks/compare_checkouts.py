"""Two checkouts of the package run by the same commands: are tables and maps the same to the bit?

Meant for changes that must not change a figure, such as moving files or renaming options: every
table cell by cell as text, every map bit for bit, on the CPU.

Usage: python benchmarks/compare_checkouts.py BEFORE AFTER WORK [--only STAGE ...]

Stages are demo, simulate, nuclei, compare and qsm: some nine minutes of each checkout on two cores,
of which compare takes ten seconds and qsm half a minute.
BEFORE and AFTER are folders with src/accelqsm; BEFORE needs tests/ as well, whose small heads are
measured. Both run under this Python. What BEFORE gave is kept in WORK/before and used again as long
as its source and its commands are the same; stages of AFTER run each time. All files that the
commands read, AFTER's too, were written by BEFORE, but for the agreement that `plan` reads: that is
the checkout's own.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import inspect
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

SEED = 11
N_THREADS = 2
"""Sums of floating-point numbers follow the number of threads."""

ECHO_TIMES_S, FIELD_STRENGTH_T = ("0.004", "0.010", "0.016", "0.022"), "3.0"
"""Of the demo's preset."""

PUBLISHED_OPTIONS = ("--published", "--beside")
"""How `compare` may call the published study, newest first."""

MIDBRAIN = ("RN", "SNc", "SNr")

AS_PUBLISHED = """\
[qsm]
field_mode = "lag1"
background = "vsharp"
reference = "csf"
least_coherence = 0.0
radii_mm = [8.0, 6.0, 4.0, 2.0]
regularisation = 3e-4
data_weighting = false
magnitude_edges = false
dynamic_noise = false
n_iterations = 60
"""
SUFFIXES = {"table": ".tsv", "map": ".nii.gz"}
MOST_NAMES = 6


@dataclass(frozen=True)
class Command:
    """One run of `accelqsm`.

    Attributes:
        name: of its results in the stage's folder.
        words: of its command line.
    """

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Checkout:
    """A source tree and where its results go.

    Attributes:
        side: "before" or "after".
        root: folder with src/accelqsm.
        work: scratch folder.
        fingerprint: of all files of the package.
    """

    side: str
    root: Path
    work: Path
    fingerprint: str

    def folder(self, stage: str) -> Path:
        """Where a stage's results are."""
        return self.work / self.side / stage

    def environment(self) -> dict[str, str]:
        """Its source first, a fixed number of threads, no GPU, and nothing written beside it.

        Compiled functions are kept by fingerprint: numba does not see that a function which another
        file calls has changed.
        """
        threads = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self.root / name) for name in ("src", "tests")),
            "PYTHONSAFEPATH": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "NUMBA_CACHE_DIR": str(self.work / "numba" / self.fingerprint[:16]),
            "CUDA_VISIBLE_DEVICES": "",
            **{f"{name}_NUM_THREADS": str(N_THREADS) for name in threads},
        }

    def python(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run this Python on the checkout's source; output and errors come back together."""
        return subprocess.run(
            [sys.executable, *words],
            env=self.environment(),
            cwd=self.work,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@dataclass(frozen=True)
class Given:
    """What the commands of both checkouts read, all of it from BEFORE.

    Attributes:
        demo, compare: results of those stages.
        inputs: heads and settings.
    """

    demo: Path
    compare: Path
    inputs: Path

    def scan(self, protocol: str) -> Path:
        """Maps and echoes of one of the demo's scans."""
        return self.demo / "maps" / "sub-01" / f"acq-{protocol}"


@dataclass(frozen=True)
class Finding:
    """One file of both checkouts, or of one.

    Attributes:
        name: below the folder of the side, stage first.
        kind: "table" or "map".
        verdict: "equal", "differs", "renamed" (the same content by another name) or "missing"
            (a file or columns of one side alone).
        detail: what is different.
    """

    name: str
    kind: str
    verdict: str
    detail: str = ""


def main() -> int:
    """Run, compare, print one line per file; 1 where anything differs or a command fails."""
    if sys.argv[1:2] == ["--heads"]:
        write_heads(Path(sys.argv[2]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("before", type=Path, metavar="BEFORE")
    parser.add_argument("after", type=Path, metavar="AFTER")
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--only", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    before = checkout("before", options.before, work)
    after = checkout("after", options.after, work)
    given = Given(before.folder("demo"), before.folder("compare"), work / "inputs")
    chosen = [stage for stage in STAGES if stage in options.only]
    keep_inputs(before, given.inputs)
    for stage in STAGES:
        if stage in chosen or stage == "demo":
            keep_results(before, stage, given)
    failures = [line for stage in chosen for line in run_stage(after, stage, given)]
    if fingerprint(after.root) != after.fingerprint:
        failures.append(f"failed   {after.root}: changed while it was measured; run again")
    findings = [found for stage in chosen for found in compared(before, after, stage)]
    return reported(findings, failures)


def checkout(side: str, root: Path, work: Path) -> Checkout:
    """A checkout whose package Python does import when it is told to."""
    if not (root / "src" / "accelqsm").is_dir():
        raise SystemExit(f"{root}: expected a folder with src/accelqsm, found none")
    found = Checkout(side, root.resolve(), work, fingerprint(root))
    said = found.python("-c", "import accelqsm; print(accelqsm.__file__)").stdout.strip()
    if not Path(said).is_relative_to(found.root / "src"):
        raise SystemExit(f"{root}: expected its own package to be imported, found {said}")
    return found


def fingerprint(root: Path) -> str:
    """SHA-256 of names and bytes of all files of the package."""
    digest = hashlib.sha256()
    package = root / "src" / "accelqsm"
    for path in sorted(package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(package)}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def keep_inputs(before: Checkout, folder: Path) -> None:
    """Write heads and settings that the commands read, unless this source wrote them already."""
    marker, text = before.work / "inputs.finished", _origin(before)
    if _finished(marker, text):
        return
    marker.unlink(missing_ok=True)
    _emptied(folder)
    start = _clocks()
    (folder / "as-published.toml").write_text(AS_PUBLISHED)
    done = before.python(str(Path(__file__).resolve()), "--heads", str(folder))
    if done.returncode:
        raise SystemExit(f"before: the heads failed\n{done.stdout}")
    _say_time("before", "inputs", start)
    marker.write_text(text)


def write_heads(folder: Path) -> None:
    """One head scanned twice with a T1w, and two atlases of another, all on a small grid.

    The atlas of two contrasts has the midbrain's nuclei alone, that of all nuclei one contrast: a
    registration takes longer the more contrasts and the larger the box. Runs in a process whose
    path has the source and the tests of BEFORE, which know where their functions are.
    """
    phantom: Any = importlib.import_module("nuclei_phantom")
    upright = phantom.Pose()
    turned = phantom.Pose(rotation_deg=(2.0, -1.0, 1.5), translation_mm=(2.0, -1.0, 1.5))
    t1w_pose = phantom.Pose(rotation_deg=(-2.0, 1.0, 1.0), translation_mm=(-3.0, 2.0, 1.0))
    phantom.write_scan(folder / "scan", 5, upright)
    phantom.write_scan(folder / "rescan", 5, turned, noise_seed=4)
    t1w = phantom.t1w(5, t1w_pose, noise_seed=6)
    phantom.write_image(folder / "scan" / "T1w.nii.gz", t1w.values, t1w.grid)
    phantom.write_atlas(folder / "atlas-t1w", 9, upright)
    lookup = phantom.lookup()
    midbrain = lookup[lookup["name"].str.endswith(MIDBRAIN)]
    phantom.write_table(folder / "atlas-t1w" / "dseg.tsv", midbrain)
    phantom.write_scan(folder / "atlas-chimap", 9, upright)
    (folder / "atlas-chimap" / "mag.nii.gz").unlink()


def keep_results(before: Checkout, stage: str, given: Given) -> None:
    """Run a stage of BEFORE, unless its source has run these commands already."""
    marker = before.work / "before" / f"{stage}.finished"
    lines = (" ".join(command.words) for command in commands(before, stage, given))
    text = "\n".join([_origin(before), *lines])
    if _finished(marker, text):
        return
    marker.unlink(missing_ok=True)
    if failures := run_stage(before, stage, given):
        raise SystemExit("\n".join(failures))
    marker.write_text(text)


def commands(side: Checkout, stage: str, given: Given) -> list[Command]:
    """The commands of a stage as this checkout spells them."""
    return STAGES[stage](side, given, side.folder(stage))


def demo_commands(side: Checkout, given: Given, out: Path) -> list[Command]:
    """The study in small: simulation, reconstruction, maps, nuclei, agreement, similarity."""
    return [Command("demo", ("demo", str(out), "--seed", str(SEED)))]


def simulate_commands(side: Checkout, given: Given, out: Path) -> list[Command]:
    """One head, scanned T1-weighted and with parallel imaging."""
    words = ("--subjects", "1", "--seed", str(SEED), "--preset", "demo", "--protocols", "pi")
    return [Command("simulate", ("simulate", str(out), *words, "--t1w"))]


def nuclei_commands(side: Checkout, given: Given, out: Path) -> list[Command]:
    """All ways to the nuclei: own labels, an atlas, labels of another scan."""
    maps, scans = given.scan("pi"), given.demo / "scans"
    own = (
        "nuclei", str(maps / "Chimap.nii.gz"), "--mask", str(maps / "mask.nii.gz"),
        "--labels", str(next(scans.rglob("sub-01_acq-pi_desc-nuclei_dseg.nii.gz"))),
        "--lookup", str(next(scans.rglob("*dseg.tsv"))),
    )  # fmt: skip
    of_own: dict[str, tuple[str, ...]] = {
        "labels": (),
        "labels-eroded": ("--erode-mm", "1"),
        "labels-brain": ("--reference", "brain"),
        "labels-none": ("--reference", "none"),
        "labels-csf": ("--reference", "csf", "--r2star", str(maps / "R2starmap.nii.gz")),
        "labels-chosen": ("--regions", "RN,Pu", "--min-voxels", "200"),
    }
    scan, rescan = given.inputs / "scan", given.inputs / "rescan"
    one = ("nuclei", str(scan / "Chimap.nii.gz"), "--magnitude", str(scan / "mag.nii.gz"))
    other = (
        "nuclei", str(rescan / "Chimap.nii.gz"), "--magnitude", str(rescan / "mag.nii.gz"),
        "--reference-magnitude", str(scan / "mag.nii.gz"),
        "--labels", str(scan / "dseg.nii.gz"), "--lookup", str(scan / "dseg.tsv"),
    )  # fmt: skip
    t1w, chimap = str(given.inputs / "atlas-t1w"), str(given.inputs / "atlas-chimap")
    of_folders = {
        "atlas-t1w": (*one, "--t1w", str(scan / "T1w.nii.gz"), "--atlas", t1w),
        "atlas-chimap": (*one, "--atlas", chimap, "--weighted", "--reference", "none"),
        "rescan": other,
        "rescan-resample_to": (*other, "--resample"),
    }
    return [
        *(Command(name, (*own, *more, str(out / f"{name}.tsv"))) for name, more in of_own.items()),
        *(Command(name, (*words, str(out / name))) for name, words in of_folders.items()),
    ]


def compare_commands(side: Checkout, given: Given, out: Path) -> list[Command]:
    """The published cohort compared, its settings replayed, studies planned, two maps likened."""
    cohort = given.compare / "cohort"
    values = ("compare", str(cohort / "values.tsv"))
    people = ("--participants", str(cohort / "participants.tsv"))
    study = ("--reference", "PI", published_option(side), "zhou2025")
    margins: dict[str, tuple[str, ...]] = {
        "margin-percent": ("--margin-percent", "4", "--power", "0.9"),
        "margin-ppb": ("--margin-ppb", "3", "--margin-ppb", "SNr=6", "--confidence", "0.9"),
    }
    replayed = ("--settings", str(given.compare / "margin-ppb" / "settings.toml"))
    planned: dict[str, tuple[str, ...]] = {
        "plan": (str(out / "margin-percent" / "agreement.tsv"),),
        "plan-time": (
            str(out / "margin-ppb" / "agreement.tsv"), "--bias-observed",
            "--scan-time", "zhou2025", "--reference", "PI", "--margin-ppb", "4",
        ),
    }  # fmt: skip
    maps = [str(given.scan(protocol) / "Chimap.nii.gz") for protocol in ("af5", "pi")]
    mask = ("--mask", str(given.scan("af5") / "mask.nii.gz"))
    return [
        Command("cohort", ("cohort", "zhou2025", str(out / "cohort"))),
        *(
            Command(name, (*values, *people, *study, *words, str(out / name)))
            for name, words in margins.items()
        ),
        Command("replayed", (*values, *people, *replayed, str(out / "replayed"))),
        *(
            Command(name, ("plan", *words, "--out", str(out / f"{name}.tsv")))
            for name, words in planned.items()
        ),
        Command("similarity", ("similarity", *maps, *mask, str(out / "similarity.tsv"))),
    ]


def qsm_commands(side: Checkout, given: Given, out: Path) -> list[Command]:
    """The demo's echoes to susceptibility: by default, as published, and as settings say."""
    maps = given.scan("pi")
    parts = {
        part: [str(maps / f"echo-{n + 1}_part-{part}.nii.gz") for n in range(len(ECHO_TIMES_S))]
        for part in ("mag", "phase")
    }
    images = (
        "qsm", "--magnitude", *parts["mag"], "--phase", *parts["phase"],
        "--echo-times-s", *ECHO_TIMES_S, "--b0-tesla", FIELD_STRENGTH_T,
    )  # fmt: skip
    settings: dict[str, tuple[str, ...]] = {
        "default": (),
        "as-published": ("--settings", str(given.inputs / "as-published.toml")),
        "replayed": ("--settings", str(maps / "settings.toml")),
    }
    return [
        Command(name, (*images, *words, "--mask", str(maps / "mask.nii.gz"), str(out / name)))
        if name == "as-published"
        else Command(name, (*images, *words, str(out / name)))
        for name, words in settings.items()
    ]


STAGES: dict[str, Callable[[Checkout, Given, Path], list[Command]]] = {
    "demo": demo_commands,
    "simulate": simulate_commands,
    "nuclei": nuclei_commands,
    "compare": compare_commands,
    "qsm": qsm_commands,
}


def published_option(side: Checkout) -> str:
    """How this checkout's `compare` calls the published study."""
    said = side.python("-m", "accelqsm.cli", "compare", "--help").stdout
    for option in PUBLISHED_OPTIONS:
        if option in said:
            return option
    raise SystemExit(f"{side.root}: expected compare {' or '.join(PUBLISHED_OPTIONS)}, found none")


def run_stage(side: Checkout, stage: str, given: Given) -> list[str]:
    """Run a stage's commands into an empty folder; one line for each that failed."""
    _emptied(side.folder(stage))
    logs = side.work / side.side / "logs"
    logs.mkdir(exist_ok=True)
    failures, begin = [], _clocks()
    for command in commands(side, stage, given):
        start = _clocks()
        done = side.python("-m", "accelqsm.cli", *command.words)
        (logs / f"{stage}-{command.name}.log").write_text(done.stdout)
        _say_time(side.side, f"{stage}/{command.name}", start)
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["no word"])[-1]
            failures.append(
                f"failed   {side.side} {stage}/{command.name}: status {done.returncode}, {last}"
            )
    _say_time(side.side, f"{stage}, whole stage", begin)
    return failures


def compared(before: Checkout, after: Checkout, stage: str) -> Iterator[Finding]:
    """Every table and map of a stage, by name; those of one side alone by content, then alone."""
    for kind, suffix in SUFFIXES.items():
        ours, theirs = (
            {
                str(path.relative_to(side.folder(stage).parent)): path
                for path in sorted(side.folder(stage).rglob(f"*{suffix}"))
            }
            for side in (before, after)
        )
        same: Callable[[str, Path, Path], Finding] = same_table if kind == "table" else same_map
        for name in ours.keys() & theirs.keys():
            yield same(name, ours[name], theirs[name])
        new = sorted(theirs.keys() - ours.keys())
        for name in sorted(ours.keys() - theirs.keys()):
            equal = (n for n in new if same(name, ours[name], theirs[n]).verdict == "equal")
            twin = next(equal, None)
            if twin is None:
                yield Finding(name, kind, "missing", "only before")
            else:
                new.remove(twin)
                yield Finding(name, kind, "renamed", f"{twin}, with the same content")
        yield from (Finding(name, kind, "missing", "only after") for name in new)


def same_table(name: str, before: Path, after: Path) -> Finding:
    """Two tables cell by cell as text, columns by their names."""
    (header, rows), (new_header, new_rows) = _cells(before), _cells(after)
    if len(rows) != len(new_rows):
        return Finding(name, "table", "differs", f"{len(rows)} and {len(new_rows)} rows")
    columns, new_columns = _columns(header, rows), _columns(new_header, new_rows)
    differing = {
        column: pairs
        for column in columns.keys() & new_columns.keys()
        if (pairs := _unequal(columns[column], new_columns[column]))
    }
    gone = [column for column in columns if column not in new_columns]
    new = [column for column in new_columns if column not in columns]
    renamed = []
    for column in list(gone):
        twin = next((n for n in new if new_columns[n] == columns[column]), None)
        if twin is not None:
            gone.remove(column)
            new.remove(twin)
            renamed.append(f"{column} -> {twin}")
    details = []
    if differing:
        n_cells = len(rows) * len(columns)
        details.append(_difference(differing, n_cells))
    elif not (gone or new or renamed) and header != new_header:
        details.append("the columns are in another order")
    verdict = "differs" if details else "missing" if gone or new else "renamed"
    for what, names in (("renamed", renamed), ("only before", gone), ("only after", new)):
        if names:
            details.append(f"columns {what}: {_listed(names)}")
    return Finding(name, "table", verdict if details else "equal", "; ".join(details))


def same_map(name: str, before: Path, after: Path) -> Finding:
    """Two images bit for bit: values, how they are stored, affine."""
    one, other = (nibabel.Nifti1Image.from_filename(path) for path in (before, after))
    a, b = (np.asanyarray(image.dataobj) for image in (one, other))
    if a.shape != b.shape:
        return Finding(name, "map", "differs", f"shape {a.shape} and {b.shape}")
    details = []
    if a.dtype != b.dtype or one.get_data_dtype() != other.get_data_dtype():
        details.append(f"stored as {one.get_data_dtype()} and {other.get_data_dtype()}")
    if not np.array_equal(one.affine, other.affine):
        largest = np.abs(one.affine - other.affine).max()
        details.append(f"affine by up to {largest:.3g}")
    if a.dtype == b.dtype and a.tobytes() != b.tobytes():
        bits = [np.ascontiguousarray(x)[..., None].view(np.uint8) for x in (a, b)]
        unequal = (bits[0] != bits[1]).any(-1)
        largest = np.abs(a[unequal].astype(np.float64) - b[unequal].astype(np.float64)).max()
        details.append(f"max |difference| {largest:.3g} ({unequal.sum()} of {a.size} voxels)")
    return Finding(name, "map", "differs" if details else "equal", "; ".join(details))


def reported(findings: Sequence[Finding], failures: Sequence[str]) -> int:
    """Print what was found; 1 where a file is not equal or a command failed."""
    marks = {"equal": "equal  ", "differs": "differs", "renamed": "renamed", "missing": "missing"}
    for found in sorted(findings, key=lambda f: f.name):
        detail = f": {found.detail}" if found.detail else ""
        print(f"{marks[found.verdict]}  {found.name}{detail}")
    for line in failures:
        print(line)
    count = {
        (kind, verdict): sum(f.kind == kind and f.verdict == verdict for f in findings)
        for kind in SUFFIXES
        for verdict in marks
    }
    values, renamed, missing = (
        sum(count[kind, verdict] for kind in SUFFIXES)
        for verdict in ("differs", "renamed", "missing")
    )
    if values + renamed + missing or failures:
        print(
            f"{values} differ in content, {renamed} renamed with the same content, {missing} with "
            f"files or columns of one side alone, {len(failures)} commands failed"
        )
    print(
        f"{count['table', 'equal']} tables and {count['map', 'equal']} maps equal, "
        f"{values + renamed + missing} differ",
        flush=True,
    )
    return int(bool(values + renamed + missing or failures or not findings))


def _origin(before: Checkout) -> str:
    """What all results of BEFORE follow from, the commands aside."""
    heads = (before.root / "tests" / "nuclei_phantom.py").read_bytes()
    parts = (inspect.getsource(write_heads).encode(), heads, AS_PUBLISHED.encode())
    inputs = hashlib.sha256(b"".join(parts)).hexdigest()
    return f"source {before.fingerprint}\ninputs {inputs}\n{N_THREADS} threads\n"


def _finished(marker: Path, text: str) -> bool:
    return marker.is_file() and marker.read_text() == text


def _emptied(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _clocks() -> tuple[float, float]:
    """Seconds of the wall and of the CPU, the latter of the commands that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter(), used.ru_utime + used.ru_stime


def _say_time(side: str, what: str, start: tuple[float, float]) -> None:
    wall_s, cpu_s = (now - then for now, then in zip(_clocks(), start, strict=True))
    print(f"ran      {side} {what}: {wall_s:.1f} s, CPU {cpu_s:.1f} s", flush=True)


def _cells(path: Path) -> tuple[list[str], list[list[str]]]:
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return (lines[0], lines[1:]) if lines else ([], [])


def _columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """Cells by column; a name that comes twice is numbered, a short row is filled up."""
    columns: dict[str, list[str]] = {}
    for position, name in enumerate(header):
        key = name if name not in columns else f"{name} (column {position + 1})"
        columns[key] = [row[position] if position < len(row) else "" for row in rows]
    return columns


def _unequal(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    return [(a, b) for a, b in zip(before, after, strict=True) if a != b]


def _difference(differing: dict[str, list[tuple[str, str]]], n_cells: int) -> str:
    """The largest difference of numbers, the first of words, and in which columns they are."""
    largest, words = None, []
    pairs = [pair for of_column in differing.values() for pair in of_column]
    for a, b in pairs:
        try:
            largest = max(largest or 0.0, abs(float(a) - float(b)))
        except ValueError:
            words.append(f"{a!r} -> {b!r}")
    parts = [] if largest is None else [f"max |difference| {largest:.3g}"]
    if words:
        parts.append(f"text, first {words[0]}")
    where = _listed(sorted(differing))
    return f"{', '.join(parts)} ({len(pairs)} of {n_cells} cells, in {where})"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


if __name__ == "__main__":
    raise SystemExit(main())
