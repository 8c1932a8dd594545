"""Numbers that decide how a file is read: times of day, neighbours across a wrap, signs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.dicom.header.values import seconds
from accelqsm.files.megre.phase_unit import _wrap_fraction
from accelqsm.files.megre.signal import (
    _check_not_swapped,
    check_like,
    check_magnitudes,
    complex_echoes,
    tells_decay,
)
from accelqsm.files.text.cells import Cells
from accelqsm.files.text.colours import packed_colours, read_colour_table
from accelqsm.files.text.numbers import rows_text, with_numbers, with_points


def test_times_of_dicom_are_seconds() -> None:
    assert seconds("", "010203.5") == 3723.5
    assert seconds("", "23:59:59") == 86399.0
    assert seconds("20260302", "000000") - seconds("20260301", "230000") == 3600.0
    assert seconds("20260301", "") is None


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("step", [1, -1])
def test_a_wrap_is_a_neighbour_of_the_top_at_the_bottom(axis: int, step: int) -> None:
    """Two ramps from 1 to 10: of the three neighbours of both tops one is at the bottom."""
    shape = [1, 1, 1]
    shape[axis] = 20
    echo = np.tile(np.arange(1.0, 11.0), 2)[::step].reshape(shape)
    assert _wrap_fraction([echo], 1.0, 10.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["real", "imag"])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_part_of_one_sign_and_zeros_is_refused(name: str, sign: float) -> None:
    both = np.array([-1.0, 0.0, 2.0, 1.0]).reshape(2, 2, 1)
    parts: dict[str, Any] = {
        part: [SimpleNamespace(path=Path(f"{part}.nii"), values=values)]
        for part, values in {"real": both, "imag": both, name: sign * np.abs(both)}.items()
    }
    with pytest.raises(InputError, match=rf"^{name}\.nii: expected .* parts of both signs"):
        complex_echoes(parts)


def column(*values: str, name: str = "x", delimiter: str = "\t") -> Cells:
    rows = tuple((value,) for value in values)
    return Cells(Path("t.tsv"), (name,), rows, tuple(range(1, len(rows) + 1)), delimiter)


def test_a_decimal_comma_is_one_beside_missing_values() -> None:
    with pytest.warns(InputWarning, match=r"x: commas taken .* so that 1,25 in row 2 is 1\.25$"):
        found = with_points(column("n/a", "1,25", "", "7", "-,5e1"), ())
    assert found.column("x") == ["n/a", "1.25", "", "7", "-.5e1"]
    # Text stays: by name, or because a cell is no number.
    for cells, text in ((column("1,25", "2"), ["x"]), (column("1,25", "left"), [])):
        assert with_points(cells, text) is cells
    assert with_points(column("1,25", name=""), ()).column("") == ["1,25"]


def test_points_beside_commas_leave_both_as_they_are() -> None:
    cells = column("1.5", "2,5")
    assert with_points(cells, ()).column("x") == ["1.5", "2,5"]
    with pytest.raises(InputError, match=r"x: expected numbers .* found '2,5' in row 2$"):
        with_numbers(cells, ["x"])


def test_thousands_are_asked_for_unless_another_cell_tells() -> None:
    with pytest.raises(InputError, match=r"found '1,250' in row 1, which may be 1\.250 or 1250$"):
        with_numbers(column("1,250", "2,500"), ["x"])
    for others in (("2,5",), ("0,250",)):
        with pytest.warns(InputWarning, match="commas taken as decimal points"):
            found = with_numbers(column("1,250", *others), ["x"])
        assert found.column("x")[0] == "1.250"


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999"])
def test_infinity_is_no_number(value: str) -> None:
    with pytest.raises(InputError, match=r"x: expected finite numbers, found infinity in row 2$"):
        with_numbers(column("1", value), ["x"])


@pytest.mark.parametrize("value", ["999", "-999.0", "9999", "-99999", "999999"])
def test_codes_are_named_by_their_rows(value: str) -> None:
    with pytest.raises(InputError, match=rf"found {value} in rows 1, 3$"):
        with_numbers(column(value, "998", value), ["x"])
    assert with_numbers(column("998", "9998"), ["x", "y"]).column("x") == ["998", "9998"]


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (1, "row 1"),
        (2, "rows 1, 2"),
        (6, "rows 1, 2, 3, 4, 5, 6"),
        (7, "rows 1, 2, 3, 4, 5, 6 and 1 more"),
        (9, "rows 1, 2, 3, 4, 5, 6 and 3 more"),
    ],
)
def test_six_rows_are_named_and_the_rest_counted(n: int, text: str) -> None:
    assert rows_text(range(1, n + 1)) == text


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('1 10 20 30 1 1 1 "L Pu"\n2 0 0 255 0.5 1 1 "R Pu"\n',
         [("1", "L Pu", "10", "20", "30"), ("2", "R Pu", "0", "0", "255")]),
        # A name before numbers is no row of ITK-SNAP, however many numbers there are.
        ("1 Area 44 10 20 30 0 9\n2 Area 45 11 21 31 0 9\n",
         [("1", "Area 44 10", "20", "30", "0"), ("2", "Area 45 11", "21", "31", "0")]),
        ("3 Pu 1 2 255 0\n4 GPe 5 6 7 0\n",
         [("3", "Pu", "1", "2", "255"), ("4", "GPe", "5", "6", "7")]),
        ("3 Pu 1 2 255\n4 GPe 5 6 0\n",
         [("3", "Pu", "1", "2", "255"), ("4", "GPe", "5", "6", "0")]),
        ("3 Pu 1 2 256\n4 GPe 5 6 0\n", [("3", "Pu 1 2 256"), ("4", "GPe 5 6 0")]),
        ("3 Pu 1 2 3\n4 GPe\n", [("3", "Pu 1 2 3"), ("4", "GPe")]),
        ("# index name\n\n0 Unknown 0 0 0 0\n4 GPe 5 6 7 0\n", [("4", "GPe", "5", "6", "7")]),
        ("1\tL Pu\n2\tR Pu\n", [("1", "L Pu"), ("2", "R Pu")]),
    ],
)  # fmt: skip
def test_rows_of_a_colour_table(tmp_path: Path, text: str, rows: list[tuple[str, ...]]) -> None:
    path = tmp_path / "lut.txt"
    path.write_text(text)
    found = read_colour_table(path)
    assert found is not None
    assert list(found.rows) == rows
    assert found.header == ("index", "name", "red", "green", "blue")[: len(rows[0])]
    assert found.numbers[-1] == len(text.splitlines())


@pytest.mark.parametrize("text", ["index name\n1 Pu\n", "1,Pu\n", "1 Pu;2\n", "1\n", "# 1 Pu\n"])
def test_what_is_no_colour_table(tmp_path: Path, text: str) -> None:
    (tmp_path / "lut.txt").write_text(text)
    assert read_colour_table(tmp_path / "lut.txt") is None


def test_colours_are_one_number_each_and_none_where_they_are_no_bytes() -> None:
    table = pd.DataFrame({"R": [1, 255, 256, -1], "G": [2, 0, 0, 0], "B": [3, 0, 0, 0]})
    found = packed_colours(table)
    assert found is not None
    assert found.tolist() == [0x010203, 0xFF0000, -1, -1]
    found = packed_colours(pd.DataFrame({"Hex": ["#010203", "ff0000FF", "12", None]}))
    assert found is not None
    assert found.tolist() == [0x010203, 0xFF0000, -1, -1]
    assert packed_colours(pd.DataFrame({"index": [1], "r": [2]})) is None


@pytest.mark.parametrize(
    ("sizes", "refused"),
    [
        ([1.0, 10.0], None),
        ([1.0, 10.1], "b"),
        ([1000.0, 1.0, 0.5], None),
        ([1000.0, 0.99], "b"),
        ([5.0, 4.0, 41.0], "c"),
    ],
)
def test_echoes_are_of_one_scale(sizes: list[float], refused: str | None) -> None:
    if refused is None:
        check_like(sizes, ["a", "b", "c"], "a mean")
        return
    n = "abc".index(refused) + 1
    with pytest.raises(InputError, match=rf"^{refused}: expected a mean of echo {n} like that of"):
        check_like(sizes, ["a", "b", "c"], "a mean")


def test_a_rise_of_a_fifth_is_said_and_an_echo_of_zeros_refused() -> None:
    paths = [Path(f"echo-{n}.nii") for n in (1, 2, 3)]
    echo = np.ones((2, 3, 4), np.complex64)
    check_magnitudes(np.stack([echo, 1.19 * echo, 1.42 * echo]), paths)
    with pytest.warns(InputWarning, match=r"echo-3.nii: the magnitude of echo 3 is 1\.22 times"):
        check_magnitudes(np.stack([echo, 1.19 * echo, 1.45 * echo]), paths)
    with pytest.raises(InputError, match=r"^echo-2.nii: expected a magnitude, found 0 everywhere"):
        check_magnitudes(np.stack([echo, 0 * echo, echo]), paths)


def test_a_voxel_a_million_times_as_bright_is_damage() -> None:
    echo = np.ones((1, 20, 20, 10), np.complex64)
    for value, refused in ((0.99e6, False), (1.01e6, True)):
        echo[0, 3, 4, 5] = value
        if refused:
            with pytest.raises(InputError, match=r"one range of magnitudes, found 1\.01e\+06"):
                check_magnitudes(echo, [Path("e.nii")])
        else:
            check_magnitudes(echo, [Path("e.nii")])


def test_decay_is_told_by_any_echo_that_differs() -> None:
    echo = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.complex64)
    turned = echo * np.exp(1j)
    assert not tells_decay(np.stack([echo, turned, turned]))
    assert tells_decay(np.stack([echo, turned, 0.99 * turned]))
    assert tells_decay(np.stack([echo, 0.99 * turned, turned]))
    assert tells_decay(echo[None])


@pytest.mark.parametrize(("n", "refused"), [(12, True), (4, False)])
def test_a_magnitude_in_place_of_a_phase_is_noticed_where_voxels_are_many(
    n: int, refused: bool
) -> None:
    """Of a hundred pairs of neighbours or fewer nothing is concluded."""
    rng = np.random.default_rng(1)
    x = np.linspace(-1, 1, n)[:, None, None]
    bright = np.exp(-3 * x**2) * np.ones((n, n, n // 2)) + 1e-3
    noise = rng.uniform(0, 4095, bright.shape)
    turns = np.where(bright > 0.3, 2000 + 300 * x, noise)
    magnitude, phase = (
        SimpleNamespace(path=Path(f"{name}.nii"), values=values)
        for name, values in (("m", 1000 * bright), ("p", turns))
    )
    _check_not_swapped(magnitude, phase)  # type: ignore[arg-type]
    if refused:
        with pytest.raises(InputError, match=r"^p.nii: expected a magnitude, .* m.nii is low"):
            _check_not_swapped(phase, magnitude)  # type: ignore[arg-type]
    else:
        _check_not_swapped(phase, magnitude)  # type: ignore[arg-type]
