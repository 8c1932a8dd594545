"""DICOM to BIDS: every vendor's way to store parts and echoes; the rest listed with a reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from accelqsm.cli import main
from accelqsm.files.dicom.plan import plan_import
from accelqsm.files.megre.description import describe_scan, find_files
from accelqsm.files.megre.echoes import read_scan
from dicom_files import (
    ECHO_TIMES_S,
    Exam,
    complex_echoes,
    parts,
    small_grid,
    write_enhanced,
    write_localiser,
    write_series,
)

VENDORS = Path(__file__).parents[2] / "shared" / "data" / "dicom"
GRID = small_grid()
POLAR, CARTESIAN = ("mag", "phase"), ("real", "imag")
SIEMENS, GE, PHILIPS, UIH = "SIEMENS", "GE MEDICAL SYSTEMS", "Philips Medical Systems", "UIH"
STEM = "sub-P01_acq-greqsm08"


def exam(folder: Path, manufacturer: str = SIEMENS, **changes: str) -> Exam:
    return Exam(folder / "dicom", GRID, manufacturer=manufacturer, **changes)


def imported(folder: Path, *options: str, to: str = "bids") -> int:
    return main(["import", str(folder / "dicom"), str(folder / to), *options])


def left(folder: Path) -> list[str]:
    """Why scans are left, in order."""
    return [scan.problem for scan in plan_import(folder / "dicom").left]


def on_grid(path: Path) -> np.ndarray:
    """Values of an image at the voxels of GRID, found by where they lie in the scanner."""
    image = nibabel.load(path)
    indices = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1)
    to_grid = np.linalg.inv(GRID.matrix) @ image.affine
    places = indices @ to_grid[:3, :3].T + to_grid[:3, 3]
    np.testing.assert_allclose(places, np.round(places), atol=1e-3)
    values = np.full(GRID.shape, np.nan)
    values[tuple(np.round(places).astype(int).reshape(-1, 3).T)] = image.get_fdata().ravel()
    return values


def write(kind: str, folder: Path) -> None:
    """A six-echo set as one manufacturer stores it."""
    if kind == "siemens":  # a series for each part
        write_series(exam(folder), 5, parts(GRID, ["mag"]))
        write_series(exam(folder), 6, parts(GRID, ["phase"]))
    elif kind == "siemens, a series for each echo":
        for n, t in enumerate(ECHO_TIMES_S):
            write_series(exam(folder), 5 + n, parts(GRID, POLAR, (t,)), "gre_qsm 0.8")
    elif kind == "ge":  # real and imaginary, known by a private element alone
        write_series(exam(folder, GE), 5, parts(GRID, CARTESIAN))
    elif kind == "ge, all four":
        write_series(exam(folder, GE), 5, parts(GRID, [*POLAR, *CARTESIAN]))
    elif kind == "philips":  # rescaled to radians
        write_series(exam(folder, PHILIPS), 5, parts(GRID, POLAR))
    elif kind == "uih":
        write_series(exam(folder, UIH), 5, parts(GRID, POLAR))
    else:
        maker = PHILIPS if "philips" in kind else SIEMENS
        write_enhanced(exam(folder, maker), 5, parts(GRID, POLAR))


KINDS = (
    *("siemens", "siemens, a series for each echo", "ge", "ge, all four", "philips", "uih"),
    *("enhanced, philips", "enhanced, siemens"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_six_echoes_arrive_where_they_were_with_the_phase_that_they_had(
    kind: str, tmp_path: Path
) -> None:
    write(kind, tmp_path)
    assert imported(tmp_path) == 0
    anat = tmp_path / "bids" / "sub-P01" / "anat"
    scan = describe_scan(find_files((), (), anat))
    assert scan.echo_times_s == pytest.approx(ECHO_TIMES_S, abs=1e-9)
    assert scan.field_strength_t == 3
    images = read_scan(scan).images[0].numpy()
    shape = nibabel.load(scan.files.magnitude[0]).shape
    assert images.shape == (6, *shape)
    for path, image, truth in zip(scan.files.phase, images, complex_echoes(GRID), strict=True):
        nibabel.Nifti1Image(image.real, nibabel.load(path).affine).to_filename(tmp_path / "re.nii")
        nibabel.Nifti1Image(image.imag, nibabel.load(path).affine).to_filename(tmp_path / "im.nii")
        found = (on_grid(tmp_path / "re.nii") + 1j * on_grid(tmp_path / "im.nii")) / 2000
        bright = np.abs(truth) > 0.3
        assert np.abs(found - truth)[bright].max() < 2e-3, "another voxel, echo or sign of phase"


def test_a_marked_voxel_keeps_its_side(tmp_path: Path) -> None:
    marked = (2, 9, 5)  # x to the left, y backwards: left of the middle, at the back, high
    values = {key: np.full(GRID.shape, 0.1) for key in [("mag", 0.004), ("mag", 0.008)]}
    for image in values.values():
        image[marked] = 1.0
    phases = {("phase", t): image for (_, t), image in values.items()}
    folder = write_series(exam(tmp_path), 5, {**values, **phases})
    header = next(
        data
        for data in map(pydicom.dcmread, sorted(folder.iterdir()))
        if (data.pixel_array > 1500).any() and data.ImageType[2] == "M"
    )
    row, column = (int(n) for n in np.argwhere(header.pixel_array > 1500)[0])
    directions, spacing = np.array(header.ImageOrientationPatient), header.PixelSpacing
    lps = (
        np.array(header.ImagePositionPatient)
        + directions[:3] * float(spacing[1]) * column
        + directions[3:] * float(spacing[0]) * row
    )
    assert imported(tmp_path) == 0
    image = nibabel.load(next((tmp_path / "bids").rglob("*echo-1_part-mag*.nii.gz")))
    at = np.argwhere(image.get_fdata() > 1500)
    assert len(at) == 1
    np.testing.assert_allclose((image.affine @ [*at[0], 1])[:3], lps * [-1, -1, 1], atol=1e-3)
    np.testing.assert_allclose(lps * [-1, -1, 1], (GRID.matrix @ [*marked, 1])[:3], atol=1e-3)


def test_what_a_data_set_must_have_is_there(tmp_path: Path) -> None:
    write("siemens", tmp_path)
    assert imported(tmp_path, "--subject", "sub-07", "--session", "a") == 0
    root = tmp_path / "bids"
    assert json.loads((root / "dataset_description.json").read_text())["BIDSVersion"] == "1.11.1"
    assert (root / "participants.tsv").read_text() == "participant_id\tage\tsex\nsub-07\t46\tF\n"
    assert set(json.loads((root / "participants.json").read_text())) == {
        "participant_id", "age", "sex"
    }  # fmt: skip
    stem = root / "sub-07" / "ses-a" / "anat" / "sub-07_ses-a_acq-greqsm08_echo-3_part-phase_MEGRE"
    fields = json.loads(stem.with_suffix(".json").read_text())
    assert fields["Units"] == "arbitrary"
    expected = {"EchoTime": 0.012, "RepetitionTimeExcitation": 0.04, "FlipAngle": 15}
    assert {key: fields[key] for key in expected} == pytest.approx(expected)
    assert (fields["Manufacturer"], fields["MagneticFieldStrength"]) == ("Siemens", 3)
    assert "PatientName" not in fields
    assert "Doe" not in "".join(path.read_text() for path in root.rglob("*.json"))
    assert [path.name for path in root.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("kind", "units"), [("philips", "rad"), ("ge", "rad"), ("uih", "arbitrary")]
)
def test_units_of_the_phase_are_said(kind: str, units: str, tmp_path: Path) -> None:
    write(kind, tmp_path)
    assert imported(tmp_path) == 0
    for path in (tmp_path / "bids").rglob("*part-phase*.json"):
        assert json.loads(path.read_text())["Units"] == units


def test_a_field_in_gauss_is_written_in_tesla(tmp_path: Path) -> None:
    images = parts(GRID, POLAR, ECHO_TIMES_S[:2])
    write_series(exam(tmp_path), 5, images, MagneticFieldStrength=30000)
    assert imported(tmp_path) == 0
    sidecars = list((tmp_path / "bids" / "sub-P01").rglob("*.json"))
    assert {json.loads(path.read_text())["MagneticFieldStrength"] for path in sidecars} == {3.0}


def test_a_scan_that_fails_is_no_success_though_others_are_imported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One echo time within a series jitters, so that the converter splits the echo in two."""
    write_series(exam(tmp_path), 5, parts(GRID, POLAR, ECHO_TIMES_S[:2]), "right")
    bad = write_series(exam(tmp_path), 6, parts(GRID, POLAR, ECHO_TIMES_S[:2]), "jitter")
    for n, path in enumerate(sorted(bad.glob("*.dcm"))):
        data = pydicom.dcmread(path)
        data.EchoTime = float(data.EchoTime) + 0.0004 * (n % 2)
        data.save_as(path)
    assert imported(tmp_path) == 65
    out, err = capsys.readouterr()
    assert err.count("\n") == 1
    assert "expected all 2 scans to be converted, found 1 that failed: dcm2niix: expected" in err
    assert "1 scan(s): sub-P01_acq-right" in out


