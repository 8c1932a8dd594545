"""Subjects excluded from comparisons, with reasons (participant flow)."""

from __future__ import annotations

import pandas as pd

from accelqsm.agreement.people import SUBJECT_NAMES, check_participants, plain_label
from accelqsm.agreement.values import VALUE, check_values

COLUMNS = ("subject", "protocol", "regions", "reason", "left_out_of")
Row = tuple[str, str, str, str, str]
EVERY = "every"
AGE_ANALYSIS = "analysis of age"


def left_out(
    values: pd.DataFrame, *, reference: str, participants: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Table of subjects with missing values or ages.

    Args:
        values: columns ``subject, protocol, region, value_ppb``, NaN where there is no value,
            and optionally ``note`` with the reason.
        reference: the protocol that the others are compared with.
        participants: columns ``participant_id, age``; adds participants who were not measured, and
            subjects without age.

    Returns:
        One row per subject and protocol with missing values: ``subject, protocol, regions``
        ("every" where all are missing), ``reason`` and ``left_out_of``, in the order of the
        values; empty if nothing is missing.

    Raises:
        InputError: tables that cannot be used.
    """
    table = check_values(values, reference)
    notes = _notes(values)
    subjects = list(dict.fromkeys(values["subject"].astype(str)))
    rows: list[Row] = []
    for subject in subjects:
        own = table.wide.xs(subject, level="subject").reindex(table.regions)
        for protocol in table.protocols:
            gaps = [region for region in table.regions if pd.isna(own[protocol].get(region))]
            if gaps:
                why = [notes.get((subject, protocol, region), "") for region in gaps]
                reason = "; ".join(filter(None, dict.fromkeys(why))) or "no value"
                where = "every comparison" if protocol == reference else f"{protocol}"
                regions = EVERY if len(gaps) == len(table.regions) else ", ".join(gaps)
                rows.append((subject, protocol, regions, reason, where))
    if participants is not None:
        rows += _by_age(subjects, participants)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _notes(values: pd.DataFrame) -> dict[tuple[str, str, str], str]:
    if "note" not in values:
        return {}
    said = values[values[VALUE].isna() & values["note"].notna()]
    return {
        (str(row["subject"]), str(row["protocol"]), str(row["region"])): str(row["note"])
        for row in said.to_dict("records")
    }


def _by_age(subjects: list[str], participants: pd.DataFrame) -> list[Row]:
    people = check_participants(participants)
    measured = {plain_label(subject): subject for subject in subjects}
    who = next(name for name in SUBJECT_NAMES if name in participants)
    rows = [
        (label, EVERY, EVERY, "among the participants, but not measured", "everything")
        for label in participants[who].astype(str)
        if plain_label(label) not in measured
    ]
    ages = people["age_years"].reindex(list(measured))
    rows += [
        (measured[str(label)], EVERY, EVERY, "no age", AGE_ANALYSIS)
        for label in ages.index[ages.isna()]
    ]
    return rows
