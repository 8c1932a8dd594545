"""Where figures begin and end: few pairs, constant values, a margin on the edge of an interval."""

import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import accelqsm
from accelqsm.agreement.pair import paired_agreement
from accelqsm.agreement.statistics import lines
from accelqsm.agreement.statistics.coefficients import (
    Estimate,
    concordance,
    correlation_p,
    intraclass,
    is_constant,
    partial_pearson,
    pearson,
    regression_slope,
)
from accelqsm.agreement.statistics.dependent import steiger, williams
from accelqsm.agreement.statistics.equivalence import (
    Verdict,
    equivalence,
    equivalence_power,
    subjects_to_decide,
)
from accelqsm.agreement.statistics.influence import most_influential
from accelqsm.agreement.statistics.limits import limits_of_agreement
from accelqsm.agreement.statistics.lines import deming, passing_bablok
from accelqsm.agreement.values import LARGEST_NUMBER, check_numbers, check_unit
from accelqsm.errors import InputError

X = np.array([60.0, 95.0, 110.0, 150.0, 170.0])
Y = np.array([66.0, 90.0, 121.0, 140.0, 181.0])
Z = stats.norm.ppf(0.975)


def columns(x, y):
    return np.column_stack([x, y])


@pytest.mark.parametrize(
    ("statistic", "least", "with_interval"),
    [
        (pearson, 3, 3),
        (regression_slope, 3, 3),
        (concordance, 3, 3),
        (lambda x, y: intraclass(columns(x, y)), 3, 3),
        (lambda x, y: deming(x, y).slope, 3, 4),
        (lambda x, y: deming(x, y).intercept, 3, 4),
        (lambda x, y: passing_bablok(x, y).slope, 3, 4),
        (lambda x, y: Estimate(float(most_influential(x, y).r_without)), 4, 99),
    ],
)
def test_a_figure_needs_as_many_pairs_as_it_says(statistic, least, with_interval):
    for n in range(1, len(X) + 1):
        found = statistic(X[:n], Y[:n])
        assert math.isfinite(found.value) == (n >= least), n
        assert not math.isfinite(found.lower) or n >= with_interval, n
    assert math.isfinite(found.lower) == (with_interval < 99)


def test_three_pairs_allow_every_correlation_and_four_have_fishers_interval():
    r = np.corrcoef(X[:3], Y[:3])[0, 1]
    found = pearson(X[:3], Y[:3])
    assert (found.value, found.lower, found.upper) == pytest.approx((r, -1, 1))
    found = pearson(X[:4], Y[:4])
    ends = np.tanh(np.arctanh(found.value) + Z * np.array([-1, 1]))
    assert (found.lower, found.upper) == pytest.approx(tuple(ends))


def test_each_group_costs_a_degree_of_freedom():
    assert math.isnan(partial_pearson(X[:3], Y[:3], ["F", "F", "M"]).value)
    assert math.isnan(partial_pearson(X, Y, ["F"] * 5).value)
    found = partial_pearson(X[:4], Y[:4], ["F", "F", "M", "M"])
    dx, dy = (np.array([-1, 1, -1, 1]) * np.repeat([v[1] - v[0], v[3] - v[2]], 2) for v in (X, Y))
    r = dx @ dy / math.sqrt((dx @ dx) * (dy @ dy))
    assert (found.value, found.lower, found.upper) == pytest.approx((r, -1, 1))
    assert found.p == pytest.approx(correlation_p(r, 1))
    found = partial_pearson(X, Y, ["F", "F", "M", "M", "M"])
    ends = np.tanh(np.arctanh(found.value) + Z * np.array([-1, 1]))
    assert (found.lower, found.upper) == pytest.approx(tuple(ends))


def test_values_that_are_constant_within_groups_correlate_with_nothing():
    groups = ["F", "F", "M", "M", "M"]
    steps = np.where(np.array(groups) == "F", 0.1 + 0.2, 0.7)
    assert math.isnan(partial_pearson(steps, Y, groups).value)
    assert math.isnan(partial_pearson(X, steps, groups).value)
    assert not math.isnan(partial_pearson(X, Y, groups).value)


@pytest.mark.parametrize("constant", ["x", "y"])
def test_one_constant_vector_is_enough_for_no_correlation(constant):
    same = np.full(5, 0.1) * np.array([3, 3, 3, 3, 3]) + np.array([0, 1e-17, 0, 0, 0])
    x, y = (same, Y) if constant == "x" else (X, same)
    assert math.isnan(pearson(x, y).value)
    assert math.isnan(deming(x, y).slope.value)
    assert math.isnan(passing_bablok(x, y).slope.value)
    assert most_influential(x, y).index == -1
    # Two methods of which one does not vary do not agree; no interval says so.
    found = concordance(x, y)
    assert found.value == pytest.approx(0, abs=1e-12)
    assert math.isnan(found.lower)
    assert math.isnan(concordance(same, same + 1).value)


