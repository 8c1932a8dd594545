"""Shapes, masks and magnitudes that are no brain: handled, told of, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import iron_phantom
from accelqsm.api.background import brain_of
from accelqsm.api.images import read_images, susceptibility
from accelqsm.api.inputs import as_mask
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import read_image, write_image
from accelqsm.grid import Grid
from accelqsm.pipeline.checks import check_mappable, warn_of_mask
from accelqsm.qsm.settings import QsmSettings
from scan_files import GRID, ball, echo_path, paths, write_scan


def sliced(folder: Path, axis: int, n: int) -> Path:
    """The scan cut down to ``n`` voxels along an axis."""
    write_scan(folder)
    for path in (Path(p) for part in ("mag", "phase") for p in paths(folder, part)):
        image = read_image(path)
        values = np.take(image.values, range(10, 10 + n), axis)
        write_image(path, values, Grid(values.shape, image.grid.affine))
    return folder


@pytest.mark.parametrize(
    ("axis", "n", "shown"), [(2, 1, "24 x 27 x 1"), (0, 1, "1 x 27 x 21"), (1, 3, "24 x 3 x 21")]
)
def test_slices_are_refused_along_any_axis(tmp_path: Path, axis: int, n: int, shown: str) -> None:
    scan = read_images(sliced(tmp_path, axis, n))
    with pytest.raises(InputError, match=f"expected a 3D scan of 4 voxels or .*, found {shown}$"):
        susceptibility(scan)


def test_a_mask_of_one_slice_is_refused(tmp_path: Path) -> None:
    scan = read_images(write_scan(tmp_path / "scan"))
    mask = np.zeros(GRID.shape, np.uint8)
    mask[5:20, 5:20, 10] = 1
    write_image(tmp_path / "mask.nii", mask, GRID)
    with pytest.raises(InputError, match=r"mask\.nii: expected a mask of 4 voxels .* 15 x 15 x 1$"):
        susceptibility(scan, mask=tmp_path / "mask.nii")


def test_a_mask_with_air_in_it_is_told_of_and_one_of_the_object_is_not(tmp_path: Path) -> None:
    scan = read_images(write_scan(tmp_path))
    whole = torch.ones(GRID.shape, dtype=torch.bool)
    with pytest.warns(InputWarning, match=r"^m\.nii: \d\d % of the mask has no signal, as air"):
        warn_of_mask(scan, whole, "m.nii")
    warn_of_mask(scan, torch.from_numpy(ball()), "m.nii")
    half = torch.from_numpy(ball(radius_mm=26.0))
    with pytest.warns(InputWarning, match="no signal"):
        warn_of_mask(scan, half, "m.nii")


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**60])
def test_no_amplitude_of_images_changes_a_map(tmp_path: Path, scale: float) -> None:
    """Squares of it are beyond single precision; only the magnitude takes the scale."""
    scan = read_images(write_scan(tmp_path))
    settings = QsmSettings(edge_mm=0.0)
    plain, scaled = (
        susceptibility(images, settings=settings)
        for images in (scan, replace(scan, images=scan.images * scale))
    )
    np.testing.assert_array_equal(scaled.chi_ppm, plain.chi_ppm)
    np.testing.assert_allclose(scaled.magnitude, plain.magnitude * np.float32(scale), rtol=1e-6)


def test_a_constant_magnitude_needs_a_mask_and_tells_no_decay(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    for path in paths(folder, "mag"):
        write_image(Path(path), np.full(GRID.shape, 7, np.int16), GRID)
    scan = read_images(folder)
    message = r"echo-1_part-mag_MEGRE\.nii: expected a magnitude that shows the brain, or --mask, f"
    with pytest.raises(InputError, match=message):
        check_mappable(scan, None, "")
    assert not scan.tells_decay


@pytest.mark.slow
def test_a_constant_magnitude_with_a_mask_gives_the_map_without_r2star(tmp_path: Path) -> None:
    folder = iron_phantom.write_iron(tmp_path)
    for echo in range(1, 5):
        ones = np.ones(iron_phantom.GRID.shape, np.float32)
        write_image(echo_path(folder, echo, "mag"), ones, iron_phantom.GRID)
    with pytest.warns(InputWarning, match="the magnitude is the same in every echo, so that R2"):
        maps = susceptibility(read_images(folder), mask=iron_phantom.brain())
    assert maps.r2star_per_s is None
    assert 0.8 < iron_phantom.slope(maps.chi_ppm, maps.mask) < 1.1


def test_an_echo_of_zeros_is_named(tmp_path: Path) -> None:
    """Not in a case: one echo of a train that was never written."""
    folder = write_scan(tmp_path)
    write_image(echo_path(folder, 2, "mag"), np.zeros(GRID.shape, np.float32), GRID)
    with pytest.raises(
        InputError, match=r"echo-2_part-mag_MEGRE\.nii: expected a magnitude, found"
    ):
        read_images(folder)


@pytest.mark.parametrize("value", [-999.0, np.nan, -0.01])
def test_missing_values_in_a_magnitude_are_refused(tmp_path: Path, value: float) -> None:
    folder = write_scan(tmp_path)
    values = np.where(ball(), 1, value).astype(np.float32)
    write_image(echo_path(folder, 3, "mag"), values, GRID)
    with pytest.raises(InputError, match=r"echo-3_part-mag_MEGRE\.nii: expected (a magn|finite)"):
        read_images(folder)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (ball() * 1, ""),
        (ball() * 255, ""),
        (ball() * 1.0, ""),
        (ball() + ball(radius_mm=8) * 2, "2 labels are taken together as the mask"),
        (np.clip(ball() * 0.9 + ball(radius_mm=8) * 0.1, 0, 1), "voxels above 0.5 of these prob"),
    ],
)
def test_a_mask_of_labels_or_probabilities_is_told_of(values: np.ndarray, said: str) -> None:
    if said:
        with pytest.warns(InputWarning, match=f"^mask: {said}"):
            inside = as_mask(values.astype(np.float32), GRID)
    else:
        inside = as_mask(values, GRID)
    np.testing.assert_array_equal(inside, ball())


@pytest.mark.parametrize(
    "values",
    [
        np.where(ball(), 1, -999),
        ball() * np.random.default_rng(0).uniform(0, 100, GRID.shape),
        (ball() * np.random.default_rng(0).uniform(0, 4000, GRID.shape)).round(),
    ],
)
def test_what_is_no_mask_is_refused(values: np.ndarray) -> None:
    """Could not be read off the case: percentages, a magnitude, and -999 for outside."""
    with pytest.raises(InputError, match=r"^mask: expected a mask of 0 and 1, labels, or prob"):
        as_mask(values.astype(np.float32), GRID)
    with pytest.raises(InputError, match=r"expected a mask with voxels above 0\.5, found none"):
        as_mask(values * 0, GRID)


def chimap(folder: Path, background: np.ndarray | float) -> np.ndarray:
    rng = np.random.default_rng(0)
    values = np.where(ball(), rng.normal(0, 0.05, GRID.shape), background)
    write_image(folder / "chi.nii", values.astype(np.float32), GRID)
    return brain_of(read_image(folder / "chi.nii"))


def test_the_background_of_a_map_need_not_be_exactly_zero(tmp_path: Path) -> None:
    np.testing.assert_array_equal(chimap(tmp_path, 0.0), ball())
    noise = np.random.default_rng(1).normal(0, 1e-8, GRID.shape)
    with pytest.warns(InputWarning, match=r"chi\.nii: the background is not exactly 0; what is wi"):
        np.testing.assert_array_equal(chimap(tmp_path, noise), ball())
    for level in (-0.0125, -999.0):
        with pytest.warns(InputWarning, match=f"background is {level:g}, not 0, and left out"):
            np.testing.assert_array_equal(chimap(tmp_path, level), ball())
    with pytest.warns(InputWarning, match="background is nowhere 0, and the whole volume is"):
        assert chimap(tmp_path, noise * 1e6).all()
    crop = np.random.default_rng(2).normal(0, 0.05, GRID.shape)
    assert chimap(tmp_path, crop).all()
