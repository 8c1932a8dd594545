"""Files that are whole or not there, and what killed processes left of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from accelqsm.files.atomic import remove_partial, whole_file


def test_what_a_killed_process_left_of_a_file_is_removed_and_nothing_else(tmp_path: Path) -> None:
    target, other = tmp_path / "sub-1_T1w.nii.gz", tmp_path / "sub-2_T1w.nii.gz"
    for path in (target, other):
        with whole_file(path) as temporary:
            temporary.write_text("whole")
            left = temporary.with_name(temporary.name)
            (tmp_path / f"kept-{path.name}").write_text(left.name)
        left.write_text("left")
    remove_partial(target)
    names = {path.name for path in tmp_path.iterdir() if path.name.startswith(".")}
    assert names == {(tmp_path / f"kept-{other.name}").read_text()}
    assert target.read_text() == other.read_text() == "whole"


@pytest.mark.parametrize(
    "name", ["a" * 248 + ".nii.gz", "ä" * 124 + ".nii", "a[1]*.tsv", "\udcff.tsv"]
)
def test_names_of_any_length_and_kind_can_be_written(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as temporary:
        assert temporary.suffixes == Path(name).suffixes
        left = temporary
    assert [path.name for path in tmp_path.iterdir()] == [name]
    left.write_text("left")
    remove_partial(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
