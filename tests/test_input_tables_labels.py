"""Labels and their lookups as atlases store them: right, or refused in a line.

Members that could not be read off the reported cases: a nine-digit label in float32, which
rounds it to another number; Allen labels that are written (16 bits would wrap); negative labels
with erosion.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest

from accelqsm.api.nuclei import measure_nuclei
from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.files.tables import read_table
from accelqsm.files.text.lookup import read_lookup
from accelqsm.grid import centred_grid
from accelqsm.nuclei.labels import erode, narrow_labels
from accelqsm.nuclei.settings import MeasureSettings

GRID = centred_grid((20, 18, 16), (2.0, 2.0, 2.0))
ALLEN = 614454277
NONE = MeasureSettings(reference="none")


def ball(centre: tuple[float, float, float], radius: float = 9.0) -> np.ndarray:
    return np.linalg.norm(GRID.world_mm() - np.reshape(centre, (3, 1, 1, 1)), axis=0) < radius


LEFT, RIGHT = ball((-10, 0, 0)), ball((10, 0, 0))
HEAD = ball((0, 0, 0), 21.0)


@pytest.fixture
def chimap(tmp_path: Path) -> Path:
    chi = 0.001 * HEAD + 0.06 * LEFT + 0.09 * RIGHT
    write_image(tmp_path / "chi.nii.gz", chi.astype(np.float32), GRID)
    return tmp_path / "chi.nii.gz"


def labels(path: Path, left: int, right: int, kind: str, *, axes: int = 3) -> Path:
    values = (left * LEFT.astype(np.int64) + right * RIGHT.astype(np.int64)).astype(kind)
    values = values.reshape(*values.shape, *[1] * (axes - 3))
    nibabel.save(nibabel.Nifti1Image(values, GRID.matrix, dtype=values.dtype), path)
    return path


def lookup(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def means(table: pd.DataFrame) -> dict[str, float]:
    return table.set_index("side")["mean_ppb"].round(3).to_dict()


@pytest.mark.parametrize("erosion_mm", [0.0, 2.5])
@pytest.mark.parametrize(
    ("left", "right", "kind", "axes"),
    [
        (1, 2, "uint8", 3),
        (1, 2, "float32", 3),
        (11, 50, "float64", 4),
        (1, 40000, "uint16", 3),
        (ALLEN, 614454278, "int32", 3),
        (ALLEN, 3_000_000_001, "uint32", 3),
        (ALLEN, 10**12, "int64", 3),
        (ALLEN, 2**40, "float64", 3),
        (-3, 2, "int16", 4),
        (-1, -(2**31), "int32", 3),
    ],
)
def test_labels_of_any_type_and_size_are_measured(
    tmp_path: Path, chimap: Path, erosion_mm: float, left: int, right: int, kind: str, axes: int
) -> None:
    image = labels(tmp_path / "l.nii.gz", left, right, kind, axes=axes)
    names = lookup(tmp_path / "l.tsv", f"index\tname\n{left}\tL A\n{right}\tR A\n")
    settings = MeasureSettings(reference="none", erosion_mm=erosion_mm)
    table = measure_nuclei(chimap, labels=image, lookup=names, settings=settings)
    assert means(table) == {"L": 61.0, "R": 91.0, "both": 76.0}
    eroded = table.set_index("side").loc["L", "n_voxels"]
    assert eroded == LEFT.sum() if erosion_mm == 0 else 0 < eroded < LEFT.sum()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("index\tname\n1\tL A\n2\tR A\n\t\n", "utf-8"),
        ("index\tname\n\n1 \tL A \n \t \n2\tR A\t\t\n", "utf-8"),
        ("index\tname\r\n1.0\tL A\r\n2.0\tR A\r\n", "utf-8-sig"),
        ('"index";"name"\n"1";"L A"\n"2";"R A"\n', "utf-8"),
        ("name,colour,Index\nL A,#ff0000,1\nR A,,2\n", "utf-8"),
        ("index\tname\n01\tL A\n2e0\tR A\n", "utf-16"),
    ],
)
def test_lookups_are_read_as_they_are_written(
    tmp_path: Path, chimap: Path, text: str, encoding: str
) -> None:
    image = labels(tmp_path / "l.nii.gz", 1, 2, "int16")
    names = lookup(tmp_path / "l.tsv", text, encoding)
    assert read_lookup(names)["index"].tolist() == [1, 2]
    table = measure_nuclei(chimap, labels=image, lookup=names, settings=NONE)
    assert means(table) == {"L": 61.0, "R": 91.0, "both": 76.0}


@pytest.mark.parametrize("index", [["1", "2"], ["1.0", "2.0"], [1.0, 2.0]])
def test_a_lookup_in_memory_may_have_any_index(
    tmp_path: Path, chimap: Path, index: list[object]
) -> None:
    image = labels(tmp_path / "l.nii.gz", 1, 2, "int16")
    names = pd.DataFrame({"index": index, "name": ["L A", "R A"]})
    table = measure_nuclei(chimap, labels=image, lookup=names, settings=NONE)
    assert means(table) == {"L": 61.0, "R": 91.0, "both": 76.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index\tname\n1\tL A\n\t\nx\tR A\n", "index: expected whole numbers, found 'x' in row 3"),
        ("index\tname\n1.5\tL A\n", "found '1.5' in row 1"),
        ("index\tname\nNaN\tL A\n", "found 'NaN' in row 1"),
        ("index\tname\n1\tL A\nn/a\tR A\n", "in every row, found no index in row 2"),
        ("index\tname\n1\tL A\n2\t\n", "in every row, found no name in row 2"),
        ("index\tname\n1\tL A\n1.0\tR A\n", r"found 1 twice \(rows 1 and 2\)"),
        ("index\tname\n", "expected at least one row, found none"),
        ("id\tacronym\n1\tL A\n", r"column\(s\) index, name, found id, acronym; --columns index="),
    ],
)
def test_a_lookup_that_names_no_labels_is_refused_by_row(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=rf"l.tsv: .*{message}"):
        read_lookup(lookup(tmp_path / "l.tsv", text))


def test_columns_of_a_lookup_are_named_by_option(
    tmp_path: Path, chimap: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = labels(tmp_path / "l.nii.gz", ALLEN, 7, "int32")
    names = lookup(tmp_path / "l.csv", f"id,acronym,index\n{ALLEN},L A,0\n7,R A,1\n")
    command = ["nuclei", str(chimap), str(tmp_path / "t.tsv"), "--labels", str(image),
               "--lookup", str(names), "--reference", "none"]  # fmt: skip
    assert main([*command, "--columns", "index=id", "name=acronym"]) == 0
    assert means(read_table(tmp_path / "t.tsv")) == {"L": 61.0, "R": 91.0, "both": 76.0}
    assert main([*command, "--overwrite", "--columns", "indx=id"]) == 65
    assert "--columns: expected index or name, found indx" in capsys.readouterr().err


def test_labels_that_their_type_rounds_are_refused(tmp_path: Path, chimap: Path) -> None:
    """614454277 in float32 is 614454272: the lookup's label would have no voxel."""
    image = labels(tmp_path / "l.nii.gz", ALLEN, 2, "float32")
    names = lookup(tmp_path / "l.tsv", f"index\tname\n{ALLEN}\tL A\n2\tR A\n")
    with pytest.raises(InputError, match=r"l.nii.gz: .* float32 holds exactly .* found 614454272"):
        measure_nuclei(chimap, labels=image, lookup=names, settings=NONE)


