"""OUT: checked before anything is computed, owned by one run, replaced whole or left as it was.

The member that could not be read off issue 18: a run that is killed (SIGKILL) between computing and
writing leaves a lock and a partial folder behind, and the next run takes over from both.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.tables import read_table, write_table
from accelqsm.results import folder as folders
from accelqsm.results.folder import check_space, folder_in_place, results_folder
from accelqsm.results.names import owner_of, results_in


def values(path: Path, seed: int = 0, regions: tuple[str, ...] = ("Pu", "Ca")) -> Path:
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{s}", protocol, region, 50 + 10 * s + rng.normal())
        for s in range(8)
        for protocol in ("PI", "AF3")
        for region in regions
    ]
    columns = ["subject", "protocol", "region", "value_ppb"]
    write_table(path, pd.DataFrame(rows, columns=columns))
    return path


def compare(table: Path, out: Path, *words: str) -> int:
    return main(["compare", str(table), str(out), "--reference", "PI", *words])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("accelqsm: ")
    assert error.count("\n") == 1
    return error


def write_maps(out: Path, error: BaseException | None = None) -> None:
    """What a run does that replaces maps; ``error`` ends it half-way."""
    with results_folder(out, "map", overwrite=True) as new:
        for name in ("Chimap.nii.gz", "mask.nii.gz", "settings.toml"):
            (new / name).write_text("new")
        if error is not None:
            raise error


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_folder_with_results_is_refused_and_stays_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = values(tmp_path / "v.tsv"), tmp_path / "out"
    assert compare(table, out) == 0
    before = contents(out)
    capsys.readouterr()
    assert compare(table, out) == 65
    said = refusal(capsys)
    assert "out: expected a folder without results, found those of compare" in said
    assert "--overwrite" in said
    assert main(["cohort", "zhou2025", str(out)]) == 65
    assert contents(out) == before
    assert {path.name for path in tmp_path.iterdir()} == {"v.tsv", "out"}


def test_overwriting_leaves_nothing_of_the_earlier_run_and_what_no_run_wrote(
    tmp_path: Path,
) -> None:
    table, out = values(tmp_path / "v.tsv"), tmp_path / "out"
    assert compare(table, out) == 0
    assert main(["report", str(out)]) == 0
    (out / "notes.txt").write_text("mine")
    assert main(["cohort", "zhou2025", str(out), "--overwrite"]) == 0
    names = {path.name for path in out.iterdir()}
    assert names == {"values.tsv", "participants.tsv", "settings.toml", "notes.txt"}
    assert compare(values(tmp_path / "w.tsv", 1, ("RN",)), out, "--overwrite") == 0
    left = {path.name for path in out.iterdir()}
    assert not {"values.tsv", "participants.tsv", "report.html"} & left
    assert "notes.txt" in left
    assert set(read_table(out / "agreement.tsv")["region"]) == {"RN", "all"}


def test_maps_without_settings_and_a_table_next_to_them_are_results(tmp_path: Path) -> None:
    """As an interrupted run of an earlier version left them; ``nuclei.tsv`` is of the old map."""
    out = tmp_path / "out"
    out.mkdir()
    for name in ("Chimap.nii.gz", "R2starmap.nii.gz", "echo-7_part-mag.nii.gz", "nuclei.tsv"):
        (out / name).write_text("old")
    with pytest.raises(InputError, match=r"found those of an earlier run \(Chimap.nii.gz and 3 mo"):
        results_folder(out, "qsm").__enter__()
    with results_folder(out, "qsm", overwrite=True) as new:
        (new / "Chimap.nii.gz").write_text("new")
    assert contents(out) == {"Chimap.nii.gz": b"new"}


@pytest.mark.parametrize("name", ["mask.nii.gz", "magnitude.nii.gz"])
def test_an_input_that_would_be_replaced_is_refused_even_with_overwrite(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="expected a folder without results"):
        results_folder(tmp_path, "qsm").__enter__()
    with pytest.raises(InputError, match=f"{name}: expected inputs outside"):
        results_folder(tmp_path, "qsm", overwrite=True, inputs=[tmp_path / name]).__enter__()
    assert contents(tmp_path) == {name: b"mine"}
    with results_folder(tmp_path, "compare") as new:  # which writes neither
        (new / "agreement.tsv").write_text("new")
    assert set(contents(tmp_path)) == {name, "agreement.tsv"}


def test_raw_data_of_others_are_never_results(tmp_path: Path) -> None:
    raw = tmp_path / "sub-01" / "sub-01_acq-af3_MEGRE.h5"
    raw.parent.mkdir()
    raw.write_text("measured")
    with results_folder(tmp_path, "map", overwrite=True) as new:
        (new / "settings.toml").write_text('command = "map"\n')
    assert results_in(tmp_path, "map") == [tmp_path / "settings.toml"]
    assert raw.read_text() == "measured"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), InputError("x")])
@pytest.mark.parametrize("there", [True, False])
def test_a_failing_or_interrupted_run_leaves_what_was_there(
    tmp_path: Path, error: BaseException, there: bool
) -> None:
    out = tmp_path / "a" / "b" / "out"
    if there:
        out.mkdir(parents=True)
        (out / "settings.toml").write_text('command = "map"\n')
        (out / "Chimap.nii.gz").write_text("old")
    before = contents(tmp_path)
    with pytest.raises(type(error)):
        write_maps(out, error)
    assert contents(tmp_path) == before
    assert (tmp_path / "a").exists() == there


def test_a_failure_while_files_change_places_puts_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("settings.toml", "Chimap.nii.gz", "mask.nii.gz"):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / name).write_text('command = "map"\n')
    before = contents(tmp_path)
    rename, moves = Path.rename, []

    def fails_at_the_fifth(self: Path, target: Path) -> Path:
        moves.append(target)
        if len(moves) == 5:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails_at_the_fifth)
    with pytest.raises(KeyboardInterrupt):
        write_maps(tmp_path / "out")
    assert len(moves) > 5
    assert contents(tmp_path) == before


def test_one_run_owns_a_folder_at_a_time(tmp_path: Path) -> None:
    with results_folder(tmp_path / "out", "map"):
        with pytest.raises(InputError, match=rf"out: expected no other .* process {os.getpid()} "):
            results_folder(tmp_path / "out", "qsm", overwrite=True).__enter__()
        with results_folder(tmp_path / "other", "map"):
            pass
    with results_folder(tmp_path / "out", "map"):
        pass


HOLDING = """
import sys, time
from pathlib import Path
from accelqsm.results.folder import results_folder
with results_folder(Path(sys.argv[1]), "map", overwrite=True) as new:
    (new / "Chimap.nii.gz").write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def holding(out: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_another_process_is_named_and_a_killed_one_leaves_nothing_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = values(tmp_path / "v.tsv"), tmp_path / "out"
    assert compare(table, out) == 0
    before = contents(out)
    process = holding(out)
    capsys.readouterr()
    assert compare(table, out, "--overwrite") == 65
    assert f"found process {process.pid} on " in refusal(capsys)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert contents(out) == before
    assert compare(table, out, "--overwrite") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"v.tsv", "out"}


