"""Maps to DICOM: where and what they were, in the study of the scan, and valid."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from accelqsm.cli import main
from accelqsm.files.dicom.export.slices import as_slices
from accelqsm.files.dicom.export.template import _template
from accelqsm.files.dicom.header.reader import find_files, read_file
from accelqsm.files.nifti import write_image
from accelqsm.files.toml import write_settings
from accelqsm.grid import Grid, as_affine, centred_grid
from dicom_files import (
    FIELD_T,
    NUCLEUS_PPM,
    Exam,
    oblique,
    parts,
    phantom,
    small_grid,
    write_enhanced,
    write_series,
)
from output_folders import resealed

VENDORS = Path(__file__).parents[2] / "shared" / "data" / "dicom"
DCIODVFY = shutil.which("dciodvfy") or ""
GRID = small_grid()
MARKED = (1, 8, 6)
SECRETS = ("Doe", "P-01", "19800102", "Hospital", "A77", "S4711", "20260301", "MR1", "Who")


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM of a scan, two echoes."""
    folder = tmp_path_factory.mktemp("scan")
    echoes = parts(GRID, ("mag", "phase"), (0.004, 0.008))
    write_series(Exam(folder, GRID), 5, echoes)
    return folder


def write_maps(folder: Path, grid: Grid = GRID, largest_ppm: float = 0.2) -> Path:
    """A folder of maps: noise, and one voxel marked."""
    rng = np.random.default_rng(1)
    chi = rng.uniform(-0.1, 0.2, grid.shape).astype(np.float32)
    chi[tuple(min(m, n - 1) for m, n in zip(MARKED, grid.shape, strict=True))] = largest_ppm
    write_image(folder / "Chimap.nii.gz", chi, grid)
    r2star = rng.uniform(0, 90, grid.shape).astype(np.float32)
    write_image(folder / "R2starmap.nii.gz", r2star, grid)
    write_settings(folder / "settings.toml", {"command": "qsm", "software": {"accelqsm": "0.1.0"}})
    return resealed(folder)


def exported(maps: Path, template: Path, to: Path, *options: str) -> int:
    return main(["export", str(maps), "--dicom", str(template), str(to), *options])


