"""Plausibility of nuclei and of their registration, compared with atlas and adults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.grid import Grid
from accelqsm.nuclei.measure import split_side
from accelqsm.nuclei.metrics import Metrics
from accelqsm.nuclei.volume import affine_transform

SIZE_RATIO = (0.6, 1.67)
LARGEST_SHIFT_MM = 6.0
LARGEST_SIDE_RATIO = 1.6
LARGEST_Z = 4.0
LARGEST_SIDE_DIFFERENCE_Z = 3.0

# Mean and SD over 59 adults, ppb: Zhou et al. 2025, doi 10.3389/fnins.2025.1522227, Table 3 (PI).
ADULT_PPB: Mapping[str, tuple[float, float]] = {
    "Pu": (30.8, 12.9),
    "Ca": (29.6, 6.3),
    "GPe": (120.2, 34.3),
    "GPi": (92.3, 26.0),
    "RN": (65.1, 23.1),
    "SNc": (84.6, 27.2),
    "SNr": (99.9, 25.4),
}
SD_FLOOR_PPB = 12.0

DOUBTFUL = "registration doubtful"
LEAST_FALL = {"t1w_magnitude": 2.5, "scans": 2.5, "template": 2.0}
"""Of ``nuclei.metrics.similarity_fall``, by the pair of images."""

LEAST_BRAIN_OVERLAP = 0.85
AFFINE_SCALES = (0.7, 1.4)


@dataclass(frozen=True)
class Expected:
    """Position and size of a nucleus predicted from the atlas by the affine transform.

    Attributes:
        volume_mm3: volume in the scan.
        centre_mm: world coordinates in the scan.
    """

    volume_mm3: float
    centre_mm: tuple[float, float, float]


def centre_mm(labels: npt.NDArray[Any], index: int, grid: Grid) -> npt.NDArray[np.float64]:
    """Mean world coordinates of a label's voxels in mm, NaN for none."""
    where = np.stack(np.nonzero(labels == index))
    if not where.shape[1]:
        return np.full(3, np.nan)
    return affine_transform(grid.matrix)(where.mean(1, keepdims=True))[:, 0]


def registration_doubts(metrics: Metrics) -> list[str]:
    """Reasons to doubt a registration; none where nothing is conspicuous.

    Args:
        metrics: of ``nuclei.metrics``; those that are missing are not judged.

    Returns:
        One text per reason, with the value found and the one expected.
    """
    values = {name: value for name, value, _ in metrics}
    falls = {
        "T1w and magnitude": ("t1w_magnitude", values.get("similarity_fall_t1w_magnitude")),
        "the two scans": ("scans", values.get("similarity_fall_scans")),
        "head and template": (
            "template",
            # One contrast that fits is enough: the other may be one that the scan hardly has.
            max((v for n, v in values.items() if n.startswith("similarity_fall_template")),
                default=None),
        ),
    }  # fmt: skip
    reasons = [
        f"{images} agree {fall:.1f} times as well as when displaced (at least {LEAST_FALL[pair]})"
        for images, (pair, fall) in falls.items()
        if fall is not None and not fall >= LEAST_FALL[pair]
    ]
    overlap = values.get("brain_overlap", 1.0)
    if not overlap >= LEAST_BRAIN_OVERLAP:
        reasons.append(f"the brains overlap by {overlap:.2f} (at least {LEAST_BRAIN_OVERLAP})")
    low, high = AFFINE_SCALES
    for name in ("affine_scale_least", "affine_scale_largest"):
        if not low <= values.get(name, 1.0) <= high:
            reasons.append(f"the head is scaled by {values[name]:.2f} ({low} to {high})")
    return reasons


def flags(
    table: pd.DataFrame,
    lookup: pd.DataFrame,
    *,
    expected: Mapping[int, Expected],
    centres_mm: Mapping[int, npt.NDArray[np.float64]],
    doubtful: bool = False,
) -> list[str]:
    """Plausibility flag of each row of a table of nuclei, "" where nothing is conspicuous.

    Args:
        table: rows of ``measure_nuclei``.
        lookup: columns index and name.
        expected: size and position predicted by the affine transform, by index; may be empty.
        centres_mm: centre of each label by index.
        doubtful: whether the registration is; every row says so.

    Returns:
        One text per row: a doubtful registration, size beyond 0.6 to 1.67 of the expected one,
        position more than 6 mm from it, sides that differ by a factor of 1.6 in size, values
        beyond four SD of adults, or sides that differ by three SD of adults.
    """
    index = {
        split_side(str(n)): int(i) for i, n in zip(lookup["index"], lookup["name"], strict=True)
    }
    rows = table.set_index(["region", "side"])
    found = []
    for region, side in zip(table["region"], table["side"], strict=True):
        row = rows.loc[(region, side)]
        label = index.get((region, side), -1)
        reasons = [DOUBTFUL] if doubtful else []
        reasons += _size_and_place(row, expected.get(label), centres_mm.get(label))
        reasons += _value(region, float(row["mean_ppb"]))
        if side == "both":
            reasons += _sides(region, rows.loc[(region, "L")], rows.loc[(region, "R")])
        found.append("; ".join(reasons))
    return found


def _size_and_place(
    row: pd.Series, expected: Expected | None, centre: npt.NDArray[np.float64] | None
) -> list[str]:
    if expected is None:
        return []
    reasons = []
    ratio = float(row["volume_mm3"]) / expected.volume_mm3
    if not SIZE_RATIO[0] <= ratio <= SIZE_RATIO[1]:
        reasons.append(f"size {ratio:.2f} of the expected one")
    if centre is not None and np.isfinite(centre).all():
        shift = float(np.linalg.norm(centre - np.asarray(expected.centre_mm)))
        if shift > LARGEST_SHIFT_MM:
            reasons.append(f"{shift:.1f} mm from the expected place")
    return reasons


def _value(region: str, mean_ppb: float) -> list[str]:
    if region not in ADULT_PPB or not np.isfinite(mean_ppb):
        return []
    mean, sd = ADULT_PPB[region]
    z = (mean_ppb - mean) / max(sd, SD_FLOOR_PPB)
    return [f"value {z:+.1f} SD from adults' mean"] if abs(z) > LARGEST_Z else []


def _sides(region: str, left: pd.Series, right: pd.Series) -> list[str]:
    reasons = []
    sizes = sorted([float(left["volume_mm3"]), float(right["volume_mm3"])])
    if sizes[0] <= 0 or sizes[1] / sizes[0] > LARGEST_SIDE_RATIO:
        reasons.append(f"sides of {sizes[0]:.0f} and {sizes[1]:.0f} mm3")
    difference = abs(float(left["mean_ppb"]) - float(right["mean_ppb"]))
    sd = max(ADULT_PPB.get(region, (0.0, 25.0))[1], SD_FLOOR_PPB)
    if difference > LARGEST_SIDE_DIFFERENCE_Z * sd:
        reasons.append(f"sides differ by {difference:.0f} ppb")
    return reasons