def test_colours_and_labels_that_the_lookup_lacks_are_refused(tmp_path: Path, chimap: Path) -> None:
    painted(tmp_path / "c.nii.gz", "RGBA", {})
    names = lookup(tmp_path / "l.tsv", "index\tname\n1\tL A\n2\tR A\n")
    with pytest.raises(InputError, match=r"c.nii.gz: expected a number .* found colours \(RGBA\)"):
        measure_nuclei(chimap, labels=tmp_path / "c.nii.gz", lookup=names)
    image = labels(tmp_path / "l.nii.gz", 11, 50, "int16")
    with pytest.raises(InputError, match=r"in the lookup \(1, 2 \.\.\.\), found labels 11, 50"):
        measure_nuclei(chimap, labels=image, lookup=names)


def painted(path: Path, channels: str, colours: dict[str, tuple[int, int, int]]) -> Path:
    """Labels as a viewer saves them: each in its colour."""
    values = np.zeros(GRID.shape, np.dtype([(name, "u1") for name in channels]))
    for name, colour in colours.items():
        for channel, part in zip("RGB", colour, strict=True):
            values[channel][{"left": LEFT, "right": RIGHT}[name]] = part
    nibabel.save(nibabel.Nifti1Image(values, GRID.matrix), path)
    return path


COLOUR_TABLES = {
    "FreeSurfer": "#$Id: LUT 2024\n#No. Label Name:   R   G   B   A\n\n0   Unknown  0 0 0 0\n"
    "1   Left-A  236 13 176 0\n2   Right-A    12 48 255 0\n77  WM-hypointensities 9 9 9 0\n",
    "ITK-SNAP": "# ITK-SnAP Label Description File\n# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n"
    '    0     0    0    0        0  0  0    "Clear Label"\n'
    '    1   236   13  176        1  1  1    "Left A"\n    2 12 48 255 0.5  1  1    "Right A"\n',
    "Slicer": "# Color table file x.ctbl\n# 3 values\n0 Background 0 0 0 0\n"
    "1 Left_A 236 13 176 255\n2 Right_A 12 48 255 255\n",
    "tabs": "1\tLeft A\t236\t13\t176\n2\tRight A\t12\t48\t255\n",
    "names alone": "# MRtrix\r\n1 Left-A\r\n2 Right-A\r\n",
    "BIDS": "index\tname\tcolor\n1\tLeft A\t#EC0DB0\n2\tRight A\t#0c30ff\n",
}


