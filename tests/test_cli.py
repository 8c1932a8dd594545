"""The command line: what it writes, and the one line that it says about unusable input."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from accelqsm.cli import main
from accelqsm.dipole import forward_field
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.files.tables import read_table, write_table
from accelqsm.grid import Grid, as_affine, centred_grid
from accelqsm.units import ppm_to_hz

GRID = centred_grid((40, 44, 36), (2.0, 2.0, 2.4))
ECHO_TIMES_S = (0.004, 0.009, 0.014)
OUTPUTS = {
    "Chimap.nii.gz",
    "chisd.nii.gz",
    "fieldmap.nii.gz",
    "fieldsd.nii.gz",
    "localfield.nii.gz",
    "fieldmap.json",
    "fieldsd.json",
    "localfield.json",
    "R2starmap.nii.gz",
    "magnitude.nii.gz",
    "mask.nii.gz",
    "settings.toml",
    "methods.md",
    "references.bib",
}


def ball_mm(radius_mm: float, centre_mm: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    offset = GRID.world_mm() - np.reshape(centre_mm, (3, 1, 1, 1))
    return np.linalg.norm(offset, axis=0) < radius_mm


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball of tissue with a nucleus of 0.1 ppm: three echoes, mask, labels and lookup."""
    folder = tmp_path_factory.mktemp("phantom")
    tissue, nucleus = ball_mm(34), ball_mm(8, (6, 0, 0))
    chi = torch.from_numpy(0.1 * nucleus.astype(np.float32))
    field_ppm = forward_field(
        chi, voxel_size_mm=GRID.voxel_size_mm, b0_direction=GRID.b0_direction
    ).numpy()
    field_hz = ppm_to_hz(field_ppm, 3.0) + 30.0
    rng = np.random.default_rng(0)
    phases, magnitudes = [], []
    for n, echo_time_s in enumerate(ECHO_TIMES_S, start=1):
        noise = rng.normal(0, 0.005, (2, *GRID.shape))
        signal = tissue * np.exp(-20 * echo_time_s + 1j * (2 * np.pi * field_hz * echo_time_s + 1))
        signal = signal + noise[0] + 1j * noise[1]
        magnitudes.append(np.abs(signal).astype(np.float32))
        phases.append(np.angle(signal).astype(np.float32))
        write_image(folder / f"mag{n}.nii.gz", magnitudes[-1], GRID)
        write_image(folder / f"phase{n}.nii.gz", phases[-1], GRID)
    write_image(folder / "mag.nii.gz", np.stack(magnitudes, -1), GRID)
    write_image(folder / "phase.nii.gz", np.stack(phases, -1), GRID)
    write_image(folder / "mask.nii.gz", tissue, GRID)
    write_image(folder / "labels.nii.gz", (nucleus * 3).astype(np.int16), GRID)
    write_table(folder / "lookup.tsv", pd.DataFrame({"index": [3, 4], "name": ["L Pu", "R Pu"]}))
    return folder


def qsm_arguments(phantom: Path, out: Path, **changes: list[str]) -> list[str]:
    options = {
        "--magnitude": [str(phantom / f"mag{n}.nii.gz") for n in (1, 2, 3)],
        "--phase": [str(phantom / f"phase{n}.nii.gz") for n in (1, 2, 3)],
        "--echo-times-s": [str(t) for t in ECHO_TIMES_S],
        "--mask": [str(phantom / "mask.nii.gz")],
        "--b0-tesla": ["3"],
    }
    options |= {f"--{name.replace('_', '-')}": values for name, values in changes.items()}
    flat = [word for name, values in options.items() for word in (name, *values)]
    return ["qsm", *flat, str(out)]


