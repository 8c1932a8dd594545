"""What `accelqsm qsm` cannot use gets exactly one line, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accelqsm.cli import main
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.grid import Grid, as_affine, centred_grid
from scan_files import (
    ECHO_TIMES_S,
    GRID,
    echo_path,
    echoes,
    paths,
    write_4d,
    write_json,
    write_scan,
)

TIMES = ("--echo-times-s", *map(str, ECHO_TIMES_S))
FIELD = ("--b0-tesla", "3")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str], out: Path) -> str:
    """The one line that `accelqsm qsm` says about unusable input."""
    assert main(["qsm", str(out), *arguments]) == 65
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert not out.exists()
    return lines[0].removeprefix("accelqsm: ")


NO_TIMES = "{f}/sub-01_echo-1_part-mag_MEGRE.nii: expected "


@pytest.mark.parametrize(
    ("prepare", "options", "message"),
    [
        (
            {"sidecars": False},
            (),
            NO_TIMES + "--echo-times-s and --b0-tesla, or EchoTime and MagneticFieldStrength in a "
            "JSON sidecar, found no JSON sidecar",
        ),
        (
            {"sidecars": False},
            FIELD,
            NO_TIMES + "--echo-times-s, or EchoTime in a JSON sidecar, found no JSON sidecar",
        ),
        (
            {"MEGRE.json": {"Manufacturer": "nobody"}, "sub-01_echo-1_MEGRE.json": {}},
            TIMES,
            NO_TIMES + "--b0-tesla, or MagneticFieldStrength in a JSON sidecar, found only other "
            "fields in MEGRE.json",
        ),
        (
            {"sub-01_echo-2_MEGRE.json": {"EchoTime": 9}},
            (),
            "{f}/sub-01_echo-2_MEGRE.json: echo times: expected seconds below 0.5, found '9' "
            "(milliseconds? divide by 1000)",
        ),
        (
            {"sub-01_echo-2_MEGRE.json": {"EchoTime": 0.004}},
            (),
            "echo times: expected strictly increasing seconds, found '0.004 0.004 0.014'",
        ),
        (
            {"sub-01_echo-2_part-phase_MEGRE.json": {"EchoTime": 0.010}},
            (),
            "{f}/sub-01_echo-2_part-phase_MEGRE.json: expected EchoTime 0.009 as of the magnitude, "
            "found 0.01",
        ),
        (
            {"sub-01_echo-2_MEGRE.json": {"EchoTime": 0.009, "MagneticFieldStrength": 1.5}},
            (),
            "{f}/sub-01_echo-2_MEGRE.json: expected MagneticFieldStrength 3.0 as in MEGRE.json, "
            "found 1.5",
        ),
        (
            {"MEGRE.json": {"MagneticFieldStrength": 30000}},
            (),
            "{f}/MEGRE.json: field strength: expected a value in tesla, such as 3, found 30000",
        ),
        (
            {"MEGRE.json": {"MagneticFieldStrength": 3, "B0_dir": [0, 0, 0]}},
            (),
            "{f}/MEGRE.json: B0 direction: expected three numbers, not all 0, found [0, 0, 0]",
        ),
        (
            {"sub-01_echo-3_part-phase_MEGRE.json": {"ImageType": ["ORIGINAL", "P", "SWI"]}},
            (),
            "{f}/sub-01_echo-3_part-phase_MEGRE.nii: expected unfiltered phase, found SWI in "
            "ImageType of sub-01_echo-3_part-phase_MEGRE.json",
        ),
        (
            {},
            ("--echo-times-s", "0.004", "0.009"),
            "{f}/sub-01_echo-1_part-mag_MEGRE.nii: expected 2 magnitude echoes (one per echo "
            "time), found 3",
        ),
        ({}, ("--b0-tesla", "0"), "field strength: expected a value in tesla, such as 3, found 0"),
        (
            {},
            ("--b0-tesla", "30000"),
            "field strength: expected a value in tesla, such as 3, found 30000",
        ),
        (
            {},
            ("--b0-tesla", "127.7e6"),
            "field strength: expected a value in tesla, such as 3, found 127700000",
        ),
        (
            {},
            ("--b0-direction", "0", "0", "0"),
            "B0 direction: expected three numbers, not all 0, found [0.0, 0.0, 0.0]",
        ),
        (
            {"siemens": True},
            ("--phase-range", "0", "4095"),
            "{f}/sub-01_echo-1_part-phase_MEGRE.nii: expected phase of the range 0..4095 "
            "(--phase-range), found -4096..4094",
        ),
        (
            {},
            ("--magnitude", "m.nii"),
            "expected --magnitude and --phase, or --megre, found --magnitude and --megre",
        ),
    ],
)
def test_unusable_descriptions_get_exactly_this_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    prepare: dict[str, object],
    options: tuple[str, ...],
    message: str,
) -> None:
    options_of_scan = {key: prepare.pop(key) for key in ("sidecars", "siemens") if key in prepare}
    folder = write_scan(tmp_path / "scan", **options_of_scan)
    if (folder / "sub-01_MEGRE.json").is_file():
        (folder / "sub-01_MEGRE.json").rename(folder / "MEGRE.json")
    for name, fields in prepare.items():
        (folder / name).write_text(json.dumps(fields))
    found = refused(["--megre", str(folder), *options], capsys, tmp_path / "out")
    assert found == message.format(f=folder)


def test_no_images_at_all_get_exactly_this_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = refused([*TIMES, *FIELD], capsys, tmp_path / "out")
    assert found == "expected --magnitude and --phase, or --megre, found none of them"


def other_grid(folder: Path) -> Path:
    grid = centred_grid((24, 27, 18), (2.0, 2.0, 2.4))
    write_image(folder / "other.nii", np.zeros(grid.shape, np.float32), grid)
    return folder / "other.nii"


def shifted(folder: Path) -> Path:
    matrix = GRID.matrix
    matrix[2, 3] += 3
    values = read_volume(echo_path(folder, 3, "phase")).values
    write_image(folder / "other.nii", values, Grid(GRID.shape, as_affine(matrix)))
    return folder / "other.nii"


def changed(part: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        values = np.array(read_volume(echo_path(folder, 3, part)).values)
        write_image(folder / "other.nii", change(values).astype(np.float32), GRID)
        return folder / "other.nii"

    return write


def truncated(folder: Path) -> Path:
    write_image(folder / "other.nii.gz", np.angle(echoes()[2]).astype(np.float32), GRID)
    whole = (folder / "other.nii.gz").read_bytes()
    (folder / "other.nii.gz").write_bytes(whole[:3000])
    return folder / "other.nii.gz"


def stacked(folder: Path) -> Path:
    write_4d(folder)
    return folder / "phase.nii.gz"


def with_infinity(values: np.ndarray) -> np.ndarray:
    values[1, 2, 3], values[3, 2, 1] = np.inf, np.nan
    return values


@pytest.mark.parametrize(
    ("option", "make", "message"),
    [
        ("--phase", lambda f: f / "none.nii", "{b}: no such file"),
        (
            "--phase",
            truncated,
            "{b}: truncated or damaged gzip file (Compressed file ended before the "
            "end-of-stream marker was reached)",
        ),
        (
            "--phase",
            other_grid,
            "{b}: expected shape (24, 27, 21) of {f}/sub-01_echo-1_part-mag_MEGRE.nii, "
            "found (24, 27, 18)",
        ),
        (
            "--phase",
            shifted,
            "{b}: expected the same affine as {f}/sub-01_echo-1_part-mag_MEGRE.nii, "
            "found voxels up to 3.00 mm away",
        ),
        (
            "--phase",
            stacked,
            "{b}: expected one 4D file or 3D files, found 3 files and shape (24, 27, 21, 3)",
        ),
        (
            "--phase",
            changed("phase", with_infinity),
            "{b}: expected finite values, found 2 NaN or infinite voxels",
        ),
        (
            "--phase",
            changed("phase", lambda v: v * 0 + 2),
            "{b}: expected phase that varies, found 2 everywhere",
        ),
        (
            "--phase",
            changed("phase", lambda v: np.where(v > 0, 2000, -700)),
            "{f}/sub-01_echo-1_part-phase_MEGRE.nii: expected phase in radians (-pi..pi or "
            "0..2 pi), milliradians, 0..4095 or -4096..4096, found -700..2000 "
            "(--phase-range LOW HIGH settles it)",
        ),
        (
            "--phase",
            lambda f: echo_path(f, 3, "mag"),
            "{b}: expected part-phase, found part-mag",
        ),
        (
            "--magnitude",
            changed("mag", lambda v: v * 0 - 0.25),
            "{b}: expected a magnitude >= 0, found -0.25",
        ),
        (
            "--magnitude",
            changed("mag", with_infinity),
            "{b}: expected finite values, found 2 NaN or infinite voxels",
        ),
        (
            "--mask",
            other_grid,
            "{b}: expected shape (24, 27, 21), found (24, 27, 18)",
        ),
    ],
)
def test_unusable_files_get_exactly_this_line(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    make: Callable[[Path], Path],
    message: str,
) -> None:
    folder = write_scan(tmp_path / "scan")
    bad = make(folder)
    files = {"--magnitude": paths(folder, "mag"), "--phase": paths(folder, "phase")}
    files[option] = [*files.get(option, [])[:2], str(bad)]
    words = [word for name, values in files.items() for word in (name, *values)]
    found = refused([*words, *TIMES, *FIELD], capsys, tmp_path / "out")
    assert found == message.format(f=folder, b=bad)


def test_fewer_phase_files_than_echoes_get_exactly_this_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_scan(tmp_path / "scan")
    files = ["--magnitude", *paths(folder, "mag"), "--phase", *paths(folder, "phase", (1, 3))]
    found = refused(files, capsys, tmp_path / "out")
    assert found == (
        f"{folder}/sub-01_echo-1_part-phase_MEGRE.nii: expected 3 phase echoes (one per echo "
        "time), found 2"
    )


def test_a_4d_file_with_one_echo_time_gets_exactly_this_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_4d(tmp_path)
    write_json(tmp_path / "mag.json", {"EchoTime": 0.004, "MagneticFieldStrength": 3})
    found = refused(files, capsys, tmp_path / "out")
    assert found == (
        f"{tmp_path}/mag.nii.gz: expected 1 magnitude echoes (one per echo time), found 3"
    )
