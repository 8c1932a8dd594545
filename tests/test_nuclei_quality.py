"""What stands out is said, and what does not is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from accelqsm.agreement.published import published
from accelqsm.errors import InputWarning
from accelqsm.grid import centred_grid
from accelqsm.nuclei.atlas import SEVEN
from accelqsm.nuclei.metrics import Metrics, affine_metrics, scan_fall, similarity_fall
from accelqsm.nuclei.quality import ADULT_PPB, Expected, centre_mm, flags, registration_doubts
from accelqsm.nuclei.volume import Volume, affine_transform
from accelqsm.pipeline.nuclei.quality import PLAUSIBLE, registration_status

LOOKUP = pd.DataFrame({"index": [1, 2], "name": ["L GPe", "R GPe"]})


def table(
    means: tuple[float, float] = (118.0, 124.0), volumes: tuple[float, float] = (950.0, 1000.0)
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "region": ["GPe"] * 3,
            "side": ["L", "R", "both"],
            "mean_ppb": [*means, np.mean(means)],
            "volume_mm3": [*volumes, sum(volumes)],
        }
    )


def found(frame: pd.DataFrame, shift_mm: float = 0.0) -> list[str]:
    expected = {
        1: Expected(1000.0, (-19.0, 0.0, 0.0)),
        2: Expected(1000.0, (19.0, 0.0, 0.0)),
    }
    centres = {1: np.array([-19.0, 0.0, shift_mm]), 2: np.array([19.0, 1.0, 0.0])}
    return flags(frame, LOOKUP, expected=expected, centres_mm=centres)


def test_an_ordinary_nucleus_has_no_flag() -> None:
    assert found(table()) == ["", "", ""]


@pytest.mark.parametrize(
    ("frame", "shift_mm", "expected"),
    [
        (table(volumes=(500.0, 700.0)), 0.0, ["size 0.50 of the expected one", "", ""]),
        (table(volumes=(1800.0, 1500.0)), 0.0, ["size 1.80 of the expected one", "", ""]),
        (table(), 7.5, ["7.5 mm from the expected place", "", ""]),
        (table(), 6.0, ["", "", ""]),  # more than 6 mm are said
        (table(), 6.1, ["6.1 mm from the expected place", "", ""]),
        (table(volumes=(650.0, 1200.0)), 0.0, ["", "", "sides of 650 and 1200 mm3"]),
        (
            table(means=(300.0, 260.0)),
            0.0,
            ["value +5.2 SD from adults' mean", "value +4.1 SD from adults' mean",
             "value +4.7 SD from adults' mean"],
        ),
        (table(volumes=(600.0, 900.0)), 0.0, ["", "", ""]),  # 0.6 and 1.5 are within
        (table(volumes=(1670.0, 1100.0)), 0.0, ["", "", ""]),
        (table(volumes=(625.0, 1000.0)), 0.0, ["", "", ""]),
        (table(volumes=(0.0, 1000.0)), 0.0,
         ["size 0.00 of the expected one", "", "sides of 0 and 1000 mm3"]),
        (table(means=(60.0, 160.0)), 0.0, ["", "", ""]),
        (table(means=(-30.0, -20.0)), 0.0,
         ["value -4.4 SD from adults' mean", "value -4.1 SD from adults' mean",
          "value -4.2 SD from adults' mean"]),
        (table(means=(60.0, 180.0)), 0.0, ["", "", "sides differ by 120 ppb"]),
    ],
)  # fmt: skip
def test_what_stands_out_is_said(frame: pd.DataFrame, shift_mm: float, expected: list[str]) -> None:
    assert found(frame, shift_mm) == expected


def test_what_is_said_of_adults_is_what_was_published() -> None:
    study = published("zhou2025")
    assert tuple(ADULT_PPB) == SEVEN
    for region, (mean, sd) in ADULT_PPB.items():
        assert mean == study.number(study.mean_ppb, region, study.reference)
        assert sd == study.number(study.sd_ppb, region, study.reference)


def test_of_a_region_that_nobody_published_the_sides_alone_are_compared() -> None:
    """With an SD of 25 ppb; for the narrow caudate it is at least 12."""
    for region, largest in (("XX", 75.0), ("Ca", 36.0)):
        for difference, n in ((largest - 0.5, 0), (largest + 0.5, 1)):
            frame = table(means=(20.0, 20.0 + difference)).assign(region=region)
            reasons = flags(frame, LOOKUP, expected={}, centres_mm={})
            assert sum("sides differ" in reason for reason in reasons) == n
            assert not any("SD from" in reason for reason in reasons)


def test_a_missing_value_is_not_an_outlier_but_a_missing_side_is() -> None:
    frame = table(means=(float("nan"), 120.0), volumes=(0.0, 1000.0))
    assert found(frame) == ["size 0.00 of the expected one", "", "sides of 0 and 1000 mm3"]


def test_a_label_without_a_centre_is_nowhere_wrong() -> None:
    expected = {1: Expected(1000.0, (-19.0, 0.0, 0.0)), 2: Expected(1000.0, (19.0, 0.0, 0.0))}
    for centres in ({}, {1: np.full(3, np.nan), 2: np.array([19.0, 0.0, np.nan])}):
        found_flags = flags(table(), LOOKUP, expected=expected, centres_mm=centres)
        assert found_flags == ["", "", ""]


def test_centre_is_in_world_coordinates() -> None:
    grid = centred_grid((9, 9, 9), (2.0, 1.0, 3.0), centre_mm=(10.0, -5.0, 1.0))
    labels = np.zeros(grid.shape, dtype=np.int16)
    labels[4:7, 4, 4] = 3
    np.testing.assert_allclose(centre_mm(labels, 3, grid), (12.0, -5.0, 1.0))
    assert np.isnan(centre_mm(labels, 8, grid)).all()


FINE = centred_grid((48, 52, 44), (1.5, 1.5, 1.5))
EVERYWHERE = np.ones(FINE.shape, dtype=bool)
STILL = affine_transform(np.eye(4))


def texture(seed: int) -> Volume:
    noise = np.random.default_rng(seed).standard_normal(FINE.shape)
    return Volume(ndimage.gaussian_filter(noise, 1.5).astype(np.float32), FINE)


def test_similarity_falls_from_where_two_images_agree_and_nowhere_else() -> None:
    one = texture(1)
    inverted = Volume(5 - 3 * one.values, FINE)
    flipped = Volume(one.values[::-1, ::-1], FINE)
    assert similarity_fall(one, inverted, STILL, EVERYWHERE) > 10
    for other in (texture(2), flipped, Volume(np.zeros_like(one.values), FINE)):
        assert similarity_fall(one, other, STILL, EVERYWHERE) < 1.3
    assert similarity_fall(one, inverted, STILL, ~EVERYWHERE) == 1
    # Laid 6 mm off along one axis, it is that direction alone in which the images agree better.
    assert similarity_fall(
        one, inverted, lambda p: p + np.array([6.0, 0, 0])[:, None], EVERYWHERE
    ) < 0.2  # fmt: skip


def test_the_fall_of_two_scans_is_that_in_the_brain() -> None:
    """The brain of the second image is another person's, what is around it the same."""
    brain = np.zeros(FINE.shape, dtype=bool)
    brain[8:40, 8:44, 8:36] = True
    one, mixed = texture(1), Volume(np.where(brain, texture(2).values, texture(1).values), FINE)
    assert scan_fall(one, one, brain, np.eye(4)) > 10
    assert scan_fall(one, mixed, brain, np.eye(4)) == pytest.approx(1, abs=0.3)
    assert scan_fall(one, mixed, ~brain, np.eye(4)) > 5


