"""Commands on hostile input: one line, bounded by the voxels of the object, nothing said twice."""

from __future__ import annotations

import argparse
import errno
import math
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch

from accelqsm.acquisition import check_echo_times
from accelqsm.cli import main
from accelqsm.commands.tables import report
from accelqsm.errors import InputError
from accelqsm.files.nifti import write_image
from accelqsm.files.settings import read_settings_tables
from accelqsm.files.tables import read_table, write_table
from accelqsm.grid import as_affine, centred_grid
from accelqsm.nuclei.register import coarse_image
from accelqsm.nuclei.volume import Volume, isotropic_grid
from accelqsm.qsm.background.settings import VsharpSettings
from accelqsm.qsm.background.vsharp import vsharp
from accelqsm.results.comparison import unchecked_comparison as unchecked
from output_folders import compare, refusal, values

SMALL = centred_grid((6, 5, 4), (2.0, 2.0, 2.0))


def fail(error: Exception) -> Callable[[argparse.Namespace], None]:
    def run(options: argparse.Namespace) -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (KeyError("loa"), 70, "folder: unexpected KeyError: 'loa'; please report it, with what "
         "accelqsm --debug COMMAND ... prints"),
        (MemoryError("9 GiB"), 70, "folder: expected enough memory, found too little (9 GiB)"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "xxx"), 65,
         "xxx: expected the name of a file, found file name too long"),
        (InputError("a\nb\x1b[31mc"), 65, "a b\\x1b[31mc"),
    ],
)  # fmt: skip
def test_what_no_check_has_foreseen_is_one_line(
    error: Exception,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(report, "run", fail(error))
    assert main(["report", "folder"]) == status
    assert capsys.readouterr().err == f"accelqsm: {said}\n"


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "run", fail(KeyError("loa")))
    with pytest.raises(KeyError):
        main(["--debug", "report", "folder"])


def test_long_lines_are_shortened_in_their_middle(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "run", fail(InputError(f"first {'x' * 70_000} last")))
    assert main(["report", "folder"]) == 65
    line = refusal(capsys)
    assert len(line) < 1300
    assert line.startswith("accelqsm: first ")
    assert line.endswith(" last\n")


def test_names_that_no_system_holds_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["similarity", "a" * 5000, str(tmp_path / "b.nii"), str(tmp_path / "out.tsv")]
    assert main([*words, "--mask", str(tmp_path / "c.nii")]) == 65
    assert "expected the name of a file" in refusal(capsys)


def test_words_that_cannot_be_encoded_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["similarity", "a.nii", "b.nii", "out.tsv", "--mask", "\ud83e\udde0"],
                  ["report", "\ud83e"]):  # fmt: skip
        assert main(words) == 65
        assert "expected words that can be names of files, found '\\ud83e" in refusal(capsys)


def test_balls_that_fit_nowhere_cost_nothing() -> None:
    """Of 100 mm, where the mask has 2 mm: their kernels would have 4000 voxels along each side."""
    torch.manual_seed(0)
    field = torch.randn(40, 40, 40)
    mask = torch.zeros_like(field, dtype=torch.bool)
    mask[3:-3, 3:-3, 3:-3] = True
    size = (0.05, 0.05, 0.05)
    expected = vsharp(field, mask, voxel_size_mm=size, settings=VsharpSettings((0.5, 0.2)))
    found = vsharp(field, mask, voxel_size_mm=size, settings=VsharpSettings((100.0, 0.5, 0.2)))
    assert torch.equal(found.field_ppm, expected.field_ppm)
    with pytest.raises(InputError, match="expected room for a ball of 100 mm, found none"):
        vsharp(field, mask, voxel_size_mm=size, settings=VsharpSettings((100.0,)))


def test_grids_in_mm_follow_the_voxels_of_the_image() -> None:
    flat = centred_grid((20, 20, 20), (0.01, 20.0, 20.0))
    with pytest.raises(InputError, match=r"found 0\.01 x 20 x 20 mm, .* 3\.2e\+10 voxels"):
        isotropic_grid(flat, 0.01)
    assert math.prod(isotropic_grid(centred_grid((256,) * 3, (1.0,) * 3), 1.0).shape) == 256**3


def test_heads_of_micrometres_are_not_registered() -> None:
    image = np.random.default_rng(0).normal(size=SMALL.shape)
    grid = type(SMALL)(SMALL.shape, as_affine(np.diag([2e-3, 2e-3, 2e-3, 1.0])))
    with pytest.raises(InputError, match=r"^registration: voxel size: expected 0\.01 to 20 mm"):
        coarse_image(Volume(image, grid))


