"""The four tables of an agreement study, in the layout and rounding of Zhou et al. 2025.

Each function takes a table of ``compare_protocols`` or ``age_associations`` and returns formatted
text; with a published study, every column is followed by that of the study.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from accelqsm.agreement.people import SEX, check_participants
from accelqsm.agreement.published import Published
from accelqsm.agreement.values import POOLED

MISSING = "n/a"
YES, NO = frozenset({"yes", "true", "y"}), frozenset({"no", "false", "n"})
FEMALE = frozenset({"f", "female", "w"})
LABELS = {
    "education_years": "Education (years)",
    "bmi": "Body mass index (kg/m2)",
    "hypertension": "Hypertension",
    "diabetes": "Diabetes",
    "hyperlipidaemia": "Hyperlipidaemia",
    "hyperlipidemia": "Hyperlipidaemia",
    "smoking": "Smoking",
}

Columns = dict[str, list[str]]


def demographics_table(
    participants: pd.DataFrame, *, published: Published | None = None
) -> pd.DataFrame:
    """Table 1: characteristics of the participants.

    Args:
        participants: columns ``participant_id, age``, and optionally ``sex`` and others; yes/no
            columns are counted, numeric columns have mean and SD, others are left out.
        published: a published study, for a column of its values.

    Returns:
        Columns ``Characteristic, Value`` and the published value.

    Raises:
        InputError: participants that cannot be used.
    """
    people = check_participants(participants)
    n = len(people)
    age = people["age_years"].dropna().to_numpy(np.float64)
    rows = {"Participants": str(n), "Age (years)": MISSING}
    if age.size:
        rows["Age (years)"] = f"{_mean_sd(age)} ({age.min():.0f}-{age.max():.0f})"
    sex = people[SEX].str.casefold()
    if (sex != "").any():
        rows["Female"] = _count(int(sex.isin(FEMALE).sum()), n)
    for name in people.columns.drop(["age_years", SEX]):
        text = _summarise(people[name], n)
        if text:
            rows[LABELS.get(str(name), str(name))] = text
    ours = {"Value": list(rows.values())}
    if published is None:
        return _table("Characteristic", list(rows), ours)
    known = _published_people(published)
    theirs = {"Value": [known.get(name, MISSING) for name in rows]}
    return _table("Characteristic", list(rows), ours, theirs, published)


def correlation_table(
    agreement: pd.DataFrame, *, published: Published | None = None
) -> pd.DataFrame:
    """Table 2: Pearson correlation of each protocol with the reference.

    Args:
        agreement: the table of ``compare_protocols``.
        published: a published study, for columns of its own.
    """
    rows, regions, protocols = _nuclei(agreement)
    ours = {p: [_text(_number(rows, r, p, "pearson_r"), ".3f") for r in regions] for p in protocols}
    if published is None:
        return _table("Region", regions, ours)
    theirs = {
        p: [_text(_lookup(published, published.pearson_r, r, p), ".3f") for r in regions]
        for p in protocols
    }
    return _table("Region", regions, ours, theirs, published)


def mean_table(
    agreement: pd.DataFrame, *, reference: str, published: Published | None = None
) -> pd.DataFrame:
    """Table 3: mean and SD in ppb, and the difference of the means from the reference in percent.

    If some subjects have missing values, the reference's column is that of the first comparison;
    ``agreement`` has those of each.

    Args:
        agreement: the table of ``compare_protocols``.
        reference: name of the reference protocol.
        published: a published study, for columns of its own.
    """
    rows, regions, protocols = _nuclei(agreement)
    ours: Columns = {
        reference: [
            _plus_minus(
                _number(rows, r, protocols[0], "mean_reference"),
                _number(rows, r, protocols[0], "sd_reference"),
            )
            for r in regions
        ]
    }
    theirs: Columns = {reference: _printed_means(published, regions, reference)}
    for p in protocols:
        ours[p] = [
            _plus_minus(_number(rows, r, p, "mean"), _number(rows, r, p, "sd")) for r in regions
        ]
        theirs[p] = _printed_means(published, regions, p)
        heading = f"{p} difference (%)"
        ours[heading] = [_text(_number(rows, r, p, "percent_difference"), ".2f") for r in regions]
        theirs[heading] = [
            _text(_lookup(published, published.percent_difference, r, p), ".2f")
            if published
            else MISSING
            for r in regions
        ]
    return _table("Region", regions, ours, theirs, published)


def age_table(ages: pd.DataFrame, *, published: Published | None = None) -> pd.DataFrame:
    """Table 4: correlation of each nucleus with age, and its p-value, under every protocol.

    Args:
        ages: the table of ``age_associations``.
        published: a published study, for columns of its own.
    """
    rows, regions, protocols = _nuclei(ages)
    ours = {
        p: [_r_and_p(_number(rows, r, p, "r"), _p(_number(rows, r, p, "r_p"))) for r in regions]
        for p in protocols
    }
    if published is None:
        return _table("Region", regions, ours)
    theirs: Columns = {}
    for p in protocols:
        printed = []
        for r in regions:
            p_value = _lookup(published, published.age_p, r, p)
            printed.append(_r_and_p(_lookup(published, published.age_r, r, p), str(p_value)))
        theirs[p] = printed
    return _table("Region", regions, ours, theirs, published)


def _table(
    first: str,
    names: list[str],
    ours: Columns,
    theirs: Columns | None = None,
    published: Published | None = None,
) -> pd.DataFrame:
    columns: Columns = {first: names}
    for heading, cells in ours.items():
        columns[heading] = cells
        if theirs is not None and published is not None:
            columns[f"{heading} ({published.short})"] = theirs[heading]
    return pd.DataFrame(columns)


def _nuclei(
    frame: pd.DataFrame,
) -> tuple[Mapping[tuple[str, str], pd.Series], list[str], list[str]]:
    """Rows by region and protocol, without pooled rows, and the ordered names of both."""
    single = frame[frame["region"] != POOLED]
    rows = {(str(row["region"]), str(row["protocol"])): row for _, row in single.iterrows()}
    regions, protocols = (
        list(dict.fromkeys(single[key].astype(str))) for key in ("region", "protocol")
    )
    return rows, regions, protocols


def _number(
    rows: Mapping[tuple[str, str], pd.Series], region: str, protocol: str, name: str
) -> float:
    row = rows.get((region, protocol))
    return float("nan") if row is None else float(row[name])


def _lookup(published: Published, table: pd.DataFrame, region: str, protocol: str) -> object:
    """Printed number of a study for a region and protocol named as in the cohort."""
    known_region, known_protocol = published.region(region), published.protocol(protocol)
    if known_region is None or known_protocol is None or known_protocol not in table.columns:
        return MISSING
    return table[known_protocol].to_dict()[known_region]


def _printed_means(published: Published | None, regions: list[str], protocol: str) -> list[str]:
    if published is None:
        return [MISSING] * len(regions)
    return [
        _plus_minus(
            _lookup(published, published.mean_ppb, region, protocol),
            _lookup(published, published.sd_ppb, region, protocol),
        )
        for region in regions
    ]


def _text(value: object, spec: str) -> str:
    if isinstance(value, str) or value is None or not np.isfinite(float(value)):  # type: ignore[arg-type]
        return MISSING
    text = format(float(value), spec)  # type: ignore[arg-type]
    return text.lstrip("-") if float(text) == 0 else text


def _plus_minus(mean: object, sd: object) -> str:
    parts = [_text(mean, ".1f"), _text(sd, ".1f")]
    return "±".join(parts if parts[1] != MISSING else parts[:1])


def _p(value: float) -> str:
    return "<0.001" if value < 0.001 else _text(value, ".3f")


def _r_and_p(r: object, p: str) -> str:
    text = _text(r, ".3f")
    return MISSING if text == MISSING else f"{text} ({p})"


def _mean_sd(values: np.ndarray) -> str:
    sd = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return f"{values.mean():.1f}±{_text(sd, '.1f')}"


def _count(count: int, n: int) -> str:
    return f"{count} ({100 * count / n:.1f}%)"


def _summarise(column: pd.Series, n: int) -> str:
    known = column.dropna()
    if known.empty:
        return ""
    if pd.api.types.is_bool_dtype(known):
        return _count(int(known.sum()), n)
    if pd.api.types.is_numeric_dtype(known):
        return _mean_sd(known.to_numpy(np.float64))
    words = known.astype(str).str.strip().str.casefold()
    if not words.isin(YES | NO).all():
        return ""
    return _count(int(words.isin(YES).sum()), n)


def _published_people(study: Published) -> dict[str, str]:
    known, n = study.participants, study.n
    text = {
        "Participants": str(n),
        "Age (years)": (
            f"{known['age_mean']:.1f}±{known['age_sd']:.1f} "
            f"({known['age_min']:.0f}-{known['age_max']:.0f})"
        ),
        "Female": _count(int(known["female"]), n),
    }
    for name, label in LABELS.items():
        if f"{name}_mean" in known:
            text[label] = f"{known[f'{name}_mean']:.1f}±{known[f'{name}_sd']:.1f}"
        elif name in known:
            text[label] = _count(int(known[name]), n)
    return text
