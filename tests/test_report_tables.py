import math

import numpy as np
import pandas as pd
import pytest

from accelqsm.reports.cells import show, typeset
from accelqsm.reports.tables import agreement_tables, nuclei_table, similarity_table


@pytest.mark.parametrize(
    ("value", "spec", "text"),
    [
        (1.25, ".1f", "1.2"),
        (-1.26, ".1f", "−1.3"),
        (-0.04, ".1f", "0.0"),
        (math.nan, ".1f", "n/a"),
        (np.float32("nan"), ".4g", "n/a"),
        (None, ".1f", "n/a"),
        (pd.NA, ".1f", "n/a"),
        (0.0004, "p", "<0.001"),
        (0.0456, "p", "0.046"),
        (59, ".4g", "59"),
        (np.int64(1419264), ".4g", "1419264"),
        (-413.0, ".4g", "−413"),
        (0.123456, ".4g", "0.1235"),
        (math.inf, ".2f", "∞"),
        ("Pu", ".1f", "Pu"),
        (True, ".1f", "True"),
    ],
)
def test_cells_are_rounded_and_missing_values_named(value, spec, text):
    assert show(value, spec) == text


def comparison():
    names = (
        "mean_reference", "mean", "percent_difference", "bias", "loa_lower", "loa_upper",
        "within_subject_sd", "repeatability", "proportional_slope", "pearson_r",
        "pearson_r_without", "icc", "ccc", "paired_t_p", "paired_t_p_fdr", "tost_margin", "tost_p",
        "deming_slope", "deming_intercept", "passing_bablok_slope", "passing_bablok_intercept",
    )  # fmt: skip
    row: dict[str, object] = dict.fromkeys(names, 0.5)
    row |= {"region": "Pu", "protocol": "AF 3", "n": 59, "influential_subject": "sub-16"}
    for name in ("bias", "loa_lower", "loa_upper", "proportional_slope", "pearson_r", "icc"):
        row |= {f"{name}_ci_lower": -0.25, f"{name}_ci_upper": 0.75}
    missing = row | {"protocol": "AF 5", "bias": math.nan, "bias_ci_lower": math.nan, "n": 2}
    missing |= {"deming_slope": math.nan, "influential_subject": ""}
    return pd.DataFrame([row | {"note": ""}, missing | {"note": "2 pairs, at least 3 needed"}])


def test_intervals_stand_beside_their_estimates():
    differences, coefficients, lines, equivalence = agreement_tables(comparison(), reference="PI")
    first, second = differences.frame.to_dict("records")
    assert first["Bias (ppb)"] == "0.5 [−0.2, 0.8]"
    assert second["Bias (ppb)"] == "n/a"
    assert first["n"] == "59"
    assert first["PI (ppb)"] == "0.5"
    assert "Pu AF 5: 2 pairs, at least 3 needed." in differences.caption
    assert coefficients.frame["Pearson r"][0] == "0.500 [−0.250, 0.750]"
    assert list(lines.frame["Deming slope"]) == ["0.50", "n/a"]
    assert list(coefficients.frame["Person"]) == ["sub-16", "n/a"]
    assert list(equivalence.frame["p (equivalence)"]) == ["0.500", "0.500"]


def test_nuclei_table_shows_extra_columns_first_and_notes_only_when_there_are_some():
    frame = pd.DataFrame(
        {"region": ["Pu"], "side": ["L"], "mean_ppb": [30.0], "sd_ppb": [2.0], "median_ppb": [30.0],
         "iqr_ppb": [1.0], "n_voxels": [40], "volume_mm3": [51.2], "note": [""],
         "protocol": ["PI"]}
    )  # fmt: skip
    table = nuclei_table(frame)
    assert list(table.frame.columns)[:2] == ["protocol", "region"]
    assert table.headings["protocol"] == "Protocol"
    assert "note" not in table.frame
    assert "note" in nuclei_table(frame.assign(note="thin")).frame


def test_similarity_table_keeps_range_and_region_beside_the_figures():
    rows = [
        ("AF 3", "PSNR", "A", 44.456, "dB", 1.0, "field of view", 1000),
        ("AF 3", "NRMSE", math.nan, 12.34, "%", math.nan, "mask", 300),
        ("AF 5", "PSNR", "A", 43.0, "dB", 1.0, "field of view", 1000),
    ]
    names = (
        "protocol", "figure", "profile", "value", "unit", "dynamic_range_ppm", "region", "n_voxels",
    )  # fmt: skip
    table = similarity_table(pd.DataFrame(rows, columns=names))
    assert table.frame.fillna("").to_numpy().tolist() == [
        ["PSNR A", "dB", "field of view", "1000", "1.000", "44.46", "43.00"],
        ["NRMSE", "%", "mask", "300", "n/a", "12.3", ""],
    ]
    assert list(table.frame)[-2:] == ["AF 3", "AF 5"]


def test_sentences_keep_numbers_with_their_signs_and_units():
    said = "AF-5 of sub-01: -8.4 %, -11.0 to +5.2 ppb; 4:35 min; n = 30"
    assert typeset(said) == (
        "AF-5 of sub-01: −8.4\xa0%, −11.0 to +5.2\xa0ppb; 4:35\xa0min; n\xa0=\xa030"
    )
