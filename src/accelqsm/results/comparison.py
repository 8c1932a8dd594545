"""Result folder of a comparison: tables of agreement, compared values and settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.people import (
    AGE_NAMES,
    SEX,
    SUBJECT_NAMES,
    check_participants,
    plain_label,
)
from accelqsm.agreement.published import published
from accelqsm.agreement.settings import CompareSettings
from accelqsm.agreement.values import HIGH, LOW, SCANS
from accelqsm.agreement.verdict.verdicts import ProtocolVerdict, verdicts
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table, write_described_table, write_table
from accelqsm.files.toml import read_settings, write_settings
from accelqsm.options.table import from_table, plain
from accelqsm.results.integrity.check import check_folder
from accelqsm.results.provenance import software
from accelqsm.results.records import SETTINGS
from accelqsm.results.saved import SavedResult

VALUES = "compared-values.tsv"
PEOPLE = "compared-participants.tsv"
SINGLE = "compared-scans.tsv"
AGE, CHECKS, REPEATS = "age.tsv", "published-checks.tsv", "repeats.tsv"
NOTE = "note"
LABELS = ("subject", "protocol", "region")
VALUE_COLUMNS = (*LABELS, "value_ppb")
PEOPLE_LABELS = (*SUBJECT_NAMES, SEX)
AGREEMENT = "agreement.tsv"
TEXT = (
    "region", "protocol", "influential_subject", "influential_subject_at_equal_sex", "verdict",
    "note",
)  # fmt: skip
REPEAT_COLUMNS = (
    "region", "protocol", "n", "scans_reference", "scans", "rescan_bias", "rescan_sd_reference",
    "rescan_sd", "repeatability_reference", "repeatability_protocol", "reproducibility",
    "subject_sd", "protocol_sd", "share_rescan", "note",
)  # fmt: skip
LARGEST_FIGURE = 1e30
"""Beyond any statistic of values that were compared."""
PRINTED = ("table-1", "table-2", "table-3", "table-4")
AGREEMENT_COLUMNS = (
    "region", "protocol", "n", "mean_reference", "mean", "sd_reference", "sd",
    "percent_difference", "within_subject_sd", "repeatability",
    *(f"{name}{end}" for name in ("bias", "loa_lower", "loa_upper")
      for end in ("", "_ci_lower", "_ci_upper")),
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
class Comparison(SavedResult):
    """Agreement of protocols with a reference protocol.

    Attributes:
        settings: settings of the comparison.
        agreement: one row per region and protocol, then pooled rows.
        ages: correlations with age; None without participants.
        tables: name of each printed table -> table.
        checks: consistency of published p-values; None without a published study.
        values: the compared values (``subject, protocol, region, value_ppb``), means where scans
            were repeated; None if the folder does not contain them.
        participants: label, age and sex; None without them.
        scans: values of single scans, told apart by run or session; None without repeats.
        repeats: variance components and coefficients of repeated scans, one row per region and
            protocol; None without repeats.
        inputs: name -> path and SHA-256 of the compared files.
        software: versions of the software that computed it.
    """

    settings: CompareSettings
    agreement: pd.DataFrame
    ages: pd.DataFrame | None
    tables: Mapping[str, pd.DataFrame]
    checks: pd.DataFrame | None
    values: pd.DataFrame | None
    participants: pd.DataFrame | None
    scans: pd.DataFrame | None = None
    repeats: pd.DataFrame | None = None
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    software: Mapping[str, str] = field(default_factory=software)

    @property
    def reference(self) -> str:
        """The protocol that the others were compared with."""
        return self.settings.reference

    @property
    def verdicts(self) -> list[ProtocolVerdict]:
        """Verdict on each protocol in each nucleus, and the scan time that it saves."""
        protocols = [str(name) for name in self.agreement["protocol"].unique()]
        times, source = known_scan_times_s(self.settings, protocols)
        return verdicts(
            self.agreement, reference=self.reference, scan_time_s=times, time_source=source
        )

    @property
    def ages_years(self) -> dict[str, float]:
        """Subject label of the values -> age in years."""
        if self.participants is None or self.values is None:
            return {}
        people = check_participants(self.participants)["age_years"].dropna()
        known = {str(label): float(age) for label, age in people.items()}
        subjects = self.values["subject"].unique()
        return {s: known[plain_label(s)] for s in subjects if plain_label(s) in known}

    @property
    def owner(self) -> str:
        """Command whose results these are."""
        return "compare"

    def write(self, out: Path) -> None:
        """Write the tables, each with a JSON file that describes its columns; the settings last.

        ``agreement.tsv``, ``table-2.tsv``, ``table-3.tsv``; with participants ``age.tsv``,
        ``table-1.tsv``, ``table-4.tsv``; with a published study ``published-checks.tsv``; with
        repeated scans ``repeats.tsv``; copies of the compared values, of single scans where they
        were repeated, and of label, age and sex of the participants.
        """
        frames = {AGREEMENT: self.agreement}
        frames |= {f"{name}.tsv": table for name, table in self.tables.items()}
        frames |= {AGE: self.ages} if self.ages is not None else {}
        frames |= {CHECKS: self.checks} if self.checks is not None else {}
        frames |= {REPEATS: self.repeats} if self.repeats is not None else {}
        for name, frame in frames.items():
            write_described_table(out / name, frame, column_dictionary(map(str, frame)))
        if self.values is not None:
            write_table(out / VALUES, _kept(self.values, VALUE_COLUMNS, NOTE, LOW, HIGH))
        if self.scans is not None:
            write_table(out / SINGLE, _kept(self.scans, VALUE_COLUMNS, *SCANS, NOTE, LOW, HIGH))
        if self.participants is not None:
            write_table(out / PEOPLE, _kept(self.participants, PEOPLE_LABELS, *AGE_NAMES))
        write_settings(out / SETTINGS, self._record())

    def _record(self) -> dict[str, Any]:
        return {
            "command": "compare",
            "compare": {name: value for name, value in plain(self.settings).items() if value != ""},
            "inputs": {name: dict(known) for name, known in self.inputs.items()},
            "software": dict(self.software),
        }


def _kept(table: pd.DataFrame, columns: Sequence[str], *others: str) -> pd.DataFrame:
    return table[[name for name in (*columns, *others) if name in table]]


def known_scan_times_s(
    settings: CompareSettings, protocols: Sequence[str]
) -> tuple[Mapping[str, float], str]:
    """Scan time of the reference and of each protocol, and the study that published them.

    Those given, and no study; or those of the published study, by its names of the protocols.
    """
    if settings.scan_time_s or not settings.published:
        return settings.scan_time_s, ""
    study = published(settings.published)
    names = {name: study.protocol(name) for name in (settings.reference, *protocols)}
    return {name: study.scan_time_s[own] for name, own in names.items() if own}, study.short


def is_comparison(folder: Path) -> bool:
    """Whether a folder contains a complete comparison."""
    return (folder / SETTINGS).is_file() and (folder / AGREEMENT).is_file()


def read_comparison(folder: str | Path) -> Comparison:
    """Read a comparison as written by ``Comparison.save``.

    Raises:
        InputError: no comparison, an unfinished one, or files that cannot be used or are not as
            their run left them.
    """
    check_folder(Path(folder))
    return unchecked_comparison(Path(folder))


def unchecked_comparison(out: Path) -> Comparison:
    """Read a comparison whose run has not ended yet, or that was checked before.

    Raises:
        InputError: no comparison, or files that cannot be used.
    """
    if not is_comparison(out):
        raise InputError(f"{out}: expected {AGREEMENT} and {SETTINGS} of a comparison, found none")
    record = read_settings(out / SETTINGS)
    agreement = _read_figures(out / AGREEMENT, AGREEMENT_COLUMNS, TEXT)
    agreement = agreement.fillna(dict.fromkeys(("verdict", "note", "influential_subject"), ""))
    ages = checks = values = people = None
    if (out / AGE).is_file():
        ages = _read_figures(out / AGE, AGE_COLUMNS, TEXT)
    if (out / CHECKS).is_file():
        checks = read_table(out / CHECKS, text=(*TEXT, "printed_p"))
    if (out / VALUES).is_file():
        values = _read_figures(out / VALUES, VALUE_COLUMNS, (*LABELS, NOTE))
        repeated = values[values.duplicated(list(LABELS))]
        if len(repeated):
            shown = " ".join(str(repeated.iloc[0][name]) for name in LABELS)
            raise InputError(f"{out / VALUES}: expected one row of each value, found two: {shown}")
    scans = repeats = None
    if (out / SINGLE).is_file():
        scans = _read_figures(out / SINGLE, VALUE_COLUMNS, (*LABELS, *SCANS, NOTE))
    if (out / REPEATS).is_file():
        repeats = _read_figures(out / REPEATS, REPEAT_COLUMNS, TEXT)
        repeats = repeats.fillna({NOTE: ""})
    if (out / PEOPLE).is_file():
        people = read_table(out / PEOPLE, text=PEOPLE_LABELS)
    printed = {name: out / f"{name}.tsv" for name in PRINTED}
    return Comparison(
        settings=compare_settings_of(record, out / SETTINGS),
        agreement=agreement,
        ages=ages,
        tables={name: _read_printed(path) for name, path in printed.items() if path.is_file()},
        checks=checks,
        values=values,
        participants=people,
        scans=scans,
        repeats=repeats,
        inputs=_recorded_inputs(record, out / SETTINGS),
        software=_table_in(record, "software", out / SETTINGS),
    )


def compare_table(record: Mapping[str, Any], path: Path | None) -> Mapping[str, Any]:
    """Settings table of the record of a comparison; empty without a file.

    Raises:
        InputError: a file that does not come from a comparison.
    """
    if not record:
        return {}
    found = record.get("command")
    if found != "compare":
        raise InputError(f"{path}: expected the settings of compare, found {found!r}")
    # [options] is the name of the table in older files.
    table: Mapping[str, Any] = record.get("compare", record.get("options", {}))
    return table


def compare_settings_of(record: Mapping[str, Any], path: Path) -> CompareSettings:
    """Settings of a comparison from the ``settings.toml`` in its folder.

    Raises:
        InputError: a file that does not come from a comparison, or settings that cannot be used.
    """
    try:
        settings = from_table(CompareSettings, compare_table(record, path))
    except InputError as error:
        message = str(error)
        named = message.startswith(str(path))
        raise InputError(message if named else f"{path}: [compare] {message}") from error
    if not settings.reference:
        raise InputError(f"{path}: [compare] expected a reference, found none")
    return settings


def compare_settings_beside(path: Path) -> CompareSettings | None:
    """Settings of a comparison from its folder, or from beside its table; None if not there.

    Raises:
        InputError: settings of a comparison that cannot be used.
    """
    folder = path if path.is_dir() else path.parent
    if not is_comparison(folder) or (path != folder and path.name != AGREEMENT):
        return None
    return compare_settings_of(read_settings(folder / SETTINGS), folder / SETTINGS)


def _recorded_inputs(record: Mapping[str, Any], path: Path) -> dict[str, dict[str, str]]:
    """Path and SHA-256 of every compared file.

    Raises:
        InputError: a record without them.
    """
    found: dict[str, dict[str, str]] = {}
    for name, known in _table_in(record, "inputs", path).items():
        texts = known if isinstance(known, dict) else {}
        if not all(isinstance(texts.get(key), str) for key in ("path", "sha256")):
            raise InputError(f"{path}: [inputs.{name}] expected the texts path and sha256")
        found[name] = {key: texts[key] for key in ("path", "sha256")}
    return found


def _table_in(record: Mapping[str, Any], name: str, path: Path) -> dict[str, Any]:
    table = record.get(name, {})
    if not isinstance(table, dict):
        raise InputError(f"{path}: expected a table [{name}], found {table!r}")
    return table


def _read_figures(path: Path, columns: Sequence[str], text: Sequence[str]) -> pd.DataFrame:
    """Read a table of numbers, but in the columns named in ``text``."""
    names = map(str, read_table(path, columns=columns, text=text).columns)
    numbers = [name for name in names if name not in text]
    table = read_table(path, columns=columns, text=text, numbers=numbers)
    for name in numbers:
        largest = table[name].astype(float).abs().max()
        if largest > LARGEST_FIGURE:
            raise InputError(f"{path}: {name}: expected a figure, found {largest:g}")
    return table


def _read_printed(path: Path) -> pd.DataFrame:
    """Read a printed table as text, with its digits unchanged."""
    return read_table(path, text=tuple(map(str, read_table(path).columns)))
