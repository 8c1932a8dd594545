"""Age: correlations, the difference that a protocol makes, and tables that do not fit."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from accelqsm.agreement.age import age_associations
from accelqsm.agreement.statistics.coefficients import partial_pearson
from accelqsm.agreement.statistics.dependent import williams
from accelqsm.errors import InputError

N = 24


@pytest.fixture
def people():
    generator = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "participant_id": [f"sub-{i:02d}" for i in range(N)],
            "age": np.round(generator.uniform(20, 75, N), 1),
            "sex": np.where(generator.random(N) < 0.5, "F", "M"),
        }
    )


@pytest.fixture
def values(people):
    generator = np.random.default_rng(9)
    iron = 20 + 0.5 * people["age"].to_numpy() + generator.normal(0, 6, N)
    rows = [
        (f"{i:02d}", protocol, "Pu", slope * iron[i] + generator.normal(0, 2))
        for i in range(N)
        for protocol, slope in (("PI", 1.0), ("DL", 0.8))
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def series(values, people, protocol):
    wide = values.pivot(index="subject", columns="protocol", values="value_ppb")
    return people["age"].to_numpy(), wide[protocol].to_numpy()


def test_figures_of_each_protocol(values, people):
    frame = age_associations(values, people, reference="PI").set_index("protocol")
    assert frame.index.tolist() == ["PI", "DL"]
    for protocol in ("PI", "DL"):
        age, value = series(values, people, protocol)
        r, line = stats.pearsonr(age, value), stats.linregress(age, value)
        row = frame.loc[protocol]
        assert row["n"] == N
        assert (row["r"], row["r_p"]) == pytest.approx((r.statistic, r.pvalue), rel=1e-9)
        assert (row["r_ci_lower"], row["r_ci_upper"]) == pytest.approx(
            tuple(r.confidence_interval())
        )
        assert row["slope_ppb_per_year"] == pytest.approx(line.slope)
        half = stats.t.ppf(0.975, N - 2) * line.stderr
        assert row["slope_ppb_per_year_ci_upper"] == pytest.approx(line.slope + half)
        equal_sex = partial_pearson(age, value, people["sex"].tolist())
        assert row["r_at_equal_sex"] == pytest.approx(equal_sex.value)


def test_difference_between_protocols(values, people):
    frame = age_associations(values, people, reference="PI").set_index("protocol")
    age, base = series(values, people, "PI")
    _, other = series(values, people, "DL")
    r = np.corrcoef([age, base, other])
    t = williams(r[0, 2], r[0, 1], r[1, 2], N)
    row = frame.loc["DL"]
    assert (row["williams_t"], row["williams_p"]) == pytest.approx((t.value, t.p))
    assert row["r_difference"] == pytest.approx(r[0, 2] - r[0, 1])
    slope = stats.linregress(age, other - base)
    assert row["slope_difference_ppb_per_year"] == pytest.approx(slope.slope)
    assert row["slope_difference_p"] == pytest.approx(slope.pvalue)
    assert row["slope_difference_ppb_per_year"] < 0
    assert frame.loc["PI", ["williams_t", "n_compared", "slope_difference_p"]].isna().all()


def test_people_without_age_sex_or_value_are_left_out_of_what_needs_them(values, people):
    people.loc[0, "age"] = np.nan
    people.loc[[1, 4], "sex"] = np.nan
    values = values[~((values["subject"] == "02") & (values["protocol"] == "DL"))]
    frame = age_associations(values, people.drop(index=3), reference="PI").set_index("protocol")
    assert frame["n"].to_dict() == {"PI": N - 2, "DL": N - 3}
    assert frame.loc["DL", "n_compared"] == N - 3
    keep = [i for i in range(N) if i not in (0, 1, 3, 4)]
    age, value = series(values, people, "PI")
    sexed = partial_pearson(age[keep], value[keep], people["sex"].iloc[keep].tolist())
    assert frame.loc["PI", "r_at_equal_sex"] == pytest.approx(sexed.value)
    assert frame.loc["PI", "r_at_equal_sex_p"] == pytest.approx(sexed.p, rel=1e-9, abs=0)


def test_only_people_with_both_values_are_compared(values, people):
    lost = values[~((values["subject"] == "02") & (values["protocol"] == "PI"))]
    frame = age_associations(lost, people, reference="PI").set_index("protocol")
    both = age_associations(
        values[values["subject"] != "02"], people.drop(index=2), reference="PI"
    ).set_index("protocol")
    assert frame.loc["DL", ["n", "n_compared"]].tolist() == [N, N - 1]
    for name in ("r_difference", "williams_t", "steiger_z", "slope_difference_p"):
        assert frame.loc["DL", name] == pytest.approx(both.loc["DL", name], abs=1e-12)


def test_one_sex_only_gives_no_partial_correlation(values, people):
    frame = age_associations(values, people.assign(sex="F"), reference="PI")
    assert frame["r_at_equal_sex"].isna().all()
    assert frame["r"].notna().all()
    assert age_associations(values, people.drop(columns="sex"), reference="PI")["r"].notna().all()


def test_the_person_who_carries_a_correlation_is_named(values, people):
    values.loc[(values["subject"] == "05") & (values["protocol"] == "PI"), "value_ppb"] += 300
    frame = age_associations(values, people, reference="PI").set_index("protocol")
    assert frame.loc["PI", "influential_subject"] == "05"
    assert abs(frame.loc["PI", "r_without"] - frame.loc["PI", "r"]) > 0.3


def test_the_same_at_equal_sex(values, people):
    """Against leaving each person out in turn."""
    frame = age_associations(values, people, reference="PI").set_index("protocol")
    sex = people["sex"].to_numpy(str)
    for protocol in ("PI", "DL"):
        age, value = series(values, people, protocol)
        whole = partial_pearson(age, value, sex).value
        without = [
            partial_pearson(np.delete(age, i), np.delete(value, i), np.delete(sex, i)).value
            for i in range(N)
        ]
        furthest = int(np.argmax(np.abs(np.arctanh(without) - np.arctanh(whole))))
        row = frame.loc[protocol]
        assert row["influential_subject_at_equal_sex"] == f"{furthest:02d}"
        assert row["r_at_equal_sex_without"] == pytest.approx(without[furthest], abs=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda p: p.drop(columns="age"),
            "participants: expected a column 'age', found ['participant_id', 'sex']",
        ),
        (
            lambda p: pd.concat([p, p.iloc[:1]]),
            "participants: expected one row per subject, found '00' twice",
        ),
        (
            lambda p: p.assign(age="old"),
            "age: expected numbers (n/a where there is none), found 'old' in row 1",
        ),
        (lambda p: p.assign(age=440.0), "age: expected years between 0 and 130, found 440"),
        (
            lambda p: p.assign(participant_id=[f"x{i}" for i in range(N)]),
            "participants: expected ages of the measured subjects such as '00', found none",
        ),
        (
            lambda p: p.assign(participant_id=[None, *p["participant_id"][1:]]),
            "participants: expected a subject in every row, found an empty one",
        ),
        (
            lambda p: p.assign(participant_id=["a\tb", *p["participant_id"][1:]]),
            "participants: expected text that can be printed, found 'a\\tb'",
        ),
    ],
)
def test_bad_participants_are_one_line(values, people, change, message):
    with pytest.raises(InputError) as error:
        age_associations(values, change(people), reference="PI")
    assert str(error.value) == message


def test_two_people_get_a_note_and_no_figures(values, people):
    frame = age_associations(values, people.iloc[:2], reference="PI")
    assert frame["note"].tolist() == ["2 with age and value, at least 3 needed"] * 2
    assert frame[["r", "williams_t", "slope_ppb_per_year"]].isna().all(axis=None)
