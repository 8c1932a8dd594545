"""Kill runs (SIGKILL) before each of their renames, and look at what they leave behind.

A command runs in a forked process that ends itself before its k-th rename, for every k. Then its
folder must hold the old results whole, the new ones whole, or say that it is unfinished; a run
that fails must then leave the old ones; and the same command, run again without anything done by
hand, must end with the results of an undisturbed run and leave nothing else behind. Counts per
command and start: nothing there; a note of the user there; earlier results there, replaced
(--overwrite); both.

Usage: python benchmarks/kill_renames.py [COMMAND ...], of compare report save nuclei map recon
registered import demo train; or COMMAND:START, such as "compare:old and note". ``save`` writes maps
that are not computed, ``registered`` is nuclei with labels of another scan. ``demo`` and ``train``
write in place: killed, they say that they are unfinished, and do not bring the old results back.
With --all, kills also before each file or folder is removed and each folder is made.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.files.atomic import PARTIAL
from accelqsm.files.dicom.dataset import TABLE
from accelqsm.files.megre.bids import find_megre
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import centred_grid
from accelqsm.reports.rebuild import rebuild_report
from accelqsm.results.folder import added_files, results_folder, results_table
from accelqsm.results.integrity.check import check_file, check_folder
from kill_cases import Run, cli, demo_runs, import_runs, maps, nuclei_runs, train_runs

ADDED = {
    "registered": nuclei_runs,
    "import": import_runs,
    "demo": demo_runs,
    "train": train_runs,
}

COMMANDS = ("compare", "report", "save", "nuclei", "map", "recon", *ADDED)
STARTS = ("empty", "note", "old", "old and note")
NOTE = "notes.txt"
EVENTS = {"os.rename"}
if "--all" in sys.argv:
    EVENTS |= {"os.remove", "os.rmdir", "os.mkdir", "shutil.rmtree"}
IN_PLACE = ("demo", "train")
REPEATED = {"train": ("reconnet3d.safetensors", "errors.csv", "log.csv")}
"""Files whose bytes a run repeats, where it does not repeat all of them."""


def values(path: Path, seed: int) -> Path:
    """Values of eight people under two protocols."""
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{s}", protocol, region, 50 + 10 * s + rng.normal())
        for s in range(8)
        for protocol in ("PI", "AF3")
        for region in ("Pu", "Ca")
    ]
    write_table(path, pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"]))
    return path


def write_scan(path: Path, seed: int) -> Path:
    """A ball through three channels, two echoes, fully sampled."""
    import torch

    from accelqsm.acquisition import Acquisition
    from accelqsm.files.mrd.writer import write_mrd
    from accelqsm.fourier import PHASE_ENCODES, fft
    from accelqsm.kspace import KSpace

    torch.set_num_threads(1)
    grid = centred_grid((24, 20, 16), (2.0, 2.0, 2.0))
    x, y, z = grid.world_mm()
    inside = np.linalg.norm((x, y, z), axis=0) < 14
    times_s = (0.005, 0.012)
    images = np.stack(
        [
            [inside * np.exp(c * (y + 1j * z) / 60 + 2j * np.pi * (20 + x) * t) for t in times_s]
            for c in range(3)
        ]
    )
    spectrum = fft(torch.from_numpy(images.astype(np.complex64)), PHASE_ENCODES).numpy()
    noise = np.random.default_rng(seed).normal(0, 0.01, (2, *spectrum.shape))
    samples = (spectrum + noise[0] + 1j * noise[1]).astype(np.complex64)
    full = torch.ones(grid.shape[1:], dtype=torch.bool)
    write_mrd(path, KSpace(Acquisition(grid, times_s, 3.0), full, samples[..., full.numpy()]))
    return path


def runs(command: str, work: Path) -> tuple[str, Run, Run]:
    """Name of the output, the run that leaves the old results, and the one that is killed."""

    if command in ADDED:
        return "out", *ADDED[command](work)
    if command in ("compare", "report"):
        old, new = (values(work / f"v{seed}.tsv", seed) for seed in (0, 1))
        first = cli("compare", "--reference", "PI", old)
        if command == "report":
            return "out", first, lambda out, _: rebuild_report(out)
        return "out", first, cli("compare", "--reference", "PI", new)
    if command == "save":
        return (
            "out",
            lambda out, over: maps(0).save(out, overwrite=over),
            lambda out, over: maps(1).save(out, overwrite=over),
        )
    if command == "nuclei":
        chi = maps(0)
        labels, lookup = work / "labels.nii.gz", work / "lookup.tsv"
        write_image(labels, (chi.chi_ppm > 0).astype(np.int16), chi.grid)
        write_table(lookup, pd.DataFrame({"index": [1], "name": ["L Pu"]}))
        for seed in (0, 1):
            write_image(work / f"chi{seed}.nii.gz", maps(seed).chi_ppm, chi.grid)
        words = ("nuclei", "--labels", labels, "--lookup", lookup, "--reference", "none")
        first, second = (cli(*words, work / f"chi{seed}.nii.gz") for seed in (0, 1))
        return "nuclei.tsv", first, second
    old, new = (write_scan(work / f"scan{seed}.h5", seed) for seed in (0, 1))
    recon = (command, "--method", "zero-filled")
    return "out", cli(*recon, old), cli(*recon, new)


def forked(run: Callable[[], object], kill_at: int | None = None) -> tuple[int, int]:
    """Exit status of a forked run (minus the signal that ended it) and the renames it made."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 70
        try:
            counter = [0]

            def count(event: str, _: tuple[object, ...]) -> None:
                if event in EVENTS:
                    counter[0] += 1
                    if counter[0] == kill_at:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(count)
            with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
                try:
                    done = run()
                    status = done if isinstance(done, int) else 0
                except InputError:
                    status = 65
            os.write(writing, str(counter[0]).encode())
        finally:
            os._exit(status)
    os.close(writing)
    told = os.read(reading, 100)
    os.close(reading)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), int(told or 0)


