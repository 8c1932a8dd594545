"""Every statistic against an independent way to the same number: another library, or brute force.

statsmodels and scipy are test dependencies; pingouin (GPL) is not, and is used where it happens
to be installed.
"""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from accelqsm.agreement.pair import paired_agreement
from accelqsm.agreement.statistics.coefficients import (
    concordance,
    intraclass,
    partial_pearson,
    pearson,
    regression_slope,
)
from accelqsm.agreement.statistics.dependent import steiger, williams
from accelqsm.agreement.statistics.equivalence import (
    Verdict,
    difference_power,
    equivalence,
    equivalence_power,
    subjects_to_decide,
)
from accelqsm.agreement.statistics.influence import most_influential
from accelqsm.agreement.statistics.limits import limits_of_agreement
from accelqsm.agreement.statistics.lines import deming, passing_bablok
from accelqsm.agreement.statistics.multiplicity import false_discovery_rate, holm


@pytest.fixture
def pair():
    generator = np.random.default_rng(17)
    truth = generator.normal(90, 25, 43)
    return truth + generator.normal(0, 4, 43), 1 + 1.04 * truth + generator.normal(0, 5, 43)


@pytest.fixture
def sexes(pair):
    return np.where(np.random.default_rng(5).random(len(pair[0])) < 0.6, "F", "M")


def test_exact_limits_are_scipys_noncentral_t():
    d = np.random.default_rng(2).normal(1, 3, 23)
    error, shift = d.std(ddof=1) / math.sqrt(23), 1.96 * math.sqrt(23)
    limits = limits_of_agreement(d)
    for tail, end in ((0.025, limits.upper.lower), (0.975, limits.upper.upper)):
        expected = d.mean() + stats.nct.ppf(tail, 22, shift) * error
        assert end == pytest.approx(expected, abs=1e-9)
    mirrored = limits_of_agreement(-d)
    assert (limits.lower.lower, limits.lower.upper) == pytest.approx(
        (-mirrored.upper.upper, -mirrored.upper.lower), abs=1e-9
    )


@pytest.mark.slow
@pytest.mark.parametrize("n", [4, 12])
def test_exact_limits_cover_the_truth_where_the_approximation_does_not(n):
    generator = np.random.default_rng(n)
    draws, hits, approximate = 8000, 0, 0
    for _ in range(draws):
        d = generator.normal(0, 1, n)
        exact = limits_of_agreement(d).upper
        rough = limits_of_agreement(d, interval="bland-altman-1986").upper
        hits += exact.lower < 1.96 < exact.upper
        approximate += rough.lower < 1.96 < rough.upper
    assert hits / draws == pytest.approx(0.95, abs=0.008)
    assert approximate / draws < 0.94


def test_interval_of_the_sd_is_the_chi_square_interval():
    d = np.random.default_rng(4).normal(0, 3, 31)
    within = limits_of_agreement(d).within_subject_sd
    chi = stats.chi2.ppf([0.975, 0.025], 30)
    expected = np.sqrt(30 * d.var(ddof=1) / chi / 2)
    assert (within.lower, within.upper) == pytest.approx(tuple(expected), rel=1e-12)
    repeat = limits_of_agreement(d).repeatability.value
    assert repeat == pytest.approx(1.96 * d.std(ddof=1), rel=1e-12)


def test_equivalence_is_that_of_statsmodels(pair):
    x, y = pair
    margin = 0.05 * x.mean()
    p, lower, upper = ttost_paired(y, x, -margin, margin)
    result = equivalence(y - x, margin=margin)
    assert result.p == pytest.approx(p, abs=1e-12)
    assert (result.t_lower, result.t_upper) == pytest.approx((lower[0], upper[0]), rel=1e-12)
    ninety = stats.ttest_rel(y, x).confidence_interval(0.9)
    assert (result.lower, result.upper) == pytest.approx(tuple(ninety), rel=1e-12)


