"""Settings of a study: one TOML file for the reconstruction of each protocol and all steps."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from accelqsm.agreement.settings import CompareSettings
from accelqsm.errors import InputError
from accelqsm.files.atlases import DEFAULT as DEFAULT_ATLAS
from accelqsm.files.settings import read_settings_tables, settings_from
from accelqsm.nuclei.settings import MeasureSettings, SynSettings
from accelqsm.options.commented import commented
from accelqsm.options.setting import Settings, nested, setting
from accelqsm.qsm.settings import QsmSettings
from accelqsm.recon.registry import RECONSTRUCTIONS
from accelqsm.recon.settings import ReconSettings

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
RUNS = ("only", "first", "last")


@dataclass(frozen=True)
class StudySettings(Settings):
    """What a study compares, and where labels come from."""

    reference: str = setting(
        "",
        metavar="PROTOCOL",
        help="protocol, the label of acq-, that the others are compared with, and whose scan is "
        "registered to the atlas",
    )
    atlas: str = setting(
        DEFAULT_ATLAS, metavar="DIR", help="name of an atlas, or a folder (absolute)"
    )
    labels: str = setting(
        "",
        metavar="DIR",
        help="BIDS derivative with *_dseg.nii.gz of the scans or of the reference's alone, and one "
        "*_dseg.tsv at its root, in place of an atlas; relative to the dataset",
    )
    runs: str = setting(
        "only", choices=RUNS, help="which run of a scan that was repeated; only: refuse repeats"
    )
    threads: int = setting(
        2,
        least=1,
        most=1024,
        help="threads of a process; results are byte for byte the same at the same number",
    )


@dataclass(frozen=True)
class Study:
    """Settings of all steps of a study.

    Attributes:
        study: what is compared.
        recon: protocol -> reconstruction of its raw k-space.
        qsm, nuclei, syn, compare: settings of these steps.
    """

    study: StudySettings = field(default_factory=StudySettings)
    recon: Mapping[str, ReconSettings] = field(default_factory=dict)
    qsm: QsmSettings = field(default_factory=QsmSettings)
    nuclei: MeasureSettings = field(default_factory=MeasureSettings)
    syn: SynSettings = field(default_factory=SynSettings)
    compare: CompareSettings = field(default_factory=CompareSettings)


SECTIONS: Mapping[str, type[Settings]] = {
    "study": StudySettings,
    "qsm": QsmSettings,
    "nuclei": MeasureSettings,
    "syn": SynSettings,
    "compare": CompareSettings,
}


def read_study(path: Path, given: Mapping[str, Any] | None = None) -> Study:
    """Read the settings of a study.

    Args:
        path: as written by ``write_study``, or by hand.
        given: settings of [study] that have priority over the file's.

    Raises:
        InputError: a file that is not TOML, or settings that cannot be used.
    """
    tables = read_settings_tables(path, *SECTIONS, "recon")
    records: dict[str, Any] = {
        name: settings_from(
            kind,
            name,
            path=path,
            file=tables.get(name, {}),
            given=given if name == "study" else None,
        )
        for name, kind in SECTIONS.items()
    }
    recon: dict[str, ReconSettings] = {}
    for protocol, table in tables.get("recon", {}).items():
        if not isinstance(table, dict):
            raise InputError(
                f"{path}: [recon] expected a table of each protocol, such as [recon.pi], found "
                f"{protocol} = {table!r}"
            )
        recon[protocol] = settings_from(ReconSettings, f"recon.{protocol}", path=path, file=table)
    made = Study(recon=recon, **records)
    return _one_reference(made, path)


def study_text(study: Study, notes: Mapping[str, str] | None = None) -> str:
    """TOML text of the settings of a study, each with its help; defaults are comments.

    Args:
        study: the settings.
        notes: remarks on the tables, by name.
    """
    said = notes or {}
    tables: dict[str, Settings] = {"study": study.study}
    tables |= {f"recon.{_key(name)}": record for name, record in study.recon.items()}
    # The reference is one setting: [study] has it.
    compare = replace(study.compare, reference="")
    tables |= {"qsm": study.qsm, "nuclei": study.nuclei, "syn": study.syn, "compare": compare}
    parts = ["# Settings of a study. A line of the form `# name = value` has its default.\n"]
    for name, record in tables.items():
        remark = f"# {said[name]}\n" if name in said else ""
        parts.append(remark + commented(record, name, without=_unused(record)))
    return "\n".join(parts)


def _unused(record: Settings) -> set[str]:
    """Tables of a reconstruction that its method does not read."""
    if not isinstance(record, ReconSettings):
        return set()
    return set(nested(ReconSettings)) - set(RECONSTRUCTIONS[record.method].uses)


def _one_reference(made: Study, path: Path) -> Study:
    """Take the reference of [compare] for that of [study], where only one of them has it."""
    one, other = made.study.reference, made.compare.reference
    if one and other and one != other:
        raise InputError(f"{path}: expected one reference, found {one} and {other}")
    reference = one or other
    return replace(
        made,
        study=replace(made.study, reference=reference),
        compare=replace(made.compare, reference=reference),
    )


def _key(name: str) -> str:
    return name if BARE_KEY.fullmatch(name) else json.dumps(name)
