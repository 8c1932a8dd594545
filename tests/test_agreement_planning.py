"""Sample sizes: they keep their promise, refuse nonsense, and count the time saved."""

import math

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.planning import plan_subjects
from accelqsm.agreement.statistics.equivalence import equivalence_power, subjects_to_decide
from accelqsm.errors import InputError

PILOT = pd.DataFrame(
    {
        "region": ["Pu", "SNr", "all"],
        "protocol": "AF3",
        "mean_reference": [30.8, 99.9, 70.0],
        "within_subject_sd": [1.4, 4.2, 3.0],
        "within_subject_sd_ci_upper": [1.7, 5.1, 3.1],
        "bias": [-0.2, -4.2, -1.0],
    }
)


def test_each_nucleus_gets_the_fewest_subjects_that_reach_the_power():
    plan = plan_subjects(PILOT, power=0.9)
    assert plan["region"].tolist() == ["Pu", "SNr"]
    for _, row in plan.iterrows():
        n, sd = int(row["n_subjects"]), math.sqrt(2) * row["within_subject_sd"]
        powers = [
            equivalence_power(row["tost_margin"], sd / math.sqrt(m), m - 1) for m in (n - 1, n)
        ]
        assert powers[0] < 0.9 <= powers[1]
        assert row["power"] == pytest.approx(powers[1])
    assert plan["tost_margin"].tolist() == pytest.approx([1.54, 4.995])
    assert (plan["n_subjects_upper_sd"] > plan["n_subjects"]).all()


def test_a_margin_in_ppb_replaces_the_percentage_of_its_region():
    plan = plan_subjects(PILOT, margin_ppb={"Pu": 3.0}).set_index("region")
    assert plan.loc["Pu", "tost_margin"] == 3.0
    assert plan.loc["SNr", "tost_margin"] == pytest.approx(4.995)
    assert plan.loc["Pu", "n_subjects"] == subjects_to_decide(3.0, 1.4 * math.sqrt(2))


def test_a_bias_costs_subjects_and_the_pilots_can_be_taken():
    none = plan_subjects(PILOT).set_index("region")["n_subjects"]
    given = plan_subjects(PILOT, bias_ppb=1.0).set_index("region")["n_subjects"]
    pilots = plan_subjects(PILOT, bias_ppb=None).set_index("region")
    assert (given > none).all()
    assert pilots["planned_bias"].to_dict() == {"Pu": -0.2, "SNr": -4.2}
    assert pilots["n_subjects"]["SNr"] > 100 > none["SNr"]


def test_time_saved_per_scan_and_over_the_subjects():
    plan = plan_subjects(PILOT, scan_time_s={"PI": 406, "AF3": 275}, reference="PI")
    assert plan["time_saved_s"].tolist() == [131, 131]
    np.testing.assert_allclose(plan["time_saved_h"], plan["n_subjects"] * 131 / 3600)


def test_a_pilot_without_an_sd_plans_nothing():
    for nothing in (np.nan, 0.0):
        plan = plan_subjects(PILOT.assign(within_subject_sd=nothing))
        assert plan[["n_subjects", "power"]].isna().all(axis=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin_percent": 0.0}, "margin: expected a value above 0, found 0"),
        ({"power": 1.0}, "power: expected a probability between 0 and 1, found 1"),
        ({"confidence": 0.0}, "alpha: expected a probability between 0 and 1, found 1"),
        (
            {"scan_time_s": {"AF3": 275.0}, "reference": "PI"},
            "scan time: expected one of the reference 'PI', found AF3",
        ),
        (
            {"scan_time_s": {"PI": 406.0, "AF3": -1.0}, "reference": "PI"},
            "scan time of AF3: expected seconds above 0, found -1",
        ),
    ],
)
def test_bad_plans_are_one_line(options, message):
    with pytest.raises(InputError) as error:
        plan_subjects(PILOT, **options)
    assert str(error.value) == message


def test_a_pilot_that_is_no_comparison_is_one_line():
    with pytest.raises(InputError) as error:
        plan_subjects(PILOT.drop(columns=["within_subject_sd", "bias"]), bias_ppb=None)
    assert str(error.value).startswith("pilot: expected a column 'within_subject_sd', found [")
    with pytest.raises(InputError) as error:
        plan_subjects(PILOT[PILOT["region"] == "all"])
    assert str(error.value) == "pilot: expected at least one region, found none"


def test_every_column_of_a_plan_is_described():
    plan = plan_subjects(PILOT, scan_time_s={"PI": 406, "AF3": 275}, reference="PI")
    described = column_dictionary(map(str, plan), other="")
    assert all(entry["Description"] for entry in described.values())
    assert described["time_saved_h"]["Units"] == "h"
