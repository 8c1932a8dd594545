"""Published examples, to the digits that were printed; each says where it was printed."""

import math

import numpy as np
import pytest

from accelqsm.agreement.statistics.coefficients import concordance
from accelqsm.agreement.statistics.dependent import steiger, williams
from accelqsm.agreement.statistics.equivalence import (
    Verdict,
    equivalence,
    equivalence_power,
    subjects_to_decide,
)
from accelqsm.agreement.statistics.limits import limits_of_agreement
from accelqsm.agreement.statistics.lines import deming, passing_bablok


def pairs(text):
    return np.array(text.split(), dtype=float).reshape(-1, 2).T


# Bland & Altman 1986, Lancet i:307, table 1: first readings in l/min, large and mini meter.
LARGE, MINI = pairs("""
494 512 395 430 516 520 434 428 476 500 557 600 413 364 442 380 650 658 433 445 417 432 656 626
267 260 478 477 178 259 423 350 427 451
""")

# NCSS, "Deming regression", example 5, data set DemingReg1 (error variances 0.032 and 0.008).
DEMING = pairs("7 7.9 8.3 8.2 10.5 9.6 9 9 5.1 6.5 8.2 7.3 10.2 10.2 10.3 10.6 7.1 6.3 5.9 5.2")

# Creatinine of R's package mcr: serum and plasma, mg/dl, the 108 complete pairs.
CREATININE = pairs("""
0.82 0.79 1.83 1.62 1.39 1.36 0.81 1.3 1.72 1.88 3.23 3.35 1.23 1.06 1.37 1.34 1.72 1.56 0.96 0.94
0.76 0.69 1.15 1.16 0.95 0.71 1 0.83 1.52 1.44 1.56 1.26 2.45 2.36 1.85 1.9 0.89 0.95 0.82 0.77
1.01 0.82 0.96 0.88 3.38 3.42 1.31 1.15 1.1 0.96 1.26 1.12 1.15 1.02 1.2 1.29 1.01 0.87 1.33 1.13
0.87 0.82 1.66 1.33 1.41 1.14 1.08 0.93 1.17 1.09 1.77 1.89 1.33 1.57 1.23 1.29 1.21 1.13 1.2 1.11
1.49 1.61 0.89 0.79 1.09 1.19 1.03 0.96 1.07 1.25 0.89 0.87 1.39 1.36 0.96 0.86 1.06 1.03 1.17 0.86
0.9 0.8 1.39 1.22 0.91 0.86 2.28 2.25 0.9 0.87 1.34 1.3 1.32 1.04 1.02 0.92 1.04 1.01 1.27 1.21
1.08 1.11 1.1 1.21 1.39 1.54 1.07 0.99 0.79 0.79 1.02 1.06 0.94 1.02 1.99 2.15 0.7 0.56 0.84 1.01
0.66 0.59 1.1 1.17 0.9 0.82 2.06 2.09 1.31 1.44 1.03 1.22 1.61 1.77 1.52 1.6 1.11 1.13 0.85 1.06
1.2 1.38 1.09 1.24 1.27 1.29 2.06 2.08 1.21 1.31 0.77 0.82 1.06 1.28 1.02 1.15 1 1.04 1.47 1.51
0.97 1.13 1.7 1.84 1.78 1.94 0.93 1.32 0.92 1.36 1.59 1.88 0.68 0.73 0.7 0.78 1.08 1.01 0.83 0.9
1.17 1.3 0.98 0.96 0.77 0.61 0.91 1.27 1.1 1.05 0.8 1.12 0.85 0.72 0.82 0.87
""")

# Data set PassBablok1 of NCSS.
PASS_BABLOK_1 = pairs("""
69.3 69.1 27.1 26.7 61.3 61.4 50.8 51.2 34.4 34.7 92.3 88.5 57.5 57.9 45.5 45.1 33.3 33.4 60.9 60.8
56.3 66.5 49.9 48.2 89.7 88.3 28.9 29.3 96.3 96.4 76.6 77.1 83.2 82.7 79.4 78.9 51.7 51.6 32.5 28.8
14.2 12.7 99.1 98.6 76.8 77.3 95.4 94.9 84.1 83.3 48.8 47.0 80.4 80.9 84.5 84.7 61.4 61.3 26.9 26.7
""")

