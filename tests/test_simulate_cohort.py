"""A cohort has the published ages, means, spreads and correlations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError
from accelqsm.files.tables import write_table
from accelqsm.files.text.distributions import read_distributions
from accelqsm.simulate.cohort import (
    Cohort,
    Distribution,
    draw_cohort,
    nuclei_correlation,
    random_pose,
)
from accelqsm.simulate.heads.nuclei import NUCLEI

# Zhou et al. 2025, doi 10.3389/fnins.2025.1522227, Tables 3 and 4, PI columns (ppb, r with age).
PUBLISHED = {
    "Pu": (30.8, 12.9, 0.631),
    "Ca": (29.6, 6.3, 0.273),
    "GPe": (120.2, 34.3, 0.182),
    "GPi": (92.3, 26.0, 0.002),
    "SNc": (84.6, 27.2, 0.328),
    "SNr": (99.9, 25.4, 0.093),
    "RN": (65.1, 23.1, 0.504),
}


def test_ages_of_the_published_cohort() -> None:
    cohort = draw_cohort(59, seed=1)
    ages = np.array([subject.age_years for subject in cohort])
    assert (ages.min(), ages.max()) == (18.0, 75.0)
    assert ages.mean() == pytest.approx(44.0, abs=0.05)
    assert ages.std(ddof=1) == pytest.approx(15.4, abs=0.05)
    assert sum(subject.sex == "F" for subject in cohort) == 37
    assert [subject.label for subject in cohort[:2]] == ["sub-01", "sub-02"]
    assert len({subject.seed for subject in cohort}) == 59


def test_nuclei_of_many_people_have_published_moments() -> None:
    cohort = draw_cohort(6000, seed=2)
    ages = np.array([subject.age_years for subject in cohort])
    chi = {name: np.array([s.nuclei_chi_ppm[name] for s in cohort]) * 1000 for name in NUCLEI}
    for name, (mean, sd, r_age) in PUBLISHED.items():
        assert chi[name].mean() == pytest.approx(mean, rel=0.03)
        assert chi[name].std() == pytest.approx(sd, rel=0.05)
        assert np.corrcoef(ages, chi[name])[0, 1] == pytest.approx(r_age, abs=0.04)
        assert chi[name].min() > 3


def test_nuclei_correlate_beyond_age() -> None:
    cohort = draw_cohort(6000, seed=3)
    ages = np.array([subject.age_years for subject in cohort])
    values = np.array([[s.nuclei_chi_ppm[name] for name in NUCLEI] for s in cohort])
    design = np.stack([np.ones_like(ages), ages], axis=1)
    residual = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
    np.testing.assert_allclose(np.corrcoef(residual.T), nuclei_correlation(), atol=0.05)
    assert np.linalg.eigvalsh(nuclei_correlation()).min() > 0.1


def test_same_seed_same_cohort() -> None:
    assert draw_cohort(5, seed=4) == draw_cohort(5, seed=4)
    assert draw_cohort(5, seed=4) != draw_cohort(5, seed=5)


def test_poses_spread_by_a_millimetre_and_a_degree() -> None:
    poses = [random_pose(seed) for seed in range(400)]
    shifts = np.array([pose.translation_mm for pose in poses])
    turns = np.array([pose.rotation_deg for pose in poses])
    for drawn in (shifts, turns):
        np.testing.assert_allclose(drawn.std(0), 1.0, atol=0.12)
        np.testing.assert_allclose(drawn.mean(0), 0.0, atol=0.2)
        assert np.abs(drawn).max() <= 3.0
    assert random_pose(7) == random_pose(7)


def test_nobody_is_refused() -> None:
    with pytest.raises(InputError, match="subjects"):
        draw_cohort(0, seed=1)


def test_nuclei_of_another_distribution(tmp_path: Path) -> None:
    rows = [(name, mean * 2, sd, 0.5) for name, (mean, sd, _) in PUBLISHED.items()]
    table = pd.DataFrame(rows, columns=["region", "mean_ppb", "sd_ppb", "r_age"])
    write_table(tmp_path / "nuclei.tsv", table.iloc[::-1])
    read = read_distributions(tmp_path / "nuclei.tsv", NUCLEI)
    assert list(read.index) == list(NUCLEI)
    given = {name: Distribution(*figures) for name, *figures in read.itertuples()}
    cohort = draw_cohort(6000, seed=2, nuclei=given)
    ages = np.array([subject.age_years for subject in cohort])
    for name, (mean, sd, _) in PUBLISHED.items():
        chi_ppb = np.array([s.nuclei_chi_ppm[name] for s in cohort]) * 1000
        assert chi_ppb.mean() == pytest.approx(2 * mean, rel=0.03)
        assert chi_ppb.std() == pytest.approx(sd, rel=0.05)
        assert np.corrcoef(ages, chi_ppb)[0, 1] == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean_ppb": 2000.0}, "mean_ppb: expected a number from 0 to 1000, found 2000 for Pu"),
        ({"sd_ppb": -1.0}, "sd_ppb: expected a number from 0 to 1000, found -1 for Pu"),
        ({"r_age": 1.5}, "r_age: expected a number from -1 to 1, found 1.5 for Pu"),
        ({"region": "GPe"}, "region: expected Pu, Ca, .* each once, found GPe, Ca"),
    ],
)
def test_a_table_of_nuclei_is_checked(tmp_path: Path, change: dict[str, object], said: str) -> None:
    rows = [{"region": name, "mean_ppb": 50.0, "sd_ppb": 9.0, "r_age": 0.1} for name in NUCLEI]
    rows[0] |= change
    write_table(tmp_path / "nuclei.tsv", pd.DataFrame(rows))
    with pytest.raises(InputError, match=f"nuclei.tsv: {said}"):
        read_distributions(tmp_path / "nuclei.tsv", NUCLEI)


def test_parts_of_a_cohort_are_the_whole() -> None:
    whole = Cohort(7, 3).subjects()
    assert whole == draw_cohort(7, seed=3)
    parts = [Cohort(7, 3, participants=labels).subjects() for labels in (("02", "sub-05"), ("07",))]
    assert parts == [[whole[1], whole[4]], [whole[6]]]


def test_a_participant_that_the_cohort_does_not_have_is_refused() -> None:
    with pytest.raises(InputError, match="label: expected one of sub-01 to sub-03, found sub-04"):
        Cohort(3, 0, participants=("01", "04")).subjects()
    with pytest.raises(InputError, match="--subjects: expected 1 or more, found 0"):
        Cohort(0, 0).subjects()


@pytest.mark.parametrize("n", [9, 24])
def test_a_few_heads_have_the_published_moments_themselves(n: int) -> None:
    """Exact to rounding of age; at equal age nuclei go together as in any cohort."""
    nuclei = {name: Distribution(m / 1e3, sd / 1e4, r) for name, (m, sd, r) in PUBLISHED.items()}
    cohort = draw_cohort(n, seed=5, nuclei=nuclei, exact=True)
    ages = np.array([subject.age_years for subject in cohort])
    chi_ppb = 1000 * np.array([[s.nuclei_chi_ppm[name] for name in NUCLEI] for s in cohort])
    for own, name in zip(chi_ppb.T, NUCLEI, strict=True):
        mean, sd, r_age = PUBLISHED[name]
        assert own.mean() == pytest.approx(mean, rel=1e-9)
        assert own.std(ddof=1) == pytest.approx(sd / 10, rel=1e-9)
        assert np.corrcoef(ages, own)[0, 1] == pytest.approx(r_age, abs=1e-9)
    design = np.column_stack([np.ones(n), ages])
    left = chi_ppb - design @ np.linalg.lstsq(design, chi_ppb, rcond=None)[0]
    assert np.corrcoef(left.T) == pytest.approx(nuclei_correlation(), abs=1e-9)
    drawn = draw_cohort(n, seed=5, nuclei=nuclei)
    # Ages, sexes and anatomies stay, and nuclei are the nearest to those drawn.
    assert [(s.age_years, s.sex, s.seed) for s in cohort] == [
        (s.age_years, s.sex, s.seed) for s in drawn
    ]
    before = 1000 * np.array([[s.nuclei_chi_ppm[name] for name in NUCLEI] for s in drawn])
    assert np.corrcoef(before.ravel(), chi_ppb.ravel())[0, 1] > 0.99


def test_too_few_heads_cannot_have_exact_moments() -> None:
    with pytest.raises(InputError, match="--exact: expected 9 subjects or more, found 8"):
        Cohort(8, 0, exact=True).subjects()
