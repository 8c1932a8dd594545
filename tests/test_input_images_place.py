"""Where voxels and B0 are: the scanner's transform counts, and what says nothing is asked for."""

from __future__ import annotations

import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from accelqsm.acquisition import check_echo_times, check_field_strength
from accelqsm.api.images import read_images
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import read_image, write_image
from accelqsm.grid import centred_grid
from scan_files import ECHO_TIMES_S, FIELD_T, GRID, echoes

KNOWN = {"echo_times_s": ECHO_TIMES_S, "b0_tesla": FIELD_T}
TURNED = np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
"""A sagittal scan: the scanner's z axis is the array's y axis."""


def write_scan(
    folder: Path,
    *,
    qform: tuple[np.ndarray, int] | None = None,
    sform: tuple[np.ndarray, int] | None = None,
    unit: str = "mm",
    pixdim: tuple[float, float, float] | None = None,
) -> dict[str, object]:
    """Magnitude and phase as 4D files with exactly these transforms."""
    stacked = np.stack(echoes(), -1)
    for name, values in (("magnitude", np.abs(stacked)), ("phase", np.angle(stacked))):
        image = nibabel.Nifti1Image(values.astype(np.float32), None)
        header = image.header
        header.set_xyzt_units(unit)
        image.set_qform(*(qform or (np.diag([*GRID.voxel_size_mm, 1.0]), 0)))
        image.set_sform(*(sform or (None, 0)))
        raw = bytearray(image.to_bytes())
        raw[252:256] = np.array([(qform or (0, 0))[1], (sform or (0, 0))[1]], "<i2").tobytes()
        if pixdim is not None:
            raw[80:92] = np.array(pixdim, "<f4").tobytes()
        (folder / f"{name}.nii").write_bytes(bytes(raw))
    files: dict[str, object] = {n: folder / f"{n}.nii" for n in ("magnitude", "phase")}
    return files | KNOWN


def sagittal(scale: float = 1.0) -> np.ndarray:
    return TURNED @ np.diag([*(scale * size for size in GRID.voxel_size_mm), 1.0])


def test_without_an_orientation_the_direction_of_b0_is_asked_for(tmp_path: Path) -> None:
    given = write_scan(tmp_path)
    message = (
        r"magnitude\.nii: expected an orientation, found qform_code = sform_code = 0, .*"
        r"--b0-direction X Y Z"
    )
    with pytest.raises(InputError, match=message):
        read_images(**given)
    scan = read_images(**given, b0_direction=(0, 1, 0))
    assert scan.b0_direction == (0, 1, 0)
    assert scan.acquisition.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)


@pytest.mark.parametrize("code", [2, 3, 4])
def test_the_scanners_qform_decides_before_any_other_space(tmp_path: Path, code: int) -> None:
    template = np.diag([1.12 * size for size in GRID.voxel_size_mm] + [1.0])
    scan = read_images(**write_scan(tmp_path, qform=(sagittal(), 1), sform=(template, code)))
    assert scan.acquisition.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)
    assert scan.b0_direction == pytest.approx((0, 1, 0), abs=1e-6)


def test_an_sform_that_is_alone_counts_and_one_of_a_template_is_told(tmp_path: Path) -> None:
    for code in (1, 2):
        scan = read_images(**write_scan(tmp_path, sform=(sagittal(), code)))
        assert scan.b0_direction == pytest.approx((0, 1, 0), abs=1e-6)
    given = write_scan(tmp_path, sform=(sagittal(), 4))
    with pytest.warns(InputWarning, match=r"is that of a template \(sform_code 3 or more\)"):
        read_images(**given)
    assert read_images(**given, b0_direction=(0, 0, 1)).b0_direction == (0, 0, 1)


def test_an_aligned_qform_counts_before_a_template(tmp_path: Path) -> None:
    """As tools write that set both codes: 2 where they moved the image, 3 and more elsewhere."""
    template = np.diag([1.12 * size for size in GRID.voxel_size_mm] + [1.0])
    scan = read_images(**write_scan(tmp_path, qform=(sagittal(), 2), sform=(template, 5)))
    assert scan.acquisition.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)
    assert scan.b0_direction == pytest.approx((0, 1, 0), abs=1e-6)


def test_a_scanners_sform_counts_before_an_aligned_qform(tmp_path: Path) -> None:
    aligned = np.diag([*GRID.voxel_size_mm, 1.0])
    scan = read_images(**write_scan(tmp_path, qform=(aligned, 2), sform=(sagittal(), 1)))
    assert scan.b0_direction == pytest.approx((0, 1, 0), abs=1e-6)


