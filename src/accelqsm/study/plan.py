"""Steps of a study: what is made of which files, without doing any of it.

Of a scan, ``map`` reconstructs and maps it, ``nuclei`` measures it. Of a head, ``registration``
registers the reference protocol of its first session to the atlas, once; all other scans of the
head are registered rigidly to that scan, and take its labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelqsm.files.bids.dataset import Dataset, Scan
from accelqsm.options.table import plain
from accelqsm.study.settings import Study

STEPS = "steps"
"""Folder of the results of steps, in that of the study."""
MAP, REGISTRATION, NUCLEI = "map", "registration", "nuclei"
KINDS = (MAP, REGISTRATION, NUCLEI)


@dataclass(frozen=True)
class Step:
    """One step of a study.

    Attributes:
        kind: "map", "registration" or "nuclei".
        scan: the scan; for a registration, the reference scan.
        folder: of its results, relative to that of the study; names the step.
        inputs: files of the dataset, by role.
        needs: role -> folder of another step.
        settings: settings that its results depend on.
        missing: why it cannot be done, or "".
    """

    kind: str
    scan: Scan
    folder: Path
    inputs: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    needs: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    missing: str = ""

    @property
    def label(self) -> str:
        """Name of the step for people, such as "sub-01 acq-pi map"."""
        return " ".join((*self.folder.parts[1:-1], self.kind))


@dataclass(frozen=True)
class Selection:
    """Which part of a study is run.

    Attributes:
        subjects, sessions, protocols: labels without prefix; empty for all.
        until: last kind of step.
    """

    subjects: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    protocols: tuple[str, ...] = ()
    until: str = NUCLEI

    @property
    def whole(self) -> bool:
        """Whether all scans of a participant are taken, to the last step."""
        return not self.sessions and not self.protocols and self.until == NUCLEI

    def takes(self, scan: Scan) -> bool:
        """Whether a scan is chosen."""
        return all(
            not chosen or label in chosen
            for chosen, label in (
                (self.subjects, scan.subject.removeprefix("sub-")),
                (self.sessions, scan.session.removeprefix("ses-")),
                (self.protocols, scan.protocol),
            )
        )


def plan_subject(
    dataset: Dataset, subject: str, study: Study, labels: Mapping[Scan, Path] | None = None
) -> list[Step]:
    """All steps of a subject, in an order in which each comes after those that it needs.

    Args:
        dataset: the dataset.
        subject: such as "sub-01".
        study: settings, complete.
        labels: scan -> image of its labels, where labels are given in place of an atlas.
    """
    scans, repeats = _runs([s for s in dataset.scans if s.subject == subject], study.study.runs)
    maps = {scan: _map(scan, study, repeats.get(scan, "")) for scan in scans}
    reference = next((s for s in scans if s.protocol == study.study.reference), None)
    if reference is None:
        found = ", ".join(dict.fromkeys(scan.protocol for scan in scans))
        why = f"{subject}: expected acq-{study.study.reference}, the reference, found {found}"
        return [*maps.values(), *(_nuclei(maps[s], {}, {}, study, why) for s in scans)]
    if study.study.labels:
        nuclei = [_labelled(maps, scan, reference, study, labels or {}) for scan in scans]
        return [*maps.values(), *nuclei]
    t1w = dataset.t1w_of(subject, reference.session)
    inputs = {} if t1w is None else {"t1w": (t1w,)}
    registration = Step(
        REGISTRATION,
        reference,
        Path(STEPS, subject, REGISTRATION),
        inputs,
        {"map": maps[reference].folder},
        {"syn": plain(study.syn)},
    )
    nuclei = []
    for scan in scans:
        needs = {"registration": registration.folder}
        if scan != reference:
            needs["reference"] = maps[reference].folder
        nuclei.append(_nuclei(maps[scan], inputs, needs, study))
    return [*maps.values(), registration, *nuclei]


def chosen(steps: Iterable[Step], selection: Selection) -> list[Step]:
    """Steps of a selection, with those that they need."""
    known = list(steps)
    kinds = KINDS[: KINDS.index(selection.until) + 1]
    last = KINDS[-1] if len(kinds) == len(KINDS) else kinds[-1]
    wanted = {s.folder for s in known if s.kind == last and selection.takes(s.scan)}
    if last == REGISTRATION:
        wanted |= {s.folder for s in known if s.kind == MAP and selection.takes(s.scan)}
    by_folder = {step.folder: step for step in known}
    queue: list[Path] = list(wanted)
    while queue:
        for need in by_folder[queue.pop()].needs.values():
            if need not in wanted:
                wanted.add(need)
                queue.append(need)
    return [step for step in known if step.folder in wanted]


def scan_folder(scan: Scan) -> Path:
    """Folder of the steps of a scan, relative to that of the study."""
    labels = (("acq", scan.acq), ("rec", scan.rec), ("run", scan.run))
    name = "_".join(f"{key}-{label}" for key, label in labels if label) or scan.protocol
    return Path(STEPS, scan.subject, *([scan.session] if scan.session else []), name)


def _runs(scans: Sequence[Scan], rule: str) -> tuple[list[Scan], dict[Scan, str]]:
    """One scan of each session and protocol; where they are repeated and no rule tells which, why
    they cannot be used."""
    groups: dict[tuple[str, str], list[Scan]] = {}
    for scan in scans:
        groups.setdefault((scan.session, scan.protocol), []).append(scan)
    kept, refused = [], {}
    for group in groups.values():
        scan = group[-1 if rule == "last" else 0]
        kept.append(scan)
        if len(group) > 1 and rule == "only":
            runs = ", ".join(f"run-{one.run}" if one.run else "one without run-" for one in group)
            refused[scan] = (
                f'{scan.name()}: expected one run, found {runs}; runs = "first" or "last" in '
                "the settings takes one"
            )
    return kept, refused


def _map(scan: Scan, study: Study, missing: str) -> Step:
    settings: dict[str, Any] = {"qsm": plain(study.qsm)}
    if scan.is_kspace:
        settings["recon"] = plain(study.recon[scan.protocol])
    return Step(MAP, scan, scan_folder(scan) / MAP, {"scan": scan.files}, {}, settings, missing)


def _nuclei(
    mapped: Step,
    inputs: Mapping[str, tuple[Path, ...]],
    needs: Mapping[str, Path],
    study: Study,
    missing: str = "",
) -> Step:
    return Step(
        NUCLEI,
        mapped.scan,
        mapped.folder.with_name(NUCLEI),
        inputs,
        {"map": mapped.folder, **needs},
        {"nuclei": plain(study.nuclei)},
        missing,
    )


def _labelled(
    maps: Mapping[Scan, Step],
    scan: Scan,
    reference: Scan,
    study: Study,
    labels: Mapping[Scan, Path],
) -> Step:
    """Nuclei with labels of the scan itself, or with the reference's, co-registered."""
    own, others = labels.get(scan), labels.get(reference)
    if own is not None:
        return _nuclei(maps[scan], {"labels": (own,)}, {}, study)
    if others is None:
        why = f"{scan.name()}: expected labels of it or of {reference.name()} in "
        return _nuclei(maps[scan], {}, {}, study, f"{why}{study.study.labels}, found none")
    needs = {"reference": maps[reference].folder}
    return _nuclei(maps[scan], {"labels": (others,)}, needs, study)
