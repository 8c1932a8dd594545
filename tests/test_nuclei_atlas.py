"""Labels propagated from an atlas: whole, in place, and never a label that was not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.api.nuclei import as_atlas
from accelqsm.errors import InputError
from accelqsm.files.atlas import read_atlas
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.nuclei.atlas import Atlas, PropagatedLabels, one_hot, paste, propagate_labels
from accelqsm.nuclei.labels import erode, labels_outside, select_rows
from accelqsm.nuclei.volume import Volume, affine_transform, grid_points
from nuclei_phantom import reoriented

GRID = centred_grid((24, 26, 22), (1.0, 1.0, 1.0))
LOOKUP = pd.DataFrame({"index": [1, 9], "name": ["L Pu", "R Pu"]})


def labelled(points: np.ndarray) -> np.ndarray:
    x, y, z = points
    outside = (y / 7) ** 2 + (z / 6) ** 2
    left, right = ((x + 5) / 5) ** 2 + outside < 1, ((x - 5) / 5) ** 2 + outside < 1
    return np.where(left, 1, np.where(right, 9, 0)).astype(np.int16)


def atlas(labels: np.ndarray | None = None) -> Atlas:
    values = labelled(grid_points(GRID)) if labels is None else labels
    probabilities = one_hot(Volume(values, GRID), [1, 9])
    brain = Volume(np.ones(GRID.shape), GRID)
    return Atlas("test", {"T1w": brain}, brain, probabilities, LOOKUP, probabilistic=False)


def propagated(
    scan: Grid,
    matrix: np.ndarray | None = None,
    *,
    labels: np.ndarray | None = None,
    **options: float,
) -> PropagatedLabels:
    matrix = np.eye(4) if matrix is None else matrix
    return propagate_labels(
        atlas(labels),
        scan,
        to_template=affine_transform(matrix),
        from_template=affine_transform(np.linalg.inv(matrix)),
        **options,
    )


def test_nothing_changes_where_nothing_moves() -> None:
    found = propagated(GRID)
    whole = paste(found.labels, found.offset, GRID)
    np.testing.assert_array_equal(whole, labelled(grid_points(GRID)))


def test_a_turned_flipped_and_finer_scan_gets_the_labels_where_they_are_in_the_world() -> None:
    turn = np.eye(4)
    c, s = np.cos(0.3), np.sin(0.3)
    turn[:2, :2] = [[c, -s], [s, c]]
    fine = centred_grid((60, 64, 56), (0.5, 0.5, 0.5))
    oblique = Grid(fine.shape, as_affine(turn @ fine.matrix))
    stored = reoriented(Volume(np.zeros(fine.shape), oblique), (2, 0, 1), (0, 2)).grid
    matrix = np.diag([1.1, 0.9, 1.05, 1.0])
    found = propagated(stored, matrix)
    whole = paste(found.labels, found.offset, stored)
    truth = labelled(affine_transform(matrix)(grid_points(stored)))
    assert set(np.unique(whole)) == {0, 1, 9}
    for index in (1, 9):
        overlap = (whole == index) & (truth == index)
        assert 2 * overlap.sum() / ((whole == index).sum() + (truth == index).sum()) > 0.93


def turned_a_little() -> np.ndarray:
    turn = np.eye(4)
    c, s = np.cos(0.05), np.sin(0.05)
    turn[:2, :2], turn[:3, 3] = [[c, -s], [s, c]], (0.4, 0.3, -0.45)
    return turn


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def test_a_thin_nucleus_keeps_its_size_when_it_is_turned() -> None:
    normal = np.array([0.8, 0.5, 0.33]) / np.linalg.norm([0.8, 0.5, 0.33])

    def sheet(at: np.ndarray) -> np.ndarray:
        across = np.tensordot(normal, at, axes=1)
        return ((across / 1.25) ** 2 + (at**2).sum(0) / 60 < 1).astype(np.int16)

    points, turn = grid_points(GRID), turned_a_little()
    found = propagated(GRID, turn, labels=sheet(points) + 9 * (points[0] > 10.5).astype(np.int16))
    labels = paste(found.labels, found.offset, GRID) == 1
    truth = sheet(affine_transform(turn)(points)) == 1
    assert labels.sum() == pytest.approx(truth.sum(), rel=0.06)
    assert overlap(labels, truth) > 0.85


def test_no_gap_opens_where_two_nuclei_touch() -> None:
    def halves(at: np.ndarray) -> np.ndarray:
        return np.where((at**2).sum(0) < 49, np.where(at[0] < -0.5, 1, 9), 0).astype(np.int16)

    points, turn = grid_points(GRID), turned_a_little()
    found = propagated(GRID, turn, labels=halves(points))
    labels = paste(found.labels, found.offset, GRID)
    deep = (affine_transform(turn)(points) ** 2).sum(0) < 36
    assert (labels[deep] > 0).all()
    for index in (1, 9):
        assert overlap(labels == index, halves(affine_transform(turn)(points)) == index) > 0.95


def test_a_label_without_voxels_stays_without() -> None:
    only_one = np.where(labelled(grid_points(GRID)) == 1, 1, 0).astype(np.int16)
    found = propagated(GRID, labels=only_one)
    np.testing.assert_array_equal(paste(found.labels, found.offset, GRID), only_one)


def test_labels_beyond_the_image_are_counted_and_cut_off() -> None:
    cropped = centred_grid((15, 26, 22), (1.0, 1.0, 1.0), centre_mm=(-5.0, 0.0, 0.0))
    found = propagated(cropped)
    in_image = found.of_scan(np.ones(cropped.shape, dtype=bool))
    reasons = labels_outside(found.labels, in_image, LOOKUP, in_image=in_image)
    truth = labelled(grid_points(GRID)) == 9
    x = grid_points(GRID)[0]
    share = 100 * (truth & (x > 2.5)).sum() / truth.sum()
    assert reasons == {9: f"{share:.0f} % of it lies outside the image"}
    assert paste(found.labels, found.offset, cropped).shape == cropped.shape


def test_labels_outside_the_mask_are_named() -> None:
    labels = labelled(grid_points(GRID))
    everywhere = np.ones(GRID.shape, dtype=bool)
    mask = everywhere & (grid_points(GRID)[0] < 0)
    reasons = labels_outside(labels, mask, LOOKUP, in_image=everywhere)
    assert reasons == {9: "100 % of it lies outside the mask"}


def test_a_tenth_outside_is_no_reason_and_more_is() -> None:
    labels = np.zeros((10, 3, 1), dtype=np.int16)
    labels[:, 0], labels[:, 1], labels[:9, 2] = 1, 2, 3
    lookup = pd.DataFrame({"index": [1, 2, 3, 4], "name": ["A", "B", "C", "D"]})
    everywhere = np.ones(labels.shape, dtype=bool)
    mask = everywhere.copy()
    mask[9:, 0], mask[8:, 1], mask[8:, 2] = False, False, False
    reasons = labels_outside(labels, mask, lookup, in_image=everywhere)
    assert reasons == {
        2: "20 % of it lies outside the mask",
        3: "11 % of it lies outside the mask",
    }
    # Beyond the image no mask can be: the image is named.
    reasons = labels_outside(labels, mask, lookup, in_image=mask)
    assert set(reasons) == {2, 3}
    assert all(reason.endswith("outside the image") for reason in reasons.values())


def test_nuclei_far_from_the_image_are_an_error() -> None:
    far = centred_grid((10, 10, 10), (1.0, 1.0, 1.0), centre_mm=(90.0, 0.0, 0.0))
    with pytest.raises(
        InputError, match=r"^expected the nuclei inside the image, found them outside$"
    ):
        propagated(far)


def test_probabilities_are_thresholded_and_the_larger_one_wins() -> None:
    x = grid_points(GRID)[0]
    ramp = np.clip((x + 6) / 12, 0, 1).astype(np.float32)
    inside = np.abs(grid_points(GRID)[1]) < 5
    probabilities = {1: Volume((1 - ramp) * inside, GRID), 9: Volume(ramp * inside * 0.8, GRID)}
    base = atlas()
    probable = Atlas("p", base.templates, base.brain, probabilities, LOOKUP, probabilistic=True)
    same = affine_transform(np.eye(4))
    for threshold in (0.3, 0.7):
        found = propagate_labels(
            probable, GRID, to_template=same, from_template=same, threshold=threshold
        )
        labels = paste(found.labels, found.offset, GRID)
        one, nine = probabilities[1].values, probabilities[9].values
        expected = np.where(one >= nine, 1, 9) * (np.maximum(one, nine) >= threshold)
        np.testing.assert_array_equal(labels, expected)
        np.testing.assert_allclose(
            paste(found.probabilities[9], found.offset, GRID), nine, atol=1e-6
        )


def test_an_atlas_of_probabilities_is_read_as_one(tmp_path: Path) -> None:
    """On a grid of their own, smaller than the template's; its zeros say where the brain is."""
    small = centred_grid((8, 6, 4), (1.0, 1.0, 1.0), centre_mm=(3.0, 0.0, -2.0))
    template = (labelled(grid_points(GRID)) > 0).astype(np.float32)
    chances = np.random.default_rng(0).uniform(0.1, 0.9, (*small.shape, 2)).astype(np.float32)
    write_image(tmp_path / "T1w.nii.gz", template, GRID)
    write_image(tmp_path / "probseg.nii.gz", chances, small)
    write_table(tmp_path / "labels.tsv", LOOKUP)
    found = as_atlas(read_atlas(tmp_path))
    assert found.probabilistic
    np.testing.assert_array_equal(found.brain.values, template)
    for place, index in enumerate((1, 9)):
        np.testing.assert_allclose(
            found.probabilities[index].values, chances[..., place], rtol=1e-6
        )
        np.testing.assert_allclose(found.probabilities[index].grid.matrix, small.matrix, atol=1e-5)