# Cardiac output, RV and IC: the rows of Bland & Altman 1999 that R's SimplyAgree calls ``reps``.
CARDIAC = pairs("""
7.83 6.57 7.42 5.62 7.89 6.9 7.12 6.57 6.16 4.06 7.26 4.29 6.71 4.26 4.75 4.71 5.24 5.5 4.86 5.08
4.78 5.02 6.05 6.01 5.42 5.67 4.21 4.14 3.61 4.2 3.72 4.61 3.87 4.68 3.92 5.04
""")

# Student's sleep data (R: datasets::sleep): extra hours under drugs 1 and 2.
SLEEP = pairs("0.7 1.9 -1.6 0.8 -0.2 1.1 -1.2 0.1 -0.1 -0.1 3.4 4.4 3.7 5.5 0.8 1.6 0 4.6 2 3.4")


def test_peak_flow_of_bland_and_altman_as_printed():
    """Bias -2.1 (-22.0 to 17.8), SD 38.8, limits -79.7 and 75.5, their SE 16.3.

    The paper went on with rounded numbers (bias, SD, SE, t 2.12), and so does the check.
    """
    limits = limits_of_agreement(LARGE - MINI, limit_sd=2, interval="bland-altman-1986")
    bias, sd = round(limits.bias.value, 1), round(float((LARGE - MINI).std(ddof=1)), 1)
    assert (bias, sd) == (-2.1, 38.8)
    assert round(bias - 2 * sd, 1) == -79.7
    assert round(bias + 2 * sd, 1) == 75.5
    assert limits.lower.value == pytest.approx(-79.7, abs=0.1)
    assert limits.upper.value == pytest.approx(75.5, abs=0.1)
    assert (limits.bias.lower, limits.bias.upper) == pytest.approx((-22.0, 17.8), abs=0.05)
    error = round((limits.upper.upper - limits.upper.lower) / 2 / 2.12, 1)
    assert error == 16.3
    for limit, printed in ((-79.7, (-114.3, -45.1)), (75.5, (40.9, 110.1))):
        ends = (limit - 2.12 * error, limit + 2.12 * error)
        assert tuple(np.round(ends, 1)) == printed
    assert (limits.lower.lower, limits.lower.upper) == pytest.approx((-114.3, -45.1), abs=0.2)


def test_concordance_of_cardiac_output_as_printed_by_simplyagree():
    """SimplyAgree, vignette "Agreement tests": CCC 0.4791, 95 % C.I. [0.1276, 0.7237]."""
    c = concordance(*CARDIAC)
    assert np.round([c.value, c.lower, c.upper], 4).tolist() == [0.4791, 0.1276, 0.7237]


def test_limits_of_cardiac_output_as_printed_by_simplyagree():
    """The same page, 80 % limits: bias 0.4383 [-0.1669, 1.0436], limits -1.1214 and 1.9980."""
    x, y = CARDIAC
    limits = limits_of_agreement(x - y, limit_sd=1.2815515655446004)
    bias = limits.bias
    assert np.round([bias.value, bias.lower, bias.upper], 4).tolist() == [0.4383, -0.1669, 1.0436]
    assert np.round([limits.lower.value, limits.upper.value], 4).tolist() == [-1.1214, 1.9980]


def test_deming_as_printed_by_ncss_and_simplyagree():
    """NCSS: slope 1.0011942 (0.5695632, 1.4328253), intercept -0.0897449; SimplyAgree's vignette
    "Deming regression" adds intercept (-4.0607, 3.881)."""
    line = deming(*DEMING, variance_ratio=0.25)
    slope, intercept = line.slope, line.intercept
    printed = [1.0011942, 0.5695632, 1.4328253]
    assert np.round([slope.value, slope.lower, slope.upper], 7).tolist() == printed
    assert round(intercept.value, 7) == -0.0897449
    assert round(intercept.lower, 4) == -4.0607
    assert round(intercept.upper, 3) == 3.881


