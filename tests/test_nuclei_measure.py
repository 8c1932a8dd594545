import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.nuclei.measure import _values_by_label, measure_nuclei, split_side

LOOKUP = pd.DataFrame({"index": [1, 2, 7], "name": ["L Pu", "R Pu", "Pineal"]})


@pytest.fixture
def volume():
    generator = np.random.default_rng(5)
    chi_ppm = generator.normal(0.05, 0.02, (9, 8, 7))
    labels = np.zeros((9, 8, 7), dtype=np.int16)
    labels[1:3, 1:5, 2:4] = 1
    labels[6:8, 1:6, 2:4] = 2
    labels[4, 4, 3:6] = 7
    return chi_ppm, labels


def row(frame, region, side):
    return frame[(frame.region == region) & (frame.side == side)].iloc[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("L Pu", ("Pu", "L")),
        ("Left Putamen", ("Putamen", "L")),
        ("Pu_R", ("Pu", "R")),
        ("Pu-L", ("Pu", "L")),
        ("rh.Substantia Nigra pars reticulata", ("Substantia Nigra pars reticulata", "R")),
        ("Globus Pallidus externa right", ("Globus Pallidus externa", "R")),
        ("L Substantia-Nigra-pars-reticulata", ("Substantia-Nigra-pars-reticulata", "L")),
        ("RN", ("RN", "")),
        ("Lateral geniculate", ("Lateral geniculate", "")),
        ("R", ("R", "")),
    ],
)
def test_side_is_split_off_at_either_end(name, expected):
    assert split_side(name) == expected


def test_statistics_equal_a_search_per_label(volume):
    chi_ppm, labels = volume
    frame = measure_nuclei(chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.28)
    for region, side, wanted in [
        ("Pu", "L", [1]), ("Pu", "R", [2]), ("Pu", "both", [1, 2]), ("Pineal", "", [7]),
    ]:  # fmt: skip
        values = 1000 * chi_ppm[np.isin(labels, wanted)]
        found = row(frame, region, side)
        assert found.mean_ppb == pytest.approx(values.mean())
        assert found.sd_ppb == pytest.approx(values.std(ddof=1))
        assert found.median_ppb == pytest.approx(np.median(values))
        assert found.iqr_ppb == pytest.approx(np.subtract(*np.percentile(values, [75, 25])))
        assert found.n_voxels == values.size
        assert found.volume_mm3 == pytest.approx(1.28 * values.size)
        assert found.note == ""
    assert len(frame) == 4


def test_bilateral_mean_weighs_voxels_and_not_sides():
    labels = np.zeros((4, 4, 4), dtype=np.uint8)
    labels[0], labels[3, :3, 0] = 1, 2
    chi_ppm = np.where(labels == 1, 0.1, 0.2)
    frame = measure_nuclei(chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.0)
    assert row(frame, "Pu", "both").mean_ppb == pytest.approx((16 * 100 + 3 * 200) / 19)


def test_adding_a_constant_moves_means_and_leaves_spread(volume):
    chi_ppm, labels = volume
    before = measure_nuclei(chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.0)
    after = measure_nuclei(chi_ppm + 0.01, labels, LOOKUP, voxel_volume_mm3=1.0)
    np.testing.assert_allclose(after.mean_ppb - before.mean_ppb, 10.0)
    np.testing.assert_allclose(after.median_ppb - before.median_ppb, 10.0)
    np.testing.assert_allclose(after[["sd_ppb", "iqr_ppb"]], before[["sd_ppb", "iqr_ppb"]])


def test_mask_removes_voxels_and_a_thin_nucleus_is_not_available(volume):
    chi_ppm, labels = volume
    mask = np.ones(labels.shape, dtype=np.uint8)
    mask[4, 4, 3:5] = 0
    mask[6:8] = 0
    chi_ppm = np.where(mask == 0, np.nan, chi_ppm)
    frame = measure_nuclei(chi_ppm, labels, LOOKUP, voxel_volume_mm3=2.0, mask=mask)
    pineal, right, both = row(frame, "Pineal", ""), row(frame, "Pu", "R"), row(frame, "Pu", "both")
    assert np.isnan([pineal.mean_ppb, pineal.sd_ppb, pineal.median_ppb, pineal.iqr_ppb]).all()
    assert pineal.n_voxels == 1
    assert pineal.note == "1 of at least 3 voxels inside the mask"
    assert right.n_voxels == 0
    assert both.mean_ppb == pytest.approx(1000 * chi_ppm[labels == 1].mean())
    assert both.note == "side R has 0 voxels inside the mask"


@pytest.mark.parametrize("min_voxels", [0, 1])
def test_one_voxel_is_a_value_where_one_is_enough_and_none_never_is(min_voxels):
    labels = np.zeros((4, 4, 4), dtype=np.int16)
    labels[0, 0, 0], labels[2:4, 2, 2] = 1, 2
    chi_ppm = np.arange(64.0).reshape(4, 4, 4) / 1000
    frame = measure_nuclei(
        chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.0, min_voxels=min_voxels
    ).set_index(["region", "side"])
    assert frame.loc[("Pu", "L"), "mean_ppb"] == pytest.approx(1000 * chi_ppm[0, 0, 0])
    assert frame.loc[("Pu", "both"), "n_voxels"] == 3
    assert frame.loc["Pu", "note"].tolist() == ["", "", ""]
    assert frame.loc[("Pineal", ""), "note"] == "0 of at least 1 voxels inside the mask"
    assert np.isnan(frame.loc[("Pineal", ""), "mean_ppb"])


