"""Steps of a registration, with the engine replaced: what is compared, from where, and how finely.

What the engine finds is tested in ``test_nuclei_register.py``; that a coarse step alone comes near
the truth too, and one contrast of two, is why these tests ask for the steps themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from accelqsm.errors import InputError
from accelqsm.grid import Grid, centred_grid
from accelqsm.nuclei import register
from accelqsm.nuclei.atlas import Atlas
from accelqsm.nuclei.engine import registration as engine
from accelqsm.nuclei.register import (
    BRAIN_MARGIN_MM,
    _crop_smoothed,
    _middle,
    _smooth,
    _strip_skull,
    coarse_image,
    mutual_information,
)
from accelqsm.nuclei.settings import SynSettings
from accelqsm.nuclei.volume import Volume, centre_of, isotropic_grid, resample_to
from accelqsm.pipeline.nuclei import registration

FINE = centred_grid((40, 44, 36), (1.0, 1.0, 1.0))


def texture(seed: int, grid: Grid = FINE) -> Volume:
    noise = np.random.default_rng(seed).standard_normal(grid.shape)
    return Volume((100 + 50 * ndimage.gaussian_filter(noise, 2)).astype(np.float32), grid)


@dataclass(frozen=True)
class Step:
    """One call of the engine and what it gave."""

    fixed: Volume
    kind: str
    initial: np.ndarray
    iterations: tuple[int, ...]
    resolutions_mm: tuple[float, ...]
    found: np.ndarray


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Steps of linear registration; each moves by a quarter of a millimetre more along y."""
    made: list[Step] = []

    def step(fixed: Volume, moving: Volume, *, kind: str, initial: Any, **named: Any) -> Any:
        found = initial.copy()
        found[1, 3] += 0.25
        size_mm = min(fixed.grid.voxel_size_mm)
        resolutions_mm = tuple(size_mm * factor for factor in named["shrink"])
        made.append(Step(fixed, kind, initial, tuple(named["iterations"]), resolutions_mm, found))
        return found

    monkeypatch.setattr(register, "linear_registration", step)
    return made


def test_a_rigid_registration_ends_near_the_voxel_size(steps: list[Step]) -> None:
    found = register.register_rigid(texture(1), texture(1))
    coarse, last = steps[-2:]
    assert found is last.found
    assert last.initial is coarse.found
    assert min(last.iterations) > 0
    assert last.fixed.grid.voxel_size_mm == pytest.approx((1.2, 1.2, 1.2))
    assert coarse.fixed.grid.voxel_size_mm == pytest.approx((2.0, 2.0, 2.0))
    assert {step.kind for step in steps} == {"Rigid"}
    assert coarse.resolutions_mm == pytest.approx((4,))
    assert all(step.resolutions_mm == pytest.approx((8,)) for step in steps[:2])
    assert last.resolutions_mm == pytest.approx((1.2,))
    assert all(len(step.iterations) == len(step.resolutions_mm) for step in steps)
    # Its two starts: scanner coordinates, and centres of mass; the first fits better here.
    assert np.array_equal(steps[0].initial, np.eye(4))
    assert coarse.initial is steps[0].found


def test_voxels_above_the_fine_spacing_are_registered_as_they_are(steps: list[Step]) -> None:
    values = texture(1).values[:24, :20, :16]
    image = Volume(values, centred_grid(values.shape, (1.5, 2.0, 2.5)))
    register.register_rigid(image, image)
    assert steps[-1].fixed.grid.voxel_size_mm == pytest.approx((1.5, 1.5, 1.5))


def test_the_better_of_two_starts_is_followed(steps: list[Step]) -> None:
    fixed = texture(1)
    values = np.where(ndimage.distance_transform_edt(np.ones(FINE.shape)) < 6, 0, fixed.values)
    values[:6], values[-6:], values[:, :6], values[:, -6:] = 0, 0, 0, 0
    ball = Volume(values.astype(np.float32), FINE)
    away = centred_grid(FINE.shape, (1.0, 1.0, 1.0), centre_mm=(30.0, 0.0, 0.0))
    register.register_rigid(ball, Volume(ball.values, away))
    assert steps[1].initial[0, 3] == pytest.approx(30, abs=0.01)
    assert steps[2].initial is steps[1].found


def test_an_affine_registration_follows_a_rigid_one(steps: list[Step]) -> None:
    brain = Volume(np.ones(FINE.shape), FINE)
    found = register.register_affine(texture(1), texture(2), template_brain=brain, scan_brain=brain)
    assert [step.kind for step in steps] == ["Rigid", "Affine"]
    assert steps[1].initial is steps[0].found
    assert found is steps[1].found
    assert steps[0].resolutions_mm == pytest.approx((8,))
    assert steps[1].resolutions_mm == pytest.approx((8, 4))


class Caught(Exception):
    """Ends a registration before it begins."""


