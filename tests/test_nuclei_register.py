"""Registration: known motion comes back, the same images give the same numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from accelqsm.errors import InputError
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.nuclei.engine import registration as engine
from accelqsm.nuclei.engine.registration import deformable_registration, linear_registration
from accelqsm.nuclei.register import (
    TemplateMap,
    motion_of,
    mutual_information,
    paired_contrasts,
    register_rigid,
    register_template,
)
from accelqsm.nuclei.settings import SynSettings
from accelqsm.nuclei.volume import (
    Volume,
    affine_transform,
    grid_points,
    isotropic_grid,
    resample_to,
    value_at,
)
from accelqsm.simulate.heads.deformation import UPRIGHT, Pose
from nuclei_phantom import GRID, magnitude, pose_matrix, reoriented, t1w

MOVED = Pose(rotation_deg=(1.9, -1.6, 1.6), translation_mm=(1.8, -1.7, 1.7))
"""Three degrees about an oblique axis and three millimetres in all."""
BASAL_GANGLIA_MM = (0.0, -5.0, 0.0)


def error_of(found: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    return motion_of(np.linalg.inv(true) @ found, BASAL_GANGLIA_MM)


@pytest.mark.slow
def test_motion_of_three_mm_and_degrees_is_recovered_to_a_fifth_of_one() -> None:
    first, second = magnitude(5, UPRIGHT, noise_seed=1), magnitude(5, MOVED, noise_seed=2)
    true = pose_matrix(MOVED)
    assert motion_of(true, (0.0, 0.0, 0.0)) == pytest.approx((3.0, 2.95), abs=0.05)
    shift_mm, turn_deg = error_of(register_rigid(first, second), true)
    assert shift_mm < 0.2
    assert turn_deg < 0.2


@pytest.mark.slow
def test_contrasts_worlds_and_the_order_of_axes_may_differ() -> None:
    first = reoriented(magnitude(5, UPRIGHT, noise_seed=1), (1, 2, 0), (0, 2))
    second = t1w(5, MOVED, noise_seed=2)
    far = np.eye(4)
    far[:3, 3] = (60.0, -45.0, 80.0)
    there = Volume(second.values, Grid(GRID.shape, as_affine(far @ GRID.matrix)))
    found = register_rigid(first, reoriented(there, (2, 0, 1), (1,)))
    shift_mm, turn_deg = error_of(found, far @ pose_matrix(MOVED))
    assert shift_mm < 0.3
    assert turn_deg < 0.3


def test_an_image_without_contrast_is_refused() -> None:
    empty = Volume(np.zeros(GRID.shape, dtype=np.float32), GRID)
    with pytest.raises(
        InputError, match=r"^registration: expected an image with contrast, found one value alone$"
    ):
        register_rigid(magnitude(5, UPRIGHT), empty)


def test_given_start_survives_when_nothing_is_to_be_done() -> None:
    image = magnitude(5, UPRIGHT)
    start = pose_matrix(MOVED)
    found = linear_registration(
        image, image, kind="Affine", initial=start, iterations=(0,), shrink=(1,),
        sampling_rate=0.1,
    )  # fmt: skip
    np.testing.assert_allclose(found, start, atol=1e-4)


@pytest.fixture(scope="module")
def bent() -> tuple[Volume, Volume, np.ndarray]:
    """A blob pattern, the same bent by a known smooth field, and a start that is not the answer."""
    grid = centred_grid((36, 38, 32), (2.0, 2.0, 2.0))
    matrix = pose_matrix(Pose(rotation_deg=(4.0, 0.0, 3.0), translation_mm=(5.0, 2.0, -4.0)))

    def pattern(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        return (
            100 * np.exp(-(x**2 + (y / 1.4) ** 2 + z**2) / 500)
            + 40 * np.sin(x / 2.6) * np.cos(y / 3) * np.sin(z / 2.8 + 1)
        ).astype(np.float32)

    def bend(points: np.ndarray) -> np.ndarray:
        x, y, z = points
        weight = np.exp(-(x**2 + y**2 + z**2) / 400)
        return points + np.stack([2.5 * weight, -2.0 * weight, 1.5 * weight])

    fixed = Volume(pattern(grid_points(grid)), grid)
    wide = centred_grid((50, 52, 48), (2.0, 2.0, 2.0), centre_mm=(5.0, 2.0, -4.0))
    back = affine_transform(np.linalg.inv(matrix))
    moving = Volume(pattern(bend(back(grid_points(wide)))), wide)
    return fixed, moving, matrix


def syn(
    fixed: Volume, moving: Volume, matrix: np.ndarray, iterations: tuple[int, int] = (30, 6)
) -> TemplateMap:
    there, back = deformable_registration(
        [fixed], [moving], initial=matrix, iterations=iterations, step=0.25, radius=2,
        smoothing_voxels=3.0,
    )  # fmt: skip
    return TemplateMap(np.linalg.inv(matrix), back, there, fixed.grid)


@pytest.mark.slow
def test_a_known_bend_is_found_and_its_two_ways_undo_each_other(
    bent: tuple[Volume, Volume, np.ndarray],
) -> None:
    fixed, moving, matrix = bent
    way = syn(fixed, moving, matrix)
    middle = grid_points(isotropic_grid(fixed.grid, 2.0))[:, 10:26, 11:27, 8:24]
    there = way.from_template(middle)
    again = way.to_template(there)
    assert np.abs(again - middle).max() < 0.3
    head = affine_transform(np.linalg.inv(matrix))(there)
    weight = np.exp(-(head**2).sum(0) / 400)
    expected = head + np.stack([2.5 * weight, -2.0 * weight, 1.5 * weight])
    before = np.sqrt(((np.asarray([2.5, -2.0, 1.5])[:, None] * weight.ravel()) ** 2).sum(0).mean())
    error = np.sqrt(((expected - middle) ** 2).sum(0).mean())
    assert before > 1.5
    assert error < 0.5


@pytest.mark.slow
def test_the_same_images_give_the_same_bytes(bent: tuple[Volume, Volume, np.ndarray]) -> None:
    fixed, moving, matrix = bent
    one, two = (syn(fixed, moving, matrix, (4, 1)) for _ in range(2))
    assert np.abs(one.from_template_mm).max() > 0.1
    assert one.from_template_mm.tobytes() == two.from_template_mm.tobytes()
    assert one.to_template_mm.tobytes() == two.to_template_mm.tobytes()
    rigid = [
        linear_registration(
            fixed, moving, kind="Rigid", initial=np.eye(4), iterations=(20,), shrink=(2,),
            sampling_rate=0.5,
        )
        for _ in range(2)
    ]  # fmt: skip
    assert rigid[0].tobytes() == rigid[1].tobytes()
    assert np.abs(rigid[0][:3, 3]).max() > 0.5


def test_deformable_registration_does_not_depend_on_the_number_of_threads(
    bent: tuple[Volume, Volume, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(engine, "usable_threads", lambda threads=threads: threads)
        way = syn(*bent, (3, 1))
        found.append(way.from_template_mm.tobytes() + way.to_template_mm.tobytes())
    assert np.frombuffer(found[0], dtype=np.float32).max() > 0.1
    assert found[0] == found[1] == found[2]


def test_a_second_run_goes_on_from_where_the_first_ended(
    bent: tuple[Volume, Volume, np.ndarray],
) -> None:
    fixed, moving, matrix = bent
    settings = SynSettings(spacing_mm=2.0, iterations=(20,), radius=2)
    named: dict[str, Any] = {"box": fixed.grid, "affine": matrix}
    first = register_template({"T1w": fixed}, {"T1w": moving}, settings=settings, **named)
    still = replace(settings, iterations=(0,))
    same = register_template({"T1w": fixed}, {"T1w": moving}, settings=still, start=first, **named)
    np.testing.assert_allclose(same.from_template_mm, first.from_template_mm, atol=1e-5)
    np.testing.assert_allclose(same.to_template_mm, first.to_template_mm, atol=1e-5)
    on = register_template({"T1w": fixed}, {"T1w": moving}, settings=settings, start=first, **named)
    middle = grid_points(fixed.grid)[:, 10:26, 11:27, 8:24]
    again = on.to_template(on.from_template(middle))
    assert np.abs(again - middle).max() < 0.3
    similarity = [
        np.corrcoef(
            fixed.values[10:26, 11:27, 8:24].ravel(),
            value_at(moving, way.from_template(middle)).ravel(),
        )[0, 1]
        for way in (first, on)
    ]
    assert similarity[1] > similarity[0]


def test_jacobian_of_a_stretch_is_its_volume() -> None:
    grid = reoriented(
        Volume(np.zeros((12, 14, 10), dtype=np.float32), centred_grid((12, 14, 10), (1.5, 2, 1))),
        (1, 0, 2),
        (0,),
    ).grid
    points = grid_points(grid)
    stretch = np.diag([0.1, -0.05, 0.2])
    there = np.tensordot(stretch, points, axes=1).astype(np.float32)
    affine = np.diag([2.0, 1.0, 1.25, 1.0])
    jacobian = TemplateMap(affine, -there, there, grid).jacobian()
    np.testing.assert_allclose(jacobian, 1.1 * 0.95 * 1.2 / 2.5, rtol=1e-4)


def test_mutual_information_has_its_closed_forms() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.uniform(size=(2, 200_000)).astype(np.float32)
    assert mutual_information(one, other, bins=8) == pytest.approx(0.0, abs=1e-3)
    assert mutual_information(one, -one, bins=8) == pytest.approx(np.log(8), abs=0.01)


def test_contrasts_meet_by_name_or_else_the_first_of_each() -> None:
    grid = centred_grid((2, 2, 2), (1.0, 1.0, 1.0))
    t1w, t2w, mag, chi = (Volume(np.full(grid.shape, float(n)), grid) for n in range(4))
    template, scan = {"T1w": t1w, "T2w": t2w}, {"magnitude": mag, "susceptibility": chi}
    assert paired_contrasts(template, scan) == ({"T1w": t1w}, {"T1w": mag})
    both = paired_contrasts(template | {"magnitude": t2w}, scan | {"T1w": chi})
    assert both == ({"T1w": t1w, "magnitude": t2w}, {"T1w": chi, "magnitude": mag})


def test_motion_of_a_turn_about_the_point_itself_does_not_move_it() -> None:
    turn = pose_matrix(Pose(rotation_deg=(0.0, 0.0, 0.02)))
    shift_mm, turn_deg = motion_of(turn, (0.0, 0.0, 7.0))
    assert shift_mm == pytest.approx(0.0, abs=1e-12)
    assert turn_deg == pytest.approx(0.02, rel=1e-6)


def test_resampling_onto_a_shifted_grid_shifts() -> None:
    image = magnitude(5, UPRIGHT)
    shift = np.eye(4)
    shift[:3, 3] = (2.2, 0.0, -4.4)
    found = resample_to(image, image.grid, affine_transform(shift)).values
    np.testing.assert_allclose(found[:-1, :, 2:], image.values[1:, :, :-2], atol=0.5)


def test_a_sheared_grid_is_refused() -> None:
    matrix = np.diag([1.0, 1.0, 1.0, 1.0])
    matrix[0, 1] = 0.1
    with pytest.raises(
        InputError,
        match=r"^affine: expected perpendicular voxel axes, found a sheared affine "
        r"\(cosine 0\.100 between two axes\)$",
    ):
        Volume(np.zeros((2, 2, 2)), Grid((2, 2, 2), as_affine(matrix)))
