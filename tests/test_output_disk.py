"""A full disk, a closed one and a full TMPDIR: one line, status 73 or 74, nothing half-written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext as nothing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accelqsm import kspace
from accelqsm.cli import main
from accelqsm.errors import DiskError, InputError
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.results import folder
from accelqsm.runtime import disk
from output_folders import compare, contents, refusal, values
from recon_phantom import channel_images, sample

MAP = ("--method", "zero-filled")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 256 KiB."""
    where = tmp_path / "small"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(where)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("needs the right to mount a disk")
    yield where
    subprocess.run(["umount", str(where)], check=True)


@pytest.fixture
def unforeseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills only while a run writes."""
    monkeypatch.setattr(folder, "check_free", lambda *_, **__: None)


def write_scan(path: Path) -> Path:
    pattern = torch.ones((24, 16), dtype=torch.bool)
    write_mrd(path, sample(channel_images((16, 24, 16), 2), pattern, noise_sd=0.01))
    return path


def fill(where: Path, left: int) -> None:
    (where / "fill").write_bytes(b"0" * (disk.free_bytes(where) - left))


def names(where: Path) -> set[str]:
    return {path.name for path in where.rglob("*")} - {"fill"}


def test_a_disk_too_small_is_told_before_anything_is_computed(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = write_scan(tmp_path / "scan.h5")
    for command in (["map", str(scan)], ["recon", str(scan)], ["simulate"], ["cohort", "zhou2025"]):
        options = MAP if command[0] in ("map", "recon") else ()
        assert main([*command, str(small / "out"), *options]) == 74
        assert "out: expected 1 MiB of free space for the results, found 0 MiB" in refusal(capsys)
    assert names(small) == set()


@pytest.mark.usefixtures("unforeseen")
@pytest.mark.parametrize("left", [0, 8192, 40960])
def test_a_disk_that_fills_leaves_what_was_there(
    small: Path, tmp_path: Path, left: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(values(tmp_path / "v.tsv"), small / "out") == 0
    (small / "out" / "notes.txt").write_text("mine")
    before = contents(small / "out")
    other = values(tmp_path / "w.tsv", 1)
    capsys.readouterr()
    fill(small, left)
    for out, words in ((small / "out", ("--overwrite",)), (small / "new", ())):
        assert compare(other, out, *words) == 74
        assert "expected space to write, found none left" in refusal(capsys)
    assert main(["report", str(small / "out")]) == 74
    assert "expected space to write, found none left" in refusal(capsys)
    assert contents(small / "out") == before
    assert {path.name for path in small.iterdir()} == {"out", "fill"}


@pytest.mark.usefixtures("unforeseen")
def test_maps_on_a_disk_that_fills(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(small, 60000)
    scan = write_scan(tmp_path / "scan.h5")
    for command in ("recon", "map"):
        with pytest.warns(match="smaller than a human") if command == "map" else nothing():
            assert main([command, str(scan), str(small / "out"), *MAP]) == 74
        assert "out: expected space to write, found none left" in refusal(capsys)
    assert names(small) == set()


@pytest.mark.usefixtures("unforeseen")
def test_tables_on_a_disk_that_fills(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(values(tmp_path / "v.tsv"), tmp_path / "out") == 0
    capsys.readouterr()
    fill(small, 0)
    pilot = str(tmp_path / "out" / "agreement.tsv")
    assert main(["plan", pilot, "--out", str(small / "plan.tsv")]) == 74
    assert "expected space to write" in refusal(capsys)
    assert names(small) == set()


def test_a_closed_disk_is_told(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LEAST_FREE_BYTES", 0)
    table = values(tmp_path / "v.tsv")
    assert compare(table, small / "out") == 0
    before = contents(small)
    capsys.readouterr()
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    out = str(small / "out")
    for words in (
        ["compare", str(table), out, "--reference", "PI", "--overwrite"],
        ["compare", str(table), str(small / "new"), "--reference", "PI"],
        ["report", out],
        ["plan", f"{out}/agreement.tsv", "--out", str(small / "plan.tsv")],
        ["demo", str(small / "demo")],
        ["train", str(small / "weights")],
    ):
        assert main(words) == 73, words
        assert "read-only file system" in refusal(capsys)
    assert contents(small) == before


def test_a_full_tmpdir_is_told_where_it_would_have_killed(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mapped file that is only made long ends the process (SIGBUS) when its pages are written."""
    monkeypatch.setattr(disk.tempfile, "tempdir", str(small))
    monkeypatch.setattr(kspace, "LARGEST_IN_MEMORY_BYTES", 0)
    scan = write_scan(tmp_path / "scan.h5")
    fill(small, 40000)
    assert main(["map", str(scan), str(tmp_path / "out"), *MAP]) == 74
    said = refusal(capsys)
    assert f"{small} (TMPDIR names another): expected 1 MiB of free space for the samples" in said
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(disk, "check_free", lambda *_, **__: None)  # filled by another just then
    with pytest.raises(DiskError, match=r"TMPDIR names another.*expected space to write"):
        kspace.scratch((2, 2, 30, 100), on_disk=True)
    (small / "fill").unlink()
    samples = kspace.scratch((2, 2, 30, 100), on_disk=True)
    samples[:] = 1
    assert isinstance(samples, np.memmap)
    assert (samples == 1).all()
    del samples


LIMITED = """
import resource, sys
from accelqsm.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (700, 700))
sys.exit(main(sys.argv[1:]))
"""


def test_files_over_a_limit_are_told_without_a_disk_of_their_own(tmp_path: Path) -> None:
    table = values(tmp_path / "v.tsv")
    words = ["compare", str(table), str(tmp_path / "out"), "--reference", "PI"]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 74
    assert done.stderr.count("\n") == 1
    assert "out: expected space to write, found none left: file too large" in done.stderr
    assert names(tmp_path) == {"v.tsv"}


def test_no_folder_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(disk.tempfile, "gettempdir", none)
    with pytest.raises(DiskError, match="TMPDIR: expected a folder for the samples, found none"):
        kspace.scratch((1, 1, 1, 1), on_disk=True)
    with pytest.raises(InputError):
        disk.check_temporary(1, "the registration")


def test_raw_data_keeps_its_space_while_another_process_fills_the_disk(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HDF5 ended the process (SIGSEGV) where the disk filled while it wrote."""
    from accelqsm.files.mrd import writer

    lines = writer._image_lines

    def filling(*given: Any) -> Iterator[Any]:
        for chunk in lines(*given):
            fill(small, 0)
            yield chunk

    monkeypatch.setattr(writer, "_image_lines", filling)
    pattern = torch.ones((12, 8), dtype=torch.bool)
    write_mrd(small / "scan.h5", sample(channel_images((8, 12, 8), 2), pattern, noise_sd=0.01))
    assert disk.free_bytes(small) < 2**17
    assert names(small) == {"scan.h5"}
    (small / "fill").unlink()
    assert read_mrd(small / "scan.h5").samples.shape[-1] == 96