def test_brains_overlap_by_dice_and_scales_are_those_of_the_affine() -> None:
    values = np.zeros(FINE.shape, dtype=np.float32)
    values[8:40, 12:40, 10:34] = 1
    brain = Volume(values, centred_grid(FINE.shape, (2.0, 2.0, 2.0)))
    moved = np.eye(4)
    moved[0, 3] = 16.0  # 8 of 32 voxels
    found = {name: value for name, value, _ in affine_metrics(brain, brain, moved)}
    assert found["brain_overlap"] == pytest.approx(0.75)
    assert found["affine_scale_least"] == pytest.approx(1)
    stretched = np.diag([1.5, 0.5, 1.0, 1.0])
    found = {name: value for name, value, _ in affine_metrics(brain, brain, stretched)}
    assert (found["affine_scale_least"], found["affine_scale_largest"]) == pytest.approx((0.5, 1.5))


GOOD: Metrics = [
    ("similarity_fall_t1w_magnitude", 2.5, "1"),
    ("similarity_fall_scans", 2.5, "1"),
    ("similarity_fall_template_T1w", 2.0, "1"),
    ("similarity_fall_template_magnitude", 1.0, "1"),
    ("brain_overlap", 0.85, "1"),
    ("affine_scale_least", 0.7, "1"),
    ("affine_scale_largest", 1.4, "1"),
]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("similarity_fall_t1w_magnitude", 2.4,
         "T1w and magnitude agree 2.4 times as well as when displaced (at least 2.5)"),
        ("similarity_fall_scans", 1.04,
         "the two scans agree 1.0 times as well as when displaced (at least 2.5)"),
        ("similarity_fall_template_T1w", 1.9,
         "head and template agree 1.9 times as well as when displaced (at least 2.0)"),
        ("similarity_fall_template_T1w", float("nan"),
         "head and template agree nan times as well as when displaced (at least 2.0)"),
        ("brain_overlap", 0.84, "the brains overlap by 0.84 (at least 0.85)"),
        ("affine_scale_least", 0.69, "the head is scaled by 0.69 (0.7 to 1.4)"),
        ("affine_scale_largest", 1.41, "the head is scaled by 1.41 (0.7 to 1.4)"),
    ],
)  # fmt: skip
def test_a_doubtful_registration_is_said_everywhere(name: str, value: float, said: str) -> None:
    assert registration_doubts(GOOD) == registration_doubts([]) == []
    assert registration_status("map.nii", GOOD) == PLAUSIBLE
    metrics = [(n, value if n == name else v, unit) for n, v, unit in GOOD]
    with pytest.warns(InputWarning, match="map.nii: the registration is doubtful") as caught:
        status = registration_status("map.nii", metrics)
    assert status == f"doubtful: {said}"
    assert str(caught[0].message).endswith(said)


def test_a_doubtful_registration_flags_every_row() -> None:
    found = flags(table(volumes=(500.0, 700.0)), LOOKUP, expected={}, centres_mm={}, doubtful=True)
    assert found == ["registration doubtful"] * 3
