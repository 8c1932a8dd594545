"""Table of participants: age and sex of the subjects."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from accelqsm.agreement.values import check_label, check_numbers
from accelqsm.errors import InputError

SUBJECT_NAMES = ("participant_id", "subject")
AGE_NAMES = ("age", "age_years")
SEX = "sex"


def check_participants(participants: pd.DataFrame) -> pd.DataFrame:
    """Check a table of participants and index it by subject.

    Args:
        participants: columns ``participant_id`` (or ``subject``), ``age`` (or ``age_years``, in
            years), and optionally ``sex`` and others.

    Returns:
        The same rows, indexed by subject without "sub-", columns ``age_years``, ``sex`` and the
        others; NaN and "" for missing values.

    Raises:
        InputError: a missing column, a subject named twice, an age that is no number or not
            between 0 and 130 years.
    """
    who = _one_of(participants, SUBJECT_NAMES)
    when = _one_of(participants, AGE_NAMES)
    if participants[who].isna().any():
        raise InputError("participants: expected a subject in every row, found an empty one")
    labels = participants[who].astype(str)
    for label in labels:
        check_label(label, "participants")
    table = participants.drop(columns=[who]).rename(columns={when: "age_years"})
    table.index = pd.Index([plain_label(label) for label in labels], name="subject")
    repeated = table.index[table.index.duplicated()]
    if len(repeated):
        raise InputError(f"participants: expected one row per subject, found '{repeated[0]}' twice")
    check_numbers(table["age_years"], "age")
    ages = table["age_years"].to_numpy(np.float64)
    strange = ages[(ages < 0) | (ages > 130)]
    if strange.size:
        raise InputError(f"age: expected years between 0 and 130, found {strange[0]:g}")
    table[SEX] = table[SEX].fillna("").astype(str).str.strip() if SEX in table else ""
    return table


def plain_label(label: str) -> str:
    """Label of a subject without the BIDS prefix "sub-"."""
    return re.sub(r"^sub-", "", label)


def _one_of(table: pd.DataFrame, names: tuple[str, ...]) -> str:
    for name in names:
        if name in table.columns:
            return name
    raise InputError(
        f"participants: expected a column '{names[0]}', found {[str(c) for c in table.columns]}"
    )