def test_several_indices_with_one_name_are_one_region(volume):
    chi_ppm, labels = volume
    lookup = pd.DataFrame({"index": [1, 2], "name": ["Left striatum", "striatum L"]})
    frame = measure_nuclei(chi_ppm, labels, lookup, voxel_volume_mm3=1.0)
    assert frame.region.tolist() == ["striatum"]
    assert frame.n_voxels.tolist() == [int(np.isin(labels, [1, 2]).sum())]


def test_inputs_are_left_alone(volume):
    chi_ppm, labels = volume
    chi_before, labels_before = chi_ppm.copy(), labels.copy()
    measure_nuclei(chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.0)
    np.testing.assert_array_equal(chi_ppm, chi_before)
    np.testing.assert_array_equal(labels, labels_before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros((9, 8, 6), dtype=int)}, r"labels: .*\(9, 8, 7\).*\(9, 8, 6\)"),
        ({"labels": np.zeros((9, 8, 7))}, "labels: expected integers, found float64"),
        ({"mask": np.ones((2, 2, 2))}, r"mask: .*\(2, 2, 2\)"),
        ({"chi_ppm": np.full((9, 8, 7), np.nan)}, "chi in Pu L: .*found 16"),
        ({"lookup": LOOKUP.drop(columns="name")}, "label lookup: .*no name"),
        ({"lookup": LOOKUP.iloc[:0]}, "label lookup: .*found none"),
        ({"lookup": pd.concat([LOOKUP, LOOKUP])}, "label lookup: .*found 1 twice"),
        ({"voxel_volume_mm3": 0.0}, "voxel volume: .*found 0.0"),
    ],
)
def test_bad_input_is_one_line(volume, change, message):
    chi_ppm, labels = volume
    given = {"chi_ppm": chi_ppm, "labels": labels, "lookup": LOOKUP, "voxel_volume_mm3": 1.0}
    with pytest.raises(InputError, match=message) as error:
        measure_nuclei(**(given | change))
    assert "\n" not in str(error.value)


def test_shares_of_one_and_zero_are_labels(volume):
    chi_ppm, labels = volume
    probabilities = {index: (labels == index).astype(np.float32) for index in (1, 2, 7)}
    given = {"lookup": LOOKUP, "voxel_volume_mm3": 1.5}
    whole = measure_nuclei(chi_ppm, labels, **given)
    weighed = measure_nuclei(chi_ppm, labels, **given, probabilities=probabilities)
    pd.testing.assert_frame_equal(whole, weighed, check_dtype=False)


def test_a_share_of_one_half_counts_half():
    labels = np.zeros((4, 4, 4), dtype=np.int16)
    share = np.zeros((4, 4, 4))
    share[0], share[1] = 1.0, 0.5
    chi_ppm = np.zeros((4, 4, 4))
    chi_ppm[0], chi_ppm[1] = 0.1, 0.4
    lookup = pd.DataFrame({"index": [1], "name": ["RN"]})
    frame = measure_nuclei(chi_ppm, labels, lookup, voxel_volume_mm3=2.0, probabilities={1: share})
    found = row(frame, "RN", "")
    assert found.n_voxels == pytest.approx(24)
    assert found.volume_mm3 == pytest.approx(48)
    assert found.mean_ppb == pytest.approx((16 * 100 + 8 * 400) / 24)
    # Sample variance with n = (sum w)^2 / sum w^2 = 24^2 / 20.
    variance = (16 * 100.0**2 + 8 * 200.0**2) / 24
    assert found.sd_ppb == pytest.approx(np.sqrt(variance * 28.8 / 27.8))
    assert found.median_ppb == pytest.approx(100.0)


def test_weighted_quartiles_are_those_of_repeated_voxels():
    rng = np.random.default_rng(2)
    chi_ppm = rng.normal(size=(12, 12, 12))
    share = np.where(rng.uniform(size=chi_ppm.shape) < 0.5, 1.0, 0.25)
    lookup = pd.DataFrame({"index": [1], "name": ["RN"]})
    frame = measure_nuclei(
        chi_ppm,
        np.zeros(chi_ppm.shape, int),
        lookup,
        voxel_volume_mm3=1.0,
        probabilities={1: share},
    )
    repeated = np.repeat(chi_ppm.ravel(), (4 * share).astype(int).ravel())
    assert frame.median_ppb[0] == pytest.approx(1000 * np.median(repeated), abs=3)
    quartiles = np.percentile(repeated, [25, 75])
    assert frame.iqr_ppb[0] == pytest.approx(1000 * np.subtract(*quartiles[::-1]), abs=6)


def test_what_is_unavailable_gets_its_reason_and_so_does_the_pair(volume):
    chi_ppm, labels = volume
    frame = measure_nuclei(
        chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.0, unavailable={2: "it is cut"}
    )
    assert np.isnan(row(frame, "Pu", "R").mean_ppb)
    assert row(frame, "Pu", "R").note == "it is cut"
    assert np.isnan(row(frame, "Pu", "both").mean_ppb)
    assert row(frame, "Pu", "both").note == "side R: it is cut"
    assert np.isfinite(row(frame, "Pu", "L").mean_ppb)


def test_shares_of_another_shape_are_refused(volume):
    chi_ppm, labels = volume
    with pytest.raises(InputError, match=r"^probabilities: .*\(9, 8, 7\), found \(2, 2, 2\)$"):
        measure_nuclei(
            chi_ppm, labels, LOOKUP, voxel_volume_mm3=1.0, probabilities={1: np.ones((2, 2, 2))}
        )


def test_a_mask_beside_every_label_leaves_no_values() -> None:
    labels = np.zeros((4, 4, 4), dtype=np.int16)
    labels[0] = 1
    assert _values_by_label(np.ones((4, 4, 4)), labels, labels == 0) == {}
