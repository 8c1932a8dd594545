"""Statistics of susceptibility in each nucleus and side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError
from accelqsm.nuclei.settings import MeasureSettings
from accelqsm.units import PPB_PER_PPM

COLUMNS = (
    "region",
    "side",
    "mean_ppb",
    "sd_ppb",
    "median_ppb",
    "iqr_ppb",
    "n_voxels",
    "volume_mm3",
    "note",
)
_SIDE_FIRST = re.compile(r"^(left|right|lh|rh|l|r)[\s._-]+(.+)$", re.IGNORECASE)
_SIDE_LAST = re.compile(r"^(.+?)[\s._-]+(left|right|lh|rh|l|r)$", re.IGNORECASE)

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class WeightedValues:
    """Values of voxels with their weights."""

    values: Values
    weights: Values

    @property
    def n_voxels(self) -> float | int:
        """Sum of the weights; an integer where all weights are one."""
        total = float(self.weights.sum())
        return int(total) if total == len(self.weights) else total

    def mean_and_sd(self) -> tuple[float, float]:
        """Weighted mean and sample SD (NaN for one voxel)."""
        total = self.weights.sum()
        mean = float((self.weights * self.values).sum() / total)
        variance = float((self.weights * (self.values - mean) ** 2).sum() / total)
        effective = float(total**2 / (self.weights**2).sum())
        if effective <= 1:
            return mean, float("nan")
        return mean, float(np.sqrt(variance * effective / (effective - 1)))

    def quartiles(self) -> tuple[float, float, float]:
        """25th, 50th and 75th percentile."""
        if np.ptp(self.weights) == 0:
            lower, median, upper = np.percentile(self.values, [25, 50, 75])
            return float(lower), float(median), float(upper)
        order = np.argsort(self.values, kind="stable")
        middle = np.cumsum(self.weights[order]) - self.weights[order] / 2
        found = np.interp([0.25, 0.5, 0.75], middle / self.weights.sum(), self.values[order])
        return float(found[0]), float(found[1]), float(found[2])


def measure_nuclei(
    chi_ppm: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    lookup: pd.DataFrame,
    *,
    voxel_volume_mm3: float,
    mask: npt.NDArray[Any] | None = None,
    probabilities: Mapping[int, npt.NDArray[Any]] | None = None,
    min_voxels: int = MeasureSettings.min_voxels,
    unavailable: Mapping[int, str] | None = None,
) -> pd.DataFrame:
    """Susceptibility statistics of each nucleus: left, right and both sides pooled.

    ``mean_ppb = 1000 * sum(w chi_ppm) / sum(w)`` over the voxels inside ``mask``, where w is 1 in
    the label and 0 elsewhere, or the label probability of the voxel. The SD is that over voxels
    (``n - 1`` with ``n = sum(w)^2 / sum(w^2)``), the IQR is the distance between the quartiles.
    Both sides are pooled voxel by voxel, so that the larger side has the larger weight.

    Args:
        chi_ppm: susceptibility ``(x, y, z)`` in ppm.
        labels: integers ``(x, y, z)``; values that ``lookup`` does not list are ignored.
        lookup: columns ``index`` and ``name``; the side is a word or letter at either end of the
            name ("L Pu", "Left Putamen", "Pu_R", "Pu-L"), and several indices may share a name.
        voxel_volume_mm3: volume of a voxel in mm^3.
        mask: voxels ``(x, y, z)`` that may be measured; all when absent.
        probabilities: label probability ``(x, y, z)`` by index, 0 to 1, as weight of the voxels
            instead of ``labels``; ``n_voxels`` is then ``sum(w)``.
        min_voxels: a nucleus with fewer voxels gets NaN values and a note.
        unavailable: by index, why a label cannot be measured; it gets NaN values and this note.

    Returns:
        Columns ``region, side, mean_ppb, sd_ppb, median_ppb, iqr_ppb, n_voxels, volume_mm3,
        note``, in the order of ``lookup``; side is "L", "R", "both", or "" for a name without one.

    Raises:
        InputError: shapes that differ, labels that are not integers, NaN or infinity inside a
            measured nucleus, or a lookup that is empty, incomplete or names an index twice.
    """
    inside = _check(chi_ppm, labels, mask, voxel_volume_mm3)
    if probabilities is None:
        found = _values_by_label(chi_ppm, labels, inside)
    else:
        found = _values_by_probability(chi_ppm, probabilities, inside)
    regions = _regions(lookup)
    reasons = dict(unavailable or {})
    rows = []
    for region, sides in regions.items():
        samples = {
            side: _samples(found, indices, f"chi in {_full_name(region, side)}")
            for side, indices in sides.items()
        }
        why = {
            side: next((reasons[i] for i in indices if i in reasons), "")
            for side, indices in sides.items()
        }
        rows += [
            _row(region, side, values, voxel_volume_mm3, min_voxels, why[side])
            for side, values in samples.items()
        ]
        if {"L", "R"} <= samples.keys():
            rows.append(_pooled_row(region, samples, voxel_volume_mm3, min_voxels, why))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def split_side(name: str) -> tuple[str, str]:
    """Split a label name into region and side: "Left Putamen" is ("Putamen", "L").

    The side is "L", "R", or "" where neither end of the name says one.
    """
    name = name.strip()
    if first := _SIDE_FIRST.match(name):
        return first[2].strip(), first[1][0].upper()
    if last := _SIDE_LAST.match(name):
        return last[1].strip(), last[2][0].upper()
    return name, ""


def _check(
    chi_ppm: npt.NDArray[Any],
    labels: npt.NDArray[Any],
    mask: npt.NDArray[Any] | None,
    voxel_volume_mm3: float,
) -> npt.NDArray[np.bool_]:
    if chi_ppm.ndim != 3:
        raise InputError(f"chi: expected three axes (x, y, z), found shape {chi_ppm.shape}")
    if labels.shape != chi_ppm.shape:
        raise InputError(
            f"labels: expected the shape of chi, {chi_ppm.shape}, found {labels.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise InputError(f"labels: expected integers, found {labels.dtype}")
    if not (np.isfinite(voxel_volume_mm3) and voxel_volume_mm3 > 0):
        raise InputError(f"voxel volume: expected mm^3 above 0, found {voxel_volume_mm3}")
    if mask is None:
        return np.ones(chi_ppm.shape, dtype=bool)
    if mask.shape != chi_ppm.shape:
        raise InputError(f"mask: expected the shape of chi, {chi_ppm.shape}, found {mask.shape}")
    return mask.astype(bool)


def _values_by_label(
    chi_ppm: npt.NDArray[Any], labels: npt.NDArray[Any], inside: npt.NDArray[np.bool_]
) -> dict[int, WeightedValues]:
    # One sort of the labelled voxels, as a search for each label would read the whole volume.
    chosen = inside & (labels != 0)
    index = labels[chosen]
    order = np.argsort(index, kind="stable")
    names, starts = np.unique(index[order], return_index=True)
    groups = np.split(chi_ppm[chosen][order].astype(np.float64), starts[1:])
    return {
        int(name): WeightedValues(group, np.ones(len(group)))
        for name, group in zip(names, groups, strict=False)
    }


def _values_by_probability(
    chi_ppm: npt.NDArray[Any],
    probabilities: Mapping[int, npt.NDArray[Any]],
    inside: npt.NDArray[np.bool_],
) -> dict[int, WeightedValues]:
    found = {}
    for index, weight in probabilities.items():
        if weight.shape != chi_ppm.shape:
            raise InputError(
                f"probabilities: expected the shape of chi, {chi_ppm.shape}, found {weight.shape}"
            )
        chosen = inside & (weight > 0)
        found[index] = WeightedValues(
            chi_ppm[chosen].astype(np.float64), weight[chosen].astype(np.float64)
        )
    return found


def _regions(lookup: pd.DataFrame) -> dict[str, dict[str, list[int]]]:
    missing = [column for column in ("index", "name") if column not in lookup.columns]
    if missing:
        raise InputError(f"label lookup: expected columns index and name, found no {missing[0]}")
    if lookup.empty:
        raise InputError("label lookup: expected at least one row, found none")
    if lookup[["index", "name"]].isna().to_numpy().any():
        raise InputError("label lookup: expected an index and a name in every row, found a gap")
    repeated = lookup["index"][lookup["index"].duplicated()]
    if len(repeated):
        raise InputError(f"label lookup: expected each index once, found {repeated.iloc[0]} twice")
    regions: dict[str, dict[str, list[int]]] = {}
    for index, name in zip(lookup["index"], lookup["name"], strict=True):
        region, side = split_side(str(name))
        if int(index) != index:
            raise InputError(f"label lookup: expected whole numbers as index, found {index}")
        regions.setdefault(region, {}).setdefault(side, []).append(int(index))
    return regions


def _samples(found: dict[int, WeightedValues], indices: list[int], what: str) -> WeightedValues:
    samples = [found[index] for index in indices if index in found]
    joined = _concatenate(samples)
    n_bad = int((~np.isfinite(joined.values)).sum())
    if n_bad:
        raise InputError(f"{what}: expected finite values, found {n_bad} that are not")
    return WeightedValues(joined.values * PPB_PER_PPM, joined.weights)


def _concatenate(samples: Sequence[WeightedValues]) -> WeightedValues:
    empty = np.empty(0)
    return WeightedValues(
        np.concatenate([empty, *(s.values for s in samples)]),
        np.concatenate([empty, *(s.weights for s in samples)]),
    )


def _row(
    region: str,
    side: str,
    sample: WeightedValues,
    voxel_volume_mm3: float,
    min_voxels: int,
    why: str,
) -> dict[str, object]:
    n = sample.n_voxels
    row: dict[str, object] = {"region": region, "side": side, "n_voxels": n, "note": ""}
    row["volume_mm3"] = n * voxel_volume_mm3
    least = max(min_voxels, 1)
    if why or n < least:
        row["note"] = why or f"{n:g} of at least {least} voxels inside the mask"
        return row | dict.fromkeys(("mean_ppb", "sd_ppb", "median_ppb", "iqr_ppb"), np.nan)
    mean, sd = sample.mean_and_sd()
    lower, median, upper = sample.quartiles()
    return row | {
        "mean_ppb": mean,
        "sd_ppb": sd,
        "median_ppb": median,
        "iqr_ppb": upper - lower,
    }


def _pooled_row(
    region: str,
    samples: dict[str, WeightedValues],
    voxel_volume_mm3: float,
    min_voxels: int,
    why: dict[str, str],
) -> dict[str, object]:
    # Otherwise a nucleus with one side outside would appear complete.
    reason = next((f"side {side}: {why[side]}" for side in ("L", "R") if why[side]), "")
    pooled = _concatenate(list(samples.values()))
    row = _row(region, "both", pooled, voxel_volume_mm3, min_voxels, reason)
    least = max(min_voxels, 1)
    small = [side for side in ("L", "R") if samples[side].n_voxels < least]
    if small and not row["note"]:
        row["note"] = f"side {small[0]} has {samples[small[0]].n_voxels:g} voxels inside the mask"
    return row


def _full_name(region: str, side: str) -> str:
    return f"{region} {side}".strip()
