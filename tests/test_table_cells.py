"""Cells that a spreadsheet would run, control characters in names, and label numbers of 64 bits."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.api.labels import whole_labels
from accelqsm.errors import InputError
from accelqsm.files.nifti import read_image, write_image
from accelqsm.files.tables import read_table, table_text, write_described_table, write_table
from accelqsm.files.text.lookup import read_lookup
from accelqsm.files.text.values import read_values
from accelqsm.grid import centred_grid
from accelqsm.nuclei.atlas import one_hot
from accelqsm.nuclei.labels import erode, narrow_labels
from accelqsm.nuclei.volume import Volume

FORMULAS = ("=1+1", "=cmd|'/c calc'!A1", "+SUM(A1)", "-A1", "@SUM(A1)", "'=x", "''+y", "=")
PLAIN = ("Pu", "GPe", "a=b", "SN-l", "'quoted'", "n-1", "-", "-3", "+3.5", "-1.5e-3", "1e3", "µ",
         "'", "-0.9 (0.04)")  # fmt: skip


def cells_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text), delimiter="\t"))


def test_no_written_cell_is_a_formula_and_every_one_comes_back(tmp_path: Path) -> None:
    words = [*FORMULAS, *PLAIN]
    table = pd.DataFrame(
        {"name": words, "note": words[::-1], "value": np.linspace(-1, 1, len(words)), "n": -3}
    )
    write_table(tmp_path / "table.tsv", table)
    rows = cells_of((tmp_path / "table.tsv").read_text())[1:]
    for row, word in zip(rows, words, strict=True):
        assert row[0] == ("'" + word if word in FORMULAS else word)
    assert [row[3] for row in rows] == ["-3"] * len(words)
    again = read_table(tmp_path / "table.tsv", text=("name", "note"))
    assert again["name"].tolist() == words
    assert again["note"].tolist() == words[::-1]
    assert table_text(again) == (tmp_path / "table.tsv").read_text()


def test_a_name_of_a_column_is_no_formula_either(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    write_described_table(path, pd.DataFrame({"=A1": ["x"], "b": [-1.0]}), {"b": {"Units": "ppb"}})
    assert path.read_text().splitlines()[0] == "'=A1\tb"
    assert list(read_table(path)) == ["=A1", "b"]


def test_values_of_odd_names_keep_their_names(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"subject": ["=1", "@a"], "protocol": "-p", "region": "+r", "value_ppb": [-1.5, 2.5]}
    )
    write_table(tmp_path / "values.tsv", table)
    pd.testing.assert_frame_equal(read_values(tmp_path / "values.tsv"), table)


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066"])
def test_control_characters_are_refused_where_a_table_is_read(
    tmp_path: Path, character: str
) -> None:
    for header, row in (("index\tname", f"1\tP{character}u"), (f"index\tna{character}me", "1\tPu")):
        path = tmp_path / "lookup.tsv"
        path.write_text(f"{header}\n{row}\n", encoding="utf-8")
        with pytest.raises(InputError, match=rf"lookup.tsv: .*U\+{ord(character):04X}"):
            read_lookup(path)


def test_a_line_break_in_a_cell_becomes_a_space(tmp_path: Path) -> None:
    path = tmp_path / "lookup.tsv"
    path.write_text('index\tname\n1\t"Putamen\n\tleft"\n2\tGP\n')
    assert read_lookup(path)["name"].tolist() == ["Putamen left", "GP"]


LARGE = 2**32 + 1


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_labels_of_64_bits_are_not_those_of_32(tmp_path: Path, kind: type, suffix: str) -> None:
    grid = centred_grid((12, 8, 8), (1.0, 1.0, 1.0))
    stored = np.zeros(grid.shape, kind)
    stored[1:5, 2:6, 2:6], stored[7:11, 2:6, 2:6] = LARGE, 1
    write_image(tmp_path / f"labels{suffix}", stored, grid)
    labels = whole_labels(read_image(tmp_path / f"labels{suffix}"))
    for found in (labels, narrow_labels(labels)):
        assert np.unique(found).tolist() == [0, 1, LARGE]
        assert np.unique(erode(found, distance_mm=1.0, voxel_size_mm=(1.0, 1.0, 1.0))).tolist() == [
            0, 1, LARGE,
        ]  # fmt: skip
        parts = one_hot(Volume(found, grid), [1, LARGE])
        assert [float(part.values.sum()) for part in parts.values()] == [64, 64]
