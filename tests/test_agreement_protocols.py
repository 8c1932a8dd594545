import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from accelqsm.agreement.pair import paired_agreement
from accelqsm.agreement.protocols import compare_protocols
from accelqsm.errors import InputError

# Zhou et al. 2025, tables 2 and 3: PI mean and SD, then SD, percent difference and r at AF 3, 4, 5.
PUBLISHED = {
    "Pu": (30.8, 12.9, [(13.1, -0.56, 0.991), (13.4, 1.24, 0.990), (13.5, 3.15, 0.987)]),
    "Ca": (29.6, 6.3, [(6.3, -3.31, 0.968), (6.5, -2.98, 0.965), (6.7, -0.82, 0.961)]),
    "GPe": (120.2, 34.3, [(35.4, -1.58, 0.994), (35.8, -0.45, 0.993), (35.1, 0.11, 0.993)]),
    "GPi": (92.3, 26.0, [(24.8, -2.06, 0.980), (24.8, -0.32, 0.988), (28.0, 2.33, 0.978)]),
    "SNc": (84.6, 27.2, [(25.8, -1.18, 0.973), (26.7, 0.77, 0.956), (27.7, 2.49, 0.973)]),
    "SNr": (99.9, 25.4, [(24.8, -4.19, 0.972), (27.2, 0.40, 0.950), (28.3, 2.71, 0.975)]),
    "RN": (65.1, 23.1, [(23.7, -1.15, 0.963), (23.7, 1.57, 0.954), (25.0, 0.07, 0.963)]),
}
N = 59


def published_values():
    """A sample of 59 subjects with exactly the published means, SDs and correlations."""
    noise = np.random.default_rng(4).normal(size=(N, 2))
    u, v = (np.linalg.qr(noise - noise.mean(0))[0] * np.sqrt(N - 1)).T
    columns = {}
    for region, (mean, sd, protocols) in PUBLISHED.items():
        columns[region, "PI"] = mean + sd * u
        for factor, (sd_k, percent, r) in zip((3, 4, 5), protocols, strict=True):
            mean_k = mean * (1 + percent / 100)
            columns[region, f"AF{factor}"] = mean_k + sd_k * (r * u + np.sqrt(1 - r * r) * v)
    wide = pd.DataFrame(columns, index=[f"{i + 1:02d}" for i in range(N)])
    wide.columns.names = ["region", "protocol"]
    long = wide.stack(["region", "protocol"]).rename("value_ppb")
    return long.rename_axis(["subject", "region", "protocol"]).reset_index()


@pytest.fixture(scope="module")
def published():
    return published_values()


@pytest.fixture
def values():
    generator = np.random.default_rng(1)
    rows = [
        (s, p, r, base + s + generator.normal(0, 1))
        for s in range(6)
        for p in ("PI", "DL")
        for r, base in (("Pu", 30.0), ("RN", 65.0))
    ]
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def test_published_tables_come_back(published):
    frame = compare_protocols(published, reference="PI").set_index(["region", "protocol"])
    for region, (mean, _, protocols) in PUBLISHED.items():
        for factor, (_, percent, r) in zip((3, 4, 5), protocols, strict=True):
            row = frame.loc[(region, f"AF{factor}")]
            assert row.n == N
            assert row.mean_reference == pytest.approx(mean)
            assert row.percent_difference == pytest.approx(percent)
            assert row.pearson_r == pytest.approx(r)


def test_published_summary_implies_nine_systematic_differences(published):
    """What the published means, SDs and correlations imply for the tests that were not printed."""
    frame = compare_protocols(published, reference="PI").set_index(["region", "protocol"])
    nuclei = frame.drop(index="all", level="region")
    expected = {
        ("Ca", "AF3"): 1.5e-5, ("GPe", "AF3"): 5e-4, ("GPi", "AF3"): 0.007,
        ("SNr", "AF3"): 1.4e-6, ("Ca", "AF4"): 2e-4, ("Pu", "AF5"): 0.0013,
        ("GPi", "AF5"): 0.008, ("SNc", "AF5"): 0.014, ("SNr", "AF5"): 0.003,
    }  # fmt: skip
    significant = nuclei[nuclei.paired_t_p < 0.05]
    assert set(significant.index) == set(expected)
    for key, p in expected.items():
        assert nuclei.paired_t_p[key] == pytest.approx(p, rel=0.25)
    assert set(nuclei[nuclei.paired_t_p_fdr < 0.05].index) == set(expected)
    not_equivalent = nuclei[nuclei.tost_p > 0.05]
    assert list(not_equivalent.index) == [("SNr", "AF3")]
    assert nuclei.tost_p["SNr", "AF3"] == pytest.approx(0.15, abs=0.01)
    assert nuclei.ccc.min() == pytest.approx(0.948, abs=0.001)
    assert nuclei.ccc.max() == pytest.approx(0.993, abs=0.001)