@pytest.mark.parametrize("later", ["101530", "103000"])
@pytest.mark.parametrize("phases", [(7, 8), (8, 7)])
def test_repeated_series_become_runs_each_with_its_own_phase(
    phases: tuple[int, int], later: str, tmp_path: Path
) -> None:
    one = exam(tmp_path)
    for numbers, time, level in (((5, phases[0]), "101500", 1.0), ((6, phases[1]), later, 0.5)):
        mag = {key: level * image for key, image in parts(GRID, ["mag"]).items()}
        phase = {key: level * image for key, image in parts(GRID, ["phase"]).items()}
        write_series(one, numbers[0], mag, AcquisitionTime=time)
        write_series(one, numbers[1], phase, AcquisitionTime=time)
    assert imported(tmp_path) == 0
    anat = tmp_path / "bids" / "sub-P01" / "anat"
    ranges = {}
    for run in (1, 2):
        for part in POLAR:
            path = anat / f"{STEM}_run-{run}_echo-1_part-{part}_MEGRE.nii.gz"
            ranges[run, part] = float(np.ptp(nibabel.load(path).get_fdata()))
    assert ranges[2, "mag"] == pytest.approx(ranges[1, "mag"] / 2, rel=0.01)
    assert ranges[2, "phase"] == pytest.approx(ranges[1, "phase"] / 2, rel=0.01)
    assert len(list(anat.glob("*.nii.gz"))) == 2 * 2 * 6


