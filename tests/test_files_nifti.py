"""NIfTI, phase units and tables: round trips, and one clear line for what cannot be used."""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from nibabel.nifti1 import Nifti1Extension

from accelqsm.errors import InputError
from accelqsm.files.megre.phase import phase_rad
from accelqsm.files.nifti import (
    Image,
    check_same_grid,
    read_header,
    read_image,
    read_volume,
    write_image,
)
from accelqsm.files.tables import read_table, write_table
from accelqsm.files.toml import write_settings
from accelqsm.grid import Grid, as_affine, centred_grid

GRID = centred_grid((7, 5, 4), (1.0, 1.5, 2.0))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=GRID.shape).astype(np.float32)


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
def test_round_trip_is_exact_and_bytes_repeat(tmp_path: Path, name: str) -> None:
    write_image(tmp_path / name, noise(), GRID)
    first = (tmp_path / name).read_bytes()
    write_image(tmp_path / name, noise(), GRID)
    assert (tmp_path / name).read_bytes() == first
    image = read_volume(tmp_path / name, grid=GRID)
    np.testing.assert_array_equal(image.values, noise())
    assert image.grid == GRID


def test_single_flipped_bit_and_truncation_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    write_image(path, noise(), GRID)
    good = path.read_bytes()
    for position in range(40, len(good) - 8, 37):
        damaged = bytearray(good)
        damaged[position] ^= 4
        path.write_bytes(bytes(damaged))
        with pytest.raises(InputError, match=r"map\.nii\.gz: "):
            read_image(path)
    path.write_bytes(good[:-40])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_image(path)
    plain = tmp_path / "map.nii"
    plain.write_bytes(gzip.decompress(good)[:-16])
    with pytest.raises(InputError, match=r"expected 912 bytes for shape .*, found 896"):
        read_image(plain)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_extensions_of_a_header_are_skipped(kind: type, tmp_path: Path) -> None:
    """AFNI writes kilobytes of them between header and voxels."""
    for name in ("map.nii", "map.nii.gz"):
        image = kind(noise(), GRID.matrix)
        image.header.extensions.append(Nifti1Extension("afni", b"x" * 3000))
        nibabel.save(image, tmp_path / name)
        assert read_header(tmp_path / name).shape == GRID.shape
        assert np.array_equal(read_volume(tmp_path / name).values, noise())


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("offset", [352, 353, 400])
@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.37, -3.1), (0.0, 5.0)])
def test_values_are_those_of_nibabel(
    order: str, offset: int, slope: float, intercept: float, tmp_path: Path
) -> None:
    for code in ("i2", "f4", "f8", "u1", "c8"):
        stored = (100 * noise()).astype(f"{order}{code}")
        raw = nibabel.Nifti1Header(endianness=order)
        raw.set_data_dtype(stored.dtype)
        raw.set_data_shape(stored.shape)
        raw.set_sform(GRID.matrix, 1)
        raw["magic"], raw["vox_offset"] = b"n+1", offset
        raw["scl_slope"], raw["scl_inter"] = slope, intercept
        path = tmp_path / f"{code}.nii"
        path.write_bytes(raw.binaryblock + bytes(offset - 348) + stored.tobytes(order="F"))
        found, expected = read_image(path), nibabel.load(path)
        assert found.values.dtype == np.asanyarray(expected.dataobj).dtype
        assert np.array_equal(found.values, np.asanyarray(expected.dataobj))
        assert np.array_equal(found.stored, stored)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
def test_a_header_is_not_read_as_voxels(kind: type, tmp_path: Path) -> None:
    raw = kind()
    raw.set_data_shape(GRID.shape)
    raw.set_data_dtype("f4")
    raw.set_sform(GRID.matrix, 1)
    raw["magic"], raw["vox_offset"] = kind().structarr["magic"], 0
    (tmp_path / "map.nii").write_bytes(raw.binaryblock + bytes(4) + noise().tobytes(order="F"))
    for read in (read_header, read_image):
        with pytest.raises(InputError, match=r"map\.nii: expected voxels from byte \d+ .* found 0"):
            read(tmp_path / "map.nii")


def test_missing_foreign_nan_and_4d_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.nii: no such file"):
        read_image(tmp_path / "none.nii")
    (tmp_path / "text.nii").write_text("not an image")
    with pytest.raises(InputError, match=r"text\.nii: not a readable NIfTI"):
        read_image(tmp_path / "text.nii")
    values = noise()
    values[1, 2, 3] = np.nan
    write_image(tmp_path / "nan.nii", values, GRID)
    with pytest.raises(InputError, match="found 1 NaN or infinite"):
        read_volume(tmp_path / "nan.nii")
    write_image(tmp_path / "4d.nii", np.stack([noise(), noise()], -1), GRID)
    with pytest.raises(InputError, match=r"expected a 3D image, found shape \(7, 5, 4, 2\)"):
        read_volume(tmp_path / "4d.nii")