@pytest.mark.parametrize("shift", np.linspace(-9.1, 9.1, 13))
def test_verdict_follows_from_the_one_sided_tests(shift):
    d = np.random.default_rng(9).normal(0, 4, 25)
    d += shift - d.mean()
    result = equivalence(d, margin=3.0)
    t = stats.ttest_1samp
    inside = max(t(d, -3, alternative="greater").pvalue, t(d, 3, alternative="less").pvalue)
    outside = min(t(d, -3, alternative="less").pvalue, t(d, 3, alternative="greater").pvalue)
    expected = Verdict.UNDECIDED
    if inside < 0.05:
        expected = Verdict.EQUIVALENT
    elif outside < 0.05:
        expected = Verdict.NOT_EQUIVALENT
    assert result.verdict is expected
    assert math.isnan(result.n_to_decide) == (expected is not Verdict.UNDECIDED)


def test_power_of_equivalence_equals_a_double_integral():
    margin, error, degrees, bias = 3.0, 1.1, 14, 0.7
    t = stats.t.ppf(0.95, degrees)

    def given_sd(u):
        ends = margin - t * u * error
        inside = stats.norm.cdf((ends - bias) / error) - stats.norm.cdf((-ends - bias) / error)
        return inside * stats.chi2.pdf(degrees * u * u, degrees) * 2 * degrees * u

    expected, _ = integrate.quad(given_sd, 0, margin / (t * error), epsabs=1e-12)
    assert equivalence_power(margin, error, degrees, bias=bias) == pytest.approx(
        expected, abs=1e-10
    )


@pytest.mark.parametrize(("degrees", "bias"), [(1, 0.0), (2, 0.5), (5, 3.0), (3000, 0.0)])
def test_power_of_equivalence_at_the_ends(degrees, bias):
    generator = np.random.default_rng(degrees)
    draws = 200_000
    mean = generator.normal(bias, 1.0, draws)
    sd = np.sqrt(generator.chisquare(degrees, draws) / degrees)
    half = stats.t.ppf(0.95, degrees) * sd
    simulated = np.mean(np.abs(mean) + half < 3.0)
    assert equivalence_power(3.0, 1.0, degrees, bias=bias) == pytest.approx(simulated, abs=0.005)


def test_power_of_a_difference_is_the_noncentral_t():
    margin, error, degrees, bias = 2.0, 0.8, 20, 4.0
    t = stats.t.ppf(0.95, degrees)
    above = stats.nct.sf(t, degrees, (bias - margin) / error)
    below = stats.nct.sf(t, degrees, (-bias - margin) / error)
    assert difference_power(margin, error, degrees, bias=bias) == pytest.approx(
        above + below, abs=1e-9
    )


def test_power_of_a_difference_from_a_vanishing_margin_is_that_of_statsmodels():
    power = TTestPower().power(0.371, 59, 0.1, alternative="two-sided")
    ours = difference_power(1e-12, 1 / math.sqrt(59), 58, bias=0.371)
    assert ours == pytest.approx(power, abs=1e-9)


def test_decided_with_the_power_that_was_asked_for():
    """Simulate studies of the planned size and count how many are decided."""
    generator = np.random.default_rng(12)
    for bias, expected in ((1.0, Verdict.EQUIVALENT), (5.0, Verdict.NOT_EQUIVALENT)):
        n = int(subjects_to_decide(3.0, 6.0, bias=bias, power=0.8))
        verdicts = [
            equivalence(generator.normal(bias, 6.0, n), margin=3.0).verdict for _ in range(1500)
        ]
        assert np.mean([v is expected for v in verdicts]) == pytest.approx(0.8, abs=0.03)


def test_no_number_of_subjects_decides_a_bias_on_the_margin():
    assert math.isnan(subjects_to_decide(3.0, 6.0, bias=3.0))


def test_adjusted_p_values_are_those_of_statsmodels():
    p = np.random.default_rng(1).random(21) ** 3
    p[4] = p[9]
    with_gap = np.insert(p, 5, np.nan)
    for adjust, method in ((false_discovery_rate, "fdr_bh"), (holm, "holm")):
        adjusted = adjust(with_gap)
        assert math.isnan(adjusted[5])
        expected = multipletests(p, method=method)[1]
        np.testing.assert_allclose(np.delete(adjusted, 5), expected, atol=1e-14)