@pytest.fixture(scope="module")
def mapped(phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of the phantom's 3D files."""
    out = tmp_path_factory.mktemp("mapped") / "out"
    assert main(qsm_arguments(phantom, out)) == 0
    return out


@pytest.mark.slow
def test_qsm_of_3d_and_4d_files_is_the_same_and_finds_the_nucleus(
    phantom: Path, mapped: Path, tmp_path: Path
) -> None:
    separate, together = mapped, tmp_path / "4d"
    arguments = qsm_arguments(
        phantom,
        together,
        magnitude=[str(phantom / "mag.nii.gz")],
        phase=[str(phantom / "phase.nii.gz")],
    )
    assert main(arguments) == 0
    assert {path.name for path in separate.iterdir()} == OUTPUTS
    chi = (separate / "Chimap.nii.gz").read_bytes()
    assert (together / "Chimap.nii.gz").read_bytes() == chi
    table = tmp_path / "nuclei.tsv"
    assert (
        main(
            [
                "nuclei",
                str(separate / "Chimap.nii.gz"),
                "--labels",
                str(phantom / "labels.nii.gz"),
                "--lookup",
                str(phantom / "lookup.tsv"),
                str(table),
            ]
        )
        == 0
    )
    rows = read_table(table).set_index(["region", "side"])
    assert rows.loc[("Pu", "L"), "mean_ppb"] == pytest.approx(100, abs=15)
    assert rows.loc[("Pu", "L"), "volume_mm3"] == pytest.approx(4 / 3 * np.pi * 512, rel=0.05)
    assert np.isnan(rows.loc[("Pu", "R"), "mean_ppb"])
    assert "n/a" in table.read_text()


@pytest.mark.slow
def test_settings_replay_to_the_same_bytes_and_the_mask_only_shrinks(
    phantom: Path, mapped: Path, tmp_path: Path
) -> None:
    first, again = mapped, tmp_path / "again"
    assert main(qsm_arguments(phantom, again, settings=[str(first / "settings.toml")])) == 0
    for name in OUTPUTS - {"settings.toml"}:
        assert (first / name).read_bytes() == (again / name).read_bytes()
    saved = tomllib.loads((first / "settings.toml").read_text())
    assert saved["source"]["echo_times_s"] == list(ECHO_TIMES_S)
    assert {"qsm", "software"} <= set(saved)
    given = read_volume(phantom / "mask.nii.gz").values > 0
    left = read_volume(first / "mask.nii.gz").values > 0
    assert not (left & ~given).any()
    assert left.sum() > 0.3 * given.sum()


@pytest.mark.slow
def test_phase_of_the_other_sign_gives_the_negative_map(
    phantom: Path, mapped: Path, tmp_path: Path
) -> None:
    assert main([*qsm_arguments(phantom, tmp_path / "minus"), "--invert-phase"]) == 0
    plus = read_volume(mapped / "Chimap.nii.gz").values
    minus = read_volume(tmp_path / "minus" / "Chimap.nii.gz").values
    np.testing.assert_allclose(minus, -plus, atol=2e-3)


def other_grid(phantom: Path, folder: Path) -> Path:
    grid = centred_grid((40, 44, 30), (2.0, 2.0, 2.4))
    write_image(folder / "short.nii.gz", np.zeros(grid.shape, np.float32), grid)
    return folder / "short.nii.gz"


def shifted(phantom: Path, folder: Path) -> Path:
    shifted = GRID.matrix.copy()
    shifted[0, 3] += 5
    values = np.asarray(read_volume(phantom / "phase3.nii.gz").values)
    write_image(folder / "moved.nii.gz", values, Grid(GRID.shape, as_affine(shifted)))
    return folder / "moved.nii.gz"


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Path], Path]:
    def write(phantom: Path, folder: Path) -> Path:
        values = change(np.array(read_volume(phantom / name).values))
        write_image(folder / f"changed-{name}", values, GRID)
        return folder / f"changed-{name}"

    return write


def truncated(phantom: Path, folder: Path) -> Path:
    path = folder / "truncated.nii.gz"
    path.write_bytes((phantom / "phase3.nii.gz").read_bytes()[:3000])
    return path


def with_nan(values: np.ndarray) -> np.ndarray:
    values[3, 4, 5] = np.nan
    return values