def test_volumes_are_sums_of_shares() -> None:
    labels = labelled(grid_points(GRID))
    assert atlas().volumes_mm3() == {1: (labels == 1).sum(), 9: (labels == 9).sum()}


def test_fractions_are_not_labels() -> None:
    with pytest.raises(
        InputError, match=r"^atlas labels: expected whole numbers, found fractions$"
    ):
        one_hot(Volume(np.full(GRID.shape, 0.5), GRID), [1])


def test_erosion_takes_the_voxels_near_the_edge() -> None:
    grid = centred_grid((30, 30, 20), (1.0, 1.0, 2.0))
    points = grid_points(grid)
    radius = np.sqrt((points**2).sum(0))
    labels = (radius < 9).astype(np.int16) * 4
    left = erode(labels, distance_mm=3.0, voxel_size_mm=grid.voxel_size_mm)
    np.testing.assert_array_equal(erode(labels, distance_mm=0, voxel_size_mm=(1, 1, 2)), labels)
    assert set(np.unique(left)) == {0, 4}
    assert radius[left == 4].max() < 7.0
    assert (left[radius < 5.0] == 4).all()
    # A voxel at the distance itself is left out, and one just beyond it is kept.
    rod = np.ones((9, 1, 1), dtype=np.int16)
    for distance_mm, n in ((1.0, 7), (0.99, 9), (2.0, 5)):
        padded = np.pad(rod, 1)
        wide = (1.0, 100.0, 100.0)
        assert (erode(padded, distance_mm=distance_mm, voxel_size_mm=wide) > 0).sum() == n
    with pytest.raises(InputError, match=r"^erosion: expected 0 mm or more, found -1 mm$"):
        erode(labels, distance_mm=-1, voxel_size_mm=(1, 1, 2))


def test_erosion_separates_neighbours() -> None:
    labels = np.zeros((10, 8, 8), dtype=np.int16)
    labels[1:5, 1:7, 1:7], labels[5:9, 1:7, 1:7] = 1, 2
    left = erode(labels, distance_mm=1.0, voxel_size_mm=(1.0, 1.0, 1.0))
    assert np.unique(np.nonzero(left == 1)[0]).tolist() == [2, 3]
    assert np.unique(np.nonzero(left == 2)[0]).tolist() == [6, 7]


def test_regions_are_chosen_in_the_asked_order() -> None:
    table = pd.DataFrame({"index": [1, 2, 3], "name": ["L Pu", "R Pu", "RN"]})
    assert select_rows(table, ("RN", "Pu"))["index"].tolist() == [3, 1, 2]
    assert select_rows(table, None) is table
    with pytest.raises(InputError, match=r"^regions: expected some of Pu RN, found GPe$"):
        select_rows(table, ("GPe",))
