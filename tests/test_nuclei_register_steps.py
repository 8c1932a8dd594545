"""Steps of a registration, with the engine replaced: what is compared, from where, and how finely.

What the engine finds is tested in ``test_nuclei_register.py``; that a coarse step alone comes near
the truth too, and one contrast of two, is why these tests ask for the steps themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from accelqsm.errors import InputError
from accelqsm.grid import Grid, centred_grid
from accelqsm.nuclei import engine, register
from accelqsm.nuclei.settings import SynSettings
from accelqsm.nuclei.volume import Volume

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
    found: np.ndarray


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Step]:
    """Steps of linear registration; each moves by a quarter of a millimetre more along y."""
    made: list[Step] = []

    def step(fixed: Volume, moving: Volume, *, kind: str, initial: Any, **named: Any) -> Any:
        found = initial.copy()
        found[1, 3] += 0.25
        made.append(Step(fixed, kind, initial, tuple(named["iterations"]), found))
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
    assert len(steps[-2].iterations) == 3
    # Its two starts: scanner coordinates, and centres of mass; the first fits better here.
    assert np.array_equal(steps[0].initial, np.eye(4))
    assert coarse.initial is steps[0].found


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


class Caught(Exception):
    """Ends a registration before it begins."""


def correlation(one: Any, other: Any) -> float:
    """Of two images of ANTs, in the voxels of the first: the grids share an origin up to a crop."""
    a, b = one.numpy(), other.numpy()
    offset = np.rint((np.array(one.origin) - other.origin) @ other.direction).astype(int)
    part = tuple(slice(o, o + n) for o, n in zip(offset, a.shape, strict=True))
    return float(np.corrcoef(a.ravel(), b[part].ravel())[0, 1])


def test_each_contrast_of_the_template_is_compared_with_its_own_of_the_scan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    contrasts = {"T1w": texture(1), "T2w": texture(2), "QSM": texture(3)}
    box = centred_grid((14, 16, 12), (1.0, 1.0, 1.0))
    asked: dict[str, Any] = {}

    def caught(fixed: Any, moving: Any, **named: Any) -> None:
        asked.update(named, pairs=[("CC", fixed, moving, 1, named["syn_sampling"])])
        raise Caught

    monkeypatch.setattr(engine.ants_module(), "registration", caught)
    with pytest.raises(Caught):
        register.register_template(
            contrasts | {"other": texture(4)},
            {name: contrasts[name] for name in ("QSM", "T1w", "T2w")},
            box=box,
            affine=np.eye(4),
            settings=SynSettings(spacing_mm=1.0, radius=3, iterations=(7, 2), step=0.125),
        )
    pairs = [*asked["pairs"], *asked["multivariate_extras"]]
    assert [(metric, weight, radius) for metric, _, _, weight, radius in pairs] == [
        ("CC", 1, 3)
    ] * 3
    table = np.array([[correlation(f, m) for _, _, m, *_ in pairs] for _, f, *_ in pairs])
    assert table.diagonal().min() > 0.99
    assert np.abs(table - np.diag(table.diagonal())).max() < 0.5
    assert asked["reg_iterations"] == (7, 2)
    assert asked["grad_step"] == 0.125


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
