"""An import that is killed between any two of its renames leaves no scan without some echoes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from accelqsm.cli import main
from accelqsm.errors import InputError
from accelqsm.files.megre.bids import find_megre
from accelqsm.results.integrity import exchange
from dicom_files import Exam, parts, small_grid, write_series

ECHO_TIMES_S = (0.004, 0.009, 0.014)


def write_exam(folder: Path, n_echoes: int) -> Path:
    grid = small_grid((6, 6, 4))
    write_series(Exam(folder, grid), 1, parts(grid, ("mag", "phase"), ECHO_TIMES_S[:n_echoes]))
    return folder


def imported(dicom: Path, place: Path) -> None:
    assert main(["import", str(dicom), str(place / "bids"), "--overwrite"]) == 0


def contents(place: Path) -> dict[str, bytes]:
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


def scan_in(place: Path) -> dict[str, bytes]:
    """Images of the scan as a reader finds them; none where it refuses."""
    try:
        files = find_megre(place / "bids" / "sub-P01" / "anat")
    except InputError:
        return {}
    return {path.name: path.read_bytes() for path in (*files.magnitude, *files.phase)}


def test_at_every_rename_the_scan_is_the_old_or_the_new_one_or_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies there before a rename is what a run leaves that is killed then."""
    three, two = (write_exam(tmp_path / f"dicom{n}", n) for n in (3, 2))
    place, killed = tmp_path / "place", tmp_path / "killed"
    imported(three, place)
    shutil.copytree(place, tmp_path / "old")
    rename = exchange._rename
    found: list[dict[str, bytes]] = []

    def kept(source: Path, target: Path) -> None:
        found.append(scan_in(target.parents[len(target.parents) - len(tmp_path.parts) - 1]))
        if len(found) == 20 and not killed.exists():
            shutil.copytree(place, killed)
        rename(source, target)

    monkeypatch.setattr(exchange, "_rename", kept)
    imported(two, place)
    old, new = scan_in(tmp_path / "old"), scan_in(place)
    assert (len(old), len(new)) == (6, 4)
    assert [scan for scan in found if scan not in (old, new, {})] == []
    assert len(found) == 22
    assert found.count({}) > 10

    found.clear()
    assert scan_in(killed) == {}
    imported(two, killed)
    assert [scan for scan in found if scan not in (old, new, {})] == []
    assert old in found, "the next run undoes what the killed one left"
    assert contents(killed) == contents(place)
