"""`accelqsm qsm` on the files that users have: what it finds by itself, and what it warns of."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from accelqsm.cli import main
from accelqsm.errors import InputWarning
from accelqsm.files.megre.description import describe_scan, find_files
from accelqsm.files.megre.echoes import read_scan
from accelqsm.files.nifti import read_image, read_volume, write_image
from accelqsm.grid import Grid, Triple, as_affine
from scan_files import (
    ECHO_TIMES_S,
    FIELD_T,
    GRID,
    ball,
    echo_path,
    echoes,
    paths,
    write_4d,
    write_dataset,
    write_json,
    write_scan,
)

TIMES = ("--echo-times-s", *map(str, ECHO_TIMES_S))
FIELD = ("--b0-tesla", "3")


@pytest.mark.slow
def test_a_bids_folder_needs_no_other_option_and_gives_what_the_options_give(
    tmp_path: Path,
) -> None:
    folder = write_dataset(tmp_path / "data", siemens=True)
    write_image(tmp_path / "mask.nii", ball(), GRID)
    mask = ["--mask", str(tmp_path / "mask.nii")]
    assert main(["qsm", str(tmp_path / "bids"), "--megre", str(folder), *mask]) == 0
    shuffled = ["--magnitude", *paths(folder, "mag", (3, 1, 2))]
    shuffled += ["--phase", *paths(folder, "phase", (2, 3, 1))]
    given = [*shuffled, *TIMES, *FIELD, "--phase-range", "-4096", "4096"]
    assert main(["qsm", str(tmp_path / "given"), *given, *mask]) == 0
    for name in ("Chimap", "fieldmap"):
        bids, by_options = (
            (tmp_path / out / f"{name}.nii.gz").read_bytes() for out in ("bids", "given")
        )
        assert bids == by_options
    source = tomllib.loads((tmp_path / "bids" / "settings.toml").read_text())["source"]
    assert source["phase"] == paths(folder, "phase")
    assert source["echo_times_s"] == list(ECHO_TIMES_S)
    assert (source["b0_tesla"], source["phase_unit"]) == (3.0, "-4096..4096")


def described(folder: Path, **given: object):
    return describe_scan(find_files((), (), folder), **given)


def test_values_on_the_command_line_win_over_the_sidecars(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path)
    fields = {"B0_dir": [0, 3, 4], "Units": "Hz", "MagneticFieldStrength": 30000}
    write_json(folder / "sub-01_MEGRE.json", fields)
    write_json(folder / "sub-01_echo-2_MEGRE.json", {"EchoTime": 9})
    scan = described(
        folder,
        echo_times_s=(0.003, 0.006, 0.009),
        field_strength_t=7.0,
        b0_direction=(2, 0, 0),
        phase_range=(-4.0, 4.0),
    )
    assert scan.echo_times_s == (0.003, 0.006, 0.009)
    assert (scan.field_strength_t, scan.b0_direction) == (7.0, (1, 0, 0))
    assert (scan.phase_units, scan.phase_range) == (None, (-4.0, 4.0))


def test_echoes_are_ordered_by_their_times_then_by_their_numbers(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    for echo in (1, 2, 3):
        fields = {"EchoTime": ECHO_TIMES_S[3 - echo]}
        write_json(folder / f"sub-01_echo-{echo}_MEGRE.json", fields)
    scan = described(folder)
    assert scan.echo_times_s == ECHO_TIMES_S
    assert [str(p) for p in scan.files.phase] == paths(folder, "phase", (3, 2, 1))
    for echo in (1, 2, 3):
        (folder / f"sub-01_echo-{echo}_MEGRE.json").unlink()
    files = find_files(
        [Path(p) for p in paths(folder, "mag", (2, 3, 1))],
        [Path(p) for p in paths(folder, "phase", (3, 1, 2))],
    )
    scan = describe_scan(files, echo_times_s=ECHO_TIMES_S, field_strength_t=FIELD_T)
    assert [str(p) for p in scan.files.magnitude] == paths(folder, "mag")
    assert [str(p) for p in scan.files.phase] == paths(folder, "phase")


def test_files_that_only_one_part_can_order_stay_in_pairs(tmp_path: Path) -> None:
    names = [(tmp_path / f"m{n}.nii", tmp_path / f"p{n}.nii") for n in (1, 2, 3)]
    for n, echo_time_s in enumerate((0.014, 0.004, 0.009), start=1):
        write_json(tmp_path / f"p{n}.json", {"EchoTime": echo_time_s, "MagneticFieldStrength": 3})
    scan = describe_scan(find_files(*(list(part) for part in zip(*names, strict=True))))
    assert scan.echo_times_s == (0.004, 0.009, 0.014)
    assert [p.name for p in scan.files.magnitude] == ["m2.nii", "m3.nii", "m1.nii"]
    assert [p.name for p in scan.files.phase] == ["p2.nii", "p3.nii", "p1.nii"]


def test_a_4d_file_has_its_echo_times_as_an_array(tmp_path: Path) -> None:
    write_4d(tmp_path)
    write_json(tmp_path / "mag.json", {"EchoTime": ECHO_TIMES_S, "MagneticFieldStrength": 3})
    files = find_files([tmp_path / "mag.nii.gz"], [tmp_path / "phase.nii.gz"])
    echoes_of_file = read_scan(describe_scan(files))
    assert echoes_of_file.acquisition.echo_times_s == ECHO_TIMES_S
    expected = np.stack(echoes()).astype(np.complex64)
    np.testing.assert_allclose(echoes_of_file.images[0].numpy(), expected, atol=1e-5)


def test_a_fourth_axis_of_one_volume_counts_as_3d(tmp_path: Path) -> None:
    folder = write_scan(tmp_path)
    whole = read_scan(described(folder)).images
    for path in [*paths(folder, "mag"), *paths(folder, "phase")]:
        write_image(Path(path), read_image(Path(path)).values[..., None], GRID)
    assert torch.equal(read_scan(described(folder)).images, whole)


def turned(degrees_x: float, degrees_z: float, voxel_size_mm: Triple) -> np.ndarray:
    a, b = math.radians(degrees_x), math.radians(degrees_z)
    x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    z = np.array([[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = (z @ x) * voxel_size_mm
    return matrix


@pytest.mark.parametrize("decimals", [12, 3, 2])
def test_b0_of_an_oblique_affine_survives_rounding_and_odd_sizes(
    tmp_path: Path, decimals: int
) -> None:
    matrix = turned(32.5, 11.0, (0.8, 0.8, 3.0))
    expected = (0.0, math.sin(math.radians(32.5)), math.cos(math.radians(32.5)))
    sheared = np.round(matrix, decimals)
    grid = Grid((9, 7, 5), as_affine(sheared))
    rng = np.random.default_rng(0)
    for part, values in (
        ("m", rng.uniform(0, 1, grid.shape)),
        ("p", rng.uniform(-math.pi, math.pi, grid.shape)),
    ):
        write_image(tmp_path / f"{part}.nii", values.astype(np.float32), grid)
    files = find_files([tmp_path / "m.nii"], [tmp_path / "p.nii"])
    scan = describe_scan(files, echo_times_s=(0.02,), field_strength_t=3.0)
    direction = read_scan(scan).acquisition.b0_direction
    assert scan.b0_direction is None
    assert math.sqrt(sum(v * v for v in direction)) == pytest.approx(1, abs=1e-12)
    assert direction == pytest.approx(expected, abs=2 * 10.0**-decimals + 1e-6)


@pytest.mark.slow
def test_a_single_echo_works_and_says_what_is_lost(tmp_path: Path) -> None:
    folder = write_scan(tmp_path / "scan")
    for echo in (1, 2):
        for part in ("mag", "phase"):
            echo_path(folder, echo, part).unlink()
    write_image(tmp_path / "mask.nii", ball(), GRID)
    words = ["qsm", str(tmp_path / "out"), "--megre", str(folder)]
    words += ["--mask", str(tmp_path / "mask.nii")]
    with pytest.warns(InputWarning) as warned:
        assert main(words) == 0
    (message,) = (str(warning.message) for warning in warned)
    assert message == (
        f"{folder}/sub-01_echo-3_part-phase_MEGRE.nii: a single echo, so that the phase offset at "
        "excitation is taken for field; two echoes or more would separate them"
    )
    # An offset of 1 rad at TE 14 ms is a field of 11.4 Hz, as the warning says.
    field_hz = read_volume(tmp_path / "out" / "fieldmap.nii.gz").values
    x, y, z = GRID.world_mm()
    truth_hz = 40 + 4 * x + 2 * y * np.exp(-((z / 10) ** 2))
    turn_hz = 1 / ECHO_TIMES_S[2]
    error_hz = (field_hz - truth_hz)[ball(radius_mm=12)]
    offset_hz = error_hz - turn_hz * np.round(np.median(error_hz) / turn_hz)
    np.testing.assert_allclose(offset_hz, 1 / (math.tau * ECHO_TIMES_S[2]), atol=1.0)


def test_the_command_line_warns_in_one_line(tmp_path: Path) -> None:
    script = (
        "import sys, warnings\n"
        "from accelqsm import cli\n"
        "from accelqsm.commands.tools import doctor\n"
        "from accelqsm.errors import InputWarning\n"
        "def command(options): warnings.warn(InputWarning('a.nii: lost'))\n"
        "doctor.run = command\n"
        "sys.exit(cli.main(['doctor']))\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "default"}
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert run.stderr == "accelqsm: warning: a.nii: lost\n"