def test_constant_is_up_to_rounding_of_the_size_that_is_given():
    assert is_constant(np.array([1e6, 1e6 + 1e-7]))
    assert not is_constant(np.array([1e6, 1e6 + 1e-5]))
    assert is_constant(np.array([0.0, 1e-10]), 1e3)
    assert not is_constant(np.array([0.0, 1e-10]))
    assert is_constant(np.zeros(3))


def test_more_pairs_than_memory_allows_have_no_line(monkeypatch):
    monkeypatch.setattr(lines, "MAX_PAIRS", 4)
    assert math.isfinite(passing_bablok(X[:4], Y[:4]).slope.value)
    assert math.isnan(passing_bablok(X, Y).slope.value)


def test_one_method_has_no_intraclass_correlation():
    assert math.isnan(intraclass(X[:, None]).value)
    # Subjects that do not differ leave nothing to correlate, however the methods do.
    assert math.isnan(intraclass(columns(np.full(4, 3.0), np.full(4, 5.0))).value)
    found = intraclass(columns(X, X))
    assert found.value == pytest.approx(1)
    assert math.isnan(found.lower)


@pytest.mark.parametrize("test", [williams, steiger])
def test_dependent_correlations_need_four_subjects_and_two_variables(test):
    assert math.isnan(test(0.5, 0.3, 0.8, 3).value)
    assert math.isfinite(test(0.5, 0.3, 0.8, 4).value)
    assert math.isnan(test(0.5, 0.5, 1.0, 30).value)
    assert math.isnan(test(float("nan"), 0.5, 0.8, 30).value)
    assert test(0.4, 0.4, 0.8, 30).value == 0
    assert test(0.4, 0.4, 0.8, 30).p == pytest.approx(1)


def test_perfect_correlations_have_no_fisher_transform():
    assert math.isnan(steiger(1.0, 0.4, 0.4, 30).value)
    assert math.isnan(steiger(0.4, -1.0, -0.4, 30).value)
    # Three correlations that no sample has: their covariance would be 1.96.
    assert math.isnan(steiger(0.75, 0.75, -0.9, 30).value)
    assert math.isnan(steiger(0.75, 0.75, -0.95, 30).value)


@pytest.mark.parametrize("margin", [0.0, -1.0, float("nan")])
def test_a_margin_is_above_zero(margin):
    with pytest.raises(InputError, match=r"^equivalence margin: expected a value above 0"):
        equivalence(Y - X, margin=margin)
    with pytest.raises(InputError, match=r"^margin: expected a value above 0"):
        subjects_to_decide(margin, 5.0)


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_interval_that_touches_the_margin_decides_nothing(sign):
    difference = sign * np.array([1.0, 2.0, 4.0, 2.5, 1.5])
    interval = equivalence(difference, margin=1.0)
    inner, outer = sorted(abs(end) for end in (interval.lower, interval.upper))
    assert 0 < inner < outer
    for margin in (inner, outer):
        found = equivalence(difference, margin=margin)
        assert found.verdict is Verdict.UNDECIDED
        assert found.n_to_decide > 5
    for margin, verdict in (
        (0.999 * inner, Verdict.NOT_EQUIVALENT),
        (1.001 * outer, Verdict.EQUIVALENT),
    ):
        found = equivalence(difference, margin=margin)
        assert found.verdict is verdict
        assert math.isnan(found.n_to_decide)


def test_a_plan_ends_where_a_million_are_too_few():
    """Margin over SD from 0.01 up needs fewer; half as much needs four times as many."""
    n = subjects_to_decide(0.01, 1.0)
    assert 1e4 < n < 1e6
    assert subjects_to_decide(0.005, 1.0) == pytest.approx(4 * n, rel=1e-3)
    assert math.isnan(subjects_to_decide(0.001, 1.0))
    assert subjects_to_decide(1e6, 1.0) == 3  # below, there is no verdict
    assert equivalence_power(1.0, 1e9, 10) == 0


def test_differences_of_one_size_have_limits_of_no_width():
    limits = limits_of_agreement(np.full(4, 2.5))
    for estimate in (limits.bias, limits.lower, limits.upper):
        assert (estimate.value, estimate.lower, estimate.upper) == (2.5, 2.5, 2.5)
    assert limits.repeatability.value == 0


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_pairs_are_described(n):
    found = paired_agreement(X[:n], Y[:n])
    assert found.percent_difference == pytest.approx(100 * (Y[:n].sum() / X[:n].sum() - 1))
    assert found.bias == pytest.approx((Y - X)[:n].mean())
    assert (found.mean_reference, found.mean) == pytest.approx((X[:n].mean(), Y[:n].mean()))
    assert math.isnan(found.sd_reference) == math.isnan(found.sd) == (n == 1)
    assert math.isnan(paired_agreement(np.zeros(n), Y[:n]).percent_difference)