def test_phase_of_one_run_is_not_taken_for_another(tmp_path: Path) -> None:
    write_series(exam(tmp_path), 5, parts(GRID, ["mag"]))
    write_series(exam(tmp_path), 8, parts(GRID, ["phase"]), AcquisitionTime="103000")
    assert left(tmp_path) == [
        "magnitude of 6 echo(es), no phase",
        "phase alone, expected magnitude and phase",
    ]


def test_repetitions_within_a_series_become_runs(tmp_path: Path) -> None:
    one = exam(tmp_path, UIH)
    for count in (1, 2):
        echoes = parts(GRID, POLAR, (0.004, 0.008))
        folder = write_series(one, 5, echoes, AcquisitionNumber=count)
        folder.rename(folder.with_name(f"repetition{count}"))
        for path in folder.with_name(f"repetition{count}").iterdir():
            data = pydicom.dcmread(path)
            data.SOPInstanceUID += f".{count}"
            data.save_as(path)
    planned = plan_import(tmp_path / "dicom").scans
    assert [one.stem for one in planned] == [f"{STEM}_run-1", f"{STEM}_run-2"]


def change(path: Path, **elements: object) -> None:
    """Change elements of one file."""
    data = pydicom.dcmread(path)
    for keyword, value in elements.items():
        setattr(data, keyword, value)
    data.save_as(path)


