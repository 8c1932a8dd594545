"""Dilation and erosion by a distance, components and holes, against plain distance transforms."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import ndimage

from accelqsm.grid import Triple
from accelqsm.morphology import Mask, bounding_box, dilate_mask, erode_mask
from accelqsm.qsm.mask import _fill_holes, _largest, has_contrast, remove_incoherent

SIZES_MM: tuple[Triple, ...] = ((1.0, 1.0, 1.0), (0.8, 0.8, 2.0), (2.3, 0.7, 1.1), (6.0, 0.5, 9.0))
DISTANCES_MM = (0.0, 0.7, 2.0, 5.0, 6.4, 40.0)


def random_masks() -> list[Mask]:
    """Sparse, dense and smooth masks, some in a corner, at every side, flat, empty and full."""
    rng = np.random.default_rng(5)
    shape = (23, 19, 14)
    masks = [rng.random(shape) < share for share in (0.0005, 0.01, 0.5, 0.97, 0.9995)]
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape), 2.0)
    masks += [smooth > level * smooth.std() for level in (-1.0, 0.0, 1.0)]
    corner = np.zeros(shape, dtype=bool)
    corner[:3, -4:, 5:9] = True
    masks += [corner, ~corner, np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)]
    return [*masks, rng.random((17, 1, 12)) < 0.1, rng.random((1, 1, 1)) < 2]


@pytest.mark.parametrize("size_mm", SIZES_MM)
def test_dilation_and_erosion_are_those_of_the_distance_transform(size_mm: Triple) -> None:
    for mask in random_masks():
        for distance_mm in DISTANCES_MM:
            away_mm, depth_mm = distances_mm(mask, size_mm), distances_mm(~mask, size_mm)
            dilated = dilate_mask(mask, distance_mm, voxel_size_mm=size_mm)
            eroded = erode_mask(mask, distance_mm, voxel_size_mm=size_mm)
            np.testing.assert_array_equal(dilated, away_mm <= distance_mm)
            np.testing.assert_array_equal(eroded, depth_mm > distance_mm)


def test_a_distance_that_is_just_reached_counts() -> None:
    """5 mm are 3 and 4 voxels of 1 mm, and 4 and 3 of other sizes that make the same triangle."""
    point = np.zeros((9, 9, 9), dtype=bool)
    point[0, 0, 0] = True
    for size_mm, place in (((1.0, 1.0, 1.0), (3, 4, 0)), ((0.75, 2.0, 1.0), (4, 2, 0))):
        below = np.nextafter(5.0, 0.0)
        assert dilate_mask(point, 5.0, voxel_size_mm=size_mm)[place]
        assert not dilate_mask(point, below, voxel_size_mm=size_mm)[place]
        assert not erode_mask(~point, 5.0, voxel_size_mm=size_mm)[place]
        assert erode_mask(~point, below, voxel_size_mm=size_mm)[place]


def test_a_crop_keeps_its_sides_and_a_mask_without_outside_stays() -> None:
    crop = np.ones((8, 8, 8), dtype=bool)
    assert erode_mask(crop, 5.0, voxel_size_mm=(1.0, 1.0, 1.0)).all()
    crop[0] = False
    expected = np.ones_like(crop)
    expected[:3] = False
    np.testing.assert_array_equal(erode_mask(crop, 2.0, voxel_size_mm=(1.0, 1.0, 1.0)), expected)


def test_the_box_of_a_mask_and_its_margin_stay_in_the_volume() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    assert mask[bounding_box(mask)].size == 0
    mask[2, 3:5, 8] = True
    assert bounding_box(mask) == (slice(2, 3), slice(3, 5), slice(8, 9))
    assert mask[bounding_box(mask, (3, 1, 2))].shape == (6, 4, 3)


def test_holes_and_the_largest_component_are_those_of_the_whole_volume() -> None:
    for mask in random_masks():
        np.testing.assert_array_equal(_fill_holes(mask), ndimage.binary_fill_holes(mask))
        labels, _ = ndimage.label(mask)
        sizes = np.bincount(labels.ravel(), minlength=2)
        expected = labels == 1 + sizes[1:].argmax() if mask.any() else mask
        np.testing.assert_array_equal(_largest(mask), expected)


@pytest.mark.parametrize("fill_holes", [True, False])
def test_coherent_parts_are_those_of_the_whole_volume(fill_holes: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    for whole in random_masks():
        if not whole.any():
            continue
        mask, coherence = torch.from_numpy(whole), torch.rand(whole.shape, generator=generator)
        found = remove_incoherent(mask, coherence, least_coherence=0.7, fill_holes=fill_holes)
        coherent = whole & (coherence >= 0.7 * coherence[mask].median()).numpy()
        parts, n_parts = ndimage.label(whole)
        kept = np.zeros_like(whole)
        for part in range(1, n_parts + 1):
            labels, _ = ndimage.label(coherent & (parts == part))
            sizes = np.bincount(labels.ravel(), minlength=2)
            kept |= (labels > 0) & (labels == 1 + sizes[1:].argmax())
        if fill_holes:
            kept = np.asarray(ndimage.binary_fill_holes(kept)) & whole
        np.testing.assert_array_equal(found.numpy(), kept)


def test_contrast_is_told_from_the_largest_value_of_either_sign() -> None:
    values = np.array([-1.0, -1.00005], dtype=np.float32)
    assert not has_contrast(values)
    assert not has_contrast(-values)
    assert has_contrast(np.array([-1.0, -1.0002], dtype=np.float32))


def distances_mm(mask: Mask, size_mm: Triple) -> npt.NDArray[np.float64]:
    """Distance of each voxel from the nearest one in a mask; infinite of an empty one."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(~mask, sampling=size_mm))