@pytest.mark.parametrize("tool", COLOUR_TABLES)
@pytest.mark.parametrize("channels", ["", "RGB", "RGBA"])
def test_colour_tables_and_labels_in_their_colours_are_read(
    tmp_path: Path, chimap: Path, tool: str, channels: str
) -> None:
    """Two channels' order cannot be mixed up unnoticed: no colour is that of another reversed."""
    names = lookup(tmp_path / "l.txt", COLOUR_TABLES[tool])
    if not channels:
        image = labels(tmp_path / "l.nii.gz", 1, 2, "int16")
    elif tool == "names alone":
        pytest.skip("a table without colours")
    else:
        colours = {"left": (236, 13, 176), "right": (12, 48, 255)}
        image = painted(tmp_path / "l.nii.gz", channels, colours)
    table = measure_nuclei(chimap, labels=image, lookup=names, settings=NONE)
    assert means(table) == {"L": 61.0, "R": 91.0, "both": 76.0}
    assert set(table["region"]) == {"A"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 L 1 2 3\n2 R 1 2 4\n", "one label of the colour #0c30ff in the lookup, found 0"),
        ("1 L 236 13 176\n2 R 12 48 255\n3 C 12 48 255\n", "#0c30ff in the lookup, found 2"),
        ("index\tname\n1\tL A\n", r"found colours \(RGB\) and a lookup with index, name"),
    ],
)
def test_colours_that_the_lookup_does_not_tell_apart_are_refused(
    tmp_path: Path, chimap: Path, text: str, message: str
) -> None:
    colours = {"right": (12, 48, 255)}
    image = painted(tmp_path / "l.nii.gz", "RGB", colours)
    with pytest.raises(InputError, match=message):
        measure_nuclei(chimap, labels=image, lookup=lookup(tmp_path / "l.txt", text))


def test_numbers_in_names_are_no_colours(tmp_path: Path) -> None:
    """AAL's codes, and areas: only what every row has, up to 255, is a colour."""
    table = read_lookup(lookup(tmp_path / "l.txt", "1 Area 44\n2 Area 45\n"))
    assert table["name"].tolist() == ["Area 44", "Area 45"]
    table = read_lookup(lookup(tmp_path / "l.txt", "1 A 1 2 3\n2 B 2001 2 3\n"))
    assert list(table) == ["index", "name"]


def test_a_map_in_parts_of_one_is_refused_and_a_background_is_no_unit(tmp_path: Path) -> None:
    """Of chi itself, 1e-6 times ppm; and -999 around the brain, which is no ppb."""
    image = labels(tmp_path / "l.nii.gz", 1, 2, "int16")
    names = lookup(tmp_path / "l.tsv", "index\tname\n1\tL A\n2\tR A\n")
    chi = (0.001 * HEAD + 0.06 * LEFT + 0.09 * RIGHT).astype(np.float32)
    write_image(tmp_path / "one.nii.gz", 1e-6 * chi, GRID)
    with pytest.raises(InputError, match=r"one.nii.gz: .* in ppm, found .* multiply by 1e6"):
        measure_nuclei(tmp_path / "one.nii.gz", labels=image, lookup=names)
    write_image(tmp_path / "coded.nii.gz", np.where(HEAD, chi, -999).astype(np.float32), GRID)
    with pytest.warns(InputWarning, match="the background is -999, not 0, and left out"):
        table = measure_nuclei(tmp_path / "coded.nii.gz", labels=image, lookup=names, settings=NONE)
    assert means(table) == {"L": 61.0, "R": 91.0, "both": 76.0}


def test_a_map_in_ppb_is_refused(tmp_path: Path) -> None:
    chi = 1000 * (0.03 + 0.06 * LEFT + 0.09 * RIGHT)
    write_image(tmp_path / "ppb.nii.gz", chi.astype(np.float32), GRID)
    image = labels(tmp_path / "l.nii.gz", 1, 2, "int16")
    names = lookup(tmp_path / "l.tsv", "index\tname\n1\tL A\n2\tR A\n")
    with pytest.raises(
        InputError, match=r"ppb.nii.gz: expected susceptibility in ppm, found a med"
    ):
        measure_nuclei(tmp_path / "ppb.nii.gz", labels=image, lookup=names)


def test_erosion_counts_labels_anew_and_keeps_their_type() -> None:
    small = LEFT.astype(np.int64) + 2 * RIGHT.astype(np.int64)
    large = np.where(small == 1, -ALLEN, np.where(small == 2, 2**40, 0))
    size = {"distance_mm": 2.5, "voxel_size_mm": GRID.voxel_size_mm}
    expected = erode(small, **size)
    assert 0 < (expected > 0).sum() < (small > 0).sum()
    np.testing.assert_array_equal(erode(large, **size) == -ALLEN, expected == 1)
    np.testing.assert_array_equal(erode(large, **size) == 2**40, expected == 2)


def test_large_labels_are_written_as_they_are(tmp_path: Path) -> None:
    for number, kind in ((300, np.int16), (ALLEN, np.int32), (2**40, np.int64)):
        values = narrow_labels(np.where(LEFT, number, 0))
        assert values.dtype == kind
        write_image(tmp_path / "l.nii.gz", values, GRID)
        assert set(np.unique(read_volume(tmp_path / "l.nii.gz").values)) == {0, number}
