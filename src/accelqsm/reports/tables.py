"""Report tables from result tables: selected columns, rounded, with confidence intervals."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from accelqsm.reports.cells import MINUS, MISSING, Table, show

FORMATS = {"PSNR": ".2f", "NRMSE": ".1f"}
Row = dict[str, object]


def nuclei_table(frame: pd.DataFrame, *, title: str = "Susceptibility of the nuclei") -> Table:
    """Report table of measured nuclei.

    ``frame``: columns ``region, side, mean_ppb, sd_ppb, median_ppb, iqr_ppb, n_voxels,
    volume_mm3, note``; any further column, such as ``protocol``, is shown first.
    """
    known = {
        "region": ("Nucleus", ""),
        "side": ("Side", ""),
        "mean_ppb": ("Mean (ppb)", ".1f"),
        "sd_ppb": ("SD (ppb)", ".1f"),
        "median_ppb": ("Median (ppb)", ".1f"),
        "iqr_ppb": ("IQR (ppb)", ".1f"),
        "n_voxels": ("Voxels", ".0f"),
        "volume_mm3": ("Volume (mm³)", ".0f"),
        "note": ("Note", ""),
    }
    shown = frame.copy()
    if "note" in shown and not shown["note"].astype(bool).any():
        shown = shown.drop(columns="note")
    others = [str(column) for column in shown if column not in known]
    order = [*others, *(column for column in known if column in shown)]
    return Table(
        title=title,
        frame=shown[order],
        caption=(
            "Mean, SD, median and interquartile range over the voxels of each nucleus inside the "
            "mask; side both: voxels of both sides pooled. n/a: too few voxels."
        ),
        headings={column: heading for column, (heading, _) in known.items()}
        | {column: column.replace("_", " ").capitalize() for column in others},
        formats={column: spec for column, (_, spec) in known.items() if spec},
    )


def agreement_tables(
    frame: pd.DataFrame, *, reference: str, unit: str = "ppb", confidence: float = 0.95
) -> tuple[Table, ...]:
    """Report tables of differences from the reference, coefficients, lines, and equivalence.

    ``frame``: one row per region and protocol with the columns of a paired comparison (``n,
    mean_reference, mean, percent_difference, bias, loa_lower, loa_upper, within_subject_sd,
    repeatability, proportional_slope, pearson_r, pearson_r_without, influential_subject, icc,
    ccc, deming_slope, deming_intercept, passing_bablok_slope, passing_bablok_intercept,
    paired_t_p, paired_t_p_fdr, tost_margin, tost_p``, and the ``_ci_lower`` and ``_ci_upper`` of
    an estimate). Intervals are in brackets after the estimate; ``confidence`` is their level.
    """
    brackets = f"Brackets hold {100 * confidence:g}\N{NO-BREAK SPACE}% confidence intervals." + (
        " Rows 'all' pool nuclei, whose points are not independent." if _pools(frame) else ""
    )
    differences = Table(
        title=f"Differences from {reference}",
        frame=pd.DataFrame([_difference_cells(row, reference, unit) for row in _rows(frame)]),
        caption=(
            f"Protocol {MINUS} {reference}. Diff. (%): difference of the group means. Limits of "
            f"agreement: bias ± 1.96 SD. {brackets} p (t): paired t test; p (adj.): the same, "
            f"adjusted for the false discovery rate over nuclei and protocols.{_notes(frame)}"
        ),
    )
    coefficients = Table(
        title=f"Agreement with {reference}",
        frame=pd.DataFrame([_coefficient_cells(row) for row in _rows(frame)]),
        caption=(
            f"{brackets} Proportional bias: slope of the difference on the mean. r without: the "
            "correlation without the most influential subject"
            + (", in rows 'all' without one nucleus of that subject" if _pools(frame) else "")
            + ". A high correlation alone is not agreement."
        ),
    )
    lines = Table(
        title=f"Lines against {reference}",
        frame=pd.DataFrame([_line_cells(row, unit) for row in _rows(frame)]),
        caption=(
            f"Protocol = intercept + slope × {reference}, with error in both. {brackets} A slope "
            "whose interval leaves out 1 is a proportional difference, an intercept whose interval "
            "leaves out 0 a constant one."
        ),
    )
    equivalence = Table(
        title=f"Repeatability, and equivalence to {reference}",
        frame=pd.DataFrame([_equivalence_cells(row, unit) for row in _rows(frame)]),
        caption=(
            f"{brackets} Repeatability: two measurements of a subject differ by less than this in "
            "95 % of cases. Equivalence: two one-sided tests; the mean difference is within the "
            "margin if its interval is, which is the same as a p below 0.05 at the usual level. p "
            "(adj.): adjusted for the false discovery rate over nuclei and protocols."
        ),
    )
    return differences, coefficients, lines, equivalence


def similarity_table(
    frame: pd.DataFrame, *, title: str = "Similarity of the susceptibility maps"
) -> Table:
    """Report table of similarity measures, one row per measure and one column per protocol.

    ``frame``: one row per protocol and measure with ``protocol, figure, profile, value, unit,
    dynamic_range_ppm, region, n_voxels`` and optionally ``subject``.
    """
    rows: dict[tuple[object, ...], Row] = {}
    for row in _rows(frame):
        first: Row = {"Subject": row["subject"]} if "subject" in row else {}
        first |= {
            "Measure": " ".join(filter(None, (_text(row["figure"]), _text(row["profile"])))),
            "Unit": _text(row["unit"]),
            "Region": row["region"],
            "Voxels": show(row["n_voxels"]),
            "Dynamic range (ppm)": show(row["dynamic_range_ppm"], ".3f"),
        }
        cells = rows.setdefault(tuple(first.values()), first)
        cells[str(row["protocol"])] = show(row["value"], FORMATS.get(str(row["figure"]), ".3f"))
    return Table(
        title=title,
        frame=pd.DataFrame(list(rows.values())),
        caption=(
            "PSNR and SSIM depend on the dynamic range and the region over which they are taken, "
            "here four profiles (A to D): figures can be compared within a profile only. Zhou et "
            "al. 2025 print theirs without either, and they cannot be reconstructed."
        ),
    )


def age_table(frame: pd.DataFrame, *, reference: str) -> Table:
    """Report table of correlations with age, and their difference from that of the reference.

    ``frame``: one row per region and protocol with ``n, r, slope_ppb_per_year`` and their
    intervals, ``r_p, r_p_fdr, r_without, r_at_equal_sex, r_difference, williams_p,
    williams_p_fdr``.
    """
    return Table(
        title="Correlation with age, protocol against protocol",
        frame=pd.DataFrame([_age_cells(row) for row in _rows(frame)]),
        caption=(
            "Brackets hold confidence intervals. r without: without the most influential subject. "
            "Difference: correlation of the protocol "
            f"{MINUS} that of {reference}, tested by Williams' t for correlations that share a "
            "variable; p (adj.): adjusted for the false discovery rate over nuclei and protocols."
        ),
    )


def checks_table(frame: pd.DataFrame, notes: Sequence[str] = ()) -> Table:
    """Report table of published p-values and those computed from the published correlations.

    ``frame``: one row per region and protocol with ``r, printed_p, p_from_r, p_from_r_lower,
    p_from_r_upper, consistent``; ``notes``: sentences on those that do not follow.
    """
    cells = [
        {
            "Nucleus": row["region"],
            "Protocol": row["protocol"],
            "r": show(row["r"], ".3f"),
            "p as printed": row["printed_p"],
            "p from r": show(row["p_from_r"], ".2g"),
            "Consistent": "yes" if row["consistent"] else "no: misprint",
        }
        for row in _rows(frame)
    ]
    return Table(
        title="Published p-values, checked",
        frame=pd.DataFrame(cells),
        caption=" ".join(
            ["Whether a printed p-value can follow from its correlation as printed.", *notes]
        ),
    )


def repeats_table(frame: pd.DataFrame, *, reference: str, unit: str = "ppb") -> Table:
    """Report table of repeated scans: what scanning again explains of a difference.

    ``frame``: one row per region and protocol with ``n, scans_reference, scans,
    rescan_sd_reference, rescan_sd, repeatability_reference, repeatability_protocol,
    reproducibility, protocol_sd`` and their intervals, and ``share_rescan``.
    """
    cells = [
        {
            "Nucleus": row["region"],
            "Protocol": row["protocol"],
            "n": show(row["n"]),
            f"Scans of {reference}": show(row["scans_reference"], ".2f"),
            "Scans": show(row["scans"], ".2f"),
            f"Re-scan SD, {reference} ({unit})": _with_interval(row, "rescan_sd_reference", ".1f"),
            f"Re-scan SD ({unit})": _with_interval(row, "rescan_sd", ".1f"),
            f"Repeatability, {reference} ({unit})": _with_interval(
                row, "repeatability_reference", ".1f"
            ),
            f"Repeatability ({unit})": _with_interval(row, "repeatability_protocol", ".1f"),
            f"Reproducibility ({unit})": _with_interval(row, "reproducibility", ".1f"),
            f"Protocol SD ({unit})": _with_interval(row, "protocol_sd", ".1f"),
            "Share of re-scan (%)": show(100 * float(str(row["share_rescan"])), ".0f"),
        }
        for row in _rows(frame)
    ]
    return Table(
        title="Repeated scans",
        frame=pd.DataFrame(cells),
        caption=(
            "Brackets hold confidence intervals. Repeatability: two scans of a person under one "
            "protocol differ by less than this in 95 % of cases; reproducibility: the same for one "
            f"scan under each. Share of re-scan: part of the variance of a difference from "
            f"{reference} that scanning again explains.{_notes(frame)}"
        ),
    )


def _age_cells(row: Row) -> dict[str, object]:
    return {
        "Nucleus": row["region"],
        "Protocol": row["protocol"],
        "n": show(row["n"]),
        "r": _with_interval(row, "r", ".3f"),
        "p": show(row["r_p"], "p"),
        "p (adj.)": show(row["r_p_fdr"], "p"),
        "r without": show(row["r_without"], ".3f"),
        "r at equal sex": show(row["r_at_equal_sex"], ".3f"),
        "Slope (ppb/year)": _with_interval(row, "slope_ppb_per_year", ".2f"),
        "Difference": show(row["r_difference"], ".3f"),
        "p (Williams)": show(row["williams_p"], "p"),
        "p (Williams, adj.)": show(row["williams_p_fdr"], "p"),
    }


def _difference_cells(row: Row, reference: str, unit: str) -> dict[str, object]:
    return {
        "Nucleus": row["region"],
        "Protocol": row["protocol"],
        "n": show(row["n"]),
        f"{reference} ({unit})": show(row["mean_reference"], ".1f"),
        f"Mean ({unit})": show(row["mean"], ".1f"),
        "Diff. (%)": show(row["percent_difference"], ".1f"),
        f"Bias ({unit})": _with_interval(row, "bias", ".1f"),
        f"Lower limit ({unit})": _with_interval(row, "loa_lower", ".1f"),
        f"Upper limit ({unit})": _with_interval(row, "loa_upper", ".1f"),
        "p (t)": show(row["paired_t_p"], "p"),
        "p (adj.)": show(row["paired_t_p_fdr"], "p"),
    }


def _coefficient_cells(row: Row) -> dict[str, object]:
    return {
        "Nucleus": row["region"],
        "Protocol": row["protocol"],
        "Pearson r": _with_interval(row, "pearson_r", ".3f"),
        "r without": show(row["pearson_r_without"], ".3f"),
        "Person": row["influential_subject"] or MISSING,
        "ICC(A,1)": _with_interval(row, "icc", ".3f"),
        "CCC": _with_interval(row, "ccc", ".3f"),
        "Proportional bias": _with_interval(row, "proportional_slope", ".2f"),
    }


def _equivalence_cells(row: Row, unit: str) -> dict[str, object]:
    return {
        "Nucleus": row["region"],
        "Protocol": row["protocol"],
        f"Within-subject SD ({unit})": _with_interval(row, "within_subject_sd", ".1f"),
        f"Repeatability ({unit})": show(row["repeatability"], ".1f"),
        f"Margin ({unit})": show(row["tost_margin"], ".1f"),
        f"Difference, TOST interval ({unit})": _range(
            row.get("tost_ci_lower"), row.get("tost_ci_upper"), ".2f"
        ).replace(", ", " to "),
        "p (equivalence)": show(row["tost_p"], "p"),
        "p (adj.)": show(row.get("tost_p_fdr"), "p"),
    }


def _line_cells(row: Row, unit: str) -> dict[str, object]:
    return {
        "Nucleus": row["region"],
        "Protocol": row["protocol"],
        "Deming slope": _with_interval(row, "deming_slope", ".2f"),
        f"Deming intercept ({unit})": _with_interval(row, "deming_intercept", ".1f"),
        "Passing-Bablok slope": _with_interval(row, "passing_bablok_slope", ".2f"),
        f"Passing-Bablok intercept ({unit})": _with_interval(
            row, "passing_bablok_intercept", ".1f"
        ),
    }


def _pools(frame: pd.DataFrame) -> bool:
    return bool((frame["region"] == "all").any())


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _rows(frame: pd.DataFrame) -> list[Row]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _with_interval(row: Row, name: str, spec: str) -> str:
    value = show(row[name], spec)
    interval = _range(row.get(f"{name}_ci_lower"), row.get(f"{name}_ci_upper"), spec)
    return value if MISSING in (value, interval) else f"{value} [{interval}]"


def _range(lower: object, upper: object, spec: str) -> str:
    ends = show(lower, spec), show(upper, spec)
    return MISSING if MISSING in ends else f"{ends[0]}, {ends[1]}"


def _notes(frame: pd.DataFrame) -> str:
    if "note" not in frame:
        return ""
    joined = "; ".join(
        f"{row['region']} {row['protocol']}: {row['note']}"
        for row in _rows(frame)
        if isinstance(row["note"], str) and row["note"]
    )
    return f" Notes: {joined}." if joined else ""
