"""Studies in a folder whose steps take no time: raw files of text, and results made of keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd

from accelqsm.files.bids.dataset import read_dataset
from accelqsm.files.bids.description import write_description
from accelqsm.files.toml import write_settings
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.recon.settings import ReconSettings
from accelqsm.results.folder import results_folder
from accelqsm.results.maps import CHIMAP, MAGNITUDE, MASK
from accelqsm.results.nuclei import LABELS, LOOKUP, TABLE, write_nuclei
from accelqsm.results.registration import TO_TEMPLATE
from accelqsm.study.context import Context
from accelqsm.study.plan import MAP, NUCLEI, REGISTRATION, Step
from accelqsm.study.settings import Study, StudySettings
from accelqsm.study.state import KEY

PROTOCOLS = ("pi", "af3")


def write_raw(root: Path, subjects: int = 2, protocols: tuple[str, ...] = PROTOCOLS) -> Path:
    """A dataset of raw files that hold their names, with an atlas of one file in it."""
    write_description(root, name="names", kind="raw", readme="Names.")
    for number in range(1, subjects + 1):
        folder = root / "sourcedata" / f"sub-{number:02d}" / "anat"
        folder.mkdir(parents=True, exist_ok=True)
        for protocol in protocols:
            path = folder / f"sub-{number:02d}_acq-{protocol}_MEGRE.h5"
            path.write_text(path.name)
    (root / "atlas").mkdir()
    (root / "atlas" / "dseg.tsv").write_text("index\tname\n1\tPu\n")
    return root


def context_of(root: Path, out: Path, nuclei: MeasureSettings | None = None) -> Context:
    """The study of such a dataset, with zero filling and the reference pi."""
    dataset = read_dataset(root)
    study = Study(
        study=StudySettings(reference="pi", atlas=str(root / "atlas")),
        recon={protocol: ReconSettings("zero-filled") for protocol in dataset.protocols},
        nuclei=nuclei or MeasureSettings(),
    )
    return Context(dataset, replace(study, compare=replace(study.compare, reference="pi")), out)


def do_nothing(context: Context, step: Step, key: str) -> None:
    """Write results that hold the key alone, whole or not at all."""
    names = {MAP: (CHIMAP, MASK, MAGNITUDE), REGISTRATION: (TO_TEMPLATE,), NUCLEI: (LABELS, LOOKUP)}
    with results_folder(context.folder(step), step.kind, overwrite=True) as folder:
        for name in names[step.kind]:
            (folder / name).write_text(f"{name} {key}\n")
        if step.kind == NUCLEI:
            rows = [{"region": "Pu", "side": "both", "mean_ppb": float(int(key[:4], 16))}]
            write_nuclei(folder / TABLE, pd.DataFrame(rows))
        write_settings(folder / "settings.toml", {"command": step.kind, "source": {KEY: key}})


def results(out: Path) -> dict[str, bytes]:
    """Contents of all files of a study but logs, caches and what an engine leaves."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file()
        and not path.name.endswith((".jsonl", ".lock"))
        and not {".sums", ".workflow"} & set(path.relative_to(out).parts)
    }
