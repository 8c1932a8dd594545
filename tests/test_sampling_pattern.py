"""Patterns as tables for a scanner: order of play, round trip, refusals, and a scan of one."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.text.pattern import read_pattern
from accelqsm.options.table import from_table
from accelqsm.recon.patterns.drawn import drawn_pattern, in_order
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.recon.sampling import poisson_disk
from accelqsm.results.study import scan_files
from accelqsm.virtual.protocols import PRESETS, PROTOCOLS
from accelqsm.virtual.sampling import check_table, sampling_pattern

PLANE = (40, 30)
WORDS = ("--shape", "40", "30", "--acceleration", "4", "--calibration", "8", "6", "--seed", "3")
SETTINGS = PatternSettings(shape=PLANE, acceleration=4.0, calibration=(8, 6), seed=3)


def made(path: Path, *words: str) -> Path:
    assert main(["pattern", str(path), *WORDS, *words]) == 0
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pattern with what lies beside it, to be copied."""
    return made(tmp_path_factory.mktemp("written") / "a.tsv")


def copied(written: Path, folder: Path) -> Path:
    for path in written.parent.iterdir():
        shutil.copy(path, folder / path.name)
    return folder / written.name


@pytest.mark.parametrize("echoes", [1, 3])
def test_what_is_written_is_read_as_it_was_drawn_and_can_be_replayed(
    tmp_path: Path, echoes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made(tmp_path / "a.tsv", "--echoes", str(echoes), "--voxel-size-mm", "1", "2")
    assert "300 of 1200 positions" in capsys.readouterr().out
    record = tomllib.loads((tmp_path / "a.toml").read_text())
    settings = from_table(PatternSettings, record["pattern"])
    assert settings == replace(SETTINGS, echoes=echoes, voxel_size_mm=(1.0, 2.0))
    pattern = read_pattern(path, PLANE)
    np.testing.assert_array_equal(pattern, drawn_pattern(settings).numpy())
    assert pattern.shape == ((echoes, *PLANE) if echoes > 1 else PLANE)
    assert (pattern.reshape(echoes, -1).sum(1) == 300).all()
    assert len(np.unique(pattern.reshape(echoes, -1), axis=0)) == echoes
    again = tmp_path / "b.tsv"
    assert main(["pattern", str(again), "--settings", str(tmp_path / "a.toml")]) == 0
    assert again.read_bytes() == path.read_bytes()
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_shots_whose_number_elsewhere_means_a_missing_value_are_shots(tmp_path: Path) -> None:
    path, plane = tmp_path / "a.tsv", (1200, 40)
    words = ("--shape", *map(str, plane), "--acceleration", "4", "--calibration", "8", "6")
    assert main(["pattern", str(path), *words]) == 0
    assert read_pattern(path, plane).sum() == 12_000


def test_a_pattern_is_not_replaced_unasked_and_an_unplayable_one_leaves_nothing(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copied(written, tmp_path)
    before = path.read_bytes()
    assert main(["pattern", str(path), *WORDS, "--seed", "4"]) == 65
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert path.read_bytes() == before
    made(path, "--seed", "4", "--overwrite")
    assert path.read_bytes() != before
    out = str(tmp_path / "new.tsv")
    for words, told in (
        ([out, *WORDS, "--calibration", "30", "30"], "expected at most the 300 samples"),
        ([out, "--shape", "40", "30"], "acceleration: expected a value, found none"),
        ([str(tmp_path / "new.json"), *WORDS], "expected a table to write"),
    ):
        assert main(["pattern", *words]) == 65
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    assert not list(tmp_path.glob("new*"))


def test_a_raster_goes_back_and_forth_and_centre_out_goes_away_from_the_centre() -> None:
    pattern = poisson_disk(PLANE, acceleration=4, calibration=(8, 6), seed=1)
    raster, outward = (
        in_order(pattern, replace(SETTINGS, order=order, voxel_size_mm=(1.0, 3.0)))
        for order in ("raster", "centre-out")
    )
    for positions in (raster, outward):
        played = torch.zeros(PLANE, dtype=torch.int64)
        played.index_put_(tuple(torch.from_numpy(positions.T)), torch.tensor(1), accumulate=True)
        assert torch.equal(played, pattern.long())
    assert (np.diff(raster[:, 0]) >= 0).all()
    lines = [raster[raster[:, 0] == ky, 1] for ky in np.unique(raster[:, 0])]
    assert len(lines) > 30
    for number, line in enumerate(lines):
        assert (np.diff(line) * (1 if number % 2 == 0 else -1) > 0).all()
    assert outward[0].tolist() == [20, 15]
    cycles_per_mm = (outward - [20, 15]) / [40 * 1.0, 30 * 3.0]
    assert (np.diff(np.hypot(*cycles_per_mm.T)) >= 0).all()


def test_echoes_of_a_shot_follow_each_other(tmp_path: Path) -> None:
    table = pd.read_csv(made(tmp_path / "a.tsv", "--echoes", "2"), sep="\t")
    assert list(table) == ["echo", "order", "ky", "kz"]
    assert table["order"].tolist() == sorted([*range(300), *range(300)])
    assert table["echo"].tolist() == [0, 1] * 300


def cell(row: int, name: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        changed = table.astype(object)
        changed.loc[row, name] = value
        return changed

    return change


def moved(table: pd.DataFrame) -> pd.DataFrame:
    """One position next to the zero frequency in its place, which is left out."""
    middle = table[(table["ky"] == 20) & (table["kz"] == 15)].index
    return table.drop(middle).assign(order=range(len(table) - 1))


REFUSED = {
    "column": (lambda t: t.drop(columns="kz"), "expected the tab-separated column"),
    "outside": (cell(7, "ky", 40), r"expected ky from 0 to 39, found order 7, ky 40, .* in row 8$"),
    "negative": (cell(7, "kz", -1), r"expected kz from 0 to 29, found .* in row 8$"),
    "fraction": (cell(7, "kz", 1.5), r"kz: expected whole numbers, found 1.5 in row 8$"),
    "missing": (cell(7, "ky", "n/a"), r"ky: expected whole numbers, found nan in row 8$"),
    "huge": (cell(7, "ky", 1e300), r"ky: expected whole numbers, found 1e\+300 in row 8$"),
    "word": (cell(7, "ky", "left"), r"ky: expected whole numbers, found left in row 8$"),
    "twice": (
        lambda t: t.assign(ky=t["ky"].replace({0: 1}), kz=t["kz"].where(t["ky"] > 1, 3)),
        "expected each position once, found order",
    ),
    "order twice": (cell(7, "order", 8), r"order: expected 0 to 299, each once"),
    "order gap": (cell(299, "order", 300), r"order: expected 0 to 299, each once"),
    "echo gap": (lambda t: t.assign(echo=t["order"] % 2 * 2), r"echo: expected echoes from 0"),
    "echo counts": (lambda t: t.assign(echo=t["order"] < 9), r"echo: expected"),
    "no rows": (lambda t: t[:0], r"expected"),
    "no centre": (moved, r"expected the zero frequency at ky 20, kz 15 of 40 x 30"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_table_that_cannot_be_played_is_refused_in_one_line(
    name: str, written: Path, tmp_path: Path
) -> None:
    change, told = REFUSED[name]
    path = copied(written, tmp_path)
    table = change(pd.read_csv(path, sep="\t"))
    table.to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=told) as refused:
        read_pattern(path, PLANE)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_pattern_of_another_plane_is_refused_and_one_of_no_known_plane_is_told(
    written: Path,
    tmp_path: Path,
) -> None:
    path = copied(written, tmp_path)
    with pytest.raises(InputError, match=r"a pattern of 42 x 30, found one of 40 x 30 \(a.toml\)"):
        read_pattern(path, (42, 30))
    (tmp_path / "a.toml").unlink()
    with pytest.warns(InputWarning, match="no settings beside it tell its plane, taken as 40 x 30"):
        read_pattern(path, PLANE)


def small_table(folder: Path, *words: str, shape: tuple[str, str] = ("66", "40")) -> Path:
    path = folder / "small.tsv"
    own = ("--shape", *shape, "--calibration", "12", "12", "--acceleration", "5", *words)
    assert main(["pattern", str(path), *own]) == 0
    return path


def test_a_table_takes_the_place_of_the_poisson_disk_of_its_plane(tmp_path: Path) -> None:
    path = small_table(tmp_path, "--seed", "8")
    preset = replace(PRESETS["small"], pattern=str(path))
    check_table(preset, ["pi", "af5", "af5-retro"])
    pattern = sampling_pattern(PROTOCOLS["af5"], preset, seed=1)
    np.testing.assert_array_equal(pattern.numpy(), read_pattern(path, (66, 40)))
    assert not torch.equal(pattern, sampling_pattern(PROTOCOLS["af5"], PRESETS["small"], seed=1))
    for name in ("pi", "full"):
        own, others = (
            sampling_pattern(PROTOCOLS[name], p, seed=1) for p in (PRESETS["small"], preset)
        )
        assert torch.equal(own, others)
    with pytest.warns(InputWarning, match="af3 is sampled at acceleration 5.00, its own"):
        check_table(preset, ["af3"])


def test_simulate_refuses_a_table_that_does_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = small_table(tmp_path)
    (tmp_path / "other").mkdir()
    other = small_table(tmp_path / "other", shape=("64", "40"))
    (tmp_path / "echoes").mkdir()
    echoes = small_table(tmp_path / "echoes", "--echoes", "2")
    capsys.readouterr()
    for table, protocols, told in (
        (path, ["af4", "af5"], "--protocols: expected one of Poisson disks"),
        (path, ["pi"], "found none"),
        (other, ["af5"], "expected a pattern of 66 x 40, found one of 64 x 40"),
        (echoes, ["af5"], "expected one pattern or one for each of 3 echoes, found 2"),
        (tmp_path / "none.tsv", ["af5"], "none.tsv"),
    ):
        words = ["--preset", "small", "--pattern", str(table), "--protocols", *protocols]
        assert main(["simulate", str(tmp_path / "out"), *words]) == 65
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    path.write_text(path.read_text().replace("\t20\n", "\t21\n", 1))
    words = ["--preset", "small", "--pattern", str(path), "--protocols", "af5"]
    assert main(["simulate", str(tmp_path / "out"), *words]) == 65
    assert "small.tsv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("echoes", ["1", "3"])
def test_a_simulated_scan_holds_the_positions_of_its_table(tmp_path: Path, echoes: str) -> None:
    path = small_table(tmp_path, "--echoes", echoes)
    out = tmp_path / "bids"
    words = ["--preset", "small", "--no-t1w", "--pattern", str(path), "--protocols", "af5"]
    assert main(["simulate", str(out), *words]) == 0
    kspace = read_mrd(scan_files(out, "sub-01", "af5").raw)
    np.testing.assert_array_equal(kspace.sampled.numpy(), read_pattern(path, (66, 40)))
    record = tomllib.loads((out / "settings.toml").read_text())
    assert record["scanner"]["pattern"] == str(path)
