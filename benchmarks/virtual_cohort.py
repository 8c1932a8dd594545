"""The virtual study from nothing to its page: heads, scans, maps, nuclei, tables and figures.

Usage: python benchmarks/virtual_cohort.py RESULTS --atlas DIR [--work DIR] [--subjects N]
           [--seed S] [--preset P] [--targets TARGETS.tsv] [--at-once N] [--page PAGE.md]

First come 24 pilot heads of another seed, scanned by the reference alone, which tell what true
nuclei the subjects need for the published values to be measured in them (``virtual_targets.py``);
``--targets`` spares them. Then subjects are made one after another (``--at-once`` side by side),
each with one thread, by the commands that ``virtual_study.py`` names; once the results of one are
in RESULTS, its scans and maps are removed. Stopped and started again it goes on with the subjects
that RESULTS lacks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pandas as pd

from accelqsm.api.agreement import values
from accelqsm.files.atomic import write_text
from accelqsm.files.tables import read_table, write_table
from accelqsm.results.nuclei import TABLE
from accelqsm.results.study import TRUE
from accelqsm.simulate.cohort import Cohort, Subject
from accelqsm.study.plan import NUCLEI
from accelqsm.study.publish import STUDY_FILE
from accelqsm.units import PPB_PER_PPM
from virtual_study import LEFT_OUT, VALUES, fill_page, gather, write_results
from virtual_study_values import ARMS, REFERENCE, Dataset, step
from virtual_targets import PILOT_COLUMNS, targets

PILOT, TARGETS = "pilot.tsv", "targets.tsv"
PILOT_COHORT = Cohort(24, seed=1958, exact=True)
"""Heads that tell what is measured of what was drawn; none of them is in the study."""


def main() -> None:
    """Make the subjects that are missing, then everything that follows from all."""
    options = _options()
    options.results.mkdir(parents=True, exist_ok=True)
    distribution = options.targets or _distribution(options)
    missing = _missing(options)
    print(f"{len(missing)} of {options.subjects} subjects to be made", flush=True)
    one_at_a_time = Lock()

    def make(subject: str, folder: Path) -> None:
        dataset = _study_of(subject, folder, distribution, options)
        with one_at_a_time:
            gather(dataset, options.results)

    _side_by_side(make, missing, options)
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
    parser.add_argument("--targets", type=Path, help="distribution of the true nuclei")
    parser.add_argument("--at-once", type=int, default=2, help="subjects side by side")
    parser.add_argument("--page", type=Path, help="page whose parts are to be filled in")
    return parser.parse_args()


def _distribution(options: argparse.Namespace) -> Path:
    """Table of the true nuclei that a pilot asks for; each is made unless RESULTS has it."""
    results: Path = options.results
    pilot, distribution = (results / name for name in (PILOT, TARGETS))
    if distribution.is_file():
        return distribution
    if not pilot.is_file():
        heads = {head.label: head for head in PILOT_COHORT.subjects()}
        print(f"{len(heads)} pilot heads to be made", flush=True)
        measured: dict[str, pd.DataFrame] = {}

        def measure(subject: str, folder: Path) -> None:
            measured[subject] = _pilot_head(heads[subject], folder, options)

        _side_by_side(measure, heads, options)
        write_table(pilot, pd.concat([measured[subject] for subject in heads]))
    write_table(distribution, targets(read_table(pilot, text=("subject",))))
    return distribution


def _side_by_side(
    make: Callable[[str, Path], None], subjects: Iterable[str], options: argparse.Namespace
) -> None:
    """Call for each subject with a folder that is removed afterwards."""

    def in_folder(subject: str) -> None:
        with tempfile.TemporaryDirectory(prefix=f"{subject}-", dir=options.work) as folder:
            make(subject, Path(folder))

    with ThreadPoolExecutor(options.at_once) as pool:
        for _ in pool.map(in_folder, subjects):
            pass


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


def _pilot_head(head: Subject, folder: Path, options: argparse.Namespace) -> pd.DataFrame:
    """Nuclei of a head, as drawn and by true labels under the reference: ``PILOT_COLUMNS``."""
    bids, out = folder / "bids", folder / "out"
    log = _log(options, f"pilot-{head.label}")
    heads = _heads(PILOT_COHORT.n_subjects, PILOT_COHORT.seed, options)
    _accelqsm(log, "simulate", bids, *heads, *_only(head.label, REFERENCE))
    _accelqsm(log, "run", bids, out, "participant", "--labels", TRUE, "--threads", 1)
    found = values({(head.label, REFERENCE): step(out, head.label, REFERENCE, NUCLEI) / TABLE})
    found["measured_ppb"] = found["value_ppb"].round(4)
    drawn_ppb = {region: PPB_PER_PPM * chi for region, chi in head.nuclei_chi_ppm.items()}
    found["drawn_ppb"] = found["region"].map(drawn_ppb).round(4)
    return found[list(PILOT_COLUMNS)]


def _study_of(
    subject: str, folder: Path, distribution: Path, options: argparse.Namespace
) -> Dataset:
    """Scans of a subject, measured by true labels and by an atlas'."""
    bids, out, atlas = (folder / name for name in ("bids", "out", "atlas"))
    log = _log(options, subject)
    heads = [*_heads(options.subjects, options.seed, options), "--nuclei", distribution.resolve()]
    settings = ["--reference", REFERENCE, "--threads", 1]
    _accelqsm(log, "simulate", bids, *heads, *_only(subject, *ARMS))
    _accelqsm(log, "workflow", bids, out, *settings, "--labels", TRUE, "--", "--cores", 1)
    shutil.copytree(out, atlas)
    text = (out / STUDY_FILE).read_text(encoding="utf-8")
    write_text(atlas / STUDY_FILE, text.replace(f'labels = "{TRUE}"\n', ""))
    named = ["--atlas", options.atlas.resolve()]
    _accelqsm(log, "workflow", bids, atlas, *settings, *named, "--", "--cores", 1)
    return Dataset(bids, out, atlas)


def _heads(n_subjects: int, seed: int, options: argparse.Namespace) -> list[object]:
    """Arguments of ``accelqsm simulate`` that pilot and study share."""
    cohort = ["--subjects", n_subjects, "--seed", seed, "--preset", options.preset]
    return [*cohort, "--anatomy", "people", "--motion", "--exact"]


def _only(subject: str, *protocols: str) -> list[object]:
    return ["--participant-label", subject, "--protocols", *protocols]


def _log(options: argparse.Namespace, name: str) -> Path:
    """A log without lines of a former try."""
    log: Path = options.results / "logs" / f"{name}.txt"
    log.parent.mkdir(exist_ok=True)
    log.unlink(missing_ok=True)
    return log


def _accelqsm(log: Path, *words: object) -> None:
    """Run a command with one thread; what it says goes to the log."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "accelqsm.cli", *map(str, words)]
    with log.open("a", encoding="utf-8") as stream:
        print("accelqsm", *words, file=stream, flush=True)
        subprocess.run(command, check=True, stdout=stream, stderr=stream, env=environment)


if __name__ == "__main__":
    main()
