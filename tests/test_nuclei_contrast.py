"""A template takes the brightness of the scan's nuclei, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from accelqsm.grid import Grid, centred_grid
from accelqsm.nuclei.contrast import match_contrast
from accelqsm.nuclei.register import TemplateMap
from accelqsm.nuclei.volume import Volume, grid_points

GRID = centred_grid((40, 36, 32), (1.0, 1.0, 1.0))
INNER = (slice(12, 20), slice(12, 24), slice(10, 22))
OUTER = (slice(20, 28), slice(12, 24), slice(10, 22))
STILL = TemplateMap(
    np.eye(4),
    np.zeros((3, *GRID.shape), dtype=np.float32),
    np.zeros((3, *GRID.shape), dtype=np.float32),
    GRID,
)


def labelled(grid: Grid = GRID) -> dict[int, Volume]:
    probabilities = {}
    for index, part in ((1, INNER), (2, OUTER)):
        values = np.zeros(grid.shape, dtype=np.float32)
        values[part] = 1
        probabilities[index] = Volume(values, grid)
    return probabilities


def image(inner: float, outer: float) -> np.ndarray:
    x, y, z = grid_points(GRID)
    values = 100 + 10 * np.sin(x / 4) * np.cos(y / 5) * np.sin(z / 6)
    values[INNER] += inner
    values[OUTER] += outer
    return values.astype(np.float32)


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 0.0), (3.0, -40.0), (-0.5, 200.0)])
def test_two_touching_nuclei_get_the_steps_of_the_scan(gain: float, offset: float) -> None:
    template = Volume(image(30.0, 50.0), GRID)
    scan = Volume(gain * image(60.0, 45.0) + offset, GRID)
    raised = match_contrast(scan, template, probabilities=labelled(), transform=STILL)
    # Labels of whole voxels overlap nowhere, so that the caution takes its 1 / 1.05 of each.
    expected = image(30.0 + 30.0 / 1.05, 50.0 - 5.0 / 1.05)
    np.testing.assert_allclose(raised.values, expected, atol=0.02)


def test_a_scan_without_contrast_changes_nothing() -> None:
    template = Volume(image(30.0, 50.0), GRID)
    flat = Volume(np.full(GRID.shape, 7.0, dtype=np.float32), GRID)
    assert match_contrast(flat, template, probabilities=labelled(), transform=STILL) is template


def test_labels_that_lie_on_one_another_do_not_run_away() -> None:
    probabilities = labelled()
    probabilities[3] = probabilities[1]
    template, scan = Volume(image(30.0, 50.0), GRID), Volume(image(60.0, 50.0), GRID)
    raised = match_contrast(scan, template, probabilities=probabilities, transform=STILL)
    assert float(raised.values[INNER].mean() - template.values[INNER].mean()) == pytest.approx(
        30.0 * 2 / 2.05, abs=0.1
    )
