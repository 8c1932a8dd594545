"""Comparison of protocols: from a table of values to tables of agreement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from accelqsm.agreement.age import age_associations
from accelqsm.agreement.people import SUBJECT_NAMES, plain_label
from accelqsm.agreement.protocols import compare_protocols
from accelqsm.agreement.published import check_printed_p, published
from accelqsm.agreement.scans import compare_scans, declared_repeats, scan_means
from accelqsm.agreement.settings import EVERY_REGION, CompareSettings
from accelqsm.agreement.tables import age_table, correlation_table, demographics_table, mean_table
from accelqsm.agreement.values import check_unit, check_values
from accelqsm.errors import InputError, naming
from accelqsm.files.tables import as_written
from accelqsm.results.comparison import Comparison

MOST_NAMES = 4
"""Subjects that a message names."""


def compare(
    values: pd.DataFrame,
    settings: CompareSettings,
    *,
    participants: pd.DataFrame | None = None,
    inputs: Mapping[str, Mapping[str, str]] | None = None,
) -> Comparison:
    """Compare every protocol of a table of values with the reference protocol.

    Args:
        values: columns subject, protocol, region, value_ppb, and optionally note (why a value is
            missing), run or session (of repeated scans), low_ppb and high_ppb (interval).
        settings: reference, margins, confidence levels.
        participants: columns participant_id, age (years), and optionally sex and others.
        inputs: name -> path (for messages) and SHA-256 of the files of the tables.

    Raises:
        InputError: tables that cannot be compared.
    """
    known = {name: dict(record) for name, record in (inputs or {}).items()}
    with naming(_path(known, "values")):
        scans = declared_repeats(values, settings.repeat)
        check_values(scans, settings.reference)
        check_unit(scans)
        values = scan_means(scans)
        margins = margin_of_each_region(settings.margin_ppb, values["region"])
        settings = replace(settings, margin_ppb=margins)
        _check_scan_times(settings, values)
        _check_highlight(settings.highlight, values["subject"])
        agreement = compare_protocols(
            scans,
            reference=settings.reference,
            margin_percent=settings.margin_percent,
            margin_ppb=settings.margin_ppb,
            confidence=settings.confidence,
            power=settings.power,
        )
        # Rounded here, once, so that terminal, tables and page round the same numbers further.
        agreement = as_written(agreement)
        repeats = compare_scans(scans, reference=settings.reference, confidence=settings.confidence)
    study = published(settings.published) if settings.published else None
    tables = {
        "table-2": correlation_table(agreement, published=study),
        "table-3": mean_table(agreement, reference=settings.reference, published=study),
    }
    ages = None
    if participants is not None:
        with naming(_path(known, "participants")):
            people = participants_with_values(participants, values)
            ages = as_written(
                age_associations(
                    values, people, reference=settings.reference, confidence=settings.confidence
                )
            )
            tables["table-1"] = demographics_table(people, published=study)
        tables["table-4"] = age_table(ages, published=study)
    return Comparison(
        settings=settings,
        agreement=agreement,
        ages=ages,
        tables=dict(sorted(tables.items())),
        checks=None if study is None else check_printed_p(study),
        values=values,
        participants=participants,
        scans=None if values is scans else scans,
        repeats=None if repeats is None else as_written(repeats),
        inputs=known,
    )


def _check_scan_times(settings: CompareSettings, values: pd.DataFrame) -> None:
    """Refuse scan times of unknown protocols, and those without the reference's."""
    known = list(dict.fromkeys(values["protocol"].astype(str)))
    for protocol in settings.scan_time_s:
        if protocol not in known:
            raise InputError(f"scan time: expected one of {', '.join(known)}, found '{protocol}'")
    if settings.scan_time_s and settings.reference not in settings.scan_time_s:
        found = ", ".join(settings.scan_time_s)
        raise InputError(f"scan time: expected that of '{settings.reference}', found {found}")


def _check_highlight(subject: str, subjects: pd.Series) -> None:
    """Refuse a subject to be ringed who is not there."""
    known = list(dict.fromkeys(subjects.astype(str)))
    if subject and subject not in known:
        shown = ", ".join(known[:MOST_NAMES]) + (", ..." if len(known) > MOST_NAMES else "")
        raise InputError(f"highlight: expected one of {shown}, found '{subject}'")


def margin_of_each_region(margin_ppb: Mapping[str, float], regions: pd.Series) -> dict[str, float]:
    """Margin of each region by name; that of ``EVERY_REGION`` for regions without their own."""
    given = dict(margin_ppb)
    if EVERY_REGION not in given:
        return given
    shared = given.pop(EVERY_REGION)
    return {str(region): shared for region in regions.dropna().unique()} | given


def participants_with_values(people: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """Participants who have values; all of them if none has."""
    label = next((name for name in SUBJECT_NAMES if name in people), None)
    if label is None:
        return people
    measured = set(values["subject"].astype(str).map(plain_label))
    kept = people[label].isna() | people[label].astype(str).map(plain_label).isin(measured)
    return people[kept] if kept.any() else people


def _path(inputs: Mapping[str, Mapping[str, str]], name: str) -> str:
    """Path of an input, or its name without a file."""
    return inputs.get(name, {}).get("path", name)
