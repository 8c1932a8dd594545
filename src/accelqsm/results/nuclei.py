"""Result folder of measured nuclei: table, labels, quality metrics, figure and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.figures.figure import Figure
from accelqsm.files.atomic import whole_file
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.files.tables import read_table, write_described_table, write_table
from accelqsm.files.toml import read_settings, write_settings
from accelqsm.grid import Grid
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.options.table import from_table, plain
from accelqsm.results.integrity.check import check_folder
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS
from accelqsm.results.saved import SavedResult

TABLE, LABELS, LOOKUP = "nuclei.tsv", "dseg.nii.gz", "dseg.tsv"
QUALITY, FIGURE = "quality.tsv", "quality.png"
TEXT = ("region", "side", "note", "reference", "flag")

COLUMN_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "region": {"Description": "Nucleus, as the lookup names it without its side"},
    "side": {"Description": "L, R, both (voxels of both sides joined), or empty"},
    "mean_ppb": {"Description": "Mean susceptibility less reference_ppb", "Units": "ppb"},
    "sd_ppb": {"Description": "Sample standard deviation over voxels", "Units": "ppb"},
    "median_ppb": {"Description": "Median over voxels less reference_ppb", "Units": "ppb"},
    "iqr_ppb": {"Description": "Distance between the quartiles over voxels", "Units": "ppb"},
    "n_voxels": {"Description": "Voxels measured; the sum of weights when weighted"},
    "volume_mm3": {"Description": "Volume of the voxels measured", "Units": "mm^3"},
    "note": {"Description": "Why a value is n/a, or what part of it is missing"},
    "reference": {"Description": "Reference region: brain (mask), csf (ventricles) or none"},
    "reference_ppb": {
        "Description": "Mean of the map over the reference region, subtracted from all values",
        "Units": "ppb",
    },
    "low_ppb": {"Description": "Lower end of the 95 % interval of mean_ppb", "Units": "ppb"},
    "high_ppb": {"Description": "Upper end of the 95 % interval of mean_ppb", "Units": "ppb"},
    "flag": {"Description": "What stands out in size, position or value; empty for nothing"},
}
QUALITY_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "metric": {"Description": "What was measured"},
    "value": {"Description": "Its value"},
    "unit": {"Description": "Unit of the value"},
}


@dataclass(frozen=True)
class NucleiResult(SavedResult):
    """Measured nuclei of one map, with labels and quality metrics.

    Attributes:
        table: one row per nucleus and side (``nuclei.measure.measure_nuclei``), with its reference
            and plausibility flag.
        labels: integers (x, y, z).
        grid: voxel grid of the labels.
        lookup: columns index and name.
        quality: name, value and unit of each metric.
        figure: outlines of the labels, for quality control.
        settings: settings of the measurement.
        source: record of the inputs: map, magnitude, atlas and similar.
    """

    table: pd.DataFrame
    labels: npt.NDArray[Any]
    grid: Grid
    lookup: pd.DataFrame
    quality: Sequence[tuple[str, float, str]]
    figure: Figure
    settings: MeasureSettings
    source: Mapping[str, Any]

    @property
    def owner(self) -> str:
        """Command whose results these are."""
        return "nuclei"

    def write(self, out: Path) -> None:
        """Write labels, metrics, figure and table; the settings last."""
        write_image(out / LABELS, self.labels, self.grid)
        write_table(out / LOOKUP, self.lookup)
        metrics = pd.DataFrame(list(self.quality), columns=["metric", "value", "unit"])
        write_described_table(out / QUALITY, metrics, QUALITY_MEANINGS)
        with whole_file(out / FIGURE) as temporary:
            temporary.write_bytes(self.figure.png)
        write_nuclei(out / TABLE, self.table)
        write_settings(out / SETTINGS, nuclei_record(self.settings, self.source))


def read_nuclei(folder: str | Path) -> NucleiResult:
    """Read nuclei as written by ``NucleiResult.save``.

    Raises:
        InputError: files that are missing or cannot be read.
    """
    out = Path(folder)
    check_folder(out)
    record = read_settings(out / SETTINGS)
    image = read_volume(out / LABELS)
    metrics = read_table(out / QUALITY, columns=("metric", "value", "unit"), text=("metric",))
    rows = zip(metrics["metric"], metrics["value"], metrics["unit"], strict=True)
    return NucleiResult(
        table=read_nuclei_table(out / TABLE),
        labels=np.asarray(image.values),
        grid=image.grid,
        lookup=read_table(out / LOOKUP, columns=("index", "name")),
        quality=[(str(name), float(value), str(unit)) for name, value, unit in rows],
        figure=Figure("Nuclei", "", "", (out / FIGURE).read_bytes()),
        settings=from_table(MeasureSettings, record.get("nuclei", {})),
        source=record.get("source", {}),
    )


def read_nuclei_table(path: Path) -> pd.DataFrame:
    """Read a table of nuclei, with empty strings for missing text."""
    table = read_table(path, columns=("region", "side", "mean_ppb"), text=TEXT)
    return table.fillna({name: "" for name in TEXT if name in table})


def write_nuclei(path: Path, table: pd.DataFrame) -> None:
    """Write a table of nuclei with a sidecar that describes its columns."""
    write_described_table(path, table, {name: COLUMN_MEANINGS[name] for name in table.columns})


def nuclei_record(settings: MeasureSettings, source: Mapping[str, Any]) -> dict[str, Any]:
    """Record of a measurement of nuclei, from which it can be repeated."""
    return {
        "command": "nuclei",
        "source": dict(source),
        "nuclei": plain(settings),
        "software": software(),
    }