@pytest.mark.parametrize("size", [0.002, 0.009, 21.0])
@pytest.mark.parametrize("command", ["nuclei", "similarity", "qsm"])
def test_voxel_sizes_have_one_range_for_every_command(
    command: str, size: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image, table, out = (str(tmp_path / name) for name in ("chi.nii", "lookup.tsv", "out.tsv"))
    write_image(
        tmp_path / "chi.nii", np.eye(5)[..., None], centred_grid((5, 5, 1), (2.0, 2.0, size))
    )
    (tmp_path / "lookup.tsv").write_text("index\tname\n1\tL Pu\n")
    words = {
        "nuclei": [image, out, "--labels", image, "--lookup", table, "--reference", "none"],
        "similarity": [image, image, out, "--mask", image],
        "qsm": [out, "--magnitude", image, "--phase", image, "--echo-times-s", "0.01",
                "--b0-tesla", "3"],
    }  # fmt: skip
    assert main([command, *words[command]]) == 65
    found = f"chi.nii: voxel size: expected 0.01 to 20 mm, found 2 x 2 x {size:g} mm"
    assert found in refusal(capsys)
    assert not (tmp_path / "out.tsv").exists()


def test_complex_images_are_no_maps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Their imaginary part was dropped without a word."""
    chi, mask = tmp_path / "chi.nii", tmp_path / "mask.nii"
    write_image(chi, np.full(SMALL.shape, 0.1 + 0.2j, np.complex64), SMALL)
    write_image(mask, np.ones(SMALL.shape, np.uint8), SMALL)
    words = ["similarity", str(chi), str(mask), str(tmp_path / "out.tsv"), "--mask", str(mask)]
    assert main(words) == 65
    assert "chi.nii: expected real values, found complex64" in refusal(capsys)


@pytest.mark.parametrize("text", ["qsm = 1", "source = []", "qsm = 'a'", "[[qsm]]"])
def test_tables_of_settings_are_tables(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"settings\.toml: expected a table \[(qsm|source)\]"):
        read_settings_tables(path, "qsm")


def test_values_beyond_any_figure_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = read_table(values(tmp_path / "values.tsv"))
    table.loc[3, "value_ppb"] = 1e300
    write_table(tmp_path / "values.tsv", table)
    assert compare(tmp_path / "values.tsv", tmp_path / "out") == 65
    assert "expected numbers of at most 1e+09, found 1e+300 in row 4" in refusal(capsys)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    assert compare(values(folder / "values.tsv"), folder / "out") == 0
    return folder / "out"


def text_for_a_number(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(bias="text")


def beyond(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(bias=1e300)


def without_interval(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="loa_upper_ci_upper")


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("agreement.tsv", text_for_a_number, "bias: expected numbers .* found 'text' in row 1"),
        ("agreement.tsv", beyond, "bias: expected a figure, found 1e\\+300"),
        ("agreement.tsv", without_interval, "expected .* loa_upper_ci_upper"),
        (
            "compared-values.tsv",
            lambda t: pd.concat([t, t[:1]]),
            "expected one row .* found two: s0 PI Pu",
        ),
    ],
)
def test_tables_of_a_report_hold_what_it_reads(
    compared: Path, name: str, change: Callable[[pd.DataFrame], pd.DataFrame], expected: str
) -> None:
    path = compared / name
    before = path.read_bytes()
    write_table(path, change(read_table(path, text=("region", "protocol", "subject"))))
    try:
        with pytest.raises(InputError, match=rf"{name}: {expected}"):
            unchecked(compared)
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("inputs", [7, {"values": 7}, {"values": {"path": 7, "sha256": "a"}}])
def test_records_of_a_report_hold_what_it_reads(compared: Path, inputs: object) -> None:
    path = compared / "settings.toml"
    before = path.read_bytes()
    path.write_bytes(tomli_w.dumps(tomllib.loads(before.decode()) | {"inputs": inputs}).encode())
    try:
        with pytest.raises(InputError, match=r"settings\.toml: .*expected "):
            unchecked(compared)
    finally:
        path.write_bytes(before)


def test_echoes_that_no_gradient_separates_are_refused() -> None:
    """A tenth of a nanosecond apart, their phases tell nothing of the field."""
    check_echo_times((0.004, 0.0041, 0.005))
    with pytest.raises(InputError, match="expected at least 1e-05 s between them, found 1e-10 s"):
        check_echo_times((0.004, 0.0040000001, 0.005))
