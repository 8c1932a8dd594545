"""Tables of a virtual study as Markdown, beside those of the published one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from accelqsm.agreement.published import published
from accelqsm.agreement.settings import CompareSettings
from accelqsm.agreement.values import POOLED
from accelqsm.agreement.verdict.verdicts import ProtocolVerdict
from accelqsm.agreement.verdict.words import numbers_text, protocol_sentence
from accelqsm.figures.summary.forest import MARKS
from accelqsm.pipeline.comparison import compare
from accelqsm.reports.cells import MISSING, Table, show, shown, typeset
from accelqsm.results.comparison import Comparison
from virtual_study_numbers import (
    NETWORK,
    PI,
    REGISTRATION,
    RESCAN,
    RETROSPECTIVE,
    WHOLE,
    pairs_table,
    parts_table,
    published_differences,
    truth_table,
)
from virtual_study_values import ATLAS_LABELS, TRUE_LABELS

PUBLISHED = "zhou2025"
ACCELERATIONS = ("AF3", "AF4", "AF5", "AF8")
AGAIN, FULL = "PI rescan", "full"
NULL = (AGAIN, *RETROSPECTIVE.values(), FULL)
NULL_NAME = "the null: another scan, and the same samples"
PAIRS = (
    (FULL, PI),
    *((own, against) for own in RETROSPECTIVE.values() for against in (PI, FULL)),
)
PART_NAMES = {
    WHOLE: "Whole",
    RESCAN: "Another scan",
    NETWORK: "Under-sampling and network",
    REGISTRATION: "Registration",
}
NUMBERED = {
    "table-1": "Table 1: people",
    "table-2": "Table 2: Pearson r against PI",
    "table-3": "Table 3: {}",
    "table-4": "Table 4: correlation with age, r (p)",
}
LABEL_NAMES = {TRUE_LABELS: "true labels", ATLAS_LABELS: "labels of the registered atlas"}


@dataclass(frozen=True)
class Numbers:
    """All statistics of a virtual study.

    Attributes:
        values: ``VALUE_COLUMNS``; every subject with all protocols.
        study: kind of labels -> agreement of the accelerated protocols with the reference.
        null: the same of what should not differ from it: ``NULL``.
        parts: of ``parts_table``.
        truth: of ``truth_table``.
    """

    values: pd.DataFrame
    study: Mapping[str, Comparison]
    null: Mapping[str, Comparison]
    parts: pd.DataFrame
    truth: pd.DataFrame


def numbers_of(values: pd.DataFrame) -> Numbers:
    """Compute them once for all tables and plots."""
    kinds = [kind for kind in LABEL_NAMES if kind in set(values["labels"])]
    return Numbers(
        values,
        {kind: comparison(values, ACCELERATIONS, kind) for kind in kinds},
        {kind: comparison(values, NULL, kind) for kind in kinds},
        parts_table(values),
        truth_table(values),
    )


def comparison(
    values: pd.DataFrame, protocols: Sequence[str], labels: str = TRUE_LABELS
) -> Comparison:
    """Agreement of protocols with the reference by one kind of labels, by the package's own code.

    Args:
        values: ``VALUE_COLUMNS``.
        protocols: besides the reference, in order.
        labels: kind of labels.
    """
    order = [PI, *protocols]
    own = values[(values["labels"] == labels) & values["protocol"].isin(order)]
    own = own.sort_values("protocol", key=lambda names: names.map(order.index), kind="stable")
    people = own.drop_duplicates("subject")[["subject", "age", "sex"]]
    return compare(
        own.drop(columns=["age", "sex", "labels", "truth_ppb"]).reset_index(drop=True),
        CompareSettings(reference=PI, published=PUBLISHED),
        participants=people.rename(columns={"subject": "participant_id"}),
    )


def all_tables(
    numbers: Numbers, similarity: pd.DataFrame, overlap: pd.DataFrame
) -> dict[str, list[Table]]:
    """Every table of the study by the name of its part of the page; empty where data are not there.

    Args:
        numbers: the statistics.
        similarity: of ``similarity_table``; may have no rows.
        overlap: of ``overlap_table``; has no rows without an atlas.
    """
    study, truth = numbers.study, numbers.truth
    return {
        "table-1": [_beside("table-1", study[TRUE_LABELS], "")],
        **{
            name: [_beside(name, found, LABEL_NAMES[kind]) for kind, found in study.items()]
            for name in ("table-2", "table-4")
        },
        "table-3": [
            _part_of(_beside("table-3", found, LABEL_NAMES[kind]), differences=differences)
            for kind, found in study.items()
            for differences in (False, True)
        ],
        "age": [_age(found, kind) for kind, found in study.items()],
        "similarity": _similarity(similarity),
        "rescan": [_rescan(numbers.null[kind], found, kind) for kind, found in study.items()],
        "overlap": _overlap(overlap),
        "same-samples": [_pairs(pairs_table(numbers.values, PAIRS))],
        "split": [_parts(numbers.parts, name) for name in ("mean_ppb", "sd_ppb", "share")],
        "truth": [_truth(truth[truth["labels"] == kind], kind) for kind in study],
        "verdicts": [
            *(_verdicts(found, LABEL_NAMES[kind]) for kind, found in study.items()),
            *(
                _verdicts(
                    found, f"the null: another scan, and the same samples; {LABEL_NAMES[kind]}"
                )
                for kind, found in numbers.null.items()
            ),
        ],
    }


def markdown(table: Table) -> str:
    """A table in Markdown, title above and caption below."""
    cells = shown(table)
    ends = ["---:" if numeric else "---" for numeric in cells.numeric]
    lines = [cells.headings, ends, *cells.rows]
    body = "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )
    return "\n\n".join(filter(None, (f"**{table.title}**", body, table.caption)))


def findings(numbers: Numbers) -> list[str]:
    """What came out, in sentences: people, verdicts, and what the differences are made of."""
    values = numbers.values
    n = values["subject"].nunique()
    lines = [f"{n} digital heads with all {values['protocol'].nunique()} arms."]
    for kind, compared in numbers.study.items():
        found = compared.verdicts
        lines += [f"By {LABEL_NAMES[kind]}: {protocol_sentence(one)}" for one in found]
        lines.append(f"By {LABEL_NAMES[kind]}: {highest(found)}")
        again = next(one for one in numbers.null[kind].verdicts if one.protocol == AGAIN)
        lines.append(f"By {LABEL_NAMES[kind]}: {protocol_sentence(again)}")
    return [typeset(line) for line in [*lines, *_shares(numbers.parts)]]


def highest(found: Sequence[ProtocolVerdict]) -> str:
    """Sentence on the highest acceleration up to which all nuclei are equivalent.

    Args:
        found: verdicts by ascending acceleration.
    """
    if any(one.without for one in found):
        return "no verdict in some nuclei."
    reached = ""
    for one in found:
        if len(one.equivalent) < len(one.nuclei):
            break
        reached = one.protocol
    if not reached:
        return f"not even {found[0].protocol} is equivalent to {PI} in all nuclei."
    return f"{reached} is the highest acceleration up to which all nuclei are equivalent to {PI}."


def _shares(parts: pd.DataFrame) -> list[str]:
    lines = []
    known = parts[parts["part"] != WHOLE].dropna(subset=["share"])
    for protocol, own in known.groupby("protocol", sort=False):
        mean = 100 * own.groupby("part", sort=False)["share"].median()
        said = ", ".join(
            f"{PART_NAMES[str(part)].lower()} {mean[part]:.0f} %" for part in mean.index
        )
        lines.append(
            f"Of the variance of {protocol} \N{MINUS SIGN} {PI} between heads, median over nuclei: "
            f"{said}."
        )
    return lines


def _beside(name: str, found: Comparison, of: str) -> Table:
    """One of the four printed tables, without columns of what the published study did not do."""
    frame = found.tables[name]
    kept = [c for c in frame if not (frame[c].isin([MISSING]).all() and "(" in str(c))]
    return Table("; ".join(filter(None, (NUMBERED[name], of))), frame[kept])


def _part_of(table: Table, *, differences: bool) -> Table:
    """Means or differences of table 3, which has too many columns for a page."""
    frame = table.frame
    kept = [c for c in frame if c == frame.columns[0] or ("difference" in str(c)) == differences]
    of = {False: "mean ± SD (ppb)", True: f"difference of the means from {PI} (%)"}[differences]
    names = {c: str(c).replace(" difference (%)", "") for c in kept}
    return replace(table, title=table.title.format(of), frame=frame[kept].rename(columns=names))


def _age(found: Comparison, kind: str) -> Table:
    """Whether the correlation with age differs from that of the reference, beside the published."""
    assert found.ages is not None
    printed = published_differences(published(PUBLISHED)).set_index(["region", "protocol"])
    rows = []
    for row in found.ages[found.ages["protocol"] != PI].to_dict("records"):
        key = (row["region"], row["protocol"])
        theirs = printed["williams_p"].get(key, float("nan"))
        rows.append(
            {
                "Nucleus": row["region"],
                "Protocol": row["protocol"],
                "r": interval(row, "r", ".3f"),
                f"r \N{MINUS SIGN} r of {PI}": show(row["r_difference"], ".3f"),
                "Williams t": show(row["williams_t"], ".2f"),
                "p": show(row["williams_p"], "p"),
                "p (adj.)": show(row["williams_p_fdr"], "p"),
                "p, Zhou 2025": show(theirs, "p"),
            }
        )
    return Table(
        f"Age: does the correlation differ from that under {PI}; {LABEL_NAMES[kind]}",
        pd.DataFrame(rows),
        "Williams' test of dependent correlations; adj.: Benjamini-Hochberg over nuclei and "
        "protocols. Zhou 2025: from its printed r, which were not tested there.",
    )


def _similarity(similarity: pd.DataFrame) -> list[Table]:
    if similarity.empty:
        return []
    study = published(PUBLISHED)
    rows = []
    for protocol, own in similarity.groupby("protocol", sort=False):
        row: dict[str, object] = {"Protocol": protocol}
        for profile, each in own.groupby("profile"):
            for name, digits in (("ssim", ".3f"), ("psnr_db", ".2f")):
                heading = f"{'SSIM' if name == 'ssim' else 'PSNR (dB)'}, {profile}"
                row[heading] = _range(each[name].mean(), each[name].min(), each[name].max(), digits)
        for name, digits in (("ssim", ".2f"), ("psnr_db", ".2f")):
            known = study.similarity.get(study.protocol(str(protocol)) or "")
            heading = f"{'SSIM' if name == 'ssim' else 'PSNR (dB)'}, Zhou 2025"
            row[heading] = (
                MISSING
                if known is None
                else _range(known[name], known[f"{name}_min"], known[f"{name}_max"], digits)
            )
        rows.append(row)
    return [
        Table(
            f"Similarity to {PI}: mean (least to largest) over heads",
            pd.DataFrame(rows),
            "A: dynamic range 1 ppm, field of view; B: largest less least of the reference, field "
            "of view; C: largest of the reference, field of view; D: as B, in the mask. Maps of "
            "other poses were resampled to that of the reference. Zhou et al. do not print range "
            "and region.",
        )
    ]


def _overlap(overlap: pd.DataFrame) -> list[Table]:
    if overlap.empty:
        return []
    dice = overlap.groupby("region", sort=False)["dice"].agg(["mean", "min", "max"])
    cells = [_range(row["mean"], row["min"], row["max"], ".2f") for _, row in dice.iterrows()]
    return [
        Table(
            f"Labels of the registered atlas in the {PI} scan",
            pd.DataFrame({"Nucleus": dice.index, "Dice with the true ones": cells}),
            "Both sides together; mean (least to largest) over heads.",
        )
    ]


def _rescan(null: Comparison, study: Comparison, kind: str) -> Table:
    """Scanned again against the first time, beside the spread of accelerated scans."""
    printed = published_differences(published(PUBLISHED))
    implied = printed.pivot(index="region", columns="protocol", values="sd_ppb")
    spread = _single(study).pivot(index="region", columns="protocol", values="sd_difference")
    own = _single(null)
    rows = []
    for row in own[own["protocol"] == AGAIN].to_dict("records"):
        region = str(row["region"])
        theirs = implied.loc[region] if region in implied.index else pd.Series(dtype=float)
        rows.append(
            {
                "Nucleus": region,
                "n": row["n"],
                "Mean difference (ppb)": interval(row, "bias", ".2f"),
                "%": show(row["percent_difference"], ".2f"),
                "SD (ppb)": show(row["sd_difference"], ".2f"),
                "r": interval(row, "pearson_r", ".4f"),
                "SD of AF3, AF4, AF5, AF8 against PI": _listed(
                    spread.loc[region, [*ACCELERATIONS]].to_numpy()
                ),
                "the same, Zhou 2025 (AF3, AF4, AF5)": _listed(theirs.to_numpy()),
            }
        )
    return Table(
        f"{PI} scanned again against {PI}; {LABEL_NAMES[kind]}",
        pd.DataFrame(rows),
        "Zhou 2025: SD of the differences that its printed SDs and r imply.",
    )


def _pairs(pairs: pd.DataFrame) -> Table:
    rows = [
        {
            "Nucleus": row["region"],
            "Difference": f"{row['protocol']} \N{MINUS SIGN} {row['against']}",
            "Mean (ppb)": interval(row, "mean_ppb", ".2f"),
            "SD (ppb)": interval(row, "sd_ppb", ".2f"),
            "r": show(row["r"], ".4f"),
        }
        for row in pairs.sort_values("region", key=_order(pairs), kind="stable").to_dict("records")
    ]
    return Table(
        f"One and the same scan: under-sampled samples of {PI} against {PI}, and against full "
        "sampling; true labels",
        pd.DataFrame(rows),
        f"AF3 of {PI}: the samples that {PI}'s scan would have had at AF 3, with its noise and "
        "pose. Full sampling is a scan of its own, with other noise.",
    )


def _parts(parts: pd.DataFrame, name: str) -> Table:
    title, digits, caption = {
        "mean_ppb": ("mean (ppb)", ".2f", "The parts add to the whole."),
        "sd_ppb": ("SD between heads (ppb)", ".2f", ""),
        "share": (
            "share of the variance between heads",
            ".2f",
            "Covariance of the part with the whole over the variance of the whole; the shares add "
            "to 1, and one is negative where a part makes up for others.",
        ),
    }[name]
    rows = []
    for (region, protocol), own in parts.groupby(["region", "protocol"], sort=False):
        row = {"Nucleus": region, "Protocol": protocol}
        for each in own.to_dict("records"):
            if not (name == "share" and each["part"] == WHOLE):
                row[PART_NAMES[each["part"]]] = interval(each, name, digits)
        rows.append(row)
    frame = pd.DataFrame(rows).sort_values("Nucleus", key=_order(parts), kind="stable")
    return Table(f"Parts of the difference from {PI}: {title}", frame, caption)


def _truth(truth: pd.DataFrame, kind: str) -> Table:
    rows = [
        {
            "Nucleus": row["region"],
            "Protocol": row["protocol"],
            "Slope": interval(row, "slope", ".3f"),
            "Mean error (ppb)": interval(row, "mean_ppb", ".2f"),
            "%": show(row["percent"], ".1f"),
            "SD (ppb)": interval(row, "sd_ppb", ".2f"),
            "r": show(row["r"], ".4f"),
            "In the interval of 95 %": f"{row['covered']} of {row['n']} "
            f"({100 * row['coverage_ci_lower']:.0f} to {100 * row['coverage_ci_upper']:.0f} %)",
        }
        for row in truth.sort_values("region", key=_order(truth), kind="stable").to_dict("records")
    ]
    return Table(
        f"Against the truth; {LABEL_NAMES[kind]}",
        pd.DataFrame(rows),
        "Value less the truth of the same scan and pose, by true labels. Last column: how many "
        "intervals of single values hold the truth, and the interval of that share.",
    )


def _verdicts(compared: Comparison, of: str) -> Table:
    """A row per nucleus, a column per protocol: the interval that decides, and its mark."""
    order = list(dict.fromkeys(compared.agreement["region"]))
    cells: dict[str, dict[str, str]] = {}
    for one in compared.verdicts:
        # Verdicts come by risk, tables in one order.
        for nucleus in sorted(one.nuclei, key=lambda nucleus: order.index(nucleus.region)):
            mark = MARKS["" if nucleus.decision is None else nucleus.decision.value].sign
            text = typeset(f"{numbers_text(nucleus)} {mark}".strip())
            cells.setdefault(nucleus.region, {})[one.protocol] = text
    frame = pd.DataFrame(cells).T.rename_axis("Nucleus").reset_index()
    return Table(
        f"Equivalent to {PI} within 5 % (TOST); {of}",
        frame,
        "Mean difference in % of the mean under PI with the interval of 90 % that decides. "
        + ", ".join(f"{mark.sign} {name}" for name, mark in MARKS.items() if name)
        + ".",
    )


def interval(row: Mapping[Any, object], name: str, spec: str) -> str:
    """An estimate with its interval: "1.20 (0.80 to 1.60)"."""
    value, low, high = (
        show(row[key], spec) for key in (name, f"{name}_ci_lower", f"{name}_ci_upper")
    )
    return value if MISSING in (low, high) else f"{value} ({low} to {high})"


def _single(found: Comparison) -> pd.DataFrame:
    return found.agreement[found.agreement["region"] != POOLED]


def _range(mean: float, least: float, largest: float, digits: str) -> str:
    return f"{show(mean, digits)} ({show(least, digits)} to {show(largest, digits)})"


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(show(number, ".1f") for number in numbers) or MISSING


def _order(frame: pd.DataFrame) -> Callable[[pd.Series], pd.Series]:
    known = list(dict.fromkeys(frame["region"]))
    return lambda names: names.map(known.index)