def test_whom_a_correlation_depends_on_is_named_in_pooled_rows_with_the_region(values):
    odd = (values["subject"] == 4) & (values["region"] == "RN") & (values["protocol"] == "DL")
    values.loc[odd, "value_ppb"] += 90
    frame = compare_protocols(values, reference="PI").set_index("region")
    assert frame.loc["RN", "influential_subject"] == "4"
    assert frame.loc["all", "influential_subject"] == "4 RN"


def test_pooled_rows_hold_every_subject_and_region(published):
    frame = compare_protocols(published, reference="PI")
    pooled = frame[frame.region == "all"].set_index("protocol")
    wide = published.pivot(index=["region", "subject"], columns="protocol", values="value_ppb")
    expected = paired_agreement(wide["PI"], wide["AF4"])
    assert pooled.n.tolist() == [7 * N] * 3
    assert pooled.bias["AF4"] == pytest.approx(expected.bias)
    assert pooled.loa_upper["AF4"] == pytest.approx(expected.loa_upper)
    assert pooled.paired_t_p_fdr.isna().all()
    assert pooled.tost_p_holm.isna().all()
    assert pooled.verdict.tolist() == [""] * 3
    assert pooled.n_to_decide.isna().all()
    assert frame.region.tolist()[-3:] == ["all"] * 3


def test_order_of_rows_does_not_matter(values):
    frame = compare_protocols(values, reference="PI")
    shuffled = compare_protocols(values.sample(frac=1, random_state=3), reference="PI")
    keys = ["region", "protocol"]
    pd.testing.assert_frame_equal(
        frame.sort_values(keys, ignore_index=True), shuffled.sort_values(keys, ignore_index=True)
    )


def test_missing_subjects_leave_complete_pairs_and_a_note(values):
    dropped = values.drop(
        values.query("subject == 2 and protocol == 'DL' and region == 'Pu'").index
    )
    dropped.loc[dropped.query("subject == 4 and protocol == 'PI' and region == 'Pu'").index,
                "value_ppb"] = np.nan  # fmt: skip
    row = compare_protocols(dropped, reference="PI").iloc[0]
    kept = values[(values.region == "Pu") & ~values.subject.isin([2, 4])]
    wide = kept.pivot(index="subject", columns="protocol", values="value_ppb")
    assert (row.region, row.n) == ("Pu", 4)
    assert row.note == "2 incomplete pairs left out"
    assert row.bias == pytest.approx((wide["DL"] - wide["PI"]).mean())


def test_region_that_the_reference_lacks_is_a_row_with_a_note(values):
    extra = pd.DataFrame(
        {"subject": range(6), "protocol": "DL", "region": "STN", "value_ppb": 70.0}
    )
    frame = compare_protocols(pd.concat([values, extra]), reference="PI").set_index("region")
    assert frame.n["STN"] == 0
    assert np.isnan(frame.bias["STN"])
    assert "no values of the reference" in frame.note["STN"]
    assert frame.n["all"] == 12


def test_two_subjects_are_described_and_not_tested(values):
    frame = compare_protocols(values[values.subject < 2], reference="PI").set_index("region")
    assert frame.n["Pu"] == 2
    assert np.isfinite(frame.percent_difference["Pu"])
    assert np.isnan(frame.loa_lower["Pu"])
    assert frame.note["Pu"] == "2 pairs, at least 3 needed"


def edit(frame, **columns):
    return frame.assign(**columns)


@pytest.mark.parametrize(
    ("change", "reference", "message"),
    [
        (lambda v: v.drop(columns="region"), "PI", "expected a column 'region'"),
        (lambda v: v.iloc[:0], "PI", "at least one row"),
        (lambda v: pd.concat([v, v.iloc[:1]]), "PI", "several for '0' 'PI' 'Pu'"),
        (
            lambda v: edit(v, value_ppb=["12,5", *["1"] * 23]),
            "PI",
            "numbers \\(n/a where there is none\\), found '12,5'",
        ),
        (lambda v: edit(v, value_ppb=np.inf), "PI", "finite numbers"),
        (lambda v: v, "AF2", "reference: expected one of PI, DL, found 'AF2'"),
        (lambda v: v[v.protocol == "PI"], "PI", "a protocol besides 'PI'"),
        (lambda v: v.replace({"region": {"RN": "all"}}), "PI", "region: 'all'"),
        (lambda v: edit(v, subject=[None, *v.subject[1:]]), "PI", "a subject in every row"),
    ],
)
def test_bad_tables_are_one_line(values, change, reference, message):
    with pytest.raises(InputError, match=message) as error:
        compare_protocols(change(values), reference=reference)
    assert "\n" not in str(error.value)


def test_statistics_start_without_torch_or_scipy_stats():
    code = (
        "import sys, accelqsm.agreement.protocols, accelqsm.nuclei.measure;"
        "print(sorted({'torch', 'scipy.stats', 'statsmodels'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
