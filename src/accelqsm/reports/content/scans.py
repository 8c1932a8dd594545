"""Files of the scans behind a comparison: maps, labels and images, on which its values rest."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.agreement.values import SCANS as SCANS_APART
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table
from accelqsm.files.text.lookup import read_lookup
from accelqsm.files.toml import read_settings
from accelqsm.nuclei.measure import split_side
from accelqsm.results.comparison import Comparison
from accelqsm.results.maps import CHIMAP, MAGNITUDE, MASK
from accelqsm.results.nuclei import LABELS, LOOKUP, QUALITY, TABLE
from accelqsm.results.records import SETTINGS
from accelqsm.results.study import LOOKUP_NAME, SCANS, map_folder, scan_files
from accelqsm.virtual.protocols import PROTOCOLS

DATASET = "dataset_description.json"
"""File at the top of a BIDS dataset."""
OWN_URI = "bids::"
DEEPEST = 5
MOST_FOLDERS = 20_000
"""Folders below that of the values, and how many of them are looked through for tables."""
SAME = 2e-5
"""Largest share by which a value may differ from the one compared: tables have six digits."""
LEAST_VALUES = 2
"""Values by which a table of nuclei is recognised as the one compared."""
Wanted = Sequence[tuple[tuple[str, str], Mapping[str, float]]]
"""Subject and protocol of each scan, and its values by region."""


@dataclass(frozen=True)
class ScanPaths:
    """Files of one scan; what is not there is None.

    Attributes:
        chimap: susceptibility in ppm.
        labels: integers on the grid of the map.
        mask: where the map is known.
        magnitude: image of the same grid.
        truth: true susceptibility of a simulated scan.
        raw: k-space.
        quality: table of the quality metrics of the labels.
    """

    chimap: Path
    labels: Path
    mask: Path | None = None
    magnitude: Path | None = None
    truth: Path | None = None
    raw: Path | None = None
    quality: Path | None = None


@dataclass(frozen=True)
class StudyFolder:
    """Scans of one subject, with the meaning of their labels.

    Attributes:
        reference: the protocol that the others are compared with.
        scans: protocol label -> its files, the reference first.
        regions: label value -> nucleus.
        names: label value -> nucleus with its side.
    """

    reference: str
    scans: Mapping[str, ScanPaths]
    regions: Mapping[int, str]
    names: Mapping[int, str]

    @property
    def maps(self) -> dict[str, Path]:
        """Protocol label -> folder of its maps."""
        return {label: scan.chimap.parent for label, scan in self.scans.items()}


@dataclass(frozen=True)
class MeasuredScan:
    """Table of nuclei whose values were compared, with the files that it was measured in.

    Attributes:
        subject, protocol: as the comparison names them.
        paths: files of the scan.
        lookup: meaning of its labels.
    """

    subject: str
    protocol: str
    paths: ScanPaths
    lookup: Path


def simulated_study(out: Path, subject: str, reference: str) -> StudyFolder:
    """Find the maps and labels of one subject in the folder of ``demo``.

    Raises:
        InputError: no map of the reference, or no lookup of the labels.
    """
    scans = {}
    for name, protocol in PROTOCOLS.items():
        maps, files = map_folder(out, subject, name), scan_files(out / SCANS, subject, name)
        if (maps / CHIMAP).is_file():
            scans[protocol.label] = ScanPaths(
                maps / CHIMAP, files.labels, _there(maps / MASK), _there(maps / MAGNITUDE),
                _there(files.truth), files.raw,
            )  # fmt: skip
    if reference not in scans:
        raise InputError(
            f"{out / 'maps' / subject}: expected a {CHIMAP} of {reference}, found none"
        )
    lookup = read_table(out / SCANS / LOOKUP_NAME, columns=("index", "name"), text=("name",))
    return _study(reference, scans, lookup)


def measured_study(found: Iterable[MeasuredScan], subject: str, reference: str) -> StudyFolder:
    """Scans of one subject among those found.

    Raises:
        InputError: no scan under the reference, or a lookup that cannot be read.
    """
    own = [scan for scan in found if scan.subject == subject]
    scans = {scan.protocol: scan.paths for scan in own}
    if reference not in scans:
        raise InputError(f"maps of {subject}: expected one of {reference}, found none")
    lookup = next(scan.lookup for scan in own if scan.protocol == reference)
    return _study(reference, scans, read_lookup(lookup))


def measured_scans(stored: Comparison, out: Path) -> list[MeasuredScan]:
    """Scans whose tables of nuclei hold the very values that were compared.

    Looked for below the folder of the table of values, and below that of the comparison. A table is
    recognised by its values and by nothing else, so that no map of another study is shown.

    Args:
        stored: the comparison.
        out: its folder.
    """
    single = stored.values if stored.scans is None else stored.scans
    if single is None:
        return []
    wanted = _values_by_scan(single)
    found: dict[tuple[str, str], MeasuredScan] = {}
    for table in dict.fromkeys(_tables(_roots(stored, out))):
        scan = _scan_of(table, wanted)
        if scan is not None:
            found.setdefault((scan.subject, scan.protocol), scan)
    return list(found.values())


def _study(reference: str, scans: Mapping[str, ScanPaths], lookup: pd.DataFrame) -> StudyFolder:
    order = [reference, *(label for label in scans if label != reference)]
    names = dict(zip(lookup["index"].astype(int), lookup["name"].astype(str), strict=True))
    regions = {index: split_side(name)[0] for index, name in names.items()}
    return StudyFolder(reference, {label: scans[label] for label in order}, regions, names)


def _roots(stored: Comparison, out: Path) -> list[Path]:
    """Folder of the table of values, BIDS dataset around the comparison, and the comparison."""
    values = stored.inputs.get("values", {}).get("path", "")
    roots = [Path(values).absolute().parent] if values and Path(values).is_file() else []
    return [*roots, *_dataset(out), out.absolute()]


def _dataset(path: Path) -> list[Path]:
    """BIDS dataset that a path lies in, if any."""
    above = [folder for folder in path.absolute().parents if (folder / DATASET).is_file()]
    return above[:1]


def _tables(roots: Iterable[Path]) -> Iterator[Path]:
    """Tables of nuclei below some folders, in the order of their names."""
    for root in roots:
        depth = len(root.parts)
        for seen, (folder, below, names) in enumerate(os.walk(root)):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if len(Path(folder).parts) - depth >= DEEPEST or seen > MOST_FOLDERS:
                below.clear()
            yield from (Path(folder, name) for name in sorted(names) if name.endswith(TABLE))


def _values_by_scan(values: pd.DataFrame) -> Wanted:
    known = values.dropna(subset=["value_ppb"])
    told = [name for name in ("subject", "protocol", *SCANS_APART) if name in known]
    return [
        (
            (str(part["subject"].iloc[0]), str(part["protocol"].iloc[0])),
            dict(zip(part["region"].astype(str), part["value_ppb"].astype(float), strict=True)),
        )
        for _, part in known.groupby(told, sort=False, dropna=False)
    ]


def _scan_of(table: Path, wanted: Wanted) -> MeasuredScan | None:
    """The scan that a table of nuclei was measured in, if its values were compared."""
    try:
        rows = read_table(table, columns=("region", "side", "mean_ppb"), text=("region", "side"))
    except InputError:
        return None
    rows = rows.fillna({"side": ""})
    measured = {
        " ".join(filter(None, (side.replace("both", ""), str(region)))): float(mean)
        for region, side, mean in zip(
            rows["region"], rows["side"].astype(str), rows["mean_ppb"], strict=True
        )
    }
    same = {scan for scan, values in wanted if _holds(measured, values)}
    paths = _paths_of(table) if len(same) == 1 else None
    return None if paths is None else MeasuredScan(*same.pop(), *paths)


def _holds(measured: Mapping[str, float], values: Mapping[str, float]) -> bool:
    both = [name for name in values if name in measured]
    return len(both) >= min(LEAST_VALUES, len(values)) and all(
        np.isclose(measured[name], values[name], rtol=SAME, atol=SAME) for name in both
    )


def _paths_of(table: Path) -> tuple[ScanPaths, Path] | None:
    """Files named by the record of a table of nuclei, or that lie next to it."""
    record = _record(table)
    near = table.parent
    chimap = _file(record, "chimap", near, CHIMAP)
    labels = _there(near / LABELS) or _file(record, "labels", near, LABELS)
    lookup = _there(near / LOOKUP) or _file(record, "lookup", near, LOOKUP)
    if chimap is None or labels is None or lookup is None:
        return None
    beside = chimap.parent
    scan = ScanPaths(
        chimap,
        labels,
        mask=_file(record, "mask", beside, MASK),
        magnitude=_file(record, "magnitude", beside, MAGNITUDE),
        quality=_there(near / QUALITY),
    )
    return scan, lookup


def _record(table: Path) -> Mapping[str, object]:
    """Source of a table of nuclei: of its own record, or of that of its folder."""
    for path in (table.with_suffix(".toml"), table.parent / SETTINGS):
        if path.is_file():
            source = read_settings(path).get("source", {})
            if isinstance(source, dict) and "chimap" in source:
                return source
    return {}


def _file(record: Mapping[str, object], name: str, folder: Path, usual: str) -> Path | None:
    """File of a record, from where it ran, the table's folder, or its dataset (a BIDS URI).

    Otherwise the one that usually lies there.
    """
    said = str(record.get(name, ""))
    own = said.removeprefix(OWN_URI)
    places = _dataset(folder / usual) if own != said else [Path(), folder]
    named = [place / own for place in places] if said else []
    candidates = [*named, *(path / usual for path in named), folder / usual]
    return next((path for path in candidates if path.is_file()), None)


def _there(path: Path) -> Path | None:
    return path if path.is_file() else None


def quality_of(scans: Iterable[MeasuredScan]) -> pd.DataFrame:
    """Quality metrics of scans: columns subject, protocol, metric, value, unit.

    Raises:
        InputError: a table of metrics that cannot be read.
    """
    parts = [
        read_table(
            scan.paths.quality, columns=("metric", "value", "unit"), text=("metric", "unit")
        )[["metric", "value", "unit"]].assign(subject=scan.subject, protocol=scan.protocol)
        for scan in scans
        if scan.paths.quality is not None
    ]
    columns = ["subject", "protocol", "metric", "value", "unit"]
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)
