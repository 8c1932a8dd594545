"""Files of other kinds are recognised, and answered with the command that helps."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.foreign import refuse_foreign
from accelqsm.files.nifti import write_image
from scan_files import GRID, write_scan

DICOM = b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0"
IMPORT = "accelqsm import DICOM_DIR BIDS_DIR"


def written(path: Path, content: bytes = b"\1\2\3\4" * 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("command", ["qsm", "map", "recon"])
@pytest.mark.parametrize(
    ("name", "content", "helps"),
    [
        ("IM_0001", DICOM, IMPORT),
        ("scan.nii", DICOM, IMPORT),
        ("x.dcm", b"without a preamble", IMPORT),
        ("meas_MID00012.dat", b"\0" * 600, "siemens_to_ismrmrd -f RAW.dat -o SCAN.h5"),
        ("P12345.7", b"\0" * 600, "ge_to_ismrmrd"),
        ("scan.raw", b"\0" * 600, "philips_to_ismrmrd"),
        ("fid", b"\0" * 600, "bruker_to_ismrmrd"),
        ("scan.PAR", b"# === DATA DESCRIPTION FILE ===", "dcm2niix"),
        ("aseg.mgz", b"\x1f\x8b" + b"\0" * 600, "mri_convert"),
        ("scan.img", b"\0" * 600, "half of a pair of files"),
    ],
)
def test_what_needs_conversion_is_answered_with_the_command(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    name: str,
    content: bytes,
    helps: str,
) -> None:
    path, out = written(tmp_path / name, content), tmp_path / "out"
    words = [command, str(path), str(out), "--method", "zero-filled"]
    if command == "qsm":
        words = [command, str(out), "--magnitude", str(path), "--phase", str(path)]
        words += ["--echo-times-s", "0.02", "--b0-tesla", "3"]
    assert main(words) == 65
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"accelqsm: {path}: expected ")
    assert helps in line
    assert not out.exists()


def test_a_file_that_is_no_nifti_is_refused_in_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """nibabel logs how it would mend the header, on top."""
    path = written(tmp_path / "scan.nii", b"\0" * 600)
    words = ["--magnitude", str(path), "--phase", str(path), "--echo-times-s", "1", "--b0-tesla"]
    assert main(["qsm", str(tmp_path / "out"), *words, "3"]) == 65
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_a_folder_of_dicom_is_recognised_even_in_series_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Could not be read off a case: files without an ending, one folder down."""
    written(tmp_path / "a" / "DICOM" / "IM_0001", DICOM)
    for folder in (tmp_path / "a", tmp_path / "a" / "DICOM"):
        assert main(["qsm", str(tmp_path / "out"), "--megre", str(folder)]) == 65
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"accelqsm: {folder}: expected NIfTI images, found DICOM (IM_0001); convert the "
            f"folder first: {IMPORT}"
        )
    file = tmp_path / "a" / "DICOM" / "IM_0001"
    with pytest.raises(InputError, match="a DICOM file; convert its folder first"):
        refuse_foreign(file, wanted="images")


def test_a_bruker_folder_and_a_ge_archive_are_recognised(tmp_path: Path) -> None:
    for name in ("acqp", "method", "fid"):
        written(tmp_path / "5" / name)
    with pytest.raises(InputError, match=r"found a Bruker scan; .* bruker_to_ismrmrd FOLDER"):
        refuse_foreign(tmp_path / "5", wanted="raw data")
    with h5py.File(tmp_path / "ScanArchive_1.h5", "w") as file:
        file["a"] = np.zeros(3)
    for wanted in ("images", "raw data"):
        with pytest.raises(InputError, match=r"a GE raw file \(ScanArchive\); .* ge_to_ismrmrd"):
            refuse_foreign(tmp_path / "ScanArchive_1.h5", wanted=wanted)


def test_images_and_raw_data_in_each_others_place_name_the_other_command(tmp_path: Path) -> None:
    write_image(tmp_path / "m.nii.gz", np.zeros(GRID.shape, np.float32), GRID)
    with pytest.raises(InputError, match=r"m\.nii\.gz: .* a NIfTI image, not .* accelqsm qsm OUT"):
        refuse_foreign(tmp_path / "m.nii.gz", wanted="raw data")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["a"] = np.zeros(3)
    with pytest.raises(InputError, match=r"an HDF5 file; .*: accelqsm map scan\.h5 OUT"):
        refuse_foreign(tmp_path / "scan.h5", wanted="images")


def test_own_files_and_what_is_not_there_pass(tmp_path: Path) -> None:
    folder = write_scan(tmp_path / "scan")
    for path in (folder, *folder.iterdir(), tmp_path / "none"):
        refuse_foreign(path, wanted="images")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["a"] = np.zeros(3)
    refuse_foreign(tmp_path / "scan.h5", wanted="raw data")
