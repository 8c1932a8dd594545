"""Heads that differ as people do: invertible, of the drawn volumes, alike on both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.files.toml import read_settings
from accelqsm.simulate.cohort import Cohort
from accelqsm.simulate.heads import fluid, nuclei
from accelqsm.simulate.heads.anatomy import brain_maps, surroundings
from accelqsm.simulate.heads.deformation import Deformation, draw_deformation
from accelqsm.simulate.heads.lattice import Lattice, flow, lattice_points_mm
from accelqsm.simulate.heads.person import chi_pattern, draw_anatomy
from accelqsm.simulate.heads.variety import NEAR_TEMPLATE, PEOPLE, VARIETIES
from accelqsm.virtual import scans as virtual

assert PEOPLE.fluid is not None
SPACES = PEOPLE.fluid
MEDIAN_PERSON = replace(SPACES, ventricles_log_sd=0.0, ventricle_side_log_sd=0.0, sulci_sd=0.0)
QUICK = replace(PEOPLE, spacing_mm=5.0)
BRAIN = lattice_points_mm((38, 46, 38), origin_mm=(-74.0, -108.0, -72.0), spacing_mm=4.0)
MIDDLE = lattice_points_mm((45, 65, 35), origin_mm=(-44.0, -78.0, -24.0), spacing_mm=2.0)


def determinant(deformation: Deformation, points_mm: Tensor, spacing_mm: float) -> Tensor:
    """Volume in the template over volume in the head, of the displacement alone."""
    mapped = deformation.to_template(points_mm)
    slopes = [torch.stack(torch.gradient(mapped[..., i], spacing=spacing_mm), -1) for i in range(3)]
    return torch.linalg.det(torch.stack(slopes, -2)) * np.prod(deformation.scale)


def ventricle_ml(deformation: Deformation) -> float:
    """Volume of both lateral ventricles in the head."""
    distance = fluid.template_ventricles().at(deformation.to_template(MIDDLE))[0]
    return float((0.5 - distance / 2.0).clamp(0, 1).sum()) * 8.0 / 1000


def test_default_is_near_the_template() -> None:
    """Scale and displacement of seed 7 as they were before there was a choice."""
    assert VARIETIES["near-template"] is NEAR_TEMPLATE
    deformation = draw_deformation(seed=7, age_years=72.3)
    rng = np.random.default_rng([7, 1])
    expected = 1 + np.clip(rng.normal(0, 0.03) + rng.normal(0, 0.01, 3), -0.09, 0.09)
    assert deformation.scale == tuple(expected)
    assert deformation.displacement.values.shape == (3, 49, 61, 73)
    assert draw_anatomy(seed=7).sulcus_level is None


@pytest.mark.parametrize("first", range(0, 20, 4))
def test_people_are_invertible_everywhere(first: int) -> None:
    for seed in range(first, first + 4):
        deformation = draw_deformation(seed=seed, age_years=18.0 + 3 * seed, variety=QUICK)
        det = determinant(deformation, BRAIN, 4.0)
        distance = fluid.template_ventricles().at(deformation.to_template(BRAIN))[0]
        assert det.min() > 0.01
        # Within a large ventricle, a part of the template's fluid fills a multiple of its volume.
        assert det[distance > 4.0].min() > 0.2, seed


def test_flow_of_a_velocity_is_undone_by_its_opposite() -> None:
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.standard_normal((3, 31, 31, 31)), 4.0, axes=(1, 2, 3))
    values = torch.from_numpy(noise / noise.std()).float()
    forward, back = (flow(Lattice(sign * 2 * values, (0, 0, 0), 2.0)) for sign in (1.0, -1.0))
    points = lattice_points_mm((11, 11, 11), origin_mm=(20.0, 20.0, 20.0), spacing_mm=2.0)
    there = points + forward.at(points).movedim(0, -1)
    again = there + back.at(there).movedim(0, -1)
    assert (there - points).norm(dim=-1).mean() > 1.0
    assert (again - points).abs().max() < 0.1


def test_uniform_velocity_shifts_by_itself() -> None:
    velocity = torch.tensor([1.0, -2.0, 0.5])[:, None, None, None].expand(3, 5, 5, 5).contiguous()
    torch.testing.assert_close(flow(Lattice(velocity, (0, 0, 0), 3.0)).values, velocity)


@pytest.mark.parametrize("age_years", [20.0, 47.7, 75.0])
def test_ventricles_have_the_drawn_volume(age_years: float) -> None:
    still = replace(
        PEOPLE,
        size_sd=0.0,
        axis_sd=0.0,
        displacement_sd_mm=1e-6,
        fine_displacement_sd_mm=0.0,
        skew_sd=0.0,
        fluid=MEDIAN_PERSON,
    )
    deformation = draw_deformation(seed=1, age_years=age_years, variety=still)
    expected_ml = 20.1 * np.exp(0.015 * (age_years - 47.7))
    assert ventricle_ml(deformation) == pytest.approx(expected_ml, rel=0.08)


def test_template_ventricles_are_those_of_the_template() -> None:
    """17.7 ml and their bounds: CerebrA has 19.1 ml at the same place (Manera et al. 2020)."""
    lattice = fluid.template_ventricles()
    inside = lattice.values[0] < 0
    assert float(inside.sum()) / 1000 == pytest.approx(17.7, rel=0.03)
    points = lattice.points_mm()[inside]
    assert points[:, 2].mean() == pytest.approx(14.5, abs=2.0)
    assert points[:, 0].abs().max() < 40.0
    assert points[:, 0].mean().abs() < 0.5


@pytest.mark.parametrize("age_years", [25.0, 50.0, 70.0])
def test_sulci_have_the_drawn_share_of_the_intracranial_space(age_years: float) -> None:
    rng = np.random.default_rng(0)
    level = fluid.draw_sulcus_level(rng, MEDIAN_PERSON, age_years=age_years)
    points = lattice_points_mm((60, 73, 60), origin_mm=(-89.0, -124.0, -79.0), spacing_mm=3.0)
    grey, white = fluid.crisp_tissue(*brain_maps().at(points)[:2], level)
    inside = (surroundings().at(points)[0] < 2.5) & (fluid.template_ventricles().at(points)[0] > 1)
    share = 1 - float((grey + white)[inside].mean())
    assert share == pytest.approx(0.174 + 0.0018 * (age_years - 25.0), abs=0.015)


def test_crisp_tissue_keeps_the_shares_of_grey_and_white() -> None:
    grey, white = torch.tensor([0.6, 0.45, 0.1]), torch.tensor([0.4, 0.25, 0.2])
    crisp_grey, crisp_white = fluid.crisp_tissue(grey, white, 0.7)
    torch.testing.assert_close(crisp_grey + crisp_white, torch.tensor([1.0, 0.5, 0.0]))
    torch.testing.assert_close(crisp_grey * white, crisp_white * grey)


def test_sides_are_mirror_images_where_the_variety_says_so() -> None:
    fluid_spaces = replace(SPACES, ventricle_side_log_sd=0.0)
    alike = replace(QUICK, mirrored=1.0, skew=0.0, skew_sd=0.0, fluid=fluid_spaces)
    mirror = torch.tensor([-1.0, 1.0, 1.0])
    for variety, same in ((alike, True), (QUICK, False)):
        deformation = draw_deformation(seed=3, age_years=60.0, variety=variety)
        mapped, mirrored = (deformation.to_template(p) for p in (BRAIN, BRAIN * mirror))
        assert ((mapped * mirror - mirrored).abs().max() < 0.1) == same


def test_nuclei_of_people_keep_their_mean_and_a_plausible_volume() -> None:
    anatomy = draw_anatomy(seed=4, age_years=70.0, variety=QUICK)
    points = lattice_points_mm((47, 43, 43), origin_mm=(-46.0, -42.0, -40.0), spacing_mm=2.0)
    mapped = anatomy.to_template(points)
    mapped = mapped[nuclei.inside_box(mapped)]
    texture = anatomy.texture.at(mapped[None, None])[1, 0, 0]
    distances = nuclei.nucleus_distances_mm(mapped)
    assert ((distances < 0).sum(0) <= 1).all()
    for number, name in enumerate(nuclei.NUCLEI[:4]):
        for side in (0, 1):
            here = (distances[number] < 0) & ((mapped[:, 0] > 0) == bool(side))
            mean = chi_pattern(mapped[here], texture[here], name).mean()
            assert float(mean) / anatomy.pattern_means[2 * number + side] == pytest.approx(
                1, abs=0.03
            )
            in_template = len(nuclei.interior_points_mm()[2 * number + side])
            assert 0.5 < 8.0 * float(here.sum()) / in_template < 1.1, name


def test_anatomy_of_a_study_is_used_and_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def head(grid: Any, **known: Any) -> None:
        asked.append(known["variety"])
        raise InputError("enough")

    monkeypatch.setattr(virtual, "digital_head", head)
    study: dict[str, Any] = {"cohort": Cohort(1, 0), "preset": "small", "protocols": ["pi"]}
    for name in VARIETIES:
        with pytest.raises(InputError, match="enough"):
            virtual.simulate_study(tmp_path, **study, changed={"anatomy": name})
    assert asked == [NEAR_TEMPLATE, PEOPLE]
    with pytest.raises(InputError, match="anatomy: expected one of near-template, people"):
        virtual.simulate_study(tmp_path, **study, changed={"anatomy": "giants"})
    monkeypatch.setattr(virtual, "simulate_subject", lambda *_, **__: [])
    virtual.simulate_study(tmp_path, **study, changed={"anatomy": "people"})
    settings = read_settings(tmp_path / "settings.toml")
    assert settings["scanner"]["anatomy"] == "people"
    assert settings["variety"]["size"] == PEOPLE.size
    assert settings["variety"]["fluid"]["ventricles_ml"] == SPACES.ventricles_ml
