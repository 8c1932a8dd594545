"""Table of values, one per subject, protocol and region, with its checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from accelqsm.errors import InputError

POOLED = "all"
KEYS = ("subject", "protocol", "region")
VALUE = "value_ppb"
RUN = "run"
SCANS = ("session", RUN)
"""Columns that tell repeated scans of a subject under one protocol apart."""
LOW, HIGH = "low_ppb", "high_ppb"
INTERVAL_SD = 1.96
"""SDs of a value from its mean to either end of its interval of 95 %."""
LARGEST_LIKE_PPM = 1.0
LARGEST_NUMBER = 1e9
"""Of a table: squares and sums of larger ones have no meaning, or no end."""
LEAST_OF_A_UNIT, LEAST_OF_A_GROUP = 2, 5
"""Values of all, and of one protocol or subject, from which on their size tells the unit."""


@dataclass(frozen=True)
class Values:
    """Checked table of values in wide form.

    Attributes:
        wide: ppb, rows (region, subject), columns protocol; NaN where there is no value.
        regions: in order of appearance.
        protocols: in order of appearance, the reference first.
        scans: rows ``region, subject, protocol, value_ppb`` of single scans that have a value, of
            which ``wide`` has the means; None where no scan was repeated.
        noise: in the form of ``wide``, variance of a scan's value in ppb^2 by its own interval;
            None where values have no interval.
    """

    wide: pd.DataFrame
    regions: list[str]
    protocols: list[str]
    scans: pd.DataFrame | None = None
    noise: pd.DataFrame | None = None

    @property
    def reference(self) -> str:
        """The protocol that the others are compared with."""
        return self.protocols[0]

    @property
    def others(self) -> list[str]:
        """Every protocol but the reference."""
        return self.protocols[1:]

    def region(self, name: str) -> pd.DataFrame:
        """Values of one region: rows subject, columns protocol."""
        return self.wide.loc[self.wide.index.get_level_values("region") == name].droplevel("region")


def check_values(values: pd.DataFrame, reference: str) -> Values:
    """Check a long table and pivot it.

    Args:
        values: columns ``subject, protocol, region, value_ppb``; NaN is a missing value. Columns
            ``session`` or ``run`` tell repeated scans apart; ``low_ppb`` and ``high_ppb`` are the
            interval of 95 % of a value.
        reference: the protocol to compare with.

    Raises:
        InputError: missing columns, values that are not numbers, infinite values, labels that are
            empty or cannot be printed, duplicate rows, a reference that is not among the
            protocols or is the only one, or a region named "all".
    """
    _check_columns(values)
    table = values[[*KEYS, VALUE]].astype(dict.fromkeys(KEYS, str) | {VALUE: float})
    _check_labels(table)
    _check_scans(values, table)
    regions, protocols = (list(dict.fromkeys(table[key])) for key in ("region", "protocol"))
    if reference not in protocols:
        raise InputError(f"reference: expected one of {', '.join(protocols)}, found '{reference}'")
    if len(protocols) < 2:
        raise InputError(f"values: expected a protocol besides '{reference}', found none")
    if POOLED in regions:
        raise InputError(f"region: '{POOLED}' is the name of the pooled rows, expected another")
    order = [reference, *(p for p in protocols if p != reference)]
    noise = _noise(values, table)
    if not table.duplicated(list(KEYS)).any():
        wide = table.pivot(index=["region", "subject"], columns="protocol", values=VALUE)
        return Values(wide, regions, order, noise=noise)
    return Values(_means(table), regions, order, table[table[VALUE].notna()], noise)


def _means(table: pd.DataFrame) -> pd.DataFrame:
    """Means over scans in wide form; NaN where there is no value."""
    return table.groupby(["region", "subject", "protocol"])[VALUE].mean().unstack("protocol")


def _check_scans(values: pd.DataFrame, table: pd.DataFrame) -> None:
    """Refuse two rows of one scan."""
    named = [name for name in SCANS if name in values]
    labels = table[list(KEYS)].assign(**{n: values[n].fillna("").astype(str) for n in named})
    repeated = table[labels.duplicated()]
    if len(repeated):
        first = repeated.iloc[0]
        each = ", ".join(["subject", "protocol", *named])
        how = "" if named else "; a column run or session tells repeated scans apart"
        raise InputError(
            f"values: expected one row per {each} and region, found several for "
            f"'{first.subject}' '{first.protocol}' '{first.region}'{how}"
        )


def _noise(values: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame | None:
    """Variance of a scan by the interval of its value, averaged over scans, in wide form.

    Raises:
        InputError: an interval whose lower end is above the upper one, or that is no number.
    """
    if LOW not in values or HIGH not in values:
        return None
    for name in (LOW, HIGH):
        check_numbers(values[name], name)
    width = values[HIGH].astype(float) - values[LOW].astype(float)
    wrong = np.flatnonzero(width.to_numpy() < 0)
    if wrong.size:
        raise InputError(
            f"{LOW}: expected at most {HIGH}, found {values[LOW].iloc[wrong[0]]:g} above "
            f"{values[HIGH].iloc[wrong[0]]:g} in row {wrong[0] + 1}"
        )
    variances = table[list(KEYS)].assign(**{VALUE: (width / (2 * INTERVAL_SD)) ** 2})
    return _means(variances) if width.notna().any() else None


def _check_columns(values: pd.DataFrame) -> None:
    missing = [name for name in (*KEYS, VALUE) if name not in values.columns]
    if missing:
        raise InputError(f"values: expected a column '{missing[0]}', found {list(values.columns)}")
    if values.empty:
        raise InputError("values: expected at least one row, found none")
    unnamed = [key for key in KEYS if values[key].isna().any()]
    if unnamed:
        raise InputError(f"values: expected a {unnamed[0]} in every row, found an empty one")
    check_numbers(values[VALUE], VALUE)


def check_numbers(column: pd.Series, name: str) -> None:
    """Check that a column has only finite numbers and NaN.

    Raises:
        InputError: with the first value that is not a finite number, and its row, the first of
            which is 1.
    """
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        bad = [(row, v) for row, v in enumerate(column, 1) if _is_no_number(v)]
        shown = f"{bad[0][1]!r} in row {bad[0][0]}" if bad else str(column.dtype)
        raise InputError(f"{name}: expected numbers (n/a where there is none), found {shown}")
    infinite = np.flatnonzero(np.isinf(column.to_numpy(np.float64, na_value=np.nan)))
    if infinite.size:
        raise InputError(
            f"{name}: expected finite numbers, found infinity in row {infinite[0] + 1}"
        )
    numbers = column.to_numpy(np.float64, na_value=np.nan)
    beyond = np.flatnonzero(np.abs(numbers) > LARGEST_NUMBER)
    if beyond.size:
        raise InputError(
            f"{name}: expected numbers of at most {LARGEST_NUMBER:g}, found "
            f"{numbers[beyond[0]]:g} in row {beyond[0] + 1}"
        )


def number_in(row: Mapping[str, object], name: str) -> float:
    """Number of a row of a table; NaN where it has none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def check_unit(values: pd.DataFrame, name: str = VALUE) -> None:
    """Refuse what looks like ppm for ppb: all values, or those of a scan, a person or a region.

    Nuclei have tens of ppb, so that a few of them are never all within 1 ppb of the reference.

    Args:
        values: columns subject, protocol and ``name``, checked to be numbers.
        name: of the column.

    Raises:
        InputError: with the range found.
    """
    known = values[values[name].notna()]
    numbers = known[name].astype(float)
    largest = float(numbers.abs().max()) if len(known) else 0.0
    if largest == 0:
        return
    if len(known) >= LEAST_OF_A_UNIT and largest <= LARGEST_LIKE_PPM:
        raise _like_ppm(numbers, "every row")
    for key in KEYS:
        for label, group in numbers.groupby(known[key].astype(str)):
            if len(group) >= LEAST_OF_A_GROUP and 0 < group.abs().max() <= LARGEST_LIKE_PPM:
                raise _like_ppm(group, f"{key} '{label}'")


def _like_ppm(values: pd.Series, where: str) -> InputError:
    return InputError(
        f"{VALUE}: expected ppb, found {values.min():g} to {values.max():g} in {where}, which look "
        "like ppm; multiply by 1000, or call the column value_ppm (--columns value_ppm=value_ppb)"
    )


def _is_no_number(value: object) -> bool:
    if isinstance(value, bool):
        return True
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return True
    return False


def _check_labels(table: pd.DataFrame) -> None:
    for key in KEYS:
        for label in table[key].unique():
            check_label(label, key)


def check_label(label: str, key: str) -> None:
    """Check that a label is not empty and is printable, so that it cannot control a terminal.

    Raises:
        InputError: an empty label, or one with control characters such as tabs and escapes.
    """
    if not label.strip() or not label.isprintable():
        raise InputError(f"{key}: expected text that can be printed, found {label!r}")
