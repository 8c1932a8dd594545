"""What measuring nuclei leaves on disk, and what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.figures.nuclei import outline_figure
from accelqsm.files.atomic import whole_file
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.files.tables import write_described_table, write_settings, write_table
from accelqsm.grid import Grid, centred_grid
from accelqsm.nuclei.measure import split_side
from accelqsm.nuclei.volume import Volume, affine_transform, box_around, resampled
from accelqsm.results.provenance import software
from accelqsm.units import PPB_PER_PPM

REFERENCES = ("brain", "csf", "none")
TABLE, LABELS, LOOKUP = "nuclei.tsv", "dseg.nii.gz", "dseg.tsv"
QUALITY, FIGURE, SETTINGS = "quality.tsv", "quality.png", "settings.toml"
FIGURE_MARGIN_MM = 30.0

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
    "flag": {"Description": "What stands out in size, position or value; empty for nothing"},
}
QUALITY_MEANINGS: Mapping[str, Mapping[str, str]] = {
    "metric": {"Description": "What was measured"},
    "value": {"Description": "Its value"},
    "unit": {"Description": "Unit of the value"},
}


@dataclass(frozen=True)
class MeasureOptions:
    """How nuclei are measured.

    Attributes:
        reference: what has zero susceptibility: "brain" (the mask), "csf" or "none".
        erosion_mm: voxels nearer than this to the edge of their label are left out.
        weighted: weigh voxels with the label's share of them instead of counting whole ones.
        min_voxels: a nucleus with fewer gets n/a.
        threshold: least probability of a voxel's label in a probabilistic atlas.
        regions: which nuclei, in order; the study's seven where the atlas has them.
    """

    reference: str = "brain"
    erosion_mm: float = 0.0
    weighted: bool = False
    min_voxels: int = 3
    threshold: float = 0.5
    regions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.reference not in REFERENCES:
            raise InputError(
                f"--reference: expected one of {', '.join(REFERENCES)}, found {self.reference!r}"
            )
        if not 0 < self.threshold <= 1:
            raise InputError(f"--threshold: expected above 0 to 1, found {self.threshold:g}")
        if not self.erosion_mm >= 0:
            raise InputError(f"--erode-mm: expected 0 or more, found {self.erosion_mm:g}")
        if self.weighted and self.erosion_mm:
            raise InputError("--erode-mm: expected 0 with --weighted, which takes no labels")


def reference_ppm(
    chi_ppm: npt.NDArray[Any],
    grid: Grid,
    mask: npt.NDArray[np.bool_],
    kind: str,
    *,
    r2star: Path | None,
) -> float:
    """Mean susceptibility of the reference region, in ppm.

    Raises:
        InputError: CSF without an R2* map, or without enough of it; an empty mask.
    """
    if kind == "none":
        return 0.0
    if not mask.any():
        raise InputError(f"--reference {kind}: expected a mask with voxels, found none")
    if kind == "brain":
        return float(chi_ppm[mask].mean(dtype=np.float64))
    if r2star is None:
        raise InputError("--reference csf: expected an R2* map (--r2star FILE), found none")
    import torch

    from accelqsm.qsm.reference import ventricle_fluid

    values = read_volume(r2star, grid=grid).values.astype(np.float32)
    fluid = ventricle_fluid(
        torch.from_numpy(values), torch.from_numpy(mask), voxel_size_mm=grid.voxel_size_mm
    )
    return float(chi_ppm[fluid.numpy()].mean(dtype=np.float64))


def referred(table: pd.DataFrame, kind: str, value_ppm: float) -> pd.DataFrame:
    """The table relative to a reference region, which it names."""
    out = table.copy()
    shift_ppb = value_ppm * PPB_PER_PPM
    for column in ("mean_ppb", "median_ppb"):
        out[column] = out[column] - shift_ppb
    out["reference"], out["reference_ppb"] = kind, shift_ppb
    return out


def write_values(path: Path, table: pd.DataFrame) -> None:
    """Write a table of nuclei and, beside it, what its columns mean."""
    write_described_table(path, table, {name: COLUMN_MEANINGS[name] for name in table.columns})


def write_results(
    out: Path,
    table: pd.DataFrame,
    labels: npt.NDArray[Any],
    grid: Grid,
    lookup: pd.DataFrame,
    *,
    quality: list[tuple[str, float, str]],
    figure: bytes,
    source: Mapping[str, Any],
    options: MeasureOptions,
) -> None:
    """Write labels, quality, figure and table; ``settings.toml`` last, when all are complete."""
    (out / SETTINGS).unlink(missing_ok=True)
    write_image(out / LABELS, labels.astype(np.int16), grid)
    write_table(out / LOOKUP, lookup)
    metrics = pd.DataFrame(quality, columns=["metric", "value", "unit"])
    write_described_table(out / QUALITY, metrics, QUALITY_MEANINGS)
    with whole_file(out / FIGURE) as temporary:
        temporary.write_bytes(figure)
    write_values(out / TABLE, table)
    chosen = {k: v for k, v in asdict(options).items() if v is not None}
    settings = {"source": dict(source), "nuclei": chosen, "software": software()}
    write_settings(out / SETTINGS, settings)


def quality_figure(
    chi: Volume,
    magnitude: Volume,
    labels: npt.NDArray[Any],
    lookup: pd.DataFrame,
    *,
    notes: Mapping[str, str],
) -> bytes:
    """The outlines of all regions on an upright grid of 1 mm around them."""
    around = box_around(Volume(labels, chi.grid), margin_mm=1.0)
    last = np.asarray(around.shape) - 1
    corners = np.stack([np.asarray(corner) * last for corner in np.ndindex(2, 2, 2)], axis=1)
    ends = affine_transform(around.matrix)(corners.astype(np.float64))
    low, high = ends.min(1) - FIGURE_MARGIN_MM, ends.max(1) + FIGURE_MARGIN_MM
    x, y, z = (int(n) for n in np.ceil(high - low))
    middle = low + np.array([x // 2, y // 2, z // 2])
    grid = centred_grid(
        (x, y, z), (1.0, 1.0, 1.0), centre_mm=(float(middle[0]), float(middle[1]), float(middle[2]))
    )
    regions: dict[str, list[int]] = {}
    for index, name in zip(lookup["index"], lookup["name"], strict=True):
        regions.setdefault(split_side(str(name))[0], []).append(int(index))
    probabilities = {}
    for region, indices in regions.items():
        here = np.isin(labels, indices).astype(np.float32)
        if here.any():
            probabilities[region] = resampled(Volume(here, chi.grid), grid).values
    return outline_figure(
        resampled(chi, grid).values,
        resampled(magnitude, grid).values,
        probabilities,
        voxel_size_mm=1.0,
        notes=notes,
    ).png