def images(folder: Path) -> list[pydicom.Dataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def read_back(folder: Path, grid: Grid) -> np.ndarray:
    """The map of a series at the voxels of a grid, by DICOM's own equation of the plane."""
    values = np.full(grid.shape, np.nan)
    to_grid = np.linalg.inv(grid.matrix)
    for data in images(folder):
        row, column = np.reshape(np.array(data.ImageOrientationPatient, float), (2, 3))
        down, right = (float(d) for d in data.PixelSpacing)
        r, c = np.meshgrid(range(data.Rows), range(data.Columns), indexing="ij")
        lps = np.array(data.ImagePositionPatient, float)
        lps = lps + c[..., None] * right * row + r[..., None] * down * column
        at = (lps * [-1, -1, 1]) @ to_grid[:3, :3].T + to_grid[:3, 3]
        np.testing.assert_allclose(at, np.round(at), atol=1e-3)
        shown = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        values[tuple(np.round(at).astype(int).reshape(-1, 3).T)] = shown.ravel()
    return values


def check_valid(folder: Path) -> None:
    """dciodvfy finds no error in any file; without it, nothing is checked."""
    for path in sorted(folder.rglob("*.dcm")) if DCIODVFY else ():
        done = subprocess.run([DCIODVFY, "-new", path], capture_output=True, check=False)
        said = (done.stdout + done.stderr).decode()
        assert "Error" not in said, said
        assert done.returncode == 0


def test_the_map_comes_back_to_the_last_step_of_its_integers(scan: Path, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "out")
    assert exported(maps, scan, tmp_path / "dest") == 0
    for name, file, scale in (
        ("susceptibility", "Chimap.nii.gz", 1000),
        ("r2star", "R2starmap.nii.gz", 1),
    ):
        folder = tmp_path / "dest" / name
        step = float(images(folder)[0].RescaleSlope)
        truth = scale * nibabel.load(maps / file).get_fdata()
        found = read_back(folder, GRID)
        assert np.abs(found - truth).max() <= step / 2 * (1 + 1e-6)
        assert step <= 0.1


@pytest.mark.skipif(not DCIODVFY, reason="dciodvfy (Debian: dicom3tools) is not installed")
@pytest.mark.parametrize("options", [(), ("--anonymise",)])
def test_dciodvfy_finds_no_error(options: tuple[str, ...], scan: Path, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "out")
    assert exported(maps, scan, tmp_path / "dest", *options) == 0
    check_valid(tmp_path / "dest")
    broken = pydicom.dcmread(next((tmp_path / "dest").rglob("0001.dcm")))
    del broken.PatientID
    (tmp_path / "broken").mkdir()
    broken.save_as(tmp_path / "broken" / "0001.dcm")
    with pytest.raises(AssertionError, match="PatientID"):
        check_valid(tmp_path / "broken")


def test_large_values_make_the_steps_coarser_and_are_not_cut(scan: Path, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "out", largest_ppm=-9.0)
    assert exported(maps, scan, tmp_path / "dest") == 0
    folder = tmp_path / "dest" / "susceptibility"
    assert float(images(folder)[0].RescaleSlope) == 0.5
    assert read_back(folder, GRID).min() == pytest.approx(-9000, abs=0.25)


def test_the_series_is_new_and_study_and_place_are_those_of_the_scan(
    scan: Path, tmp_path: Path
) -> None:
    maps = write_maps(tmp_path / "out")
    assert exported(maps, scan, tmp_path / "dest") == 0
    source = pydicom.dcmread(next(scan.rglob("*.dcm")))
    for name in ("susceptibility", "r2star"):
        every = images(tmp_path / "dest" / name)
        assert len(every) == 8
        for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientName", "PatientID"):
            assert {str(data[keyword].value) for data in every} == {str(source[keyword].value)}
        assert len({data.SOPInstanceUID for data in every}) == len(every)
        assert {data.SeriesInstanceUID for data in every} != {source.SeriesInstanceUID}
        assert {data.ImageType[0] for data in every} == {"DERIVED"}
        assert all("not for diagnosis" in data.SeriesDescription for data in every)
        assert all(data.DerivationDescription for data in every)
        assert all(data.SourceImageSequence for data in every)
    first = images(tmp_path / "dest" / "susceptibility")[0]
    assert first.WindowCenter - first.WindowWidth / 2 == -100
    assert first.WindowCenter + first.WindowWidth / 2 == 200
    series = {images(tmp_path / "dest" / n)[0].SeriesInstanceUID for n in ("r2star",)}
    assert first.SeriesInstanceUID not in series


def test_the_same_map_has_the_same_uids_and_another_map_others(scan: Path, tmp_path: Path) -> None:
    for name, largest_ppm in (("one", 0.2), ("two", 0.2), ("three", 0.3)):
        maps = write_maps(tmp_path / name, largest_ppm=largest_ppm)
        assert exported(maps, scan, tmp_path / f"{name}-dicom") == 0
    for name, kinds in (("susceptibility", 2), ("r2star", 1)):  # R2* is the same in all
        files = [tmp_path / f"{n}-dicom" / name / "0002.dcm" for n in ("one", "two", "three")]
        assert files[0].read_bytes() == files[1].read_bytes()
        found = [pydicom.dcmread(path) for path in files]
        assert len({data.SOPInstanceUID for data in found}) == kinds
        assert len({data.SeriesInstanceUID for data in found}) == kinds


def test_anonymised_images_name_nobody(scan: Path, tmp_path: Path) -> None:
    maps = write_maps(tmp_path / "out")
    assert exported(maps, scan, tmp_path / "one", "--anonymise") == 0
    assert exported(maps, scan, tmp_path / "two", "--anonymise") == 0
    source = pydicom.dcmread(next(scan.rglob("*.dcm")))
    for path in (tmp_path / "one").rglob("*.dcm"):
        # Pixels may hold any three bytes by chance.
        content = path.read_bytes().replace(pydicom.dcmread(path).PixelData, b"")
        for secret in (*SECRETS, source.StudyInstanceUID, source.FrameOfReferenceUID):
            assert secret.encode() not in content, secret
    one, two = (images(tmp_path / name / "susceptibility")[0] for name in ("one", "two"))
    other = images(tmp_path / "one" / "r2star")[0]
    assert one.PatientIdentityRemoved == "YES"
    assert one.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
    assert one.StudyInstanceUID == other.StudyInstanceUID
    assert one.FrameOfReferenceUID == other.FrameOfReferenceUID
    assert one.StudyInstanceUID != two.StudyInstanceUID
    assert not [element for element in one.iterall() if element.tag.is_private]


@pytest.mark.parametrize("flips", list(product((1, -1), repeat=3)))
def test_any_order_and_direction_of_axes_gives_the_same_slices(flips: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=GRID.shape)
    matrix = GRID.matrix.copy()
    for axis, flip in enumerate(flips):
        if flip < 0:
            values = np.flip(values, axis)
            matrix[:3, 3] += matrix[:3, axis] * (GRID.shape[axis] - 1)
            matrix[:3, axis] *= -1
    lps = np.diag([-1, -1, 1]) @ GRID.matrix[:3, :3] / GRID.voxel_size_mm
    orientation = (*lps[:, 0], *lps[:, 1])
    expected = np.random.default_rng(0).normal(size=GRID.shape).transpose(2, 1, 0)
    for order in permutations(range(3)):
        shape = tuple(values.shape[axis] for axis in order)
        turned = matrix[:, [*order, 3]]
        grid = Grid((shape[0], shape[1], shape[2]), as_affine(turned))
        slices = as_slices(values.transpose(order), grid, orientation)
        np.testing.assert_array_equal(slices.values, expected)
        np.testing.assert_allclose(slices.orientation, orientation, atol=1e-9)
        first = np.diag([-1, -1, 1]) @ GRID.matrix[:3, 3]
        np.testing.assert_allclose(slices.positions_mm[0], first, atol=1e-9)


def test_a_map_on_another_grid_than_the_template_is_written_by_its_affine(
    scan: Path, tmp_path: Path
) -> None:
    grid = centred_grid((9, 7, 11), (1.2, 1.3, 1.1), centre_mm=(3.0, -7.0, 11.0))
    maps = write_maps(tmp_path / "out", grid)
    assert exported(maps, scan, tmp_path / "dest") == 0
    truth = 1000 * nibabel.load(maps / "Chimap.nii.gz").get_fdata()
    found = read_back(tmp_path / "dest" / "susceptibility", grid)
    assert np.abs(found - truth).max() < 0.0501


def test_what_cannot_be_exported_is_refused_in_one_line_and_leaves_nothing(
    scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    maps = write_maps(tmp_path / "out")
    (tmp_path / "none").mkdir()
    elsewhere = centred_grid((6, 6, 6), (2, 2, 2), centre_mm=(500, 0, 0))
    matrix = GRID.matrix.copy()
    matrix[:3, 0] += 0.2 * matrix[:3, 1]
    sheared = Grid(GRID.shape, as_affine(matrix))
    two = tmp_path / "two"
    for study in ("1.2.3", "1.2.4"):
        exam = Exam(two / study, GRID, study=study)
        write_series(exam, 5, parts(GRID, ("mag",), (0.004,)))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for case, template, to, reason in (
        (tmp_path / "no-maps", scan, "dest", "no-maps"),
        (maps, tmp_path / "none", "dest", "found none among 0 files"),
        (maps, tmp_path / "missing", "dest", "missing: expected a folder"),
        (maps, two, "dest", "expected images of one study, found 2"),
        (maps, scan, "full", "expected a new or empty folder"),
        (write_maps(tmp_path / "far", elsewhere), scan, "dest", "around the middle of the map"),
        (write_maps(tmp_path / "sheared", sheared), scan, "dest", "rectangular voxels"),
    ):
        assert exported(case, template, tmp_path / to) == 65
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
        assert not (tmp_path / "dest").exists()
        assert not list(tmp_path.glob(".dest.export-*"))


@pytest.mark.skipif(not VENDORS.is_dir(), reason=f"no vendor sets in {VENDORS}")
@pytest.mark.parametrize("vendor", ["Siemens", "Philips", "UnitedImaging"])
def test_images_of_every_scanner_serve_as_template(vendor: str, tmp_path: Path) -> None:
    centre = {"UnitedImaging": (-2.0, 0.0, 0.0), "Siemens": (0, 0, 0), "Philips": (0, 0, 20)}
    grid = centred_grid((6, 7, 5), (2.0, 2.0, 2.0), centre_mm=centre[vendor])
    maps = write_maps(tmp_path / "out", grid)
    assert exported(maps, VENDORS / vendor, tmp_path / "dest") == 0
    truth = 1000 * nibabel.load(maps / "Chimap.nii.gz").get_fdata()
    found = read_back(tmp_path / "dest" / "susceptibility", grid)
    assert np.abs(found - truth).max() < 0.0501
    check_valid(tmp_path / "dest")


@pytest.mark.parametrize("enhanced", [False, True])
def test_six_echoes_go_to_bids_to_maps_and_back_to_dicom(enhanced: bool, tmp_path: Path) -> None:
    grid = oblique(centred_grid((40, 40, 40), (1.5, 1.5, 1.5), centre_mm=(3.0, -7.0, 11.0)))
    exam = Exam(tmp_path / "dicom", grid)
    if enhanced:
        write_enhanced(exam, 5, parts(grid, ("mag", "phase")))
    else:
        write_series(exam, 5, parts(grid, ("mag",)))
        write_series(exam, 6, parts(grid, ("phase",)))
    bids, out = tmp_path / "bids", tmp_path / "out"
    assert main(["import", str(tmp_path / "dicom"), str(bids)]) == 0
    assert main(["qsm", str(out), "--megre", str(bids / "sub-P01" / "anat")]) == 0
    assert exported(out, tmp_path / "dicom", tmp_path / "back") == 0
    found_ppb = read_back(tmp_path / "back" / "susceptibility", grid)
    _, ball, nucleus = phantom(grid)
    around = ball & ~nucleus
    contrast_ppb = found_ppb[nucleus].mean() - found_ppb[around].mean()
    assert contrast_ppb == pytest.approx(1000 * NUCLEUS_PPM, rel=0.05)
    mirrored = np.flip(nucleus, 0)
    assert found_ppb[mirrored & around].mean() < 20, "left and right are exchanged"
    r2star = read_back(tmp_path / "back" / "r2star", grid)
    assert r2star[nucleus].mean() == pytest.approx(40, rel=0.1)
    stored = nibabel.load(out / "Chimap.nii.gz")
    assert np.sort(found_ppb.ravel()) == pytest.approx(
        np.sort(1000 * stored.get_fdata().ravel()), abs=0.0501
    )
    first = images(tmp_path / "back" / "susceptibility")[0]
    assert float(first.MagneticFieldStrength) == FIELD_T
    check_valid(tmp_path / "back")


def test_a_template_reaches_as_far_as_slices_of_any_orientation(scan: Path) -> None:
    """Each slice spans its own rows and columns, not those of the first."""
    files = [file for path in find_files(scan) if (file := read_file(path)) is not None]
    first, second = files[0], files[1]
    assert first.header is not None
    n = first.header.shape[0]
    far = replace(
        second.frames[0], position=(500.0, 0.0, 0.0), orientation=(0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
    )
    low, high = _template([first, replace(second, frames=(far,))]).corners_mm
    assert high[0] == 500.0  # a sagittal slice has no extent from left to right
    alone = _template([replace(second, frames=(far,))]).corners_mm
    assert high[2] >= alone[1][2] > n / 4
    assert low[0] < 400