def test_what_cannot_be_used_is_listed_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = exam(tmp_path)
    write("siemens", tmp_path)
    write_localiser(one, 1)
    short = parts(GRID, POLAR, (0.004, 0.008))
    write_series(one, 10, short, "spin", ScanningSequence="SE")
    write_series(one, 11, short, "planar", ScanningSequence=["EP", "GR"])
    write_series(one, 12, parts(GRID, ["mag"]), "magnitude")
    write_series(one, 13, parts(GRID, ["phase"]), "phase")
    write_series(one, 14, parts(GRID, POLAR, (0.02,)), "single")
    write_series(one, 15, short, "swi", ImageType=["ORIGINAL", "PRIMARY", "P", "SWI"])
    write_series(one, 16, short, "derived", ImageType=["DERIVED", "SECONDARY", "M"])
    two = {**parts(GRID, ["mag"], (0.004, 0.008)), **parts(GRID, ["phase"], (0.008,))}
    write_series(one, 17, two, "fieldmap")
    (one.folder / "notes.txt").write_text("scanned in the morning")
    assert imported(tmp_path) == 0
    shown = capsys.readouterr().out
    for number, reason in {
        1: "several orientations",
        10: "no gradient echo",
        11: "echo-planar",
        12: "magnitude of 6 echo(es), no phase",
        13: "phase alone",
        14: "one echo",
        15: "susceptibility-weighted or filtered (SWI)",
        16: "derived images",
        17: "a phase difference (field map)",
    }.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{number} "))
        assert reason in line
    assert "notes.txt" in shown
    assert "not DICOM" in shown
    assert len(list((tmp_path / "bids").rglob("*.nii.gz"))) == 12


def test_broken_files_leave_their_scan_and_nothing_half_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("siemens", tmp_path)
    files = sorted((tmp_path / "dicom").rglob("*.dcm"))
    whole = files[40].read_bytes()
    for size, reason in (
        (len(whole) - 50, "of 240 bytes of pixels"),
        (len(whole) - 300, "truncated (no pixels)"),
        (150, "has 7 of 8 slices"),
        (0, "has 7 of 8 slices"),
    ):
        files[40].write_bytes(whole[:size])
        assert imported(tmp_path) == 65
        out, err = capsys.readouterr()
        assert reason in out
        assert err.count("\n") == 1
        assert "found none" in err
        assert not (tmp_path / "bids").exists()


@pytest.mark.parametrize(
    ("index", "elements", "reason"),
    [
        (3, {"ImagePositionPatient": [0, 0, 500]}, "slices missing|slice\\(s\\) missing|uneven"),
        (3, {"EchoTime": 5.5}, "slices|echoes"),
        (3, {"EchoTime": None}, "slices|echoes"),
        (3, {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "several orientations"),
        (3, {"ImagePositionPatient": None}, "slices"),
    ],
)
def test_contradictions_within_a_series_leave_it(
    index: int, elements: dict[str, object], reason: str, tmp_path: Path
) -> None:
    write("uih", tmp_path)
    change(sorted((tmp_path / "dicom").rglob("*.dcm"))[index], **elements)
    (problem,) = left(tmp_path)
    assert any(word in problem for word in reason.replace("\\", "").split("|")), problem
    assert imported(tmp_path) == 65


def test_a_missing_slice_in_every_stack_is_found(tmp_path: Path) -> None:
    folder = write_series(exam(tmp_path, UIH), 5, parts(GRID, POLAR))
    for path in folder.iterdir():
        if (pydicom.dcmread(path).InstanceNumber - 1) % 8 == 3:
            path.unlink()
    assert left(tmp_path) == ["mag at 4 ms: 1 slice(s) missing"]


def test_copies_of_a_file_are_read_once(tmp_path: Path) -> None:
    write("philips", tmp_path)
    for path in sorted((tmp_path / "dicom").rglob("*.dcm"))[:30]:
        (tmp_path / "dicom" / f"copy-{path.name}").write_bytes(path.read_bytes())
    assert left(tmp_path) == []
    assert imported(tmp_path) == 0


def test_nothing_is_overwritten_unless_asked_and_then_replaced_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("philips", tmp_path)
    assert imported(tmp_path) == 0
    anat = tmp_path / "bids" / "sub-P01" / "anat"
    before = {path.name: path.stat().st_mtime_ns for path in anat.iterdir()}
    assert imported(tmp_path) == 65
    assert "--overwrite" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in anat.iterdir()} == before
    for path in (tmp_path / "dicom").rglob("*.dcm"):
        if pydicom.dcmread(path).EchoTime > 17:
            path.unlink()
    assert imported(tmp_path, "--overwrite") == 0
    assert len(list(anat.iterdir())) == 2 * 2 * 4, "echoes of two imports lie side by side"


