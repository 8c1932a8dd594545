"""OUT is checked before anything is computed, owned by one run, and kept by one that fails.

The member not readable off a case: a run that is killed (SIGKILL) between computing and
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

import pytest

from accelqsm.errors import DiskError, InputError
from accelqsm.results import folder as folders
from accelqsm.results.folder import check_space, results_folder
from output_folders import compare, contents, refusal, values, write_maps


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
    (tmp_path / "out" / "notes.txt").write_text("mine")  # so that no folder is exchanged whole
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
    status = process.wait()
    # As a shell has it: interrupted while compiled code imports a module, Python says so and cleans
    # up as usual, but ends itself by SIGINT.
    assert (status if status >= 0 else 128 - status) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_a_place_below_one_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = values(tmp_path / "v.tsv")
    assert compare(table, table) == 65
    assert "v.tsv: expected a folder for the results, found a file" in refusal(capsys)
    assert compare(table, table / "out") == 73
    assert "expected a place to write, found " in refusal(capsys)
    assert compare(table, Path("/proc/accelqsm/out")) == 73
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
    assert set(contents(tmp_path)) == {"out/Chimap.nii.gz", "out/settings.toml"}
    assert (out / "Chimap.nii.gz").read_text() == "new"


def test_a_full_disk_is_told_before_and_while_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20)
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match=r"expected 5 MiB of free space .* found 1 MiB"):
        check_space(tmp_path / "not" / "there", 5 * 2**20)
    with (
        pytest.raises(DiskError, match="expected space to write, found none left"),
        results_folder(tmp_path / "out", "map"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