@pytest.mark.parametrize(
    ("option", "make", "message"),
    [
        ("phase", lambda p, f: p / "nowhere.nii", "no such file"),
        ("phase", truncated, "truncated or damaged"),
        ("phase", other_grid, r"mag1.nii.gz, found (40, 44, 30)"),
        ("phase", shifted, "found voxels up to 5.00 mm away"),
        ("phase", changed("phase3.nii.gz", with_nan), "found 1 NaN or infinite voxels"),
        ("phase", changed("phase3.nii.gz", lambda v: v * 100), "expected phase in radians"),
        ("magnitude", changed("mag3.nii.gz", lambda v: v - 1), "expected a magnitude >= 0"),
        ("mask", changed("mask.nii.gz", lambda v: v * 0), "expected a mask with voxels above 0.5"),
        ("mask", other_grid, "expected shape"),
    ],
)
def test_unusable_images_get_one_line_and_leave_nothing(
    phantom: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    make: Callable[[Path, Path], Path],
    message: str,
) -> None:
    bad = make(phantom, tmp_path)
    stem = {"phase": "phase", "magnitude": "mag", "mask": ""}[option]
    good = [str(phantom / f"{stem}{n}.nii.gz") for n in (1, 2)] if stem else []
    out = tmp_path / "out"
    assert main(qsm_arguments(phantom, out, **{option: [*good, str(bad)]})) == 65
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("accelqsm: ")
    assert message in lines[0]
    assert not out.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"echo_times_s": ["4", "9", "14"]}, "milliseconds"),
        ({"echo_times_s": ["0.004", "0.009"]}, "expected 2 magnitude echoes"),
        ({"echo_times_s": ["0.009", "0.004", "0.014"]}, "strictly increasing"),
        ({"b0_tesla": ["0"]}, "field strength"),
        ({"b0_direction": ["0", "0", "0"]}, "expected three numbers, not all 0"),
    ],
)
def test_unusable_numbers_get_one_line(
    phantom: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, list[str]],
    message: str,
) -> None:
    assert main(qsm_arguments(phantom, tmp_path / "out", **changes)) == 65
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_count_of_phase_images_is_checked_against_the_echo_times(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    phase = [str(phantom / f"phase{n}.nii.gz") for n in (1, 2)]
    assert main(qsm_arguments(phantom, tmp_path / "out", phase=phase)) == 65
    assert "phase1.nii.gz: expected 3 phase echoes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[qsm\n", "not TOML"),
        ("[qsm]\nspeed = 3\n", "found speed"),
        ("[qsm]\nregularisation = 'strong'\n", "regularisation: expected a number, found 'strong'"),
    ],
)
def test_unusable_settings_are_named(
    phantom: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    assert main(qsm_arguments(phantom, tmp_path / "out", settings=[str(path)])) == 65
    assert message in capsys.readouterr().err


def values_table(path: Path) -> Path:
    rng = np.random.default_rng(0)
    rows = [
        {"subject": f"s{s}", "protocol": p, "region": r, "value_ppb": 50 + 10 * s + rng.normal()}
        for s in range(8)
        for p in ("PI", "AF3")
        for r in ("Pu", "Ca")
    ]
    write_table(path, pd.DataFrame(rows))
    return path


def test_compare_writes_the_agreement_table_without_torch(tmp_path: Path) -> None:
    values = values_table(tmp_path / "values.tsv")
    script = (
        "import sys; from accelqsm.cli import main; "
        f"code = main(['compare', {str(values)!r}, '--reference', 'PI', {str(tmp_path)!r}]); "
        "sys.exit(code or ('torch' in sys.modules and 9))"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    table = read_table(tmp_path / "agreement.tsv").set_index("region")
    assert {
        "protocol",
        "n",
        "mean_reference",
        "mean",
        "percent_difference",
        "pearson_r",
        "paired_t_p",
        "bias",
        "sd_difference",
        "loa_lower",
        "loa_upper",
    } <= set(table.columns)
    assert table.loc["Pu", "pearson_r"] > 0.99


def test_compare_names_what_is_wrong_with_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = values_table(tmp_path / "values.tsv")
    assert main(["compare", str(values), "--reference", "XX", str(tmp_path / "out")]) == 65
    assert "values.tsv: reference: expected one of PI, AF3, found 'XX'" in capsys.readouterr().err
    values.write_text("subject\tregion\n1\tPu\n")
    assert main(["compare", str(values), "--reference", "PI", str(tmp_path / "out")]) == 65
    assert "column(s) protocol (by which scan), value_ppb (" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_nuclei_names_labels_that_do_not_fit(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = other_grid(phantom, tmp_path)
    lookup = phantom / "lookup.tsv"
    chimap = str(phantom / "phase1.nii.gz")
    mask = ["--mask", str(phantom / "mask.nii.gz")]
    command = ["nuclei", chimap, "--labels", str(short), "--lookup", str(lookup), "out.tsv", *mask]
    assert main(command) == 65
    assert "short.nii.gz: expected shape" in capsys.readouterr().err
    command = ["nuclei", chimap, "--labels", chimap, "--lookup", str(lookup), "out.tsv", *mask]
    assert main(command) == 65
    assert "expected whole-number labels" in capsys.readouterr().err


def test_help_answers_at_once_and_without_numerics() -> None:
    script = (
        "import sys\n"
        "from accelqsm.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "sys.exit(bool({'torch', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


@pytest.mark.slow
def test_public_names_load_when_used() -> None:
    script = (
        "import sys, accelqsm\n"
        "assert not {'torch', 'pandas'} & set(sys.modules)\n"
        "for name in accelqsm.__all__:\n    getattr(accelqsm, name)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