def test_passing_bablok_as_printed_by_mcr():
    """mcr 1.2, creatinine: slope 1.0880089 (1.0000000, 1.173005), intercept -0.1171729
    (-0.2001149, -0.020000), printed in the program that goes with Wicklin 2022, "Passing-Bablok
    regression in SAS". mcr interpolates between the slopes of neighbouring ranks, the paper does
    not: the upper end of the slope and the lower end of the intercept differ by that."""
    line = passing_bablok(*CREATININE)
    assert round(line.slope.value, 7) == 1.0880089
    assert round(line.slope.lower, 7) == 1.0
    assert line.slope.upper == pytest.approx(1.173005, abs=1e-4)
    assert round(line.intercept.value, 7) == -0.1171729
    assert line.intercept.lower == pytest.approx(-0.2001149, abs=1e-4)
    assert round(line.intercept.upper, 6) == -0.02


def test_passing_bablok_of_ncss_data_as_methcomp_and_deming_give_it():
    """Slope 1.00 and intercept -0.15, the results of R's MethComp::PBreg and deming::pbreg as
    noted in SimplyAgree's tests of ``pb_reg``."""
    line = passing_bablok(*PASS_BABLOK_1)
    assert round(line.slope.value, 2) == 1.0
    assert round(line.intercept.value, 2) == -0.15


def test_passing_bablok_of_the_methcomp_example():
    """Python's methcomp, tests: slope 1.0050 and intercept 0.0125 by mcr."""
    x, y = pairs("""
    1 1.03 2 2.05 3 2.79 4 3.67 5 5.00 6 5.82 7 7.16 8 7.69 9 8.53 10 10.38 11 11.11 12 12.17
    13 13.47 14 13.83 15 15.15 16 16.12 17 16.94 18 18.09 19 19.13 20 19.54
    """)
    line = passing_bablok(x, y)
    assert round(line.slope.value, 4) == 1.0050
    assert round(line.intercept.value, 4) == 0.0125


def test_williams_and_steiger_as_printed_by_cocor():
    """rmcorr, vignette on comparing correlations: r 0.8066 and 0.2383, related r 0.2255, n 177;
    cocor prints Williams' t 9.3823 (df 174) and Steiger's z 8.5460. The three correlations are
    printed to four digits, which moves either statistic by up to 0.002."""
    assert williams(0.8065821, 0.2383, 0.2255, 177).value == pytest.approx(9.3823, abs=0.002)
    assert steiger(0.8065821, 0.2383, 0.2255, 177).value == pytest.approx(8.5460, abs=0.002)


def test_williams_as_printed_by_psych():
    """R's psych, help of r.test: n 5105 and these correlations give p 0.1000759."""
    t = williams(0.693458895410494, 0.695966022434845, 0.988475791500198, 5105)
    assert round(t.p, 7) == 0.1000759


def test_tost_of_the_sleep_data_as_printed_by_toster():
    """TOSTER, bounds +-1 (README of the comparison with report): t -1.491161 p 0.9149441 at the
    lower and t -6.633095 p 4.778596e-05 at the upper bound, 90 % CI -2.293005 to -0.8669947."""
    result = equivalence(SLEEP[0] - SLEEP[1], margin=1.0)
    assert round(result.t_lower, 6) == -1.491161
    assert round(result.t_upper, 6) == -6.633095
    assert round(result.p, 7) == 0.9149441
    assert round(result.lower, 6) == -2.293005
    assert round(result.upper, 7) == -0.8669947
    assert result.verdict is Verdict.UNDECIDED


def test_power_of_equivalence_as_printed_by_powertost():
    """PowerTOST, help of sampleN.TOST: 2x2 cross-over, CV 0.3: n 40, power 0.815845; parallel
    groups, CV 0.2, bounds +-0.2, bias -0.05: n 48, power 0.815435."""
    sd = math.sqrt(math.log(1 + 0.3**2))
    cross_over = equivalence_power(math.log(1.25), sd * math.sqrt(2 / 40), 38, bias=math.log(0.95))
    assert round(cross_over, 6) == 0.815845
    parallel = equivalence_power(0.2, 0.2 * math.sqrt(4 / 48), 46, bias=-0.05)
    assert round(parallel, 6) == 0.815435


def test_fewest_subjects_reach_the_power_and_one_fewer_does_not():
    for margin, sd, bias in ((5.0, 6.0, 0.0), (5.0, 6.0, 3.0), (1.5, 2.1, -0.4)):
        n = int(subjects_to_decide(margin, sd, bias=bias, power=0.9))
        powers = [
            equivalence_power(margin, sd / math.sqrt(m), m - 1, bias=bias) for m in (n - 1, n)
        ]
        assert powers[0] < 0.9 <= powers[1]
