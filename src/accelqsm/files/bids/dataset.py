"""Index of a BIDS dataset: scans (raw k-space or images of every echo) and T1-weighted images.

A thin reader: it looks at names alone. Source: BIDS 1.11.1; Gorgolewski et al. 2016, Sci Data
3:160044, doi 10.1038/sdata.2016.44.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accelqsm.errors import InputError
from accelqsm.files.bids.description import PARTICIPANTS, check_description
from accelqsm.files.megre.bids import IMAGE_ENDINGS, SUFFIX, BidsName, bids_name
from accelqsm.files.megre.sidecar import applicable_sidecars

SOURCE = "sourcedata"
LABEL = re.compile(r"[0-9A-Za-z+]+")
NO_PROTOCOL = "MEGRE"
"""Protocol of scans whose names have no ``acq-``."""
RAW_ENDINGS = (".h5", ".mrd")


@dataclass(frozen=True, order=True)
class Scan:
    """One scan of a dataset: the parts of its name, and the files it is read from.

    Attributes:
        subject: such as "sub-01".
        session: such as "ses-1", or "".
        acq, rec, run: labels, or "".
        files: the raw file; or the images of every echo with the sidecars that apply to them.
        is_kspace: whether it is raw k-space.
    """

    subject: str
    session: str
    acq: str
    rec: str
    run: str
    files: tuple[Path, ...] = field(compare=False)
    is_kspace: bool = field(compare=False)

    @property
    def protocol(self) -> str:
        """Name of the protocol: ``acq``, with ``+rec`` where a scanner's reconstruction is told."""
        return "+".join(filter(None, (self.acq or NO_PROTOCOL, self.rec)))

    @property
    def images(self) -> Path:
        """Prefix of the names of the images."""
        return self.files[0].with_name(bids_name(self.files[0]).scan)

    def name(self, rec: str = "") -> str:
        """Beginning of the names of what is made from this scan by a reconstruction."""
        labels = (("acq", self.acq), ("rec", self.rec or rec), ("run", self.run))
        own = (f"{key}-{label}" for key, label in labels if label)
        return "_".join(filter(None, (self.subject, self.session, *own)))


@dataclass(frozen=True)
class Dataset:
    """What a dataset holds.

    Attributes:
        root: its folder.
        scans: all scans, in order.
        t1w: (subject, session) -> T1-weighted image.
        notes: files that are not used, and why.
    """

    root: Path
    scans: tuple[Scan, ...]
    t1w: Mapping[tuple[str, str], Path]
    notes: tuple[str, ...]

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subjects with a scan, in order."""
        return tuple(dict.fromkeys(scan.subject for scan in self.scans))

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols, in order of the first subject that has them."""
        return tuple(dict.fromkeys(scan.protocol for scan in self.scans))

    @property
    def participants(self) -> Path | None:
        """Table of the participants, if there is one."""
        path = self.root / PARTICIPANTS
        return path if path.is_file() else None

    def t1w_of(self, subject: str, session: str) -> Path | None:
        """T1-weighted image of a subject: of this session, or else the first."""
        own = {s: path for (who, s), path in sorted(self.t1w.items()) if who == subject}
        return own.get(session, next(iter(own.values()), None))


def read_dataset(root: Path) -> Dataset:
    """Index a BIDS dataset.

    Raw k-space (``sourcedata/**/*_MEGRE.h5``) has precedence over images of the same scan.

    Raises:
        InputError: no BIDS dataset, no scan in it, or a label that BIDS does not allow.
    """
    check_description(root)
    notes: list[str] = []
    scans = {scan: scan for scan in _image_scans(root)}
    for scan in _raw_scans(root, notes):
        if scan in scans and scans[scan].is_kspace:
            raise InputError(
                f"{scan.files[0]}: expected one raw file of {scan.name()}, found also "
                f"{scans[scan].files[0]}"
            )
        if scan in scans:
            notes.append(
                f"{scans[scan].images}: not used, as raw k-space of the same scan is there"
            )
        scans.pop(scan, None)
        scans[scan] = scan
    if not scans:
        raise InputError(
            f"{root}: expected {SOURCE}/sub-*/**/*_{SUFFIX}.h5 (raw k-space) or "
            f"sub-*/anat/*_echo-*_part-*_{SUFFIX}.nii.gz, found neither"
        )
    t1w: dict[tuple[str, str], Path] = {}
    for path in _images(root, "T1w"):
        key = _who(bids_name(path))
        if key in t1w:
            notes.append(f"{path}: not used, as {t1w[key].name} of the same session is there")
        t1w.setdefault(key, path)
    return Dataset(root, tuple(sorted(scans)), t1w, tuple(notes))


def entities_of(path: Path) -> dict[str, str]:
    """Entities in the name of a file and of the folders that it is in; the nearest one counts."""
    found: dict[str, str] = {}
    for part in path.parts:
        found |= dict(bids_name(Path(part)).entities)
        key, dash, label = part.partition("-")
        if dash and LABEL.fullmatch(label):
            found[key] = label
    return found


def _image_scans(root: Path) -> Iterator[Scan]:
    groups: dict[str, list[Path]] = {}
    for path in _images(root, SUFFIX):
        groups.setdefault(bids_name(path).scan, []).append(path)
    for paths in groups.values():
        sidecars = {side: None for path in paths for side in applicable_sidecars(path)}
        yield _scan(paths[0], (*sorted(paths), *sorted(sidecars)), is_kspace=False)


def _raw_scans(root: Path, notes: list[str]) -> Iterator[Scan]:
    for path in sorted((root / SOURCE).glob("sub-*/**/*")):
        if path.suffix not in RAW_ENDINGS:
            continue
        name = bids_name(path)
        if name.suffix != SUFFIX or not name.label("sub"):
            notes.append(f"{path}: not used: expected a name such as sub-01_acq-pi_{SUFFIX}.h5")
            continue
        yield _scan(path, (path,), is_kspace=True)


def _scan(path: Path, files: tuple[Path, ...], *, is_kspace: bool) -> Scan:
    name = bids_name(path)
    for key, label in name.entities:
        if not LABEL.fullmatch(label):
            raise InputError(f"{path}: expected a label of letters and digits, found {key}-{label}")
    acq, rec, run = (name.label(key) or "" for key in ("acq", "rec", "run"))
    return Scan(*_who(name), acq, rec, run, files, is_kspace)


def _images(root: Path, suffix: str) -> list[Path]:
    folders: Iterable[Path] = (*root.glob("sub-*/anat"), *root.glob("sub-*/ses-*/anat"))
    return sorted(
        path
        for folder in folders
        for path in folder.glob(f"sub-*_{suffix}.nii*")
        if path.name.endswith(IMAGE_ENDINGS)
    )


def _who(name: BidsName) -> tuple[str, str]:
    session = name.label("ses")
    return f"sub-{name.label('sub')}", f"ses-{session}" if session else ""
