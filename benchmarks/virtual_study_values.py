"""Values of a virtual study: nuclei of all scans, what is true of them, similarity of their maps.

From here on everything is made of two tables, so that it can be made again without the scans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.agreement.similarity import similarity_profiles
from accelqsm.api.agreement import values
from accelqsm.api.nuclei import mapped_head, measure_nuclei
from accelqsm.errors import InputError
from accelqsm.files.bids.description import PARTICIPANTS
from accelqsm.files.nifti import read_volume
from accelqsm.files.tables import read_table
from accelqsm.files.toml import read_settings
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.options.table import from_table
from accelqsm.reports.content.pictures import read_images
from accelqsm.reports.content.scans import ScanPaths, StudyFolder
from accelqsm.results.integrity.seal import sha256
from accelqsm.results.maps import CHIMAP, MASK
from accelqsm.results.nuclei import LABELS, TABLE
from accelqsm.results.records import SETTINGS
from accelqsm.results.study import LOOKUP_NAME, TRUE, ScanFiles, scan_files
from accelqsm.simulate.heads.head import LOOKUP
from accelqsm.study.plan import MAP, NUCLEI, STEPS
from accelqsm.study.publish import STUDY_FILE
from accelqsm.virtual.protocols import PROTOCOLS

ARMS = tuple(PROTOCOLS)
"""All protocols of the simulated study: a subject counts once it has the nuclei of each."""
REFERENCE = "pi"
TRUE_LABELS, ATLAS_LABELS = "true", "atlas"
TEXT = ("subject", "sex", "protocol", "labels", "region", "note")
VALUE_COLUMNS = (
    "subject", "age", "sex", "protocol", "labels", "region", "value_ppb", "low_ppb", "high_ppb",
    "truth_ppb", "note",
)  # fmt: skip


@dataclass(frozen=True)
class Dataset:
    """Folders of a virtual study.

    Attributes:
        bids: the simulated dataset.
        out: its study with true labels.
        atlas: its study with the labels of a registered atlas; None without.
    """

    bids: Path
    out: Path
    atlas: Path | None = None

    def __post_init__(self) -> None:
        said = _study_of(self.out).get("labels", "")
        if said != TRUE:
            raise InputError(
                f"{self.out / STUDY_FILE}: [study] expected labels = {TRUE!r}, found {said!r}"
            )
        if self.atlas is not None:
            found = _study_of(self.atlas)
            if found.get("labels") or found.get("reference") != REFERENCE:
                raise InputError(
                    f"{self.atlas / STUDY_FILE}: [study] expected no labels and reference = "
                    f"{REFERENCE!r}, found {found.get('labels', '')!r} and "
                    f"{found.get('reference', '')!r}"
                )

    @property
    def studies(self) -> dict[str, Path]:
        """Kind of labels -> folder of the study."""
        return {TRUE_LABELS: self.out} | ({} if self.atlas is None else {ATLAS_LABELS: self.atlas})

    def people(self) -> pd.DataFrame:
        """Participants of the dataset: participant_id, age and sex."""
        return read_table(self.bids / PARTICIPANTS, text=("participant_id", "sex"))

    def scan(self, subject: str, protocol: str) -> ScanFiles:
        """Files of a scan of the dataset."""
        return scan_files(self.bids, subject, protocol)

    def complete(self) -> list[str]:
        """Subjects with the nuclei of every protocol by all kinds of labels."""
        return [
            subject
            for subject in self.people()["participant_id"]
            if all(
                (step(out, subject, protocol, NUCLEI) / SETTINGS).is_file()
                for out in self.studies.values()
                for protocol in ARMS
            )
        ]

    def folder(self, subject: str, protocols: Sequence[str]) -> StudyFolder:
        """Maps and true labels of a subject, the reference among the protocols."""
        scans = {}
        for protocol in protocols:
            maps, scan = step(self.out, subject, protocol, MAP), self.scan(subject, protocol)
            scans[PROTOCOLS[protocol].label] = ScanPaths(
                maps / CHIMAP, scan.labels, mask=maps / MASK, truth=scan.truth, raw=scan.raw
            )
        names = dict(LOOKUP)
        regions = {index: name.partition(" ")[2] for index, name in names.items()}
        return StudyFolder(PROTOCOLS[REFERENCE].label, scans, regions, names)


def step(out: Path, subject: str, protocol: str, kind: str) -> Path:
    """Folder of a step of a scan in that of a study."""
    return out / STEPS / subject / f"acq-{protocol.replace('-', '')}" / kind


def values_table(dataset: Dataset, subjects: Iterable[str]) -> pd.DataFrame:
    """Nuclei of subjects in every protocol, by all kinds of labels, beside those of the truth.

    The truth is measured in the pose of the scan, with its true labels, within the mask of its map
    and by the settings of its nuclei. ``VALUE_COLUMNS``.
    """
    parts = []
    for subject in subjects:
        found = {
            (kind, protocol): step(out, subject, protocol, NUCLEI) / TABLE
            for kind, out in dataset.studies.items()
            for protocol in ARMS
        }
        # Kinds of labels take the place of subjects: one reader for all tables of a person.
        measured = values(found).rename(columns={"subject": "labels"})
        true = values({("", protocol): _truth(dataset, subject, protocol) for protocol in ARMS})
        true = true.rename(columns={"value_ppb": "truth_ppb"})
        keys = ["protocol", "region"]
        parts.append(measured.merge(true[[*keys, "truth_ppb"]], on=keys).assign(subject=subject))
    if not parts:
        raise InputError(f"{dataset.out}: expected a subject with all of {' '.join(ARMS)}")
    people = dataset.people().rename(columns={"participant_id": "subject"})
    table = pd.concat(parts, ignore_index=True).merge(people, on="subject")
    table["protocol"] = table["protocol"].map(lambda name: PROTOCOLS[name].label)
    return table[list(VALUE_COLUMNS)]


def without_gaps(values: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
    """Values of the subjects that have all of them, and why the others are left out.

    A nucleus that is missing in one arm would be compared over other subjects than in the next.

    Args:
        values: ``VALUE_COLUMNS``.

    Returns:
        The same columns; subject -> its first missing value, and the note on it.
    """
    gaps = values[values["value_ppb"].isna() | values["truth_ppb"].isna()]
    why = {
        str(row["subject"]): f"{row['protocol']}, {row['labels']} labels, {row['region']}: "
        f"{row['note'] or 'no value'}"
        for row in gaps.drop_duplicates("subject").to_dict("records")
    }
    return values[~values["subject"].isin(list(why))].reset_index(drop=True), why


def _truth(dataset: Dataset, subject: str, protocol: str) -> pd.DataFrame:
    scan = dataset.scan(subject, protocol)
    own = read_settings(step(dataset.out, subject, protocol, NUCLEI) / SETTINGS)
    return measure_nuclei(
        mapped_head(scan.truth, mask=step(dataset.out, subject, protocol, MAP) / MASK),
        labels=scan.labels,
        lookup=dataset.bids / LOOKUP_NAME,
        settings=from_table(MeasureSettings, own["nuclei"]),
    )


def similarity_table(dataset: Dataset, subjects: Iterable[str]) -> pd.DataFrame:
    """PSNR and SSIM of every map against that of the reference, in its pose, by named profiles.

    Columns subject, protocol, and those of ``similarity_profiles``.
    """
    parts = []
    for subject in subjects:
        folder = dataset.folder(subject, [REFERENCE, *(p for p in ARMS if p != REFERENCE)])
        images = read_images(folder)
        reference = images.chi_ppm[folder.reference]
        for protocol, chi_ppm in images.chi_ppm.items():
            if protocol != folder.reference:
                found = similarity_profiles(chi_ppm, reference, images.mask)
                found.insert(0, "protocol", protocol)
                found.insert(0, "subject", subject)
                parts.append(found)
    return pd.concat(parts, ignore_index=True)


def overlap_table(dataset: Dataset, subjects: Iterable[str]) -> pd.DataFrame:
    """Dice overlap of the atlas' labels with the true ones in the reference scan.

    Columns subject, region, dice; both sides of a nucleus together.
    """
    if dataset.atlas is None:
        return pd.DataFrame(columns=["subject", "region", "dice"])
    rows = []
    for subject in subjects:
        folder = step(dataset.atlas, subject, REFERENCE, NUCLEI)
        found = _by_region(folder / LABELS, read_table(folder / "dseg.tsv", text=("name",)))
        lookup = read_table(dataset.bids / LOOKUP_NAME, text=("name",))
        true = _by_region(dataset.scan(subject, REFERENCE).labels, lookup)
        for region, own in true.items():
            both = found[region]
            dice = 2 * float((own & both).sum()) / float(own.sum() + both.sum())
            rows.append({"subject": subject, "region": region, "dice": dice})
    return pd.DataFrame(rows)


def checksums_table(dataset: Dataset, subjects: Iterable[str]) -> pd.DataFrame:
    """SHA-256 of every map, and of the nuclei by each kind of labels, to hold a second run against.

    Columns subject, protocol, file, sha256.
    """
    rows = []
    for subject in subjects:
        for protocol in ARMS:
            files = {"map": step(dataset.out, subject, protocol, MAP) / CHIMAP}
            for kind, out in dataset.studies.items():
                files[f"nuclei, {kind} labels"] = step(out, subject, protocol, NUCLEI) / TABLE
            rows += [(subject, protocol, what, sha256(path)) for what, path in files.items()]
    return pd.DataFrame(rows, columns=["subject", "protocol", "file", "sha256"])


def _by_region(image: Path, lookup: pd.DataFrame) -> Mapping[str, np.ndarray]:
    labels = np.rint(read_volume(image).values)
    regions = lookup["name"].str.replace(r"^[LR] ", "", regex=True)
    return {
        str(region): np.isin(labels, lookup["index"][regions == region])
        for region in dict.fromkeys(regions)
    }


def _study_of(out: Path) -> Mapping[str, object]:
    table = read_settings(out / STUDY_FILE).get("study", {})
    return table if isinstance(table, dict) else {}
