"""Objects of any size: the same value of the same shape, in the same time, and crops of heads."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError, InputWarning
from accelqsm.grid import Triple, centred_grid
from accelqsm.morphology import diameter_mm
from accelqsm.options.table import from_table, plain
from accelqsm.pipeline.maps import warn_of_size
from accelqsm.qsm.background.settings import VsharpSettings
from accelqsm.qsm.background.vsharp import ball_weights
from accelqsm.qsm.chain import DEFAULT, QsmResult, susceptibility
from accelqsm.qsm.field.lags import lag_products
from accelqsm.qsm.filtered import slow_phase_rad
from accelqsm.qsm.inversion.settings import L1Settings
from accelqsm.qsm.mask import brain_mask
from accelqsm.qsm.scale import in_head_units, in_proportion, length_scale
from accelqsm.qsm.settings import QsmSettings
from accelqsm.reference.ventricles import csf
from object_phantom import FIELD_T, Phantom, phantom, slope

RAT, VOLE, MOUSE, MACAQUE, CAT, MARMOSET = 5.0, 8.0, 12.0, 1.42, 2.0, 3.0
HEAD_SHAPE, HEAD_VOXEL_MM = (110, 130, 100), (1.8, 1.8, 1.8)


def mapped(made: Phantom, *, given: bool = True, settings: QsmSettings = DEFAULT) -> QsmResult:
    return susceptibility(
        lag_products(made.echoes[None].to(torch.complex64), echo_times_s=made.echo_times_s),
        grid=made.grid,
        field_strength_t=FIELD_T,
        mask=made.brain if given else None,
        settings=settings,
    )


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("smaller", [MACAQUE, CAT, MARMOSET, RAT, MOUSE])
def test_a_smaller_brain_has_the_values_of_a_large_one(smaller: float, given: bool) -> None:
    made = phantom(smaller=smaller)
    found = mapped(made, given=given)
    assert slope(found.chi_ppm, found.mask, made) == pytest.approx(1, abs=0.08)
    assert (found.mask & made.brain).sum() > 0.75 * made.brain.sum()
    assert not (found.mask & ~made.brain).any()


def test_an_animal_with_its_scalp_is_told_from_its_brain() -> None:
    """Not to be read off the case: nothing but the image, in which the scalp is brighter."""
    made = phantom(smaller=RAT, brighter_shell=1.5)
    found = mapped(made, given=False)
    assert (found.brain ^ made.brain).sum() < 0.05 * made.brain.sum()
    assert slope(found.chi_ppm, found.mask, made) == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("background", ["dipole-fit", "vsharp"])
def test_physics_knows_no_length(background: str) -> None:
    settings = QsmSettings(background=background)
    made = phantom(smaller=VOLE)
    (size_mm,) = set(made.grid.voxel_size_mm)
    smaller = centred_grid(made.grid.shape, (size_mm * VOLE / MOUSE,) * 3)
    vole, mouse = (
        mapped(replace(made, grid=grid), settings=settings) for grid in (made.grid, smaller)
    )
    assert torch.equal(vole.mask, mouse.mask)
    difference = (vole.chi_ppm - mouse.chi_ppm)[vole.mask]
    assert difference.square().mean().sqrt() < 5e-4, "only the rounding of lengths is left"
    assert mouse.settings.length_scale == pytest.approx(
        vole.settings.length_scale * VOLE / MOUSE, rel=1e-3
    )


def test_a_brain_as_large_as_a_childs_keeps_every_length() -> None:
    made = phantom()
    found = mapped(made, given=False)
    assert found.settings is DEFAULT
    literal = mapped(made, given=False, settings=replace(DEFAULT, length_scale=1.0))
    assert torch.equal(found.chi_ppm, literal.chi_ppm)


@pytest.mark.slow
def test_a_mouse_takes_no_longer_than_a_head_of_as_many_voxels() -> None:
    def seconds(smaller: float, settings: QsmSettings = DEFAULT) -> float:
        made = phantom(smaller=smaller, n_voxels=64)
        start = time.process_time()
        mapped(made, settings=settings)
        return time.process_time() - start

    seconds(1.0)
    head = seconds(1.0)
    assert seconds(MOUSE) < 2 * head
    assert seconds(MOUSE, QsmSettings(background="vsharp")) < 4 * head
    assert seconds(MOUSE, replace(DEFAULT, length_scale=1.0)) < 8 * head, "bounded by voxels"


def test_a_ball_of_very_many_voxels_is_still_a_mean_over_a_ball() -> None:
    weights = ball_weights(9.0, (0.15, 0.15, 1.5))
    x, _, z = (
        (np.arange(n) - n // 2) * size
        for n, size in zip(weights.shape, (0.15, 0.15, 1.5), strict=True)
    )
    assert weights.sum() == pytest.approx(1)
    for axis, places in ((0, x), (2, z)):
        others = tuple(a for a in range(3) if a != axis)
        assert weights.sum(others) @ places**2 == pytest.approx(9.0**2 / 5)


def ellipsoid(semi_axes_mm: Triple, voxel_mm: Triple = HEAD_VOXEL_MM) -> Tensor:
    axes = (
        (torch.arange(n) - n // 2) * size / a
        for n, size, a in zip(HEAD_SHAPE, voxel_mm, semi_axes_mm, strict=True)
    )
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return x**2 + y**2 + z**2 <= 1


BRAIN = ellipsoid((66, 80, 56))
"""1.24 l."""


def head() -> Tensor:
    """Brain, dark skull and bright scalp in noise."""
    image = torch.zeros(HEAD_SHAPE)
    image[ellipsoid((80, 96, 70))] = 1.4
    image[ellipsoid((74, 90, 64))] = 0.08
    image[BRAIN] = 1.0
    noise = torch.randn(2, *HEAD_SHAPE, generator=torch.Generator().manual_seed(0)) * 0.03
    return ((image + noise[0]) ** 2 + noise[1] ** 2).sqrt()


def smaller_by(volume_ml: float) -> Triple:
    factor = (float(BRAIN.sum()) * 1.8**3 / 1000 / volume_ml) ** (1 / 3)
    return (1.8 / factor,) * 3


@pytest.mark.parametrize("volume_ml", [1240.0, 400.0, 150.0])
@pytest.mark.parametrize("masked", [False, True])
def test_heads_of_every_age_are_human(volume_ml: float, masked: bool) -> None:
    mask = BRAIN if masked else None
    assert length_scale(head(), mask, voxel_size_mm=smaller_by(volume_ml)) == 1
    assert length_scale(head() * BRAIN, mask, voxel_size_mm=smaller_by(volume_ml)) == 1


CROPS = {
    "three slices": np.s_[:, :, 49:52],
    "a thick slab": np.s_[:, :, 45:55],
    "the vertex": np.s_[:, :, 75:84],
    "a half": np.s_[:55],
    "a corner": np.s_[:40, :45, :30],
    "a corner of the brain": np.s_[20:45, 30:55, 40:60],
    "inside": np.s_[45:65, 50:70, 40:60],
}


@pytest.mark.parametrize("name", list(CROPS))
@pytest.mark.parametrize("stripped", [False, True])
def test_a_crop_of_a_head_keeps_the_lengths_of_a_head(name: str, stripped: bool) -> None:
    """Along an axis where a crop cuts the object, its size there tells nothing."""
    image, crop = head() * BRAIN if stripped else head(), CROPS[name]
    for mask in (None, BRAIN[crop]):
        assert length_scale(image[crop], mask, voxel_size_mm=HEAD_VOXEL_MM) == 1


@pytest.mark.parametrize("stripped", [False, True])
def test_a_mask_of_a_part_of_the_brain_is_no_small_brain(stripped: bool) -> None:
    """Not to be read off the case: a region of 25 ml in a whole head, given as the mask."""
    image = head() * BRAIN if stripped else head()
    assert length_scale(image, ellipsoid((20, 20, 15)), voxel_size_mm=HEAD_VOXEL_MM) == 1


@pytest.mark.parametrize("volume_ml", [1.5, 0.45])
def test_a_slab_of_a_small_animal_is_small(volume_ml: float) -> None:
    size_mm, crop = smaller_by(volume_ml), np.s_[:, :, 45:55]
    whole = length_scale(head(), BRAIN, voxel_size_mm=size_mm)
    assert whole == pytest.approx((volume_ml / 100) ** (1 / 3), rel=0.01)
    assert length_scale(head()[crop], BRAIN[crop], voxel_size_mm=size_mm) == pytest.approx(
        whole, rel=0.3
    )


@pytest.mark.parametrize(
    ("semi_axes_mm", "expected"),
    [((85, 85, 85), 1.0), ((40, 40, 60), 1.0), ((32, 32, 32), 1.0), ((14, 14, 14), 0.677)],
)
def test_bottles_and_fruit(semi_axes_mm: Triple, expected: float) -> None:
    image = torch.where(ellipsoid(semi_axes_mm), 1.0, 0.02) + 0.01 * torch.rand(HEAD_SHAPE)
    found = length_scale(image, voxel_size_mm=HEAD_VOXEL_MM)
    assert found == pytest.approx(expected, rel=0.05)


def test_a_diameter_is_that_of_the_ball_the_disc_or_the_line() -> None:
    size_mm = (0.5, 0.5, 0.5)
    ball = ellipsoid((10, 10, 10), size_mm).numpy()
    assert diameter_mm(ball, voxel_size_mm=size_mm) == pytest.approx(20, rel=0.02)
    assert diameter_mm(ball[:, :, 45:55], voxel_size_mm=size_mm) == pytest.approx(20, rel=0.02)
    assert diameter_mm(ball[:, 60:70, 45:55], voxel_size_mm=size_mm) == pytest.approx(20, rel=0.06)
    assert diameter_mm(ball[50:60, 60:70, 45:55], voxel_size_mm=size_mm) is None


def test_lengths_that_are_given_stay() -> None:
    settings = QsmSettings(
        edge_mm=0.3, background="vsharp", background_settings=VsharpSettings(radii_mm=(2.0, 1.0))
    )
    used = in_proportion(settings, 0.25)
    assert used.edge_mm == 0.3
    assert used.background_settings == settings.background_settings
    assert used.inversion_settings == L1Settings(
        regularisation=9e-4 / 4, small_gradient=1e-3 * 4, edge_gradient=0.002 * 4
    )
    assert in_proportion(QsmSettings(background="vsharp"), 0.25).background_settings.radii_mm[
        :2
    ] == (2.0, 1.5)
    assert in_head_units(used, 0.25).background_settings.radii_mm == (8.0, 4.0)
    assert in_proportion(settings, 1.0) is settings


def test_what_was_used_is_recorded_and_gives_the_same_map_again() -> None:
    made = phantom(smaller=RAT)
    first = mapped(made, given=False)
    assert first.settings.edge_mm < 1
    again = mapped(made, given=False, settings=from_table(QsmSettings, plain(first.settings)))
    assert again.settings == first.settings
    assert torch.equal(again.chi_ppm, first.chi_ppm)


def test_a_small_object_is_said_to_be_one() -> None:
    with pytest.warns(InputWarning, match=r"multiplied by 0\.25 .* 0\.5 mm"):
        warn_of_size(in_proportion(DEFAULT, 0.25))
    warn_of_size(DEFAULT)


def test_an_error_says_in_which_units_its_lengths_are() -> None:
    settings = QsmSettings(
        background="vsharp", background_settings=VsharpSettings(radii_mm=(2.0, 0.1))
    )
    with pytest.raises(InputError, match=r"half a voxel.*lengths over 0\.27"):
        mapped(phantom(smaller=RAT), settings=settings)


def test_the_ventricles_of_a_small_head_are_near_its_middle() -> None:
    """A reference region needs no unit either: a mouse's has the voxels that a head's has."""
    rate = np.where(ellipsoid((12, 30, 14)).numpy(), 2.0, 20.0)
    rate[:, :20] = 2.0
    for volume_ml in (1240.0, 0.45):
        size_mm = smaller_by(volume_ml)
        scale = length_scale(head(), BRAIN, voxel_size_mm=size_mm)
        region = csf(BRAIN.numpy(), rate, voxel_size_mm=tuple(size / scale for size in size_mm))
        assert region.any()
        assert not (region & ~ellipsoid((12, 30, 14)).numpy()).any()


def test_filtered_phase_is_judged_at_the_scale_of_the_object() -> None:
    """Waves as long as half of the brain are slow in a head and in a mouse of the same voxels."""
    phase_rad = torch.cos(torch.arange(HEAD_SHAPE[1]) * 1.8 * 2 * np.pi / 90)[None, :, None]
    image = torch.polar(BRAIN.float(), phase_rad * torch.ones(HEAD_SHAPE)).to(torch.complex64)
    in_head, in_mouse = (
        slow_phase_rad(image, voxel_size_mm=smaller_by(volume_ml)) for volume_ml in (100.0, 0.45)
    )
    assert in_head > 0.2
    assert in_mouse == pytest.approx(in_head, rel=0.05)


def test_one_value_everywhere_is_no_magnitude() -> None:
    ones = torch.ones(12, 12, 12) * (1 + 1e-7 * torch.rand(12, 12, 12))
    with pytest.raises(InputError, match="one value everywhere"):
        brain_mask(ones, voxel_size_mm=(2.0, 2.0, 2.0))
    made = phantom(smaller=RAT)
    mask = made.brain
    assert length_scale(torch.ones_like(mask).float(), mask, voxel_size_mm=(0.48,) * 3) < 0.3
