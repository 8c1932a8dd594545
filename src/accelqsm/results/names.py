"""File names of results, by which those of an earlier run are recognised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.errors import InputError
from accelqsm.files.toml import read_settings
from accelqsm.recon.registry import NETWORKS
from accelqsm.results.records import SETTINGS, UNFINISHED

_TABLE = ("tsv", "json")
_TEXTS = (SETTINGS, UNFINISHED, "methods.md", "references.bib", "report.html")
_EXPORTS = ("tables.docx", "tables.tex", "figures/*.svg", "figures/*.png")
_MAPS = (
    "Chimap.nii.gz", "chisd.nii.gz", "nullshare.nii.gz",
    "fieldmap.nii.gz", "fieldsd.nii.gz", "localfield.nii.gz",
    "fieldmap.json", "fieldsd.json", "localfield.json",
    "R2starmap.nii.gz", "magnitude.nii.gz", "mask.nii.gz",
)  # fmt: skip
_ECHOES = tuple(
    f"echo-*_part-{part}.{end}" for part in ("mag", "phase") for end in ("nii.gz", "json")
)
_NUCLEI = (
    "dseg.nii.gz", "dseg.tsv", "quality.png",
    *(f"{stem}.{end}" for stem in ("nuclei", "nuclei-truth", "quality") for end in _TABLE),
)  # fmt: skip
_COMPARISON = (
    "compared-values.tsv", "compared-participants.tsv",
    *(f"{stem}.{end}" for stem in ("agreement", "age", "table-[1-9]", "published-checks")
      for end in _TABLE),
)  # fmt: skip
_DATASET = ("dataset_description.json", "README.md", ".bidsignore")
_SCANS = (
    SETTINGS, UNFINISHED, "participants.tsv", "participants.json", *_DATASET,
    "sourcedata/sub-*/anat/sub-*_acq-*_MEGRE.h5", "sub-*/anat/sub-*_T1w.nii.gz",
    "sub-*/anat/sub-*_T1w.json", *(f"derivatives/truth/{name}" for name in _DATASET),
    "derivatives/truth/desc-nuclei_dseg.tsv",
    *(f"derivatives/truth/sub-*/anat/sub-*_acq-*_desc-{what}.{end}"
      for what in ("nuclei_dseg", "truth_Chimap") for end in ("nii.gz", "json")),
)  # fmt: skip
RESULTS: Mapping[str, tuple[str, ...]] = {
    "map": (*_TEXTS, *_MAPS, *_ECHOES, "nuclei.tsv", "nuclei.json", "nuclei.toml"),
    "recon": (*_TEXTS, *_ECHOES),
    "nuclei": (*_TEXTS, *_NUCLEI),
    "registration": (SETTINGS, UNFINISHED, "to-template.nii.gz", "from-template.nii.gz"),
    "compare": (*_TEXTS, *_COMPARISON, *_EXPORTS),
    "cohort": (SETTINGS, UNFINISHED, "values.tsv", "participants.tsv"),
    "simulate": _SCANS,
    "demo": (
        SETTINGS, UNFINISHED, "report.html", *_EXPORTS, "values.tsv", "values-truth.tsv",
        "nuclei.tsv", "similarity.tsv", "similarity.json", *(f"scans/{name}" for name in _SCANS),
        *(f"{part}/{name}" for part in ("agreement", "accuracy")
          for name in (*_TEXTS, *_COMPARISON)),
        *(f"maps/sub-*/acq-*/{name}" for name in (*_TEXTS, *_MAPS, *_ECHOES, *_NUCLEI)),
    ),
    "pattern": (SETTINGS, UNFINISHED, "checkpoint.safetensors", "heads/*"),
    "train": (
        SETTINGS, UNFINISHED, *(f"{network}.safetensors" for network in NETWORKS.names),
        "checkpoint.safetensors", "log.csv", "errors.csv", "learning_curve.png", "heads/*",
    ),
}  # fmt: skip
"""By command, patterns of what it writes below its folder."""

_ALSO_INPUTS = frozenset(
    ("values.tsv", "participants.tsv", "dseg.tsv", "dseg.nii.gz", "mask.nii.gz",
     "magnitude.nii.gz", "log.csv", "errors.csv", "methods.md", "references.bib", "report.html")
)  # fmt: skip
"""Names that people give to inputs as well: results only where the folder or the run says so."""

LATER = frozenset(
    ("report.html", *_EXPORTS, "nuclei.tsv", "nuclei.json", "nuclei.toml", UNFINISHED)
)
"""Names that a later command writes next to the results of an earlier one."""

CACHES = ("heads",)
"""Folders of what a run can make again, which no record names."""

CORRECTED = frozenset(("mask.nii.gz", "dseg.nii.gz", "dseg.tsv"))
"""Results that people correct by hand and use as inputs."""


def owner_of(folder: Path) -> str | None:
    """Command that wrote the results of a folder, from its record, finished or not."""
    record = _record(folder / SETTINGS) or _record(folder / UNFINISHED)
    if not record:
        return "demo" if (folder / "scans" / SETTINGS).is_file() else None
    command = "map" if record.get("command") == "qsm" else record.get("command")
    if isinstance(command, str) and command in RESULTS:
        return command
    if "training" in record:
        return "train"
    return "simulate" if "preset" in record else None


def _record(path: Path) -> dict[str, Any]:
    try:
        return read_settings(path)
    except (OSError, InputError):
        return {}


def results_in(folder: Path, command: str) -> list[Path]:
    """Files in a folder that are results of a run, or that ``command`` would replace."""
    if not folder.is_dir():
        return []
    sure = {owner_of(folder), "map" if command == "qsm" else command}
    patterns = {
        pattern
        for name, known in RESULTS.items()
        for pattern in known
        if name in sure or not (pattern in _ALSO_INPUTS or "/" in pattern)
    }
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return sorted(found)
