"""A table of values becomes tables of agreement; no images, no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from accelqsm.agreement.age import age_associations
from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.pair import DEFAULT_MARGIN_PERCENT
from accelqsm.agreement.paired import compare_protocols
from accelqsm.agreement.people import AGE_NAMES, SEX, SUBJECT_NAMES, plain_label
from accelqsm.agreement.published import check_printed_p, published
from accelqsm.agreement.statistics.equivalence import DEFAULT_POWER
from accelqsm.agreement.tables import age_table, correlation_table, demographics_table, mean_table
from accelqsm.errors import InputError
from accelqsm.files.tables import (
    read_settings,
    read_table,
    write_described_table,
    write_settings,
    write_table,
)
from accelqsm.results.provenance import software

LABELS = ("subject", "protocol", "region")
VALUE_COLUMNS = (*LABELS, "value_ppb")
PEOPLE_LABELS = (*SUBJECT_NAMES, SEX)
EVERY_REGION = "*"
NOTE = "note"
SETTINGS = "settings.toml"
VALUES = "compared-values.tsv"
PEOPLE = "compared-participants.tsv"


@dataclass(frozen=True)
class CompareOptions:
    """What a comparison was asked to do; written beside its results, and read back to replay.

    Attributes:
        reference: the protocol that the others are compared with.
        margin_percent: half-width of the equivalence region, in percent of the reference mean.
        margin_ppb: region -> half-width in ppb in its place; "*" is every region.
        confidence: level of all intervals; 1 - confidence that of each one-sided test.
        power: with which the subjects of ``n_to_decide`` would decide.
        beside: a published study whose numbers stand beside the tables; none when empty.
    """

    reference: str
    margin_percent: float = DEFAULT_MARGIN_PERCENT
    margin_ppb: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.95
    power: float = DEFAULT_POWER
    beside: str = ""


@dataclass(frozen=True)
class Comparison:
    """What :func:`compare_values` wrote.

    Attributes:
        options: with which it was made.
        agreement: one row per region and protocol, then pooled rows.
        ages: correlations with age; None without participants.
        tables: name of each printed table -> table.
        checks: whether the published p-values hang together; None without a published study.
    """

    options: CompareOptions
    agreement: pd.DataFrame
    ages: pd.DataFrame | None
    tables: Mapping[str, pd.DataFrame]
    checks: pd.DataFrame | None


def compare_values(
    values: Path, out: Path, options: CompareOptions, *, participants: Path | None = None
) -> Comparison:
    """Compare every protocol of a table of values with the reference protocol.

    Writes to ``out``: ``agreement.tsv``, ``table-2.tsv``, ``table-3.tsv``; with participants
    ``age.tsv``, ``table-1.tsv``, ``table-4.tsv``; with a published study
    ``published-checks.tsv``; a JSON file of the same name describes the columns of each, and
    ``settings.toml`` replays the comparison. What a report needs besides is copied:
    ``compared-values.tsv``, and of the participants label, age and sex. Nothing is written unless
    all can be computed.

    Args:
        values: tab-separated, columns subject, protocol, region, value_ppb; perhaps note, which
            says why a value is missing.
        out: folder to write to.
        options: reference, margins, levels.
        participants: tab-separated, columns participant_id, age (years), perhaps sex and others.

    Raises:
        InputError: tables that cannot be read or compared.
    """
    with _naming(values):
        table = read_table(values, columns=VALUE_COLUMNS, text=LABELS)
        margins = margin_of_each_region(options.margin_ppb, table["region"])
        options = replace(options, margin_ppb=margins)
        agreement = compare_protocols(
            table,
            reference=options.reference,
            margin_percent=options.margin_percent,
            margin_ppb=options.margin_ppb,
            confidence=options.confidence,
            power=options.power,
        )
    beside = published(options.beside) if options.beside else None
    tables = {
        "table-2": correlation_table(agreement, beside=beside),
        "table-3": mean_table(agreement, reference=options.reference, beside=beside),
    }
    ages = None
    if participants is not None:
        with _naming(participants):
            people = _measured(read_table(participants, text=PEOPLE_LABELS), table)
            ages = age_associations(
                table, people, reference=options.reference, confidence=options.confidence
            )
            tables["table-1"] = demographics_table(people, beside=beside)
        tables["table-4"] = age_table(ages, beside=beside)
    checks = None if beside is None else check_printed_p(beside)
    comparison = Comparison(options, agreement, ages, dict(sorted(tables.items())), checks)
    _write(comparison, out, values=values, participants=participants)
    kept = [name for name in (*VALUE_COLUMNS, NOTE) if name in table]
    write_table(out / VALUES, table[kept])
    (out / PEOPLE).unlink(missing_ok=True)
    if participants is not None:
        everybody = read_table(participants, text=PEOPLE_LABELS)
        kept = [name for name in (*PEOPLE_LABELS, *AGE_NAMES) if name in everybody]
        write_table(out / PEOPLE, everybody[kept])
    return comparison


def compare_options(
    settings: Path | None = None,
    *,
    reference: str | None = None,
    margin_ppb: Sequence[str] = (),
    beside: str | None = None,
    **levels: float,
) -> CompareOptions:
    """Options from the words of a command line, on top of those that ``settings`` replays.

    Args:
        settings: ``settings.toml`` of an earlier comparison.
        reference: the protocol to compare with; needed where nothing is replayed.
        margin_ppb: words ``REGION=PPB`` or ``PPB``.
        beside: a published study.
        levels: ``margin_percent, confidence, power``, those that were given.

    Raises:
        InputError: no reference, a word that is no margin, or settings that cannot be used.
    """
    given: dict[str, Any] = dict(levels)
    if margin_ppb:
        given["margin_ppb"] = named_numbers(margin_ppb, "--margin-ppb", default=EVERY_REGION)
    if beside is not None:
        given["beside"] = published(beside).name
    if reference is not None:
        given["reference"] = reference
    if settings is not None:
        return replace(read_options(settings), **given)
    if reference is None:
        raise InputError("compare: expected --reference PROTOCOL or --settings TOML, found neither")
    return CompareOptions(**given)


def read_options(settings: Path) -> CompareOptions:
    """The options of an earlier comparison, from the ``settings.toml`` beside its tables.

    Raises:
        InputError: a file that is not there, is not TOML, or does not come from a comparison.
    """
    record = read_settings(settings)
    found = record.get("command")
    if found != "compare":
        raise InputError(f"{settings}: expected the settings of compare, found {found!r}")
    return _from_record(record.get("options", {}), settings)


def _from_record(record: Any, settings: Path) -> CompareOptions:
    known = CompareOptions.__dataclass_fields__
    unknown = [name for name in record if name not in known]
    if unknown:
        raise InputError(
            f"{settings}: options: expected among {', '.join(known)}, found {unknown[0]}"
        )
    for name, value in record.items():
        kind: type | tuple[type, ...] = str if name in ("reference", "beside") else (int, float)
        if name == "margin_ppb":
            kind = dict
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{settings}: options: cannot use {name} = {value!r}")
    if "reference" not in record:
        raise InputError(f"{settings}: options: expected a reference, found none")
    return CompareOptions(**record)


def margin_of_each_region(margin_ppb: Mapping[str, float], regions: pd.Series) -> dict[str, float]:
    """The margins with every region by its name, where one was given for ``EVERY_REGION``."""
    given = dict(margin_ppb)
    if EVERY_REGION not in given:
        return given
    shared = given.pop(EVERY_REGION)
    return {str(region): shared for region in regions.dropna().unique()} | given


def _measured(people: pd.DataFrame, values: pd.DataFrame) -> pd.DataFrame:
    """The participants who have values; the others took no part in the comparison."""
    label = next((name for name in SUBJECT_NAMES if name in people), None)
    if label is None:
        return people
    measured = set(values["subject"].astype(str).map(plain_label))
    there = people[label].isna() | people[label].astype(str).map(plain_label).isin(measured)
    return people[there] if there.any() else people


def _write(comparison: Comparison, out: Path, *, values: Path, participants: Path | None) -> None:
    frames = {"agreement": comparison.agreement, **comparison.tables}
    if comparison.ages is not None:
        frames["age"] = comparison.ages
    if comparison.checks is not None:
        frames["published-checks"] = comparison.checks
    inputs = {"values": values} | ({} if participants is None else {"participants": participants})
    settings = {
        "command": "compare",
        "options": _record(comparison.options),
        "inputs": {
            name: {"path": str(path), "sha256": _sha256(path)} for name, path in inputs.items()
        },
        "software": software(),
    }
    for name, frame in frames.items():
        write_described_table(out / f"{name}.tsv", frame, column_dictionary(map(str, frame)))
    write_settings(out / SETTINGS, settings)


def _record(options: CompareOptions) -> dict[str, Any]:
    record: dict[str, Any] = {
        "reference": options.reference,
        "margin_percent": options.margin_percent,
        "confidence": options.confidence,
        "power": options.power,
    }
    if options.beside:
        record["beside"] = options.beside
    if options.margin_ppb:
        record["margin_ppb"] = dict(options.margin_ppb)
    return record


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def named_numbers(words: Iterable[str], what: str, *, default: str = "") -> dict[str, float]:
    """Read ``NAME=NUMBER`` words of the command line; a bare number goes by ``default``.

    Raises:
        InputError: a word of another form, or a name that comes twice.
    """
    numbers: dict[str, float] = {}
    for word in words:
        name, equals, text = word.rpartition("=")
        if not equals:
            name = default
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if not name or not number > 0 or number == float("inf"):
            form = "NAME=NUMBER" + (" or NUMBER" if default else "")
            raise InputError(f"{what}: expected {form} with a number above 0, found '{word}'")
        if name in numbers:
            raise InputError(f"{what}: expected '{name}' once, found it twice")
        numbers[name] = number
    return numbers


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file before a message that does not name it."""
    try:
        yield
    except InputError as error:
        message = str(error)
        prefix = "" if message.startswith(str(path)) else f"{path}: "
        raise InputError(f"{prefix}{message}") from error