def fail(out: Path, command: str) -> None:
    """A run that undoes what it finds, and then has nothing to add."""
    folder = results_table if out.suffix == ".tsv" else partial(results_folder, command=command)
    with added_files(out, last=TABLE) if command == "import" else folder(out, overwrite=True):
        raise InputError("expected to fail")


def contents(out: Path, command: str = "") -> dict[str, bytes]:
    """Files of a result that a run repeats, without the page of a report and the user's note."""
    if out.suffix == ".tsv":
        beside = [out, out.with_suffix(".json"), out.with_suffix(".toml")]
        return {p.name: p.read_bytes() for p in beside if p.is_file()} if out.is_file() else {}
    files = (p for p in out.rglob("*") if p.is_file() and p.name not in (NOTE, "report.html"))
    kept = REPEATED.get(command)
    return {str(p.relative_to(out)): p.read_bytes() for p in files if not kept or p.name in kept}


def scan_in(files: dict[str, bytes]) -> dict[str, bytes]:
    """The images among files."""
    return {name: data for name, data in files.items() if name.endswith(".nii.gz")}


def readable(out: Path) -> bool:
    """Whether a reader takes what lies in an imported folder for a scan."""
    try:
        return any(find_megre(folder) for folder in out.glob("sub-*/anat"))
    except InputError:
        return False


def page_of(out: Path) -> bytes:
    """The page of a report, if there is one."""
    page = out / "report.html"
    return page.read_bytes() if page.is_file() else b""