@dataclass(frozen=True)
class Asked:
    """What the engine was asked for: values of each option of its program, and images by file."""

    options: dict[str, list[str]]
    images: dict[str, Volume]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked({}, {})

    def write(path: Path, volume: Volume) -> Path:
        found.images[str(path)] = volume
        return path

    def caught(arguments: list[str], **_: Any) -> None:
        for option, value in zip(arguments[::2], arguments[1::2], strict=True):
            found.options.setdefault(option, []).append(value)
        raise Caught

    monkeypatch.setattr(engine, "write_image", write)
    monkeypatch.setattr(engine, "ants_registration", caught)
    return found


def correlation(one: Volume, other: Volume) -> float:
    """In the voxels of the first: the grids share an origin up to a crop."""
    offset = np.linalg.inv(other.grid.matrix) @ one.grid.matrix[:, 3]
    part = tuple(
        slice(o, o + n)
        for o, n in zip(np.rint(offset[:3]).astype(int), one.grid.shape, strict=True)
    )
    return float(np.corrcoef(one.values.ravel(), other.values[part].ravel())[0, 1])


def test_each_contrast_of_the_template_is_compared_with_its_own_of_the_scan(asked: Asked) -> None:
    contrasts = {"T1w": texture(1), "T2w": texture(2), "QSM": texture(3)}
    box = centred_grid((14, 16, 12), (1.0, 1.0, 1.0))
    with pytest.raises(Caught):
        register.register_template(
            contrasts | {"other": texture(4)},
            {name: contrasts[name] for name in ("QSM", "T1w", "T2w")},
            box=box,
            affine=np.eye(4),
            settings=SynSettings(spacing_mm=1.0, radius=3, iterations=(7, 2), step=0.125),
        )
    metrics = [
        text.removeprefix("CC[").removesuffix("]").split(",") for text in asked.options["-m"]
    ]
    assert [rest for _, _, *rest in metrics] == [["1", "3"]] * 3
    pairs = [(asked.images[f], asked.images[m]) for f, m, *_ in metrics]
    table = np.array([[correlation(f, m) for _, m in pairs] for f, _ in pairs])
    assert table.diagonal().min() > 0.99
    assert np.abs(table - np.diag(table.diagonal())).max() < 0.5
    assert asked.options["-c"] == ["[7x2,1e-7,8]"]
    assert asked.options["-f"] == ["2x1"]
    assert asked.options["-s"] == ["1x0"]
    assert asked.options["-t"][0].startswith("SyN[0.125")


def test_images_are_smoothed_by_half_of_what_they_are_shrunk_by(asked: Asked) -> None:
    with pytest.raises(Caught):
        engine.linear_registration(
            texture(1), texture(1), kind="Rigid", initial=np.eye(4), iterations=(9, 7, 5),
            shrink=(4, 2, 1), sampling_rate=0.5,
        )  # fmt: skip
    assert asked.options["-f"] == ["4x2x1"]
    assert asked.options["-s"] == ["2x1x0"]
    assert asked.options["-c"] == ["[9x7x5,1e-6,10]"]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("side", [-1, 1])
def test_nuclei_beyond_either_side_of_the_image_are_refused(axis: int, side: int) -> None:
    centre = [0.0, 0.0, 0.0]
    centre[axis] = side * 60.0
    box = centred_grid((14, 16, 12), (1.0, 1.0, 1.0), centre_mm=(centre[0], centre[1], centre[2]))
    with pytest.raises(InputError, match="expected the nuclei inside the image"):
        register.register_template(
            {"T1w": texture(1)},
            {"T1w": texture(1)},
            box=box,
            affine=np.eye(4),
            settings=SynSettings(spacing_mm=1.0),
        )


def test_smoothing_makes_up_the_difference_in_resolution_along_each_axis() -> None:
    """A point gets the variance 0.35^2 (spacing^2 - size^2), in mm^2, along each axis."""
    sizes_mm = (1.0, 0.5, 6.0)
    point = np.zeros((31, 61, 7))
    point[15, 30, 3] = 1
    found = _smooth(Volume(point, centred_grid(point.shape, sizes_mm)), 5.0).values
    for axis, size_mm in enumerate(sizes_mm):
        line = found.sum(tuple({0, 1, 2} - {axis}), dtype=np.float64)
        index = np.arange(len(line)) - len(line) // 2
        variance = size_mm**2 * (line @ index**2) / line.sum()
        wanted = 0.35**2 * max(5.0**2 - size_mm**2, 0)
        assert variance == pytest.approx(wanted, rel=0.01, abs=1e-12)
    assert found.sum() == pytest.approx(1, abs=1e-3)


def test_the_coarse_image_is_smoothed_like_any_other() -> None:
    image = Volume(texture(1).values[:30], centred_grid((30, 44, 36), (1.0, 0.8, 2.5)))
    found = coarse_image(image)
    wanted = resample_to(_smooth(image, 2.0), isotropic_grid(image.grid, 2.0))
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-6)


def test_negative_values_have_no_mass() -> None:
    values = np.full((20, 18, 16), -1.0)
    values[3:6, 10:15, 4] = 0.5
    grid = centred_grid(values.shape, (1.0, 2.0, 1.5))
    wanted = grid.matrix @ [4, 12, 4, 1]
    np.testing.assert_allclose(_middle(Volume(values, grid)), wanted[:3])