def test_intraclass_correlation_is_that_of_an_analysis_of_variance(pair):
    scores = np.column_stack(pair)
    n, k = scores.shape
    frame = pd.DataFrame(
        {"y": scores.ravel(), "s": np.repeat(np.arange(n), k), "m": np.tile(np.arange(k), n)}
    )
    fit = ols("y ~ C(s) + C(m)", frame).fit()
    between = {
        name: k_or_n * ((frame.groupby(name)["y"].mean() - frame["y"].mean()) ** 2).sum()
        for name, k_or_n in (("s", k), ("m", n))
    }
    msr, msc, mse = between["s"] / (n - 1), between["m"] / (k - 1), fit.mse_resid
    expected = (msr - mse) / (msr + (k - 1) * mse + k * (msc - mse) / n)
    assert intraclass(scores).value == pytest.approx(expected, abs=1e-10)


def test_interval_of_concordance_covers_the_truth():
    """CCC of a bivariate normal with shift and scale: known, and inside 19 of 20 intervals."""
    generator = np.random.default_rng(3)
    r, ratio, shift, n, draws = 0.9, 1.2, 0.4, 40, 3000
    true = 2 * r * ratio / (1 + ratio**2 + shift**2)
    hits = 0
    for _ in range(draws):
        x = generator.normal(size=n)
        y = shift + ratio * (r * x + math.sqrt(1 - r * r) * generator.normal(size=n))
        c = concordance(x, y)
        hits += c.lower < true < c.upper
    assert hits / draws == pytest.approx(0.95, abs=0.015)


def test_deming_is_the_least_weighted_distance(pair):
    """Minimise the sum over pairs of residual^2 / (ratio + slope^2) numerically."""
    x, y = pair
    for ratio in (0.3, 1.0, 4.0):

        def cost(line, ratio=ratio):
            return float(np.sum((y - line[0] - line[1] * x) ** 2) / (ratio + line[1] ** 2))

        precise = {"xatol": 1e-9, "fatol": 1e-12, "maxiter": 5000}
        found = optimize.minimize(cost, [0.0, 1.0], method="Nelder-Mead", options=precise)
        line = deming(x, y, variance_ratio=ratio)
        assert (line.intercept.value, line.slope.value) == pytest.approx(found.x, abs=1e-4)


def test_deming_does_not_care_which_method_comes_first(pair):
    x, y = pair
    one, two = deming(x, y, variance_ratio=2.0), deming(y, x, variance_ratio=0.5)
    assert one.slope.value == pytest.approx(1 / two.slope.value, rel=1e-12)


def test_jackknife_of_deming_leaves_each_pair_out(pair):
    x, y = pair
    n, whole = len(x), deming(x, y)
    slopes = [deming(np.delete(x, i), np.delete(y, i)).slope.value for i in range(n)]
    pseudo = n * whole.slope.value - (n - 1) * np.array(slopes)
    half = stats.t.ppf(0.975, n - 2) * pseudo.std(ddof=1) / math.sqrt(n)
    assert whole.slope.upper - whole.slope.value == pytest.approx(half, rel=1e-9)