def left(command: str, out: Path, old: dict[str, bytes], new: dict[str, bytes]) -> str:
    """What a killed run left: old, new, nothing or unfinished; anything else is a fault."""
    if out.suffix == ".tsv" and not out.is_file():
        return "unfinished"  # where there is no table, there is no result
    if not out.is_file() and not any(p.name != NOTE for p in out.rglob("*")):
        return "nothing"
    found = {name: data for name, data in contents(out, command).items() if PARTIAL not in name}
    if command == "import":
        if found in (old, new):
            return "old" if found == old else "new"
        mixed = scan_in(found) not in (scan_in(old), scan_in(new))
        passes = TABLE in found or (mixed and readable(out))
        return "FAULT: passes as whole" if passes else "unfinished"
    try:
        check_file(out) if out.suffix == ".tsv" else check_folder(out)
    except InputError as error:
        return "unfinished" if "unfinished" in str(error) else f"FAULT: {error}"
    return "old" if found == old else "new" if found == new else f"FAULT: passes as {set(found)}"


def tried(command: str, start: str, work: Path) -> Iterator[str]:
    """What is left after a kill before each rename in turn."""
    name, first, run = runs(command, work)
    clean, state = work / "clean" / name, work / "state"
    state.mkdir()
    clean.parent.mkdir()
    old: dict[str, bytes] = {}
    if "old" in start or command == "report":
        forked(lambda: first(state / name, False))
        old = contents(state / name, command)
    if "old" in start and command == "report":
        forked(lambda: run(state / name, True))
    if "note" in start:
        (state / name).mkdir(exist_ok=True)
        (state / name / NOTE).write_text("mine")
    over = "old" in start and command != "report"
    shutil.copytree(state, clean.parent, dirs_exist_ok=True)
    with open(os.devnull, "w") as null, redirect_stdout(null), redirect_stderr(null):
        first(work / "warm" / name, False)  # so that forked runs have their imports
        run(work / "warm" / name, True)
    status, n_renames = forked(lambda: run(clean, over))
    assert status == 0, f"{command} from {start}: an undisturbed run ended with {status}"
    new = contents(clean, command)
    for k in range(1, n_renames + 1):
        place = work / f"killed-{k}"
        shutil.copytree(state, place)
        out = place / name
        killed, _ = forked(lambda: run(out, over), k)  # noqa: B023
        found = (
            left(command, out, old, new)
            if killed == -signal.SIGKILL
            else f"FAULT: ended with {killed}"
        )
        if page_of(out) not in (page_of(state / name), page_of(clean)):
            found = "FAULT: another page"
        if found == "unfinished" and command not in IN_PLACE:
            copied = place / "failed"
            shutil.copytree(place, copied)
            forked(lambda: fail(copied / name, command))  # noqa: B023
            if contents(copied / name, command) != old:
                found = f"FAULT at {k}: not undone"
            shutil.rmtree(copied)
        again = over or found == "new"
        status, _ = forked(lambda: run(out, again))  # noqa: B023
        if status != 0 or contents(out, command) != new:
            found = f"FAULT at {k}: {found}, and run again it ends with {status}"
        elif {p.name for p in place.iterdir()} != {p.name for p in clean.parent.iterdir()}:
            found = f"FAULT at {k}: {found}, and {[p.name for p in place.iterdir()]} stay"
        elif "note" in start and (out / NOTE).read_text() != "mine":
            found = f"FAULT at {k}: the user's file is lost"
        yield found
        shutil.rmtree(place)


def benchmark() -> int:
    """Print the counts for each command and start; the number of faults."""
    faults = 0
    for word in [word for word in sys.argv[1:] if word != "--all"] or COMMANDS:
        command, _, only = word.partition(":")
        for start in (only,) if only else STARTS:
            if "note" in start and command == "nuclei":
                continue
            with tempfile.TemporaryDirectory() as work:
                counts = Counter(tried(command, start, Path(work)))
            wrong = sum(n for what, n in counts.items() if "FAULT" in what)
            faults += wrong
            shown = ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
            print(f"{command:10s} {start:13s} {sum(counts.values()):3d} kills: {shown}", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(min(benchmark(), 1))
