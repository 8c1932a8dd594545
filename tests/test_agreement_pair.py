import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from accelqsm.agreement.pair import paired_agreement
from accelqsm.agreement.statistics.coefficients import concordance, intraclass, pearson
from accelqsm.agreement.statistics.limits import limits_of_agreement
from accelqsm.agreement.statistics.multiplicity import false_discovery_rate
from accelqsm.errors import InputError

# Bland & Altman 1986, Lancet i:307, table 1: first readings in l/min of 17 subjects.
WRIGHT = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
MINI = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
# Shrout & Fleiss 1979, table 2: 6 subjects by 4 judges.
JUDGES = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


@pytest.fixture
def pair():
    generator = np.random.default_rng(3)
    x = generator.normal(90, 25, 41)
    return x, 2 + 1.03 * x + generator.normal(0, 5, 41)


def with_moments(mean_x, sd_x, mean_y, sd_y, r, n=59):
    """A sample that has exactly these means, SDs and correlation."""
    noise = np.random.default_rng(0).normal(size=(n, 2))
    basis = np.linalg.qr(noise - noise.mean(0))[0] * math.sqrt(n - 1)
    basis -= basis.mean(0)
    u, v = basis.T
    return mean_x + sd_x * u, mean_y + sd_y * (r * u + math.sqrt(1 - r * r) * v)


def test_peak_flow_meters_of_bland_and_altman():
    result = paired_agreement(MINI, WRIGHT)
    assert result.bias == pytest.approx(-2.1, abs=0.05)
    assert result.sd_difference == pytest.approx(38.8, abs=0.05)
    # Printed with 2 SD: -79.7 and 75.5; with 1.96 SD the limits lie 0.04 SD further in.
    assert result.loa_lower == pytest.approx(-79.7 + 0.04 * 38.8, abs=0.1)
    assert result.loa_upper == pytest.approx(75.5 - 0.04 * 38.8, abs=0.1)
    assert result.bias_ci_lower == pytest.approx(-22.0, abs=0.1)
    assert result.bias_ci_upper == pytest.approx(17.8, abs=0.1)
    assert result.pearson_r == pytest.approx(0.94, abs=0.005)
    assert result.n == 17
    assert result.note == ""


def test_judges_of_shrout_and_fleiss():
    scores = np.array(JUDGES, dtype=float)
    icc = intraclass(scores)
    assert icc.value == pytest.approx(0.29, abs=0.005)
    # The interval that the R package psych prints for the same table.
    assert (icc.lower, icc.upper) == pytest.approx((0.019, 0.76), abs=0.005)


def test_correlation_and_tests_equal_scipy(pair):
    x, y = pair
    result = paired_agreement(x, y)
    r = stats.pearsonr(x, y)
    assert result.pearson_r == pytest.approx(r.statistic, abs=1e-12)
    assert result.pearson_p == pytest.approx(r.pvalue, rel=1e-6)
    assert (result.pearson_r_ci_lower, result.pearson_r_ci_upper) == pytest.approx(
        tuple(r.confidence_interval())
    )
    t = stats.ttest_rel(y, x)
    assert (result.paired_t, result.paired_t_p) == pytest.approx((t.statistic, t.pvalue))
    assert (result.bias_ci_lower, result.bias_ci_upper) == pytest.approx(
        tuple(t.confidence_interval())
    )
    line = stats.linregress((x + y) / 2, y - x)
    assert result.proportional_slope == pytest.approx(line.slope)
    assert result.proportional_slope_p == pytest.approx(line.pvalue)
    half = stats.t.ppf(0.975, 39) * line.stderr
    assert result.proportional_slope_ci_upper == pytest.approx(line.slope + half)
    margin = 0.05 * x.mean()
    one_sided = [
        stats.ttest_1samp(y - x, -margin, alternative="greater").pvalue,
        stats.ttest_1samp(y - x, margin, alternative="less").pvalue,
    ]
    assert result.tost_margin == pytest.approx(margin)
    assert result.tost_p == pytest.approx(max(one_sided))


def test_limits_cover_19_of_20_and_their_interval_is_0_44_sd_at_59():
    x, y = with_moments(100, 25, 102, 25, 0.97)
    result = paired_agreement(x, y)
    symmetric = limits_of_agreement(y - x, interval="bland-altman-1986").upper
    half = (symmetric.upper - symmetric.lower) / 2
    assert half / result.sd_difference == pytest.approx(0.445, abs=0.001)
    outwards = result.loa_upper_ci_upper - result.loa_upper
    inwards = result.loa_upper - result.loa_upper_ci_lower
    assert inwards < half < outwards
    assert result.loa_lower + result.loa_upper == pytest.approx(2 * result.bias)
    d = np.random.default_rng(8).normal(3, 7, 20000)
    wide = paired_agreement(np.ones(20000) + d * 0, 1 + d)
    assert np.mean((d > wide.loa_lower) & (d < wide.loa_upper)) == pytest.approx(0.95, abs=0.005)


def test_interval_of_a_limit_covers_the_truth_in_95_percent_of_samples():
    generator = np.random.default_rng(21)
    true_limit, hits = 1.96 * 4.0, 0
    for _ in range(600):
        d = generator.normal(0, 4.0, 59)
        result = paired_agreement(np.arange(59.0), np.arange(59.0) + d)
        hits += result.loa_upper_ci_lower < true_limit < result.loa_upper_ci_upper
    assert hits / 600 == pytest.approx(0.95, abs=0.03)


