"""Results cannot be mixed up: what a reader takes is what one run wrote, or it is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accelqsm import values as values_of
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import write_image
from accelqsm.grid import centred_grid
from accelqsm.results.comparison import read_comparison
from accelqsm.results.folder import results_folder, results_table
from accelqsm.results.integrity.check import check_file, check_folder
from accelqsm.results.integrity.seal import sealed_files, sha256
from accelqsm.results.maps import SusceptibilityMaps, read_maps
from output_folders import compare, contents, refusal, values, without_checksums

KILLS = Path(__file__).parents[1] / "benchmarks" / "kill_renames.py"
GRID = centred_grid((6, 5, 4), (2.0, 2.0, 2.0))


def maps(seed: int = 0) -> SusceptibilityMaps:
    noise = np.random.default_rng(seed).normal(size=(6, *GRID.shape)).astype(np.float32)
    r2star = noise[5] if seed == 0 else None
    return SusceptibilityMaps(
        grid=GRID,
        chi_ppm=noise[0],
        mask=noise[1] > 0,
        field_hz=noise[2],
        field_sd_hz=noise[3],
        local_field_hz=noise[4],
        r2star_per_s=r2star,
        magnitude=noise[5],
    )


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    assert compare(values(folder / "v.tsv", regions=tuple("ABCDEFG")), folder / "out") == 0
    return folder / "out"


@pytest.fixture
def out(compared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compared, tmp_path / "out"))


def test_the_record_names_every_file_and_comes_last_in_its_own_checksum(out: Path) -> None:
    named = sealed_files(out / "settings.toml")
    assert named is not None
    assert set(named) == set(contents(out)) - {"settings.toml"}
    assert all(sha256(out / name) == digest for name, digest in named.items())
    assert (out / "settings.toml").read_text().splitlines()[-1].startswith('"settings.toml" = "')
    assert check_folder(out) == []


def test_a_table_cut_to_five_rows_is_refused(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = out / "agreement.tsv"
    before = sha256(table)
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:6]))
    assert main(["report", str(out)]) == 65
    said = refusal(capsys)
    assert f"agreement.tsv: expected SHA-256 {before} as its run recorded, found " in said
    assert sha256(table) in said
    assert not (out / "report.html").exists()


def test_every_file_that_is_altered_is_refused_by_name(out: Path) -> None:
    for path in sorted(out.iterdir()):
        whole = path.read_bytes()
        for other in (whole[:-2], whole + b"\n#", bytes([whole[0] ^ 1]) + whole[1:]):
            path.write_bytes(other)
            with pytest.raises(InputError, match=f"{path.name}: "):
                check_folder(out)
        path.write_bytes(whole)
    assert check_folder(out) == []


def test_a_table_of_32_gib_is_refused_before_it_is_read(out: Path) -> None:
    os.truncate(out / "agreement.tsv", 2**35)
    started = time.process_time()
    with pytest.raises(
        InputError, match=r"agreement\.tsv: expected at most 16 MiB, found 32768 MiB"
    ):
        check_folder(out)
    assert time.process_time() - started < 2


def test_a_record_cut_at_any_line_is_refused(out: Path) -> None:
    lines = (out / "settings.toml").read_text().splitlines(keepends=True)
    for n in range(1, len(lines)):
        (out / "settings.toml").write_text("".join(lines[:n]))
        with pytest.raises(InputError, match=r"settings.toml: "):
            check_folder(out)


def test_tables_of_another_run_are_refused(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of a run that was killed half-way: its tables with the record of an earlier one."""
    other = tmp_path / "other"
    assert compare(values(tmp_path / "w.tsv", 1, tuple("ABCDEFG")), other) == 0
    for name in ("agreement.tsv", "compared-values.tsv", "table-3.tsv"):
        shutil.copy(other / name, out / name)
        capsys.readouterr()
        assert main(["report", str(out)]) == 65
        assert f"{name}: expected SHA-256" in refusal(capsys) or name != "agreement.tsv"
    shutil.copytree(tmp_path / "out", tmp_path / "mixed", dirs_exist_ok=True)
    shutil.copytree(other, tmp_path / "mixed", dirs_exist_ok=True)
    shutil.copy(other / "agreement.tsv", tmp_path / "mixed" / "age.tsv")
    with pytest.raises(InputError, match=r"age.tsv: expected no result that settings.toml"):
        read_comparison(tmp_path / "mixed")


def test_a_file_that_is_gone_is_left_out_and_said(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "table-2.tsv").unlink()
    with pytest.warns(InputWarning, match=r"table-2.tsv: recorded by the run, but no such file"):
        assert main(["report", str(out)]) == 0
    assert "table-2.tsv (no such file, but its run wrote it)." in (out / "report.html").read_text()


