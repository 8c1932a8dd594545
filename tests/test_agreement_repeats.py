"""Repeated scans: published examples, exact cases, and how tables of them are read."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.protocols import compare_protocols
from accelqsm.agreement.scans import compare_scans, declared_repeats, scan_means
from accelqsm.agreement.statistics.repeats import (
    MeanSquare,
    Replicates,
    combined,
    repeated_agreement,
    replicates,
)
from accelqsm.agreement.values import check_values
from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table, write_table
from accelqsm.results.comparison import read_comparison
from repeat_data import (
    CARDIAC,
    DYESTUFF,
    DYESTUFF_REML,
    MACHINES,
    MACHINES_REML,
    PRESSURE,
    PRESSURE_PRINTED,
)


def of(scans: object) -> Replicates:
    return replicates([np.asarray(one, dtype=np.float64) for one in scans])  # type: ignore[attr-defined]


def test_limits_of_repeated_measurements_are_those_of_bland_and_altman_1999() -> None:
    """Their printed digits; intervals differ by at most a sixth of their half-width."""
    j, s = of(PRESSURE["J"]), of(PRESSURE["S"])
    found = repeated_agreement(s, j)
    printed = PRESSURE_PRINTED
    assert (j.within_variance, s.within_variance) == pytest.approx(
        (printed["within_j"], printed["within_s"]), abs=5e-4
    )
    assert (j.means - s.means).mean() == pytest.approx(printed["bias"], abs=5e-3)
    assert found.sd_difference.value == pytest.approx(printed["sd"], abs=5e-3)
    assert (found.lower.value, found.upper.value) == pytest.approx(printed["limits"], abs=5e-3)
    for limit, ends in zip((found.lower, found.upper), printed["limits_ci"], strict=True):
        assert (limit.lower, limit.upper) == pytest.approx(ends, abs=(ends[1] - ends[0]) / 12)


def test_unequal_numbers_of_measurements_as_in_bland_and_altman_1999() -> None:
    rv, ic = of(CARDIAC["RV"]), of(CARDIAC["IC"])
    found = repeated_agreement(ic, rv)
    assert found.unbalanced
    assert (rv.within_variance, ic.within_variance) == pytest.approx((0.1072, 0.1379), abs=5e-5)
    h = np.mean([1 / len(one) for one in CARDIAC["RV"]])
    variance = (rv.means - ic.means).var(ddof=1) + (1 - h) * (
        rv.within_variance + ic.within_variance
    )
    assert found.sd_difference.value == pytest.approx(math.sqrt(variance))
    bias = (rv.means - ic.means).mean()
    assert bias == pytest.approx(0.7092, abs=5e-5)
    assert found.upper.value == pytest.approx(bias + 1.96 * math.sqrt(variance))


def test_each_protocol_counts_with_its_own_number_of_scans() -> None:
    """Three scans under the reference and two under the protocol, with unequal noise."""
    rng = np.random.default_rng(5)
    three, two = of(rng.normal(0, 1, (9, 3))), of(rng.normal(0, 4, (9, 2)))
    found = repeated_agreement(three, two)
    means = (two.means - three.means).var(ddof=1)
    single = means + 2 / 3 * three.within_variance + two.within_variance / 2
    own = means - three.within_variance / 3 - two.within_variance / 2
    assert found.sd_difference.value == pytest.approx(math.sqrt(single))
    assert found.protocol_sd.value == pytest.approx(math.sqrt(max(own, 0) / 2))
    assert not found.unbalanced


def test_variance_components_are_the_published_reml_estimates() -> None:
    """Of three machines: the means over the pairs, since numbers are equal."""
    scans = {name: of(rows) for name, rows in MACHINES.items()}
    pairs = [
        repeated_agreement(scans[a], scans[b]) for a, b in (("A", "B"), ("A", "C"), ("B", "C"))
    ]
    for name in ("subject_sd", "protocol_sd"):
        found = math.sqrt(np.mean([getattr(pair, name).value ** 2 for pair in pairs]))
        assert found == pytest.approx(MACHINES_REML[name], abs=5e-6)
    rescan = math.sqrt(np.mean([one.within_variance for one in scans.values()]))
    assert rescan == pytest.approx(MACHINES_REML["rescan_sd"], abs=5e-7)


def test_the_sd_of_scanning_again_is_the_published_residual() -> None:
    found = of(DYESTUFF)
    between = found.means.var(ddof=1) - found.within_variance * found.mean_inverse_count
    assert (math.sqrt(between), math.sqrt(found.within_variance)) == pytest.approx(
        DYESTUFF_REML, abs=5e-5
    )


def test_components_are_those_of_a_mixed_model_fitted_by_reml() -> None:
    statsmodels = pytest.importorskip("statsmodels.formula.api")
    rows = [
        (f"{i}", name, value)
        for name in ("A", "C")
        for i, scans in enumerate(MACHINES[name])
        for value in scans
    ]
    data = pd.DataFrame(rows, columns=["worker", "machine", "score"])
    data["both"] = data["worker"] + data["machine"]
    model = statsmodels.mixedlm(
        "score ~ machine", data, groups="worker", vc_formula={"p": "0 + C(both)"}, re_formula="1"
    )
    fit = model.fit(reml=True)
    found = repeated_agreement(of(MACHINES["A"]), of(MACHINES["C"]))
    rescan2 = (found.rescan_sd_reference.value**2 + found.rescan_sd.value**2) / 2
    assert fit.scale == pytest.approx(rescan2, rel=1e-3)
    assert float(fit.cov_re.iloc[0, 0]) == pytest.approx(found.subject_sd.value**2, rel=1e-2)
    assert float(fit.vcomp[0]) == pytest.approx(found.protocol_sd.value**2, rel=1e-2)


def test_the_interval_of_one_mean_square_is_that_of_chi_square() -> None:
    """And of a sum the root of squares: Graybill and Wang."""
    one = combined([MeanSquare(4.0, 10, 1)])
    assert (one.lower, one.upper) == pytest.approx(
        (4 * 10 / 20.483177, 4 * 10 / 3.246973), rel=1e-6
    )
    two = combined([MeanSquare(4.0, 10, 1), MeanSquare(4.0, 10, 1)])
    assert two.upper == pytest.approx(8 + math.sqrt(2) * (one.upper - 4))
    less = combined([MeanSquare(4.0, 10, 1), MeanSquare(4.0, 10, -1)])
    assert less.value == 0
    assert less.lower == pytest.approx(-math.hypot(4 - one.lower, one.upper - 4))


def simulated(
    *, n: int = 60, subject: float = 20.0, protocol: float = 3.0, rescan: float = 2.0, seed: int = 0
) -> pd.DataFrame:
    """PI twice and AF5 twice, with known SDs."""
    rng = np.random.default_rng(seed)
    base = 90 + subject * rng.normal(size=n)
    own = {name: protocol * rng.normal(size=n) for name in ("PI", "AF5")}
    rows = [
        (f"{i:02d}", name, "SNc", base[i] + own[name][i] + rescan * rng.normal(), str(run))
        for name in ("PI", "AF5")
        for run in (1, 2)
        for i in range(n)
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb", "run"])


def test_the_parts_of_a_difference_are_found_and_their_intervals_hold_them() -> None:
    truth = {
        "rescan_sd": 2.0,
        "rescan_sd_reference": 2.0,
        "protocol_sd": 3.0,
        "subject_sd": 20.0,
        "repeatability_reference": 1.96 * math.sqrt(2) * 2.0,
        "reproducibility": 1.96 * math.sqrt(2) * math.sqrt(13.0),
    }
    inside = dict.fromkeys(truth, 0)
    for seed in range(100):
        row = compare_scans(simulated(seed=seed), reference="PI").iloc[0]
        for name, value in truth.items():
            inside[name] += row[f"{name}_ci_lower"] <= value <= row[f"{name}_ci_upper"]
    # 95 of 100 are expected; 88 or fewer have a probability of 0.3 %.
    assert min(inside.values()) > 88, inside


def test_means_are_compared_and_limits_are_of_single_scans() -> None:
    values = simulated()
    row = compare_protocols(values, reference="PI").iloc[0]
    mean = values.groupby(["protocol", "subject"])["value_ppb"].mean()
    difference = mean["AF5"] - mean["PI"]
    assert row["bias"] == pytest.approx(difference.mean())
    assert row["sd_compared"] == pytest.approx(difference.std())
    assert row["sd_difference"] == pytest.approx(math.sqrt(26), rel=0.15)
    assert row["sd_compared"] == pytest.approx(math.sqrt(22), rel=0.15)
    assert row["loa_upper"] == pytest.approx(row["bias"] + 1.96 * row["sd_difference"])
    assert row["within_subject_sd"] == pytest.approx(row["sd_difference"] / math.sqrt(2))
    assert row["tost_ci_upper"] - row["bias"] == pytest.approx(
        1.6711 * row["sd_compared"] / math.sqrt(60), rel=1e-4
    )
    again = compare_protocols(scan_means(values), reference="PI").iloc[0]
    same = ["bias", "tost_ci_lower", "verdict", "n_to_decide", "pearson_r", "paired_t_p"]
    assert again[same].to_dict() == pytest.approx(row[same].to_dict(), nan_ok=True)
    assert again["sd_difference"] < row["sd_difference"]


def test_a_repeat_of_the_reference_alone_is_taken_for_both_and_says_so() -> None:
    values = simulated()
    values = values[(values["protocol"] == "PI") | (values["run"] == "1")]
    row = compare_scans(values, reference="PI").iloc[0]
    assert (row["scans_reference"], row["scans"]) == (2, 1)
    assert row["rescan_sd"] == row["rescan_sd_reference"]
    assert row["note"] == "only the reference was repeated; the other is taken to repeat as well"
    assert row["share_rescan"] == pytest.approx(8 / 26, rel=0.4)
    single = compare_protocols(values, reference="PI").iloc[0]
    assert single["sd_difference"] == pytest.approx(math.sqrt(26), rel=0.15)


def test_a_protocol_that_repeats_another_is_declared() -> None:
    values = simulated()
    named = values.assign(
        protocol=values["protocol"] + np.where(values["run"] == "2", " rescan", "")
    ).drop(columns="run")
    declared = declared_repeats(named, {"PI rescan": "PI", "AF5 rescan": "AF5"})
    expected = compare_scans(values, reference="PI")
    found = compare_scans(declared, reference="PI")
    pd.testing.assert_frame_equal(found, expected)
    with pytest.raises(InputError, match=r"repeat: expected one of PI, PI rescan, .*, found 'PI2'"):
        declared_repeats(named, {"PI2": "PI"})
    with pytest.raises(InputError, match="expected a protocol that is no repeat, found 'AF5'"):
        declared_repeats(named, {"AF5 rescan": "AF5", "AF5": "PI"})


def test_without_repeats_nothing_changes_and_two_rows_of_one_scan_are_refused() -> None:
    values = simulated()
    once = values[values["run"] == "1"]
    assert compare_scans(once, reference="PI") is None
    assert scan_means(once) is once
    pd.testing.assert_frame_equal(
        compare_protocols(once, reference="PI"),
        compare_protocols(once.drop(columns="run"), reference="PI"),
    )
    twice = pd.concat([values, values.iloc[:1]])
    with pytest.raises(InputError, match="one row per subject, protocol, run and region"):
        check_values(twice, "PI")


def test_intervals_of_values_explain_their_share_of_the_variance() -> None:
    """Noise of 2 ppb in each value, in differences whose variance is 8 + 18."""
    values = simulated(n=400)
    once = values[values["run"] == "1"]
    measured = once.assign(low_ppb=once["value_ppb"] - 3.92, high_ppb=once["value_ppb"] + 3.92)
    row = compare_protocols(measured, reference="PI").iloc[0]
    assert row["measurement_sd"] == pytest.approx(math.sqrt(8))
    assert row["measurement_share"] == pytest.approx(8 / 26, rel=0.15)
    assert math.isnan(compare_protocols(once, reference="PI").iloc[0]["measurement_sd"])
    turned = measured.rename(columns={"low_ppb": "high_ppb", "high_ppb": "low_ppb"})
    with pytest.raises(InputError, match="low_ppb: expected at most high_ppb, found"):
        compare_protocols(turned, reference="PI")


def test_repeats_go_through_files_and_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, out = simulated(), tmp_path / "out"
    named = values.assign(
        protocol=values["protocol"].where(values["run"] == "1", values["protocol"] + " rescan")
    ).drop(columns="run")
    write_table(tmp_path / "v.tsv", named[named["protocol"] != "AF5 rescan"])
    words = ["--reference", "PI", "--repeat", "PI rescan=PI"]
    assert main(["compare", str(tmp_path / "v.tsv"), str(out), *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "PI was scanned 2 times" in said
    stored = read_comparison(out)
    assert stored.settings.repeat == {"PI rescan": "PI"}
    assert stored.scans is not None
    assert stored.repeats is not None
    assert len(stored.scans) == 3 * 60
    assert len(stored.values) == 2 * 60
    assert set(read_table(out / "repeats.tsv")) == set(stored.repeats)
    assert main(["plan", str(out), "--scans", "4", "--out", str(tmp_path / "plan.tsv")]) == 0
    row = stored.agreement.iloc[0]
    four = read_table(tmp_path / "plan.tsv").iloc[0]["sd_compared"]
    within = row["rescan_sd_reference"] ** 2 + row["rescan_sd"] ** 2
    assert four**2 == pytest.approx(row["sd_difference"] ** 2 - 0.75 * within, rel=1e-4)
    methods = (out / "methods.md").read_text(encoding="utf-8")
    assert "Of repeated scans the means were compared" in methods
    assert "zou2013" in (out / "references.bib").read_text(encoding="utf-8")