@pytest.mark.parametrize(
    ("sform", "found"),
    [
        (sagittal(), "an axis that sform and qform turn 90 degrees apart"),
        (np.diag([2.0, 2.0, 2.8, 1]), "voxels of 2 x 2 x 2.8 mm in the sform and 2 x 2 x 2.4 mm"),
    ],
)
def test_two_orientations_of_the_scanner_must_agree(
    tmp_path: Path, sform: np.ndarray, found: str
) -> None:
    """Could not be read off the case: both codes are 1, so that neither is to be preferred."""
    upright = np.diag([*GRID.voxel_size_mm, 1.0])
    with pytest.raises(InputError, match=f"expected one orientation .* found {found}"):
        read_images(**write_scan(tmp_path, qform=(upright, 1), sform=(sform, 1)))
    nearly = upright.copy()
    nearly[:3, :3] = np.round(nearly[:3, :3] @ _tilt(math.radians(2)), 2)
    read_images(**write_scan(tmp_path, qform=(upright, 1), sform=(nearly, 1)))


def _tilt(angle: float) -> np.ndarray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1e-3), ("micron", 1e3)])
@pytest.mark.parametrize("form", ["qform", "sform"])
def test_metres_and_microns_are_read_as_such(
    tmp_path: Path, unit: str, factor: float, form: str
) -> None:
    given = write_scan(tmp_path, **{form: (sagittal(factor), 1)}, unit=unit)
    scan = read_images(**given)
    assert scan.acquisition.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)


@pytest.mark.parametrize(
    ("unit", "scale", "found"),
    [
        ("mm", 1e-3, "0.002 x 0.002 x 0.0024 mm$"),
        ("unknown", 1e-3, r"0.002 x 0.002 x 0.0024 mm \(unit of lengths in the header: unknown\)$"),
        ("meter", 1.0, r"2000 x 2000 x 2400 mm \(unit of lengths in the header: metre\)$"),
        ("mm", 1e3, "2000 x 2000 x 2400 mm$"),
    ],
)
def test_voxel_sizes_of_no_scanner_are_refused(
    tmp_path: Path, unit: str, scale: float, found: str
) -> None:
    given = write_scan(tmp_path, sform=(sagittal(scale), 1), unit=unit)
    with pytest.raises(InputError, match=r"magnitude\.nii: voxel size: expected 0\.01 to 20 mm"):
        read_images(**given)
    with pytest.raises(InputError, match=found):
        read_images(**given)


def test_a_field_of_view_of_no_scan_is_refused(tmp_path: Path) -> None:
    for size, found in ((0.05, "1.35"), (19.0, "513")):
        grid = centred_grid((27, 21, 24), (size, size, size))
        for name in ("m", "p"):
            values = np.random.default_rng(0).uniform(-3, 3, grid.shape).astype(np.float32)
            write_image(tmp_path / f"{name}.nii", np.abs(values) if name == "m" else values, grid)
        given = {"magnitude": tmp_path / "m.nii", "phase": tmp_path / "p.nii"}
        if size < 1:
            with pytest.raises(
                InputError, match=f"field of view: expected 2 to 1000 .* {found} mm"
            ):
                read_images(**given, echo_times_s=(0.02,), b0_tesla=3)
        else:
            read_images(**given, echo_times_s=(0.02,), b0_tesla=3)


@pytest.mark.parametrize("bad", [(0.0, 2.0, 2.4), (2.0, math.nan, 2.4)])
def test_missing_voxel_sizes_are_refused_where_they_count(
    tmp_path: Path, bad: tuple[float, float, float]
) -> None:
    """nibabel takes 1 mm for a size of 0; with an sform the sizes in pixdim do not count."""
    upright = np.diag([*GRID.voxel_size_mm, 1.0])
    for codes in ({}, {"qform": (upright, 1)}):
        given = write_scan(tmp_path, **codes, pixdim=bad)
        with pytest.raises(
            InputError, match=r"magnitude\.nii: expected voxel sizes above 0 in pix"
        ):
            read_images(**given)
    write_scan(tmp_path, sform=(upright, 1), pixdim=bad)
    grid = read_image(tmp_path / "magnitude.nii").grid
    assert grid.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)


def test_field_strengths_and_echo_trains_of_no_scanner_are_refused() -> None:
    for field_t in (0.003, 30, 42.6, 123.2, math.nan):
        with pytest.raises(InputError, match="field strength: expected a value in tesla"):
            check_field_strength(field_t)
    for field_t in (0.055, 0.35, 3, 11.7, 21.1):
        check_field_strength(field_t)
    with pytest.raises(InputError, match="expected at most 64 echoes, found 100"):
        check_echo_times(tuple(0.001 * n for n in range(1, 101)))
    for times_s in ((4.9,), (4.9e-6,), (0.004, 9.0)):
        with pytest.raises(InputError, match="echo times: expected seconds"):
            check_echo_times(times_s)
