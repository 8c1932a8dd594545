"""File names of results, by which those of an earlier run are recognised."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from accelqsm.results.records import SETTINGS

_TABLE = ("tsv", "json")
_TEXTS = (SETTINGS, "methods.md", "references.bib", "report.html")
_MAPS = (
    "Chimap.nii.gz", "fieldmap.nii.gz", "fieldsd.nii.gz", "localfield.nii.gz",
    "R2starmap.nii.gz", "magnitude.nii.gz", "mask.nii.gz",
)  # fmt: skip
_ECHOES = ("echo-*_part-mag.nii.gz", "echo-*_part-phase.nii.gz")
_NUCLEI = (
    "dseg.nii.gz", "dseg.tsv", "quality.png",
    *(f"{stem}.{end}" for stem in ("nuclei", "nuclei-truth", "quality") for end in _TABLE),
)  # fmt: skip
_COMPARISON = (
    "compared-values.tsv", "compared-participants.tsv",
    *(f"{stem}.{end}" for stem in ("agreement", "age", "table-[1-9]", "published-checks")
      for end in _TABLE),
)  # fmt: skip
_SCANS = (
    SETTINGS, "participants.tsv", "dseg.tsv", "sub-*/sub-*_acq-*_MEGRE.h5",
    "sub-*/sub-*_acq-*_desc-nuclei_dseg.nii.gz", "sub-*/sub-*_acq-*_desc-truth_Chimap.nii.gz",
    "sub-*/sub-*_T1w.nii.gz",
)  # fmt: skip
RESULTS: Mapping[str, tuple[str, ...]] = {
    "map": (*_TEXTS, *_MAPS, *_ECHOES, "nuclei.tsv", "nuclei.json", "nuclei.toml"),
    "recon": (*_TEXTS, *_ECHOES),
    "nuclei": (*_TEXTS, *_NUCLEI),
    "compare": (*_TEXTS, *_COMPARISON),
    "cohort": (SETTINGS, "values.tsv", "participants.tsv"),
    "simulate": _SCANS,
    "demo": (
        "report.html", "values.tsv", "values-truth.tsv", "nuclei.tsv", "similarity.tsv",
        "similarity.json", *(f"scans/{name}" for name in _SCANS),
        *(f"{part}/{name}" for part in ("agreement", "accuracy")
          for name in (*_TEXTS, *_COMPARISON)),
        *(f"maps/sub-*/acq-*/{name}" for name in (*_TEXTS, *_MAPS, *_ECHOES, *_NUCLEI)),
    ),
    "train": (
        SETTINGS, "reconnet3d.safetensors", "checkpoint.safetensors", "log.csv", "errors.csv",
        "learning_curve.png", "heads/*",
    ),
}  # fmt: skip
"""By command, patterns of what it writes below its folder."""

_ALSO_INPUTS = frozenset(
    ("values.tsv", "participants.tsv", "dseg.tsv", "dseg.nii.gz", "mask.nii.gz",
     "magnitude.nii.gz", "log.csv", "errors.csv", "methods.md", "references.bib", "report.html")
)  # fmt: skip
"""Names that people give to inputs as well: results only where the folder or the run says so."""


def owner_of(folder: Path) -> str | None:
    """Command that wrote the results of a folder, from its ``settings.toml``."""
    try:
        record = tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return "demo" if (folder / "scans" / SETTINGS).is_file() else None
    command = "map" if record.get("command") == "qsm" else record.get("command")
    if isinstance(command, str) and command in RESULTS:
        return command
    if "training" in record:
        return "train"
    return "simulate" if "preset" in record else None


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
