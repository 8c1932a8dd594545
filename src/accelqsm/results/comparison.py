"""A finished comparison, read back from its folder without computing anything again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from accelqsm.agreement.people import check_participants, plain_label
from accelqsm.errors import InputError
from accelqsm.files.tables import read_settings, read_table
from accelqsm.pipeline.comparison import (
    LABELS,
    PEOPLE,
    PEOPLE_LABELS,
    SETTINGS,
    VALUE_COLUMNS,
    VALUES,
    Comparison,
    read_options,
)

AGREEMENT = "agreement.tsv"
TEXT = ("region", "protocol", "influential_subject", "verdict", "note")
PRINTED = ("table-1", "table-2", "table-3", "table-4")
AGREEMENT_COLUMNS = (
    "region", "protocol", "n", "mean_reference", "mean", "sd_reference", "sd",
    "percent_difference", "bias", "loa_lower", "loa_upper", "within_subject_sd", "repeatability",
    "pearson_r", "influential_subject", "pearson_r_without", "proportional_slope", "icc", "ccc",
    "deming_slope", "deming_intercept", "passing_bablok_slope", "passing_bablok_intercept",
    "paired_t_p", "paired_t_p_fdr", "paired_t_p_holm", "tost_margin", "tost_p", "verdict",
    "n_to_decide", "note",
)  # fmt: skip
AGE_COLUMNS = (
    "region", "protocol", "n", "r", "r_p", "r_p_fdr", "r_without", "r_at_equal_sex",
    "slope_ppb_per_year", "r_difference", "williams_p", "williams_p_fdr",
)  # fmt: skip


@dataclass(frozen=True)
class StoredComparison:
    """What lies in the folder of a comparison.

    Attributes:
        comparison: options, agreement, ages, printed tables, checks of published numbers.
        values: what was compared (``subject, protocol, region, value_ppb``); None where the
            folder does not hold it.
        participants: label, age and sex; None without them.
        settings: the whole of ``settings.toml``.
    """

    comparison: Comparison
    values: pd.DataFrame | None
    participants: pd.DataFrame | None
    settings: Mapping[str, Any]

    @property
    def reference(self) -> str:
        """The protocol that the others were compared with."""
        return self.comparison.options.reference

    @property
    def ages_years(self) -> dict[str, float]:
        """Subject, as the values call it -> age in years."""
        if self.participants is None or self.values is None:
            return {}
        people = check_participants(self.participants)["age_years"].dropna()
        known = {str(label): float(age) for label, age in people.items()}
        subjects = self.values["subject"].unique()
        return {s: known[plain_label(s)] for s in subjects if plain_label(s) in known}


def is_comparison(folder: Path) -> bool:
    """Whether a folder holds a finished comparison."""
    return (folder / SETTINGS).is_file() and (folder / AGREEMENT).is_file()


def read_comparison(folder: Path) -> StoredComparison:
    """Read what ``compare`` wrote.

    Raises:
        InputError: no comparison, or files that cannot be used.
    """
    if not is_comparison(folder):
        raise InputError(
            f"{folder}: expected {AGREEMENT} and {SETTINGS} of a comparison, found none"
        )
    options = read_options(folder / SETTINGS)
    agreement = read_table(folder / AGREEMENT, columns=AGREEMENT_COLUMNS, text=TEXT)
    agreement = agreement.fillna(dict.fromkeys(("verdict", "note", "influential_subject"), ""))
    ages = checks = values = people = None
    if (folder / "age.tsv").is_file():
        ages = read_table(folder / "age.tsv", columns=AGE_COLUMNS, text=TEXT)
    if (folder / "published-checks.tsv").is_file():
        checks = read_table(folder / "published-checks.tsv", text=(*TEXT, "printed_p"))
    if (folder / VALUES).is_file():
        values = read_table(folder / VALUES, columns=VALUE_COLUMNS, text=(*LABELS, "note"))
    if (folder / PEOPLE).is_file():
        people = read_table(folder / PEOPLE, text=PEOPLE_LABELS)
    printed = {name: folder / f"{name}.tsv" for name in PRINTED}
    tables = {name: _printed(path) for name, path in printed.items() if path.is_file()}
    comparison = Comparison(options, agreement, ages, tables, checks)
    return StoredComparison(comparison, values, people, read_settings(folder / SETTINGS))


def _printed(path: Path) -> pd.DataFrame:
    """A printed table, digit for digit."""
    return read_table(path, text=tuple(map(str, read_table(path).columns)))
