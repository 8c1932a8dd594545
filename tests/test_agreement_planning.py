"""Plans: their numbers keep their promise, say what they assume, and never contradict compare."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from accelqsm.agreement.columns import column_dictionary
from accelqsm.agreement.planning.curve import power_curve
from accelqsm.agreement.planning.plan import plan_subjects
from accelqsm.agreement.settings import PlanSettings
from accelqsm.agreement.statistics.equivalence import equivalence_power, subjects_to_decide
from accelqsm.agreement.statistics.sample_size import (
    assurance,
    chance_within,
    detection_power,
    limits_half_width,
)
from accelqsm.errors import InputError

PILOT = pd.DataFrame(
    {
        "region": ["Pu", "SNr", "all"],
        "protocol": "AF3",
        "n": 59,
        "mean_reference": [30.8, 99.9, 70.0],
        "within_subject_sd": [1.4, 4.2, 3.0],
        "within_subject_sd_ci_upper": [1.7, 5.1, 3.1],
        "bias": [-0.2, -4.2, -1.0],
        "bias_ci_lower": [-0.7, -5.7, -1.2],
        "bias_ci_upper": [0.3, -2.7, -0.8],
    }
)


def planned(
    pilot: pd.DataFrame = PILOT, bias_ppb: float | None = None, **given: object
) -> pd.DataFrame:
    plan = plan_subjects(pilot, PlanSettings(**given), bias_ppb=bias_ppb)
    return plan[plan["goal"] == "equivalence"].set_index("region")


def test_each_nucleus_gets_the_fewest_subjects_that_reach_the_power():
    plan = plan_subjects(PILOT, PlanSettings(power=0.9), bias_ppb=0.0)
    assert plan["region"].tolist() == ["Pu", "SNr"]
    for _, row in plan.iterrows():
        n, sd = int(row["n_subjects"]), row["sd_compared"]
        powers = [
            equivalence_power(row["target_ppb"], sd / math.sqrt(m), m - 1) for m in (n - 1, n)
        ]
        assert powers[0] < 0.9 <= powers[1]
        assert row["power"] == pytest.approx(powers[1])
    assert plan["target_ppb"].tolist() == pytest.approx([1.54, 4.995])
    assert (plan["n_subjects_upper_sd"] > plan["n_subjects"]).all()


def test_the_margin_is_the_pilots_or_as_given():
    assert planned(bias_ppb=0.0)["target_ppb"].to_dict() == pytest.approx(
        {"Pu": 1.54, "SNr": 4.995}
    )
    pilot = PILOT.assign(tost_margin=[1.2, 6.0, np.nan])
    assert planned(pilot)["target_ppb"].to_dict() == {"Pu": 1.2, "SNr": 6.0}
    given = planned(pilot, margin_ppb={"Pu": 3.0}, margin_percent=10, bias_ppb=0.0)
    assert given["target_ppb"].to_dict() == pytest.approx({"Pu": 3.0, "SNr": 9.99})
    assert given["n_subjects"]["Pu"] == subjects_to_decide(3.0, 1.4 * math.sqrt(2))
    assert set(planned(pilot, margin_ppb={"*": 2.0})["target_ppb"]) == {2.0}


def test_the_bias_is_the_pilots_unless_another_is_given_and_the_plan_says_which():
    pilots, none, given = planned(), planned(bias_ppb=0.0), planned(bias_ppb=1.0)
    assert pilots["planned_bias"].to_dict() == {"Pu": -0.2, "SNr": -4.2}
    assert pilots["n_subjects"]["SNr"] > 100 > none["n_subjects"]["SNr"]
    assert (given["n_subjects"] > none["n_subjects"]).all()
    assert pilots["assumption"]["SNr"].startswith(
        "difference -4.20 ppb as in the pilot (interval -5.70 to -2.70); SD of differences 5.94"
    )
    assert given["assumption"]["Pu"].startswith("difference +1.00 ppb as given")
    bare = PILOT[["region", "protocol", "mean_reference", "within_subject_sd"]]
    assert planned(bare)["assumption"]["Pu"].startswith(
        "no difference, assumed since none is given"
    )


def test_equivalence_is_impossible_where_the_bias_lies_beyond_the_margin():
    plan = plan_subjects(PILOT.assign(bias=[-0.2, -6.0, 0.0]))
    assert plan[["region", "goal"]].to_numpy().tolist() == [
        ["Pu", "equivalence"],
        ["SNr", "equivalence"],
        ["SNr", "non-equivalence"],
    ]
    impossible, other = plan.iloc[1], plan.iloc[2]
    assert math.isnan(impossible["n_subjects"])
    assert impossible["note"] == "impossible: the difference seen lies beyond the margin"
    assert impossible["assurance_most"] < 0.2
    sd = math.sqrt(2) * 4.2
    assert other["n_subjects"] == subjects_to_decide(4.995, sd, bias=-6.0)
    curve = power_curve(plan, PlanSettings()).groupby("goal")["power"].max()
    assert curve["equivalence"] > 0.8
    beyond = power_curve(plan.iloc[[1]], PlanSettings())
    assert (beyond["power"] == 0).all()


def test_a_difference_to_find_follows_the_noncentral_t():
    plan = plan_subjects(PILOT, PlanSettings(detect_ppb={"SNr": 2.0}))
    row = plan[plan["goal"] == "difference"].iloc[0]
    assert (row["region"], row["target_ppb"]) == ("SNr", 2.0)
    n, sd = int(row["n_subjects"]), math.sqrt(2) * 4.2
    for m, enough in ((n - 1, False), (n, True)):
        t = stats.t.ppf(0.975, m - 1)
        shift = 2.0 * math.sqrt(m) / sd
        power = stats.nct.sf(t, m - 1, shift) + stats.nct.cdf(-t, m - 1, shift)
        assert detection_power(2.0, sd / math.sqrt(m), m - 1) == pytest.approx(power, abs=1e-9)
        assert bool(power >= 0.8) is enough
    assert row["assumption"] == "true difference 2 ppb; SD of differences 5.94 ppb"


def test_the_textbook_effect_of_half_an_sd_needs_34_pairs():
    """Cohen 1988: d = 0.5, two-sided 5 %, power 80 %."""
    pilot = PILOT.assign(within_subject_sd=1 / math.sqrt(2))
    plan = plan_subjects(pilot, PlanSettings(detect_ppb={"*": 0.5}))
    assert set(plan[plan["goal"] == "difference"]["n_subjects"]) == {34}


def test_limits_get_the_half_width_that_was_asked_for():
    plan = plan_subjects(PILOT, PlanSettings(limits_ppb={"*": 1.0}))
    for _, row in plan[plan["goal"] == "limits"].iterrows():
        n, sd = int(row["n_subjects"]), row["sd_compared"]
        assert limits_half_width(n, sd) <= 1.0 < limits_half_width(n - 1, sd)
        # Bland and Altman's approximation: 1.96 sqrt(3 / n) SD.
        assert n == pytest.approx(3 * (1.96 * sd) ** 2, rel=0.1, abs=3)
        assert math.isnan(row["power"])
    curve = power_curve(plan, PlanSettings())
    assert curve[curve["goal"] == "limits"]["half_width_ppb"].notna().all()


def test_repeated_scans_shrink_the_part_of_scanning_again():
    pilot = PILOT.assign(rescan_sd_reference=3.0, rescan_sd=4.0)
    one, four = (planned(pilot, scans=k, bias_ppb=0.0)["sd_compared"]["SNr"] for k in (1, 4))
    assert one == pytest.approx(math.sqrt(2) * 4.2)
    assert four**2 == pytest.approx(one**2 - 0.75 * 25)
    own = planned(scans=4, rescan_sd_ppb=3.0, bias_ppb=0.0)
    assert own["sd_compared"]["SNr"] ** 2 == pytest.approx(one**2 - 0.75 * 18)
    assert own["assumption"]["SNr"].endswith("ppb of means of 4 scans")
    # No more than all of it is noise of scanning.
    assert planned(scans=4, rescan_sd_ppb=9.0, bias_ppb=0.0)["sd_compared"]["SNr"] == pytest.approx(
        one / 2
    )
    compared = planned(PILOT.assign(sd_compared=3.0))["sd_compared"]
    assert set(compared) == {3.0}


def test_assurance_is_the_power_over_what_the_pilot_leaves_open():
    """Against plain simulation of bias and SD from their posterior."""
    rng = np.random.default_rng(3)
    n_pilot, n, sd, bias, margin = 12, 40, 6.0, -2.0, 5.0
    sigma = sd * np.sqrt((n_pilot - 1) / rng.chisquare(n_pilot - 1, 4000))
    true = rng.normal(bias, sigma / math.sqrt(n_pilot))
    powers = [
        equivalence_power(margin, s / math.sqrt(n), n - 1, bias=b)
        for s, b in zip(sigma[:1500], true[:1500], strict=True)
    ]
    found = assurance(n, margin, bias=bias, sd_difference=sd, n_pilot=n_pilot)
    assert found == pytest.approx(np.mean(powers), abs=0.03)
    most = chance_within(margin, bias=bias, sd_difference=sd, n_pilot=n_pilot)
    assert most == pytest.approx(np.mean(np.abs(true) < margin), abs=0.03)
    assert found < most


def test_the_curve_rises_to_the_power_at_the_planned_number():
    plan = plan_subjects(PILOT, PlanSettings(power=0.9))
    for (region, _), curve in power_curve(plan, PlanSettings(power=0.9)).groupby(
        ["region", "goal"]
    ):
        row = plan.set_index("region").loc[region]
        assert curve["power"].is_monotonic_increasing
        at = curve.set_index("n_subjects")["power"]
        assert at[int(row["n_subjects"])] == pytest.approx(row["power"])
        assert at.index[0] == 3
        assert at.index[-1] >= 2 * row["n_subjects"]


def test_time_saved_per_scan_and_over_the_subjects():
    plan = plan_subjects(PILOT, scan_time_s={"PI": 406, "AF3": 275}, reference="PI")
    assert plan["time_saved_s"].tolist() == [131, 131]
    np.testing.assert_allclose(plan["time_saved_h"], plan["n_subjects"] * 131 / 3600)


def test_a_pilot_without_an_sd_plans_nothing_and_one_without_spread_needs_three():
    plan = plan_subjects(PILOT.assign(within_subject_sd=np.nan))
    assert plan[["n_subjects", "power"]].isna().all(axis=None)
    assert set(plan["note"]) == {"the pilot has no SD of the differences"}
    plan = plan_subjects(PILOT.assign(within_subject_sd=0.0))
    assert set(plan["n_subjects"]) == {3}
    assert set(plan["power"]) == {1}


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        (
            {"margin_ppb": {"STN": 1.0}},
            {},
            "equivalence margin: expected a region among Pu, SNr, all, found 'STN'",
        ),
        (
            {"scans": 2},
            {},
            "plan: expected the SD of repeated scans for 2 scans each (--rescan-sd-ppb, or a pilot "
            "with repeats), found none",
        ),
        (
            {},
            {"scan_time_s": {"AF3": 275.0}, "reference": "PI"},
            "scan time: expected one of the reference 'PI', found AF3",
        ),
        (
            {},
            {"scan_time_s": {"PI": 406.0, "AF3": -1.0}, "reference": "PI"},
            "scan time of AF3: expected seconds above 0, found -1",
        ),
    ],
)
def test_bad_plans_are_one_line(settings, options, message):
    with pytest.raises(InputError) as error:
        plan_subjects(PILOT, PlanSettings(**settings), **options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"margin_percent": 0.0}, "margin_percent: expected above 0 to 100 %, found 0"),
        ({"power": 1.0}, "power: expected above 0 and below 1, found 1"),
        ({"confidence": 0.0}, "confidence: expected above 0 and below 1, found 0"),
    ],
)
def test_settings_out_of_range_are_one_line(given, message):
    with pytest.raises(InputError) as error:
        PlanSettings(**given)
    assert str(error.value) == message


def test_a_pilot_that_is_no_comparison_is_one_line():
    with pytest.raises(InputError) as error:
        plan_subjects(PILOT.drop(columns=["within_subject_sd"]))
    assert str(error.value).startswith("pilot: expected a column 'within_subject_sd', found [")
    with pytest.raises(InputError) as error:
        plan_subjects(PILOT[PILOT["region"] == "all"])
    assert str(error.value) == "pilot: expected at least one region, found none"


def test_every_column_of_a_plan_is_described():
    plan = plan_subjects(PILOT, scan_time_s={"PI": 406, "AF3": 275}, reference="PI")
    for frame in (plan, power_curve(plan, PlanSettings())):
        described = column_dictionary(map(str, frame), other="")
        assert all(entry["Description"] for entry in described.values())
    assert column_dictionary(map(str, plan))["time_saved_h"]["Units"] == "h"


def test_the_number_of_the_comparison_stands_where_six_digits_would_move_it_by_one():
    pilot = PILOT.assign(tost_margin=[1.54, 4.995, np.nan], n_to_decide=np.nan)
    exact = planned(pilot)["n_subjects"]
    near = planned(pilot.assign(n_to_decide=[exact["Pu"], exact["SNr"] + 1, np.nan]))
    assert near["n_subjects"].to_dict() == {"Pu": exact["Pu"], "SNr": exact["SNr"] + 1}
    other = planned(pilot.assign(n_to_decide=[exact["Pu"] + 5, 2 * exact["SNr"], np.nan]))
    assert other["n_subjects"].to_dict() == exact.to_dict()
    elsewhere = planned(pilot.assign(n_to_decide=exact["SNr"] + 1), bias_ppb=-4.2)
    assert elsewhere["n_subjects"]["SNr"] == exact["SNr"]


def test_another_design_keeps_what_the_pilot_knows_and_a_given_bias_knows_nothing():
    pilot = PILOT.assign(n=12, rescan_sd_reference=3.0, rescan_sd=4.0)
    one, four = (planned(pilot, scans=k).loc["SNr"] for k in (1, 4))
    sd = math.sqrt(2) * 4.2
    for row in (one, four):
        found = assurance(
            int(row["n_subjects"]),
            4.995,
            bias=-4.2,
            sd_difference=sd,
            n_pilot=12,
            shrink=row["sd_compared"] / sd,
        )
        assert row["assurance"] == pytest.approx(found)
    assert four["n_subjects"] < one["n_subjects"]
    assert planned(pilot, bias_ppb=-4.2)["assurance"].isna().all()


def test_half_the_spread_is_worth_four_times_the_subjects():
    known = {"bias": -2.0, "sd_difference": 6.0, "n_pilot": 12}
    half = assurance(400, 5.0, shrink=0.5, **known)
    assert half == pytest.approx(assurance(1600, 5.0, **known), abs=1e-3)
    assert half > assurance(400, 5.0, **known) + 0.01
