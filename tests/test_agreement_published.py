"""The published study as data, a cohort that has its statistics, and its four tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.age import age_associations
from accelqsm.agreement.protocols import compare_protocols
from accelqsm.agreement.published import STUDIES, check_printed_p, published
from accelqsm.agreement.statistics.coefficients import correlation_p
from accelqsm.agreement.synthetic import cohort_with_statistics
from accelqsm.agreement.tables import (
    age_table,
    correlation_table,
    demographics_table,
    mean_table,
)
from accelqsm.errors import InputError

STUDY = published("zhou2025")
SHORT = " (Zhou 2025)"


@pytest.fixture(scope="module", params=[0, 1])
def cohort(request):
    return cohort_with_statistics(STUDY, seed=request.param)


@pytest.fixture(scope="module")
def agreement(cohort):
    return compare_protocols(cohort.values, reference="PI")


@pytest.fixture(scope="module")
def ages(cohort):
    return age_associations(cohort.values, cohort.participants, reference="PI")


def different_cells(table):
    """Cells that differ from the published ones beside them: (row, column, own, published)."""
    own = [name for name in table if f"{name}{SHORT}" in table]
    assert own
    return [
        (row.iloc[0], name, row[name], row[f"{name}{SHORT}"])
        for _, row in table.iterrows()
        for name in own
        if row[name] != row[f"{name}{SHORT}"]
    ]


def test_every_study_is_complete():
    for name in STUDIES:
        study = published(name)
        assert study.name == name
        for table in (study.mean_ppb, study.sd_ppb, study.age_r, study.age_p):
            assert tuple(table.index) == study.regions
            assert tuple(table.columns) == study.protocols
        for table in (study.pearson_r, study.percent_difference):
            assert tuple(table.index) == study.regions
            assert tuple(table.columns) == study.protocols[1:]


def test_a_few_numbers_read_from_the_paper():
    assert STUDY.n == 59
    assert STUDY.number(STUDY.pearson_r, "SNr", "AF4") == 0.950
    assert STUDY.number(STUDY.mean_ppb, "GPe", "PI") == 120.2
    assert STUDY.number(STUDY.sd_ppb, "RN", "AF5") == 25.0
    assert STUDY.number(STUDY.percent_difference, "SNr", "AF3") == -4.19
    assert STUDY.number(STUDY.age_r, "GPi", "AF4") == -0.020
    assert STUDY.scan_time_s == {"PI": 406, "AF3": 275, "AF4": 195, "AF5": 131}


@pytest.mark.parametrize(
    ("label", "known"),
    [("AF3", "AF3"), ("AF 3", "AF3"), ("acq-af4", "AF4"), ("DL-AF5", "AF5"), ("PI", "PI"),
     ("PI, AF 2", "PI"), ("AF 6", None), ("truth", None),
     ("AF 30", None), ("AF3 repeated", None), ("PI 2", None), ("AF", None), ("P", None)],
)  # fmt: skip
def test_protocols_are_known_by_the_names_that_people_use(label, known):
    assert STUDY.protocol(label) == known


@pytest.mark.parametrize(
    ("label", "known"),
    [("SNr", "SNr"), ("snr", "SNr"), ("SN r", "SNr"), ("GPe", "GPe"), ("GP", None), ("SN", None),
     ("Putamen", None), ("Cau", None), ("RN2", None)],
)  # fmt: skip
def test_a_region_is_that_of_the_study_by_its_whole_name_alone(label, known):
    assert STUDY.region(label) == known


def test_an_unknown_study_is_one_line():
    with pytest.raises(InputError) as error:
        published("zhou2026")
    assert str(error.value) == "published study: expected one of zhou2025, found 'zhou2026'"


def test_27_printed_p_values_follow_from_their_r_and_the_misprint_does_not():
    checks = check_printed_p(STUDY).set_index(["region", "protocol"])
    assert checks["consistent"].sum() == 27
    assert checks.index[~checks["consistent"]].tolist() == [("RN", "AF4")]
    misprint = checks.loc[("RN", "AF4")]
    assert misprint["printed_p"] == "0.012"
    assert misprint["p_from_r"] == pytest.approx(2.8e-5, abs=5e-7)
    # r 0.517 +- 0.0005 at n 59.
    assert misprint["p_from_r_lower"] == pytest.approx(correlation_p(0.5175, 57))
    assert misprint["p_from_r_upper"] == pytest.approx(correlation_p(0.5165, 57))


@pytest.mark.parametrize(
    ("r", "printed", "consistent"),
    [(0.273, "<0.001", False), (0.42, "<0.001", True), (0.42, "0.001", True),
     (0.273, "0.036", True), (0.273, "0.038", False), (0.273, "0.034", False)],
)  # fmt: skip
def test_a_printed_p_value_is_held_against_its_correlation(r, printed, consistent):
    ages, p_values = STUDY.age_r.copy(), STUDY.age_p.copy()
    ages.loc["Pu", "PI"], p_values.loc["Pu", "PI"] = r, printed
    checks = check_printed_p(replace(STUDY, age_r=ages, age_p=p_values))
    assert bool(checks["consistent"].iloc[0]) is consistent


def test_tables_1_to_3_come_out_as_printed(cohort, agreement):
    assert different_cells(demographics_table(cohort.participants, published=STUDY)) == []
    second = correlation_table(agreement, published=STUDY)
    third = mean_table(agreement, reference="PI", published=STUDY)
    assert second.shape == (7, 7)
    assert third.shape == (7, 15)
    assert different_cells(second) == []
    assert different_cells(third) == []


def test_table_4_comes_out_as_printed_but_for_the_misprint(ages):
    table = age_table(ages, published=STUDY)
    assert table.shape == (7, 9)
    assert different_cells(table) == [("RN", "AF4", "0.517 (<0.001)", "0.517 (0.012)")]


def test_what_the_printed_numbers_imply(agreement):
    """9 of 21 paired tests significant, and after Benjamini-Hochberg; 20 of 21 equivalent."""
    nuclei = agreement[agreement["region"] != "all"].set_index(["region", "protocol"])
    expected = {
        ("Ca", "AF3"): 1.5e-5, ("GPe", "AF3"): 5e-4, ("GPi", "AF3"): 0.007,
        ("SNr", "AF3"): 1.4e-6, ("Ca", "AF4"): 2e-4, ("Pu", "AF5"): 0.0013,
        ("GPi", "AF5"): 0.008, ("SNc", "AF5"): 0.014, ("SNr", "AF5"): 0.003,
    }  # fmt: skip
    assert set(nuclei.index[nuclei["paired_t_p"] < 0.05]) == set(expected)
    assert set(nuclei.index[nuclei["paired_t_p_fdr"] < 0.05]) == set(expected)
    for key, p in expected.items():
        assert nuclei["paired_t_p"][key] == pytest.approx(p, rel=0.25)
    verdicts = nuclei["verdict"]
    assert verdicts.value_counts().to_dict() == {"equivalent": 20, "undecided": 1}
    assert verdicts[("SNr", "AF3")] == "undecided"
    assert nuclei["tost_p"][("SNr", "AF3")] == pytest.approx(0.15, abs=0.01)
    assert nuclei["n_to_decide"][("SNr", "AF3")] == pytest.approx(340, abs=15)
    assert nuclei["ccc"].min() == pytest.approx(0.948, abs=0.001)
    assert nuclei["ccc"].max() == pytest.approx(0.993, abs=0.001)


def test_sd_of_the_differences_lies_where_the_summary_puts_it(agreement):
    """SD of the differences from printed SDs and r, least and most of the three protocols, ppb."""
    nuclei = agreement[agreement["region"] != "all"].groupby("region")["sd_difference"]
    ranges = {"Pu": (1.8, 2.2), "Ca": (1.6, 1.9), "GPe": (4.0, 4.4), "GPi": (4.1, 6.0),
              "SNc": (6.3, 8.0), "SNr": (6.0, 8.5), "RN": (6.4, 7.1)}  # fmt: skip
    for region, (low, high) in ranges.items():
        assert nuclei.min()[region] == pytest.approx(low, abs=0.05)
        assert nuclei.max()[region] == pytest.approx(high, abs=0.05)


def test_only_snr_at_af3_follows_age_differently_and_not_after_adjustment(ages):
    compared = ages.set_index(["region", "protocol"])
    assert compared.index[compared["williams_p"] < 0.05].tolist() == [("SNr", "AF3")]
    assert (compared["williams_p_fdr"].dropna() > 0.05).all()
    assert compared["williams_p"].notna().sum() == 21


def test_seeds_draw_other_people_with_the_same_statistics():
    one, two = (cohort_with_statistics(STUDY, seed=seed) for seed in (0, 1))
    assert not np.allclose(one.values["value_ppb"], two.values["value_ppb"])
    again = cohort_with_statistics(STUDY, seed=0)
    pd.testing.assert_frame_equal(one.values, again.values)
    pd.testing.assert_frame_equal(one.participants, again.participants)


def test_means_that_cannot_differ_by_the_printed_percent_are_refused():
    percent = STUDY.percent_difference.copy()
    percent.loc["Pu", "AF3"] = 9.9
    with pytest.raises(InputError, match=r"zhou2025: means of Pu: expected ones that differ"):
        cohort_with_statistics(replace(STUDY, percent_difference=percent))


def test_correlations_that_no_sample_has_are_refused():
    r = STUDY.age_r.copy()
    r.loc["Pu", "AF3"] = -0.9
    with pytest.raises(InputError, match=r"zhou2025: correlations of Pu AF3 .* 0.991 and -0.900"):
        cohort_with_statistics(replace(STUDY, age_r=r))


def test_other_cohorts_get_the_same_layout(cohort):
    """Other names and regions: published cells where they are known, n/a where not."""
    values = cohort.values.replace({"protocol": {"AF3": "acq-af3", "AF4": "fast"}})
    values = values[values["region"].isin(["Pu", "RN"])].replace({"region": {"RN": "red"}})
    table = correlation_table(compare_protocols(values, reference="PI"), published=STUDY)
    assert list(table) == ["Region", "acq-af3", f"acq-af3{SHORT}", "fast", f"fast{SHORT}",
                           "AF5", f"AF5{SHORT}"]  # fmt: skip
    assert table[f"acq-af3{SHORT}"].tolist() == ["0.991", "n/a"]
    assert table[f"fast{SHORT}"].tolist() == ["n/a", "n/a"]
    plain = mean_table(compare_protocols(values, reference="PI"), reference="PI")
    assert not any(SHORT in name for name in plain)


def test_table_1_counts_words_and_averages_numbers():
    people = pd.DataFrame(
        {"participant_id": ["1", "2", "3", "4"], "age": [20.0, 30.0, 40.0, np.nan],
         "sex": ["F", "female", "M", "n/a"], "smoking": ["yes", "no", "no", "no"],
         "score": [1.0, 2.0, 3.0, np.nan], "site": ["A", "B", "A", "B"], "ill": [True] * 4}
    )  # fmt: skip
    table = demographics_table(people).set_index("Characteristic")["Value"]
    assert table.to_dict() == {
        "Participants": "4",
        "Age (years)": "30.0±10.0 (20-40)",
        "Female": "2 (50.0%)",
        "Smoking": "1 (25.0%)",
        "score": "2.0±1.0",
        "ill": "4 (100.0%)",
    }