def passing_bablok_by_loops(x, y, z=1.959963984540054):
    """Passing & Bablok 1983, sentence by sentence."""
    slopes = []
    for i, j in itertools.combinations(range(len(x)), 2):
        if x[i] == x[j] and y[i] == y[j]:
            continue
        if x[i] == x[j]:
            slopes.append(math.copysign(math.inf, y[j] - y[i]))
        elif (y[j] - y[i]) / (x[j] - x[i]) != -1:
            slopes.append((y[j] - y[i]) / (x[j] - x[i]))
    slopes.sort()
    count, n = len(slopes), len(x)
    k = sum(s < -1 for s in slopes)
    if count % 2:
        slope = slopes[(count + 1) // 2 + k - 1]
    else:
        slope = (slopes[count // 2 + k - 1] + slopes[count // 2 + k]) / 2
    spread = z * math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    m1 = round((count - spread) / 2)
    m2 = count - m1 + 1
    return slope, slopes[m1 + k - 1], slopes[m2 + k - 1]


@pytest.mark.parametrize("n", [9, 20, 43])
def test_passing_bablok_equals_its_description_with_ties(n):
    generator = np.random.default_rng(n)
    x = np.round(generator.normal(50, 15, n))
    y = np.round(x + generator.normal(0, 6, n))
    line = passing_bablok(x, y)
    expected = passing_bablok_by_loops(x, y)
    found = (line.slope.value, line.slope.lower, line.slope.upper)
    assert found == pytest.approx(expected, abs=1e-12)
    middle, low, high = (float(np.median(y - s * x)) for s in expected)
    found = (line.intercept.value, line.intercept.lower, line.intercept.upper)
    assert found == pytest.approx((middle, high, low), abs=1e-9)


def test_passing_bablok_shrugs_at_an_outlier_that_moves_deming(pair):
    x, y = pair
    bad = y.copy()
    bad[np.argmax(x)] += 400
    moved = abs(passing_bablok(x, bad).slope.value - passing_bablok(x, y).slope.value)
    assert moved < 0.03
    assert abs(deming(x, bad).slope.value - deming(x, y).slope.value) > 0.2


def test_most_influential_pair_is_found_by_leaving_each_out(pair):
    x, y = pair
    y = y.copy()
    y[7] += 60
    without = [pearson(np.delete(x, i), np.delete(y, i)).value for i in range(len(x))]
    moved = np.abs(np.arctanh(without) - np.arctanh(pearson(x, y).value))
    result = most_influential(x, y)
    assert result.index == int(np.argmax(moved)) == 7
    assert result.r_without == pytest.approx(without[7], abs=1e-12)


def test_influence_is_the_size_of_the_change_on_fishers_scale():
    """Subjects whose removal lowers r count, and near r = 1 small steps of r are large ones."""
    told = {"rise alone": 0, "steps of r": 0}
    for seed in range(40):
        generator = np.random.default_rng(seed)
        x = generator.normal(size=9)
        x[0] = 6 * (seed % 2)  # in every other sample one subject carries the correlation
        y = x + generator.normal(0, 0.4, 9)
        r = pearson(x, y).value
        without = np.array([pearson(np.delete(x, i), np.delete(y, i)).value for i in range(9)])
        change = np.arctanh(without) - np.arctanh(r)
        result = most_influential(x, y)
        assert result.index == np.argmax(np.abs(change))
        assert result.r_without == pytest.approx(without[result.index], abs=1e-12)
        told["rise alone"] += int(np.argmax(change) != result.index)
        told["steps of r"] += int(np.argmax(np.abs(without - r)) != result.index)
    assert min(told.values()) >= 3, told


def test_percent_difference_is_fiellers_interval(pair):
    """The ends are the ratios at which the paired t test of y - q x turns significant."""
    x, y = pair
    result = paired_agreement(x, y)

    def excess(percent):
        d = y - (1 + percent / 100) * x
        return abs(stats.ttest_1samp(d, 0).statistic) - stats.t.ppf(0.975, len(x) - 1)

    middle = result.percent_difference
    low = optimize.brentq(excess, middle - 30, middle)
    high = optimize.brentq(excess, middle, middle + 30)
    ends = (result.percent_difference_ci_lower, result.percent_difference_ci_upper)
    assert ends == pytest.approx((low, high), abs=1e-8)


def test_slope_and_correlation_at_equal_sex_are_those_of_regression(pair, sexes):
    x, y = pair
    # Noise keeps the p-values large enough to tell degrees of freedom apart.
    y = y + np.random.default_rng(11).normal(0, 90, len(y))
    frame = pd.DataFrame({"x": x, "y": y, "s": sexes})
    fit = ols("y ~ x", frame).fit()
    slope = regression_slope(x, y)
    assert (slope.value, slope.p) == pytest.approx((fit.params["x"], fit.pvalues["x"]), rel=1e-9)
    assert (slope.lower, slope.upper) == pytest.approx(tuple(fit.conf_int().loc["x"]), rel=1e-9)
    adjusted = ols("y ~ x + C(s)", frame).fit()
    partial = partial_pearson(x, y, sexes)
    t, degrees = adjusted.tvalues["x"], adjusted.df_resid
    assert partial.value == pytest.approx(t / math.sqrt(t * t + degrees), abs=1e-12)
    assert adjusted.pvalues["x"] > 1e-4
    assert partial.p == pytest.approx(adjusted.pvalues["x"], rel=1e-9)
    half = stats.norm.ppf(0.975) / math.sqrt(degrees - 1)
    assert np.arctanh([partial.lower, partial.upper]) == pytest.approx(
        np.arctanh(partial.value) + np.array([-half, half]), abs=1e-12
    )


@pytest.mark.slow
@pytest.mark.parametrize("test", [williams, steiger])
def test_equal_dependent_correlations_are_rejected_in_5_percent(test):
    """Two measurements that follow age equally: p-values below 0.05 in 1 of 20 samples."""
    generator = np.random.default_rng(6)
    covariance = [[1, 0.5, 0.5], [0.5, 1, 0.9], [0.5, 0.9, 1]]
    draws, n = 4000, 30
    small = 0
    for _ in range(draws):
        r = np.corrcoef(generator.multivariate_normal([0, 0, 0], covariance, n).T)
        small += test(r[0, 1], r[0, 2], r[1, 2], n).p < 0.05
    assert small / draws == pytest.approx(0.05, abs=0.01)


def test_p_values_of_dependent_correlations():
    t, z = williams(0.6, 0.2, 0.5, 8), steiger(0.6, 0.2, 0.5, 8)
    assert t.p == pytest.approx(2 * stats.t.sf(abs(t.value), 5), rel=1e-12)
    assert z.p == pytest.approx(2 * stats.norm.sf(abs(z.value)), rel=1e-12)


def test_williams_and_steiger_change_sign_with_the_order():
    for test in (williams, steiger):
        assert test(0.5, 0.3, 0.8, 50).value == pytest.approx(-test(0.3, 0.5, 0.8, 50).value)
        assert math.isnan(test(0.5, 0.3, 0.8, 3).value)
        assert math.isnan(test(0.5, 0.5, 1.0, 50).value)


def test_published_age_difference_of_snr():
    """r 0.026 against 0.093 at r(PI, AF3) 0.972, n 59: Williams t 2.21, p 0.031."""
    t = williams(0.093, 0.026, 0.972, 59)
    assert t.value == pytest.approx(2.21, abs=0.005)
    assert t.p == pytest.approx(0.031, abs=0.0005)


@pytest.mark.filterwarnings("ignore")
class TestPingouin:
    """Where pingouin has the method, agreement to 1e-8."""

    @pytest.fixture
    def pg(self):
        return pytest.importorskip("pingouin")

    def test_correlation(self, pg, pair):
        expected = pg.corr(*pair).iloc[0]
        r = pearson(*pair)
        assert (r.value, r.p) == pytest.approx((expected["r"], expected["p_val"]), abs=1e-8)

    def test_paired_t(self, pg, pair):
        x, y = pair
        expected = pg.ttest(y, x, paired=True).iloc[0]
        result = paired_agreement(x, y)
        assert result.paired_t == pytest.approx(expected["T"], abs=1e-8)
        assert result.paired_t_p == pytest.approx(expected["p_val"], abs=1e-8)

    def test_equivalence(self, pg, pair):
        x, y = pair
        expected = pg.tost(y, x, bound=5, paired=True).iloc[0]
        assert equivalence(y - x, margin=5).p == pytest.approx(expected["pval"], abs=1e-8)

    def test_intraclass(self, pg, pair):
        n = len(pair[0])
        frame = pd.DataFrame(
            {"s": np.tile(np.arange(n), 2), "m": np.repeat(["x", "y"], n), "v": np.hstack(pair)}
        )
        table = pg.intraclass_corr(frame, "s", "m", "v").set_index("Type")
        name = next(index for index in ("ICC(A,1)", "ICC2") if index in table.index)
        assert intraclass(np.column_stack(pair)).value == pytest.approx(
            table.loc[name, "ICC"], abs=1e-8
        )

    def test_partial_correlation(self, pg, pair, sexes):
        frame = pd.DataFrame({"x": pair[0], "y": pair[1], "s": (sexes == "F").astype(float)})
        expected = pg.partial_corr(frame, "x", "y", "s").iloc[0]
        r = partial_pearson(*pair, sexes)
        assert (r.value, r.p) == pytest.approx((expected["r"], expected["p_val"]), abs=1e-8)

    def test_adjusted_p_values(self, pg):
        p = np.random.default_rng(1).random(21) ** 3
        for adjust, method in ((false_discovery_rate, "fdr_bh"), (holm, "holm")):
            np.testing.assert_allclose(adjust(p), pg.multicomp(p, method=method)[1], atol=1e-8)