@pytest.mark.slow
def test_a_scheduler_that_ends_a_run_leaves_nothing_half_written(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "accelqsm.cli", "simulate", str(tmp_path / "scans")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".scans.partial-*")) and time.monotonic() < end:
        time.sleep(0.05)
    process.terminate()
    assert process.wait() == 130
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_a_place_below_one_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = values(tmp_path / "v.tsv")
    assert compare(table, table) == 65
    assert "v.tsv: expected a folder for the results, found a file" in refusal(capsys)
    assert compare(table, table / "out") == 65
    assert "expected a place to write, found " in refusal(capsys)
    assert compare(table, Path("/proc/accelqsm/out")) == 65
    assert "/proc/accelqsm/out: expected a place to write, found " in refusal(capsys)


def test_folders_above_are_made_and_links_are_followed(tmp_path: Path) -> None:
    table = values(tmp_path / "v.tsv")
    assert compare(table, tmp_path / "new" / "deep" / "out") == 0
    assert (tmp_path / "new" / "deep" / "out" / "settings.toml").is_file()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert compare(table, tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "settings.toml").is_file()


def test_a_folder_that_is_a_mount_of_its_own_is_written_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``/out`` in a container: nothing can be renamed across its border."""
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(folders.os, "access", lambda *_: False)
    with results_folder(out, "map") as new:
        assert new.parent == out
        (new / "Chimap.nii.gz").write_text("new")
    assert contents(tmp_path) == {"out/Chimap.nii.gz": b"new"}


def test_a_full_disk_is_told_before_and_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"expected 5 MiB of free space .* found 1 MiB"):
        check_space(tmp_path / "not" / "there", 5 * 2**20)
    with (
        pytest.raises(InputError, match="expected space for the results, found none left"),
        results_folder(tmp_path / "out", "map"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_demo_rebuilds_its_own_folder_and_training_resumes(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "settings.toml").write_text("seed = 1\n")
    (tmp_path / "values.tsv").write_text("old")
    assert owner_of(tmp_path) == "demo"
    with folder_in_place(tmp_path, "demo"):
        assert list(tmp_path.rglob("*.t*")) == []
    (tmp_path / "settings.toml").write_text("[training]\nsteps = 3\n")
    (tmp_path / "checkpoint.safetensors").write_text("trained")
    with folder_in_place(tmp_path, "train", resume=True):
        assert (tmp_path / "checkpoint.safetensors").read_text() == "trained"
    with pytest.raises(InputError, match="found those of train"):
        folder_in_place(tmp_path, "demo").__enter__()
    with folder_in_place(tmp_path, "train", resume=True, overwrite=True):
        assert not (tmp_path / "checkpoint.safetensors").exists()


def test_a_table_is_not_replaced_unasked_and_never_an_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = values(tmp_path / "v.tsv")
    assert compare(table, tmp_path / "out") == 0
    plan = ["plan", str(tmp_path / "out" / "agreement.tsv"), "--out"]
    assert main([*plan, str(tmp_path / "plan.tsv")]) == 0
    capsys.readouterr()
    assert main([*plan, str(tmp_path / "plan.tsv")]) == 65
    assert "plan.tsv: expected no file, found one; --overwrite replaces it" in refusal(capsys)
    assert main([*plan, str(tmp_path / "plan.tsv"), "--overwrite"]) == 0
    capsys.readouterr()
    assert main([*plan, plan[1], "--overwrite"]) == 65
    assert "expected another file than the inputs" in refusal(capsys)
    assert main([*plan, str(tmp_path)]) == 65
    assert "expected a file such as " in refusal(capsys)


def test_every_file_that_results_are_written_to_is_known_as_one(tmp_path: Path) -> None:
    from accelqsm.reports.boilerplate import METHODS, REFERENCES
    from accelqsm.results import comparison, echoes, maps, nuclei, study
    from accelqsm.training import loop, run

    constants = {
        "map": [
            maps.CHIMAP, maps.FIELD, maps.FIELD_SD, maps.LOCAL_FIELD, maps.R2STAR, maps.MAGNITUDE,
            maps.MASK, maps.SETTINGS, echoes.echo_name(12, "mag"), METHODS, REFERENCES,
        ],
        "recon": [echoes.echo_name(1, "phase"), echoes.SETTINGS, METHODS, REFERENCES],
        "nuclei": [
            nuclei.TABLE, nuclei.LABELS, nuclei.LOOKUP, nuclei.QUALITY, nuclei.FIGURE,
            nuclei.SETTINGS, METHODS, REFERENCES, "nuclei.json", "quality.json",
        ],
        "compare": [
            comparison.AGREEMENT, comparison.AGE, comparison.CHECKS, comparison.VALUES,
            comparison.PEOPLE, comparison.SETTINGS, *(f"{t}.tsv" for t in comparison.PRINTED),
            "agreement.json", study.REPORT, METHODS, REFERENCES,
        ],
        "demo": [
            study.SIMILARITY, study.NUCLEI, study.VALUES, study.VALUES_AND_TRUTH, study.REPORT,
        ],
        "train": [run.WEIGHTS, run.ERRORS, run.CURVE, run.SETTINGS, loop.CHECKPOINT, loop.LOG],
    }  # fmt: skip
    for command, names in constants.items():
        folder = tmp_path / command
        folder.mkdir()
        for name in names:
            (folder / name).write_text("")
        assert {path.name for path in results_in(folder, command)} == set(names), command
    scan = study.scan_files(tmp_path / "simulate", "sub-01", "af3")
    t1w = scan.raw.parent / "sub-01_T1w.nii.gz"
    for path in (scan.raw, scan.labels, scan.truth, t1w):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    assert len(results_in(tmp_path / "simulate", "simulate")) == 4


def test_a_folder_of_texts_is_no_folder_of_results(tmp_path: Path) -> None:
    """As of a paper: a run that writes no such file may put its own there."""
    (tmp_path / "references.bib").write_text("mine")
    assert main(["cohort", "zhou2025", str(tmp_path)]) == 0
    assert (tmp_path / "references.bib").read_text() == "mine"