def test_concordance_has_a_closed_form_under_shift_and_scale(pair):
    x, _ = pair
    variance = x.var()
    assert concordance(x, x + 5).value == pytest.approx(2 * variance / (2 * variance + 25))
    mean = x.mean()
    assert concordance(x, 2 * x).value == pytest.approx(4 * variance / (5 * variance + mean**2))
    assert concordance(x, x).value == pytest.approx(1)


def test_intraclass_equals_the_mean_squares_of_two_measurements(pair):
    """For two measurements MSE = var(d) / 2 and MSR - MSE = 2 cov(x, y)."""
    x, y = pair
    n, d = len(x), y - x
    covariance, error = np.cov(x, y)[0, 1], d.var(ddof=1) / 2
    between_methods = n * d.mean() ** 2 / 2
    expected = 2 * covariance / (2 * covariance + 2 * error + 2 * (between_methods - error) / n)
    result = paired_agreement(x, y)
    assert result.icc == pytest.approx(expected)
    assert result.icc_ci_lower < result.icc < result.icc_ci_upper
    assert result.within_subject_sd == pytest.approx(math.sqrt(error))


def test_swapping_the_vectors_mirrors_the_differences(pair):
    x, y = pair
    one, two = paired_agreement(x, y), paired_agreement(y, x)
    assert (one.bias, one.loa_lower) == pytest.approx((-two.bias, -two.loa_upper))
    for name in ("pearson_r", "icc", "ccc", "sd_difference", "paired_t_p"):
        assert getattr(one, name) == pytest.approx(getattr(two, name))


def test_critical_correlation_at_59_is_0_256():
    x, y = with_moments(0, 1, 0, 1, 0.2562)
    assert pearson(x, y).p == pytest.approx(0.05, abs=0.0005)


def test_published_age_correlations_give_their_printed_p():
    for r, p in [(0.273, 0.036), (0.224, 0.088), (0.328, 0.011), (0.517, 2.8e-5)]:
        assert pearson(*with_moments(0, 1, 0, 1, r)).p == pytest.approx(p, rel=0.03)


@pytest.mark.parametrize(
    ("x", "y", "note"),
    [
        ([1.0], [2.0], "1 pair, at least 3 needed"),
        ([1.0, 2.0], [2.0, 3.5], "2 pairs, at least 3 needed"),
        ([5.0, 5.0, 5.0], [4.0, 5.0, 6.0], "reference values do not vary"),
        ([4.0, 5.0, 6.0], [5.0, 5.0, 5.0], "values do not vary"),
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], "differences do not vary, no t test"),
        ([0.1 * 3, 0.3, 0.3], [0.3, 0.3, 0.3], "reference values do not vary; values do"),
        ([-1.0, 0.0, 1.0], [-1.0, 0.5, 1.0], "reference mean is zero, no percentages"),
    ],
)
def test_undefined_figures_are_nan_with_a_note(x, y, note):
    result = paired_agreement(x, y)
    assert note in result.note
    assert result.bias == pytest.approx(np.mean(y) - np.mean(x))
    assert result.n == len(x)
    if len(x) < 3 or "values do not vary" in note:
        assert math.isnan(result.pearson_r)
    if "differences" in note:
        assert math.isnan(result.paired_t_p)
        assert result.tost_ci_lower == result.tost_ci_upper == result.bias
        assert result.verdict == ("equivalent" if result.bias == 0 else "not equivalent")
        assert (result.loa_lower, result.loa_upper) == pytest.approx((0.1, 0.1))
    if "zero" in note:
        assert math.isnan(result.percent_difference)
        assert math.isnan(result.tost_p)


def test_identical_vectors_agree_perfectly():
    x = np.array([30.0, 45.0, 80.0, 120.0])
    result = paired_agreement(x, x)
    assert (result.pearson_r, result.icc, result.ccc) == pytest.approx((1, 1, 1))
    assert result.percent_difference == 0
    assert math.isnan(result.paired_t_p)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        ([1.0, 2.0], [1.0], {}, "two vectors of one length"),
        ([], [], {}, "two vectors of one length"),
        ([1.0, math.nan], [1.0, 2.0], {}, "finite numbers"),
        ([1.0], [1.0], {"margin_percent": 0.0}, "equivalence margin: .*found 0.0"),
        ([1.0], [1.0], {"confidence": 95.0}, "confidence: .*found 95.0"),
    ],
)
def test_bad_input_is_one_line(x, y, options, message):
    with pytest.raises(InputError, match=message):
        paired_agreement(x, y, **options)


def test_false_discovery_rate_equals_scipy_and_skips_nan():
    p = np.array([0.01, 0.8, 0.02, 0.03, 0.5, 0.02])
    adjusted = false_discovery_rate(np.insert(p, 2, np.nan))
    assert math.isnan(adjusted[2])
    np.testing.assert_allclose(np.delete(adjusted, 2), stats.false_discovery_control(p))


def test_many_pairs_are_compared_in_little_memory():
    generator = np.random.default_rng(4)
    truth = generator.normal(80, 20, 20_000)
    x, y = (truth + generator.normal(0, 4, truth.size) for _ in range(2))
    tracemalloc.start()
    result = paired_agreement(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6
    assert result.note == "more than 4000 pairs, no Passing-Bablok line"
    assert math.isnan(result.passing_bablok_slope)
    assert result.deming_slope_ci_lower < 1 < result.deming_slope_ci_upper
