"""The virtual study from nothing to its page: heads, scans, maps, nuclei, tables and figures.

Usage: python benchmarks/virtual_cohort.py RESULTS --atlas DIR [--work DIR] [--subjects N]
           [--seed S] [--preset P] [--targets TARGETS.tsv] [--at-once N] [--page PAGE.md]

Subjects are made one after another (``--at-once`` side by side), each with one thread, by the
commands that ``virtual_study.py`` names; once the results of one are in RESULTS, its scans and
maps are removed. Stopped and started again it goes on with the subjects that RESULTS lacks.
Without ``--targets`` the distribution of the true nuclei is that of ``virtual_targets.py``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from accelqsm.files.atomic import write_text
from accelqsm.files.tables import read_table, write_table
from accelqsm.results.study import TRUE
from accelqsm.simulate.cohort import Cohort
from accelqsm.study.publish import STUDY_FILE
from accelqsm.virtual.measured import measured_heads
from virtual_study import LEFT_OUT, VALUES, fill_page, gather, write_results
from virtual_study_values import ARMS, REFERENCE, Dataset
from virtual_targets import targets

RESCAN_SD_PPB = 1.0
"""SD of a nucleus between scans of a head under the reference, from heads of other seeds."""


def main() -> None:
    """Make the subjects that are missing, then everything that follows from all."""
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    distribution = options.results / "targets.tsv"
    if options.targets is not None:
        distribution = options.targets
    elif not distribution.is_file():
        write_table(distribution, targets(measured_heads().values, RESCAN_SD_PPB))
    missing = _missing(options)
    print(f"{len(missing)} of {options.subjects} subjects to be made", flush=True)
    one_at_a_time = Lock()

    def make(subject: str) -> None:
        with tempfile.TemporaryDirectory(prefix=f"{subject}-", dir=options.work) as folder:
            dataset = _study_of(subject, Path(folder), distribution, options)
            with one_at_a_time:
                gather(dataset, options.results)

    with ThreadPoolExecutor(options.at_once) as pool:
        for _ in pool.map(make, missing):
            pass
    write_results(options.results)
    if options.page:
        fill_page(options.page, options.results)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("results", type=Path)
    parser.add_argument("--atlas", type=Path, required=True, help="folder of the CIT168 atlas")
    parser.add_argument("--work", type=Path, help="for scans and maps, 4 GB a subject at once")
    parser.add_argument("--subjects", type=int, default=24)
    parser.add_argument("--seed", type=int, default=2025)
    parser.add_argument("--preset", default="demo")
    parser.add_argument(
        "--targets", type=Path, help="of virtual_targets.py, of a pilot of one's own"
    )
    parser.add_argument("--at-once", type=int, default=2, help="subjects side by side")
    parser.add_argument("--page", type=Path, help="page whose parts are to be filled in")
    return parser.parse_args()


def _missing(options: argparse.Namespace) -> list[str]:
    """Labels of the subjects that the results do not have."""
    made = {
        subject
        for path in (options.results / VALUES, options.results / LEFT_OUT)
        if path.is_file()
        for subject in read_table(path, text=("subject",))["subject"]
    }
    cohort = Cohort(options.subjects, options.seed).subjects()
    return [subject.label for subject in cohort if subject.label not in made]


def _study_of(
    subject: str, folder: Path, distribution: Path, options: argparse.Namespace
) -> Dataset:
    """Scans of a subject, measured by true labels and by an atlas'."""
    bids, out, atlas = (folder / name for name in ("bids", "out", "atlas"))
    log = options.results / "logs" / f"{subject}.txt"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    heads = ["--subjects", options.subjects, "--seed", options.seed, "--preset", options.preset]
    heads += ["--anatomy", "people", "--motion", "--exact", "--nuclei", distribution.resolve()]
    one = ["--participant-label", subject, "--protocols", *ARMS]
    settings = ["--reference", REFERENCE, "--threads", 1]
    _accelqsm(log, "simulate", bids, *heads, *one)
    _accelqsm(log, "workflow", bids, out, *settings, "--labels", TRUE, "--", "--cores", 1)
    shutil.copytree(out, atlas)
    text = (out / STUDY_FILE).read_text(encoding="utf-8")
    write_text(atlas / STUDY_FILE, text.replace(f'labels = "{TRUE}"\n', ""))
    named = ["--atlas", options.atlas.resolve()]
    _accelqsm(log, "workflow", bids, atlas, *settings, *named, "--", "--cores", 1)
    return Dataset(bids, out, atlas)


def _accelqsm(log: Path, *words: object) -> None:
    """Run a command with one thread; what it says goes to the log."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelqsm.cli", *map(str, words)]
    with log.open("a", encoding="utf-8") as stream:
        print("accelqsm", *words, file=stream, flush=True)
        subprocess.run(command, check=True, stdout=stream, stderr=stream, env=environment)


if __name__ == "__main__":
    main()