def test_the_head_ends_four_mm_from_the_brain() -> None:
    sizes_mm = (1.0, 2.0, 1.5)
    grid = centred_grid((24, 16, 20), sizes_mm)
    for axis, size_mm in enumerate(sizes_mm):
        index = np.indices(grid.shape)[axis]
        brain = Volume((index < 5).astype(np.float32), grid)
        found = _strip_skull(Volume(np.ones(grid.shape), grid), brain).values
        assert np.array_equal(found > 0, (index - 4) * size_mm <= BRAIN_MARGIN_MM)


@pytest.mark.parametrize("shift", [(0, 0, 0), (3, -2, 1)])
def test_the_moving_image_reaches_ten_mm_beyond_the_box(shift: tuple[int, int, int]) -> None:
    image = texture(1, centred_grid((60, 44, 40), (1.0, 1.0, 1.0)))
    box = centred_grid((14, 16, 12), (1.0, 1.0, 1.0))
    affine = np.eye(4)
    affine[:3, 3] = shift
    crop = _crop_smoothed(image, box, affine)
    assert crop.grid.shape == (14 + 20, 16 + 20, 12 + 20)
    np.testing.assert_allclose(centre_of(crop.grid), centre_of(box) + shift)
    start = np.linalg.inv(image.grid.matrix) @ crop.grid.matrix[:, 3]
    part = tuple(
        slice(a, a + n)
        for a, n in zip(np.rint(start[:3]).astype(int), crop.grid.shape, strict=True)
    )
    assert np.array_equal(crop.values, image.values[part])
    # At the edge of the image there is less.
    affine[:3, 3] = (20, 0, 0)
    assert _crop_smoothed(image, box, affine).grid.shape == (27, 36, 32)


def test_a_few_extreme_values_leave_the_histogram_as_it_is() -> None:
    one = np.random.default_rng(0).uniform(size=20_000).astype(np.float32)
    alike = mutual_information(one, one)
    for extreme in (1e6, -1e6):
        spoilt = one.copy()
        spoilt[:20] = extreme
        assert mutual_information(spoilt, one) == pytest.approx(alike, abs=0.1)
    assert mutual_information(one, np.zeros_like(one)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("spacing_mm", "first_run"),
    [(0.4, (40, 25, 0)), (1.25, (40, 25, 0)), (1.3, (40, 25, 5)), (4.0, (40, 25, 5))],
)
def test_the_first_run_leaves_out_the_finest_level_where_the_next_is_fine(
    spacing_mm: float, first_run: tuple[int, ...]
) -> None:
    settings = SynSettings(spacing_mm=spacing_mm, iterations=(40, 25, 5))
    assert settings.coarse.iterations == first_run
    assert settings.coarse.spacing_mm == spacing_mm
    # A single level is the finest one.
    assert SynSettings(spacing_mm=1.0, iterations=(7,)).coarse.iterations == (0,)


@pytest.mark.parametrize(
    ("iterations", "second_run"),
    [((40, 25, 5), (25, 5)), ((40, 25), (25,)), ((40,), (40,))],
)
def test_the_second_run_leaves_out_the_coarsest_level(
    iterations: tuple[int, ...], second_run: tuple[int, ...]
) -> None:
    assert SynSettings(iterations=iterations).fine.iterations == second_run


def test_the_second_run_of_a_head_goes_on_from_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[dict[str, Any]] = []

    def run(templates: Any, paired: Any, **named: Any) -> Any:
        runs.append(named | {"templates": templates})
        grid = next(iter(templates.values())).grid
        still = np.zeros((3, *grid.shape), dtype=np.float32)
        return register.TemplateMap(np.eye(4), still, still, grid)

    monkeypatch.setattr(registration, "register_template", run)
    label = np.zeros(FINE.shape, dtype=np.float32)
    label[15:25, 15:25, 12:22] = 1
    template = texture(1)
    rows = pd.DataFrame({"index": [1], "name": ["A L"]})
    brain = Volume(np.ones(FINE.shape), FINE)
    atlas = Atlas("", {"T1w": template}, brain, {1: Volume(label, FINE)}, rows, probabilistic=False)
    brighter = Volume(template.values + 100 * label, FINE)
    syn = SynSettings(spacing_mm=1.0, iterations=(5, 3))
    found = registration._syn(atlas, {"T1w": brighter}, np.eye(4), syn)
    first, second = runs
    assert first["settings"] == syn.coarse
    assert second["settings"] == syn.fine
    assert first.get("start") is None
    assert second["start"] is not None
    assert found is not second["start"]
    # Its template has the brightness that the nucleus has in the head.
    inside = resample_to(Volume(label, FINE), first["templates"]["T1w"].grid).values > 0.5
    gain = second["templates"]["T1w"].values - first["templates"]["T1w"].values
    assert gain[inside].mean() > 50