def test_another_study_does_not_join_a_subject(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("philips", tmp_path)
    assert imported(tmp_path) == 0
    other = exam(tmp_path / "next", PHILIPS, patient="P 01", study="1.2.3.4")
    write_series(other, 9, parts(GRID, POLAR), "another protocol")
    words = ["import", str(other.folder), str(tmp_path / "bids")]
    assert main(words) == 65
    assert "of another" in capsys.readouterr().err
    assert main([*words, "--session", "2"]) == 0
    assert (tmp_path / "bids" / "participants.tsv").read_text().count("sub-P01") == 1


def test_patients_of_the_same_label_are_refused_and_studies_numbered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    echoes = parts(GRID, POLAR, (0.004, 0.008))
    write_series(exam(tmp_path, PHILIPS), 5, echoes)
    later = exam(tmp_path, PHILIPS, study="1.2.3", date="20260401")
    write_series(later.but(folder=later.folder / "later"), 5, echoes)
    sessions = [one.session for one in plan_import(tmp_path / "dicom").scans]
    assert sessions == ["1", "2"]
    twin = exam(tmp_path, PHILIPS, patient="P_01", study="1.2.4")
    write_series(twin.but(folder=twin.folder / "twin"), 5, echoes)
    assert imported(tmp_path) == 65
    assert "P-01, P_01, all sub-P01" in capsys.readouterr().err
    assert imported(tmp_path, "--subject", "1") == 65
    assert "expected one patient for --subject" in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--subject", "a_b"), ("--session", "1/2")])
def test_labels_are_letters_and_digits(
    options: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("philips", tmp_path)
    assert imported(tmp_path, *options) == 65
    assert options[1] in capsys.readouterr().err


def test_a_patient_without_an_id_needs_a_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(exam(tmp_path, PHILIPS, patient="***"), 5, parts(GRID, POLAR))
    assert imported(tmp_path) == 65
    assert "--subject" in capsys.readouterr().err
    assert imported(tmp_path, "--subject", "01") == 0


def test_a_dry_run_shows_the_plan_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("siemens", tmp_path)
    assert imported(tmp_path, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == [
        "series  protocol     contrast  echoes                  parts  destination",
        f"5       gre_qsm 0.8  MEGRE     6 (4 8 12 16 20 24 ms)  mag    sub-P01/anat/{STEM}",
        f"6       gre_qsm 0.8  MEGRE     6 (4 8 12 16 20 24 ms)  phase  sub-P01/anat/{STEM}",
    ]
    assert not (tmp_path / "bids").exists()


def test_a_t1w_image_goes_beside(tmp_path: Path) -> None:
    write("siemens", tmp_path)
    image = parts(GRID, ["mag"], (0.003,))
    write_series(exam(tmp_path), 9, image, "t1_mprage", InversionTime=900)
    write_series(exam(tmp_path), 10, image, "t1_mp2rage", InversionTime=900)
    assert imported(tmp_path) == 0
    anat = tmp_path / "bids" / "sub-P01" / "anat"
    assert [path.name for path in sorted(anat.glob("*T1w*"))] == [
        "sub-P01_acq-t1mprage_T1w.json", "sub-P01_acq-t1mprage_T1w.nii.gz"
    ]  # fmt: skip


def test_folders_without_dicom_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(tmp_path) == 65
    (tmp_path / "dicom").mkdir()
    assert imported(tmp_path) == 65
    assert capsys.readouterr().err.count("\n") == 2
    (tmp_path / "dicom" / "empty.dcm").touch()
    assert imported(tmp_path) == 65
    assert not (tmp_path / "bids").exists()


@pytest.mark.skipif(not VENDORS.is_dir(), reason=f"no vendor sets in {VENDORS}")
@pytest.mark.parametrize(
    ("folder", "reasons"),
    [
        ("Siemens", ["phase of 1 of 2 echoes: a phase difference (field map)"] * 2),
        ("Philips", ["magnitude of 1 echo(es), no phase and a field map"]),
        ("UnitedImaging", ["mag at 3.1 ms has 16 of 160 slices"]),
    ],
)
def test_sets_of_scanners_are_listed_with_the_reason(
    folder: str, reasons: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(VENDORS / folder), str(tmp_path / "bids")]) == 65
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.partition("left: ")[2] for row in rows] == reasons
    assert not (tmp_path / "bids").exists()