def test_a_reference_that_may_be_zero_has_a_percentage_without_interval():
    x, y = np.array([-9.0, 2.0, 10.0, 5.0]), np.array([-8.0, 4.0, 12.0, 5.0])
    found = paired_agreement(x, y)
    assert found.percent_difference == pytest.approx(100 * (13 / 8 - 1))
    assert math.isnan(found.percent_difference_ci_lower)
    assert math.isfinite(paired_agreement(x + 100, y + 100).percent_difference_ci_lower)


def test_a_margin_in_the_unit_of_the_values_replaces_the_percentage():
    assert paired_agreement(X, Y, margin=7.0).tost_margin == 7
    assert paired_agreement(X, Y, margin_percent=4.0).tost_margin == pytest.approx(0.04 * X.mean())
    negative = paired_agreement(-X, -Y, margin_percent=4.0)
    assert negative.tost_margin == pytest.approx(0.04 * X.mean())


def long(values):
    n = len(values)
    return pd.DataFrame(
        {
            "subject": [f"s{i}" for i in range(n)],
            "protocol": ["PI"] * n,
            "region": [f"r{i}" for i in range(n)],
            "value_ppb": values,
        }
    )


@pytest.mark.parametrize(
    ("values", "like_ppm"),
    [
        ([0.0, 0.08, 0.12], True),  # a zero among them says nothing of the unit
        ([-0.05, 1.0], True),
        ([-1.0, 0.3], True),
        ([0.3, 1.001], False),
        ([0.3, -1.001], False),
        ([0.3], False),
        ([0.3, math.nan], False),
        ([0.0, 0.0, 0.0, 0.0, 0.0], False),
        ([math.nan, math.nan], False),
    ],
)
def test_the_largest_value_tells_the_unit(values, like_ppm):
    if like_ppm:
        with pytest.raises(InputError, match=r"expected ppb, found .* in every row"):
            check_unit(long(values))
    else:
        check_unit(long(values))


def test_tables_that_were_joined_with_their_row_numbers_are_compared():
    """Their numbers occur twice."""
    draws = np.random.default_rng(0).normal(80, 10, (2, 8))
    parts = [
        pd.DataFrame({"subject": [f"s{i}" for i in range(8)], "protocol": protocol,
                      "region": "Pu", "value_ppb": values})
        for protocol, values in zip(("PI", "AF3"), draws, strict=True)
    ]  # fmt: skip
    people = pd.DataFrame({"participant_id": parts[0]["subject"], "age": draws[0] / 2})
    joined, numbered = (pd.concat(parts, ignore_index=ignored) for ignored in (False, True))
    found, expected = (
        accelqsm.compare(table, reference="PI", participants=people).agreement
        for table in (joined, numbered)
    )
    pd.testing.assert_frame_equal(found, expected)
    joined.loc[joined["protocol"] == "AF3", "value_ppb"] /= 1000
    with pytest.raises(
        InputError, match=r"expected ppb, found 0\.0\d+ to 0\.\d+ in protocol 'AF3'"
    ):
        accelqsm.compare(joined, reference="PI")


@pytest.mark.parametrize(("n", "like_ppm"), [(4, False), (5, True)])
def test_five_values_of_a_scan_tell_its_unit(n, like_ppm):
    other = long([80.0, 90.0]).assign(protocol="AF3", subject=["t0", "t1"])
    table = pd.concat([long([0.08] * n), other], ignore_index=True)
    table["region"] = [f"r{i}" for i in range(len(table))]
    if like_ppm:
        with pytest.raises(InputError, match=r"found 0.08 to 0.08 in protocol 'PI'"):
            check_unit(table)
    else:
        check_unit(table)
    check_unit(table.assign(value_ppb=[*[0.0] * n, 80.0, 90.0]))


def test_numbers_beyond_any_unit_are_named_with_their_row():
    for sign in (-1, 1):
        check_numbers(pd.Series([1.0, sign * LARGEST_NUMBER, math.nan]), "age")
        found = re.escape(f"{sign * 1.1e9:g}")
        with pytest.raises(InputError, match=rf"^age: expected .* found {found} in row 2"):
            check_numbers(pd.Series([1.0, sign * 1.1e9, 2e9]), "age")
    with pytest.raises(InputError, match=r"^age: expected finite numbers, found infinity in row 3"):
        check_numbers(pd.Series([1.0, math.nan, -math.inf]), "age")
    with pytest.raises(InputError, match=r"^age: expected numbers .* found 'x' in row 2"):
        check_numbers(pd.Series([1.0, "x", "y"]), "age")
    with pytest.raises(InputError, match=r"^age: expected numbers .* found True in row 1"):
        check_numbers(pd.Series([True, False]), "age")
