"""Results of a study under their BIDS names: hard links to the results of steps, and sidecars.

A hard link is the same file under a second name and takes no space. Where the file system has
none, files are copied.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelqsm.files.atomic import remove_partial, whole_file, write_text
from accelqsm.files.bids.description import DESCRIPTION, write_description
from accelqsm.files.megre.bids import bids_name
from accelqsm.files.toml import read_settings
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.results.echoes import echo_name
from accelqsm.results.maps import CHIMAP, MASK, R2STAR
from accelqsm.results.nuclei import LABELS, LOOKUP, TABLE
from accelqsm.results.records import SETTINGS
from accelqsm.study.context import Context
from accelqsm.study.plan import MAP, NUCLEI, STEPS, Step

GROUP, PAGE, STUDY_FILE = "group", "report.html", "study.toml"
NUCLEI_ENDING = "_desc-nuclei_stats.tsv"
IGNORED = (STEPS, GROUP, STUDY_FILE, "**/*_stats.tsv", "**/*_stats.json", "*.html")
README = """Susceptibility maps, nuclei and their agreement, made by accelqsm from the dataset that
`dataset_description.json` links to. `study.toml` holds all settings. `sub-*` holds maps (ppm),
images of every echo (phase in radians), masks, labels of nuclei and their values
(`*_desc-nuclei_stats.tsv`, which is no BIDS name). `steps` holds the results of every step with
their provenance; files of `sub-*` are links to them. `group` holds the comparison of protocols."""


def publish_dataset(context: Context) -> None:
    """Write what makes the folder of a study a BIDS derivative dataset, if it is not there."""
    if not (context.out / DESCRIPTION).is_file():
        raw = os.path.relpath(context.dataset.root.resolve(), context.out.resolve())
        write_description(
            context.out,
            name="accelqsm",
            kind="derivative",
            readme=README,
            links={"raw": Path(raw).as_posix()},
            ignored=IGNORED,
        )


def publish(context: Context, step: Step) -> None:
    """Give the results of a finished step their BIDS names, and remove those of an earlier one."""
    if step.kind not in (MAP, NUCLEI):
        return
    scan = step.scan
    source = context.folder(step)
    anat = context.out.joinpath(scan.subject, *([scan.session] if scan.session else []), "anat")
    stem = scan.name(_rec(context, step))
    names = _map_names(source, stem) if step.kind == MAP else _nuclei_names(stem)
    sidecars = _map_sidecars(context, source, stem) if step.kind == MAP else _label_sidecars(stem)
    for target in (*names.values(), *sidecars):
        remove_partial(anat / target)
    for name, target in names.items():
        _link(source / name, anat / target)
    for name, fields in sidecars.items():
        write_new_json(anat / name, fields)
    _remove_others(context, step, anat, stem, {*names.values(), *sidecars})


def _rec(context: Context, step: Step) -> str:
    recon = context.study.recon.get(step.scan.protocol)
    if recon is None or not step.scan.is_kspace:
        return ""
    return "".join(filter(str.isalnum, RECONSTRUCTIONS[recon.method].name))


def _map_names(source: Path, stem: str) -> dict[str, str]:
    names = {CHIMAP: f"{stem}_Chimap.nii.gz", MASK: f"{stem}_desc-brain_mask.nii.gz"}
    if (source / R2STAR).is_file():
        names[R2STAR] = f"{stem}_R2starmap.nii.gz"
    echo = 1
    while (source / echo_name(echo, "mag")).is_file():
        for part in ("mag", "phase"):
            names[echo_name(echo, part)] = f"{stem}_echo-{echo}_part-{part}_MEGRE.nii.gz"
        echo += 1
    return names


def _nuclei_names(stem: str) -> dict[str, str]:
    table = f"{stem}{NUCLEI_ENDING}"
    return {
        LABELS: f"{stem}_desc-nuclei_dseg.nii.gz",
        LOOKUP: f"{stem}_desc-nuclei_dseg.tsv",
        TABLE: table,
        TABLE.replace(".tsv", ".json"): table.replace(".tsv", ".json"),
    }


def _map_sidecars(context: Context, source: Path, stem: str) -> dict[str, dict[str, Any]]:
    record = read_settings(source / SETTINGS)
    made: Mapping[str, Any] = record.get("source", {})
    times_s = list(made.get("echo_times_s", []))
    known: dict[str, Any] = {
        "SkullStripped": True,
        "MagneticFieldStrength": made.get("b0_tesla"),
        "EchoTime": times_s,
        "Sources": _raw_files(made),
    }
    qsm = record.get("qsm", {})
    algorithm = f"{qsm.get('background', '')}, {qsm.get('inversion', '')}".strip(", ")
    chi = {**known, "Units": "ppm", "EstimationAlgorithm": algorithm}
    sidecars: dict[str, dict[str, Any]] = {
        f"{stem}_Chimap.json": chi,
        f"{stem}_desc-brain_mask.json": {"Type": "Brain", "Sources": known["Sources"]},
    }
    if (source / R2STAR).is_file():
        sidecars[f"{stem}_R2starmap.json"] = {**known, "Units": "1/s"}
    for echo, time_s in enumerate(times_s, start=1):
        if not (source / echo_name(echo, "mag")).is_file():
            break
        own = {
            **known,
            "SkullStripped": False,
            "EchoTime": time_s,
            "B0_dir": made.get("b0_direction"),
        }
        units: dict[str, dict[str, str]] = {"mag": {}, "phase": {"Units": "rad"}}
        for part, unit in units.items():
            sidecars[f"{stem}_echo-{echo}_part-{part}_MEGRE.json"] = own | unit
    return {name: {k: v for k, v in f.items() if v is not None} for name, f in sidecars.items()}


def _raw_files(source: Mapping[str, Any]) -> list[str]:
    """Files of the dataset among the inputs of a record."""
    values = [v for one in source.values() for v in (one if isinstance(one, list) else [one])]
    return [v for v in values if isinstance(v, str) and v.startswith("bids:raw:")]


def _label_sidecars(stem: str) -> dict[str, dict[str, Any]]:
    image = f"{stem}_Chimap.nii.gz"
    return {f"{stem}_desc-nuclei_dseg.json": {"Manual": False, "Sources": [f"bids::{image}"]}}


def _link(source: Path, target: Path) -> None:
    if target.is_file() and _same(source, target):
        return
    with whole_file(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copy2(source, temporary)


def _same(source: Path, target: Path) -> bool:
    one, other = source.stat(), target.stat()
    copied = (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
    return os.path.samestat(one, other) or copied


def write_new_json(path: Path, fields: Mapping[str, Any]) -> None:
    """Write a JSON file unless it says the same already."""
    import json

    text = json.dumps(dict(fields), indent=2, ensure_ascii=False) + "\n"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def _remove_others(context: Context, step: Step, anat: Path, stem: str, kept: set[str]) -> None:
    """Remove files of the same scan by another reconstruction, and echoes that are gone."""
    scan = step.scan
    given = {s.rec for s in context.dataset.scans if s.acq == scan.acq and not s.is_kspace}
    recs = {scan.rec or _rec(context, step), *given}
    for path in anat.glob(f"{scan.subject}_*"):
        name = bids_name(path)
        of_scan = all((name.label(k) or "") == v for k, v in (("acq", scan.acq), ("run", scan.run)))
        old_rec = (name.label("rec") or "") not in recs
        old_echo = step.kind == MAP and name.echo is not None and name.scan == stem
        if of_scan and (old_rec or old_echo) and path.name not in kept:
            path.unlink()