def test_results_of_earlier_versions_are_read_and_that_is_said(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_checksums(out / "settings.toml")
    with pytest.warns(InputWarning, match="no checksums, as earlier versions recorded none"):
        assert main(["report", str(out)]) == 0
    assert (out / "report.html").is_file()


def test_a_folder_without_a_record_is_unfinished_for_every_reader(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (out / "settings.toml").unlink()
    assert main(["report", str(out)]) == 65
    assert "out: unfinished: expected settings.toml, which a run writes last" in refusal(capsys)
    saved = maps().save(tmp_path / "maps")
    (saved / "settings.toml").rename(saved / "unfinished.toml")
    readers: tuple[Callable[[], object], ...] = (
        lambda: read_comparison(out),
        lambda: read_maps(saved),
        lambda: check_file(saved / "Chimap.nii.gz"),
    )
    for read in readers:
        with pytest.raises(InputError, match=r"unfinished: expected settings.toml"):
            read()
    (saved / "mine.nii.gz").write_bytes(b"")
    check_file(saved / "mine.nii.gz")


def test_an_altered_map_is_refused_by_all_that_read_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = maps().save(tmp_path / "maps")
    chi, mask = saved / "Chimap.nii.gz", saved / "mask.nii.gz"
    write_image(chi, 2 * maps().chi_ppm, GRID)
    (tmp_path / "lookup.tsv").write_text("index\tname\n1\tL Pu\n")
    labels = ["--labels", str(mask), "--lookup", str(tmp_path / "lookup.tsv")]
    to = str(tmp_path / "to.tsv")
    for words in (
        ["nuclei", str(chi), to, *labels, "--reference", "none"],
        ["similarity", str(chi), str(chi), to, "--mask", str(mask)],
        ["export", str(saved), str(tmp_path / "dicom"), "--dicom", str(tmp_path)],
    ):
        assert main(words) == 65, words
        assert "Chimap.nii.gz: expected SHA-256" in refusal(capsys)
    with pytest.raises(InputError, match=r"Chimap.nii.gz: expected SHA-256"):
        read_maps(saved)


def test_a_mask_corrected_by_hand_is_used_and_that_is_said(tmp_path: Path) -> None:
    saved = maps().save(tmp_path / "maps")
    write_image(saved / "mask.nii.gz", np.ones(GRID.shape, bool), GRID)
    with pytest.warns(InputWarning, match=r"mask.nii.gz: altered since settings.toml was written"):
        check_file(saved / "mask.nii.gz")
    with pytest.raises(InputError, match=r"mask.nii.gz: expected SHA-256"):
        check_folder(saved)


def test_a_table_of_nuclei_is_known_by_its_record(tmp_path: Path) -> None:
    saved = maps().save(tmp_path / "maps")
    (tmp_path / "lookup.tsv").write_text("index\tname\n1\tL Pu\n")
    words = ["--labels", str(saved / "mask.nii.gz"), "--lookup", str(tmp_path / "lookup.tsv")]
    table = saved / "nuclei.tsv"
    chi = str(saved / "Chimap.nii.gz")
    assert main(["nuclei", chi, str(table), *words, "--reference", "none"]) == 0
    assert check_folder(saved) == []  # a later command's table may lie there
    assert set(sealed_files(table.with_suffix(".toml")) or ()) == {"nuclei.tsv", "nuclei.json"}
    assert len(values_of({("s", "PI"): saved}, sides=True)) == 1
    table.write_text(table.read_text().replace("L\t", "R\t"))
    with pytest.raises(InputError, match=r"nuclei.tsv: expected SHA-256"):
        values_of({("s", "PI"): table})


def test_a_table_that_fails_leaves_the_earlier_one_with_its_own_files(tmp_path: Path) -> None:
    def write(text: str, error: BaseException | None = None) -> None:
        with results_table(tmp_path / "t.tsv", overwrite=True) as path:
            path.with_suffix(".toml").write_text(f'command = "{text}"\n')
            path.write_text(text)
            if error is not None:
                raise error

    write("one")
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write("two", KeyboardInterrupt())
    assert contents(tmp_path) == before
    write("three")
    check_file(tmp_path / "t.tsv")
    assert (tmp_path / "t.tsv").read_text() == "three"
    assert len(contents(tmp_path)) == 2


def test_folders_in_which_nothing_else_lies_are_exchanged_in_one_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old ones are there until the new ones are, and another's file prevents it."""
    renamed: list[str] = []
    maps(0).save(tmp_path / "out")
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda *way: (renamed.append(way[1].name), rename(*way))[1])
    maps(1).save(tmp_path / "out", overwrite=True)
    assert read_maps(tmp_path / "out").r2star_per_s is None
    assert renamed == [] or not sys.platform.startswith("linux")
    (tmp_path / "out" / "notes.txt").write_text("mine")
    maps(0).save(tmp_path / "out", overwrite=True)
    assert renamed[0] == renamed[-1] == "settings.toml" or not sys.platform.startswith("linux")
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert read_maps(tmp_path / "out").r2star_per_s is not None
    assert {path.name for path in tmp_path.iterdir()} == {"out"}


def test_a_report_waits_for_no_run_and_leaves_its_results_alone(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with results_folder(out, "compare", overwrite=True):
        assert main(["report", str(out)]) == 65
        assert "out: expected no other run with this OUT, found process" in refusal(capsys)
    assert not (out / "report.html").exists()


def test_the_folder_keeps_its_permissions(tmp_path: Path) -> None:
    maps(0).save(tmp_path / "out")
    (tmp_path / "out").chmod(0o2750)
    maps(1).save(tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").stat().st_mode & 0o7777 == 0o2750


def test_names_with_signs_of_patterns_are_names(tmp_path: Path) -> None:
    out = tmp_path / "a[1]*"
    stale = tmp_path / ".a[1]*.partial-1"
    stale.mkdir()
    with results_folder(out, "map") as new:
        (new / "Chimap.nii.gz").write_text("x")
    assert {path.name for path in tmp_path.iterdir()} == {out.name}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(sys, "addaudithook") or sys.platform == "win32", reason="fork")
def test_a_run_killed_at_any_rename_is_undone_by_the_next() -> None:
    """Of maps, and of the report of a comparison; benchmarks/kill_renames.py has the others."""
    chosen = ["save:old and note", "report:empty"]
    done = subprocess.run([sys.executable, str(KILLS), *chosen], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "34 kills: 13 old, 21 unfinished" in done.stdout