def test_other_grids_are_named() -> None:
    path = Path("other.nii")
    with pytest.raises(InputError, match=r"expected shape \(7, 5, 4\), found \(7, 5, 5\)"):
        check_same_grid(centred_grid((7, 5, 5), (1.0, 1.5, 2.0)), GRID, path)
    flipped = GRID.matrix @ np.diag([-1, 1, 1, 1])
    with pytest.raises(InputError, match="mm away"):
        check_same_grid(Grid(GRID.shape, as_affine(flipped)), GRID, path)


def phase_image(values: np.ndarray, stored: np.ndarray | None = None) -> Image:
    return Image(Path("phase.nii"), GRID, values, values if stored is None else stored)


@pytest.mark.parametrize(
    ("scale", "offset", "kind"),
    [
        (1.0, 0.0, np.float32),
        (1.0, 0.0, np.float64),
        (4096 / math.pi, 0.0, np.int16),
        (4095 / (2 * math.pi), 4095 / 2, np.uint16),
    ],
)
def test_every_phase_unit_comes_out_as_the_same_angle(
    scale: float, offset: float, kind: type
) -> None:
    truth = np.linspace(-3.13, 3.13, 140).reshape(GRID.shape)
    stored = truth * scale + offset
    if offset == 0 and scale == 1 and kind is np.float64:
        stored = np.mod(stored, 2 * math.pi)
    stored = stored.round() if np.issubdtype(kind, np.integer) else stored
    stored = stored.astype(kind)
    angle = phase_rad([phase_image(stored)])[0]
    difference = np.angle(np.exp(1j * (angle - truth)))
    assert np.abs(difference).max() < 2e-3
    assert np.abs(angle).max() <= math.pi + 0.02


def test_first_echo_with_little_phase_is_read_in_the_unit_of_the_others() -> None:
    first, last = np.linspace(-0.1, 0.1, 140), np.linspace(-3.1, 3.1, 140)
    echoes = [phase_image(values.reshape(GRID.shape)) for values in (first, last)]
    np.testing.assert_allclose(phase_rad(echoes)[0].ravel(), first, atol=1e-6)


def test_slope_that_does_not_belong_to_a_float_phase_is_ignored(tmp_path: Path) -> None:
    truth = np.random.default_rng(1).uniform(-math.pi, math.pi, GRID.shape).astype(np.float32)
    image = nibabel.Nifti1Image(truth, GRID.matrix)
    raw = bytearray(image.to_bytes())
    raw[112:116] = np.float32(0.00117).tobytes()
    raw[116:120] = np.float32(0.0).tobytes()
    (tmp_path / "phase.nii").write_bytes(bytes(raw))
    image = read_volume(tmp_path / "phase.nii")
    assert np.abs(image.values).max() < 0.004
    np.testing.assert_array_equal(phase_rad([image])[0], truth)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(-500.5, 500.0, 140),
        np.linspace(0, 90, 140).round(),
        np.linspace(-0.2, 0.2, 140),
        np.linspace(-4096, -3000, 140).round(),
    ],
)
def test_phase_of_unknown_unit_is_refused(values: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"phase\.nii: expected phase in radians .* found "):
        phase_rad([phase_image(values.reshape(GRID.shape))])


def test_tables_round_trip_and_name_missing_columns(tmp_path: Path) -> None:
    path = tmp_path / "values.tsv"
    table = pd.DataFrame({"region": ["Pu", "n a"], "value_ppb": [30.25, np.nan]})
    write_table(path, table)
    assert path.read_text() == "region\tvalue_ppb\nPu\t30.25\nn a\tn/a\n"
    pd.testing.assert_frame_equal(read_table(path, columns=["value_ppb"]), table)
    with pytest.raises(InputError, match=r"column\(s\) side, found region, value_ppb"):
        read_table(path, columns=["region", "side"])
    path.write_text("")
    with pytest.raises(InputError, match="not a tab-separated table"):
        read_table(path)


def test_settings_are_toml_that_reads_back(tmp_path: Path) -> None:
    import tomllib

    settings = {"radii_mm": [8.0, 3.0], "field": {"mode": "multi"}, "seed": 3}
    write_settings(tmp_path / "settings.toml", settings)
    assert tomllib.loads((tmp_path / "settings.toml").read_text()) == settings


@pytest.mark.parametrize("time_step", [0.0, math.nan])
def test_a_time_step_of_zero_is_no_voxel_size(tmp_path: Path, time_step: float) -> None:
    """Beyond the three voxel sizes pixdim holds what a volume does not have."""
    image = nibabel.Nifti1Image(noise(), np.asarray(GRID.affine))
    image.set_sform(None, 0)
    image.set_qform(np.asarray(GRID.affine), 1)
    image.header["pixdim"][4:] = time_step
    nibabel.save(image, tmp_path / "map.nii")
    found = read_image(tmp_path / "map.nii")
    assert found.grid.voxel_size_mm == pytest.approx(GRID.voxel_size_mm)
