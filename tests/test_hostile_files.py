"""Files that would cost memory or time, or that are no files: refused before they do."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import signal
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import nibabel
import numpy as np
import pytest
from safetensors.numpy import save_file

from accelqsm.api.inputs import as_mask, as_volume
from accelqsm.api.labels import labels_of
from accelqsm.errors import InputError
from accelqsm.files.dicom.header.reader import read_file
from accelqsm.files.megre.sidecar import read_sidecar
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.mrd.sensitivities import read_sensitivities
from accelqsm.files.nifti import read_header, read_image, read_volume, write_image
from accelqsm.files.tables import read_table
from accelqsm.files.text.json_object import read_json_object
from accelqsm.files.text.lookup import read_lookup
from accelqsm.files.toml import read_settings
from accelqsm.grid import centred_grid
from accelqsm.recon.weights import HEADER, load_network
from accelqsm.runtime import reading
from accelqsm.runtime.hdf5 import check_values
from raw_object import header, lines, save, spectrum

GRID = centred_grid((5, 4, 3), (2.0, 2.0, 2.0))
READERS: dict[str, Callable[[Path], Any]] = {
    "image": read_image,
    "header": read_header,
    "table": read_table,
    "lookup": read_lookup,
    "settings": read_settings,
    "json": read_json_object,
    "raw data": read_mrd,
    "weights": load_network,
    "sensitivities": lambda path: read_sensitivities(path, n_channels=1, shape=(1, 1, 1)),
}


@pytest.fixture(autouse=True)
def within_seconds() -> Iterator[None]:
    """A reader that waits for a pipe would wait for ever."""

    def late(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def peak_bytes(read: Callable[[], object], match: str) -> int:
    """Largest memory while ``read`` refuses."""
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=match):
            read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", READERS)
def test_pipes_folders_and_devices_are_refused_at_once(name: str, tmp_path: Path) -> None:
    ending = ".npy" if name == "sensitivities" else ".dat2"
    pipe, folder, device = (tmp_path / f"{kind}{ending}" for kind in ("pipe", "folder", "device"))
    os.mkfifo(pipe)
    folder.mkdir()
    device.symlink_to("/dev/zero")
    for path, what in ((pipe, "a pipe"), (folder, "a folder"), (device, "a device")):
        with pytest.raises(InputError, match=rf"^{path}: expected a .*, found {what}$"):
            READERS[name](path)


def test_a_pipe_as_sidecar_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "mag.nii", np.ones(GRID.shape, np.float32), GRID)
    os.mkfifo(tmp_path / "mag.json")
    with pytest.raises(InputError, match=r"mag\.json: expected a file, found a pipe"):
        read_sidecar(tmp_path / "mag.nii")


@pytest.mark.parametrize(
    ("name", "most"), [("table", 16), ("lookup", 16), ("json", 16), ("settings", 2)]
)
def test_texts_have_a_largest_size(name: str, most: int, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.touch()
    os.truncate(path, 2**35)
    match = rf"large: expected at most {most} MiB, found 32768 MiB"
    assert peak_bytes(lambda: READERS[name](path), match) < 2**20


def declare(raw: bytes, n: int) -> bytes:
    """A header of n voxels along each axis."""
    changed = bytearray(raw)
    struct.pack_into("<3h", changed, 42, n, n, n)
    return bytes(changed)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_declared_voxels_are_compared_with_the_file_first(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"map{ending}"
    write_image(tmp_path / "map.nii", np.ones(GRID.shape, np.float32), GRID)
    raw = declare((tmp_path / "map.nii").read_bytes(), 1200)
    path.write_bytes(gzip.compress(raw) if ending == ".nii.gz" else raw)
    match = rf"expected {352 + 4 * 1200**3} bytes for shape \(1200, 1200, 1200\), found"
    assert peak_bytes(lambda: read_image(path), match) < 2**21


def test_more_voxels_than_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "map.nii"
    write_image(path, np.ones(GRID.shape, np.float32), GRID)
    monkeypatch.setattr("accelqsm.files.nifti.memory_bytes", lambda: 500)
    with pytest.raises(InputError, match=r"expected at most 500 bytes, found .* declares 592"):
        read_image(path)


def test_what_decompression_may_give_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_TRAILING_BYTES", 2**21)
    path = tmp_path / "map.nii.gz"
    values = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    write_image(path, values, GRID)
    raw = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(raw + bytes(2**20)))
    assert np.array_equal(read_image(path).values, values)
    path.write_bytes(gzip.compress(raw + bytes(2**27)))
    assert peak_bytes(lambda: read_image(path), "expands to more than") < 2**23


def test_bytes_behind_an_image_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "map.nii"
    values = np.random.default_rng(0).normal(size=GRID.shape).astype(np.float32)
    write_image(path, values, GRID)
    os.truncate(path, 2**35)
    assert np.array_equal(read_image(path).values, values)


def sparse_image(path: Path, shape: tuple[int, ...], dtype: Any) -> Path:
    """A plain file that is as long as its header declares, and holds nothing."""
    raw = nibabel.Nifti1Header()
    raw.set_data_dtype(dtype)
    raw.set_data_shape(shape)
    raw["vox_offset"], raw["magic"] = 352, b"n+1"
    raw.set_sform(GRID.matrix, 1)
    path.write_bytes(raw.binaryblock + bytes(4))
    os.truncate(path, 352 + math.prod(shape) * raw.get_data_dtype().itemsize)
    return path


COLOURS = np.dtype([(name, np.uint8) for name in "RGB"])
REFUSED_BY_HEADER: dict[str, tuple[tuple[int, ...], Any, Callable[[Path], Any], str]] = {
    "another grid": ((1024, 1024, 512), "f4", lambda p: read_volume(p, grid=GRID), "shape"),
    "mask": ((1024, 1024, 2048), "u1", lambda p: as_mask(p, GRID), "shape"),
    "labels": ((1024, 1024, 1024), "i2", lambda p: labels_of(p, p, grid=GRID), "shape"),
    "volumes": ((128, 128, 64, 512), "f4", read_volume, "a 3D image"),
    "map": ((128, 128, 64, 512), "f4", lambda p: as_volume(p, "map"), "a 3D image"),
    "complex": ((1024, 512, 512), "c8", read_volume, "real values"),
    "colours": ((1024, 1024, 700), COLOURS, read_image, r"found colours \(RGB\)"),
    "sensitivities": (
        (256, 256, 256, 16),
        "c8",
        lambda p: read_sensitivities(p, n_channels=8, shape=(256, 256, 256)),
        "expected complex sensitivities",
    ),
    "real sensitivities": (
        (256, 256, 256, 32),
        "f4",
        lambda p: read_sensitivities(p, n_channels=32, shape=(256, 256, 256)),
        "found float32",
    ),
}


@pytest.mark.parametrize("name", REFUSED_BY_HEADER)
def test_what_its_header_refuses_is_not_read(name: str, tmp_path: Path) -> None:
    """Files of really 2 GiB; their voxels were read first, and copied twice."""
    shape, dtype, read, match = REFUSED_BY_HEADER[name]
    path = sparse_image(tmp_path / "large.nii", shape, dtype)
    assert path.stat().st_size > 2**31
    assert peak_bytes(lambda: read(path), match) < 2**20


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("dtype", "most"), [("f4", 5), ("f8", 9), ("i2", 3), ("u1", 2)])
def test_voxels_are_held_once(ending: str, dtype: str, most: int, tmp_path: Path) -> None:
    """And a byte for each while they are checked."""
    path, n = tmp_path / f"map{ending}", 128
    values = np.random.default_rng(0).integers(0, 100, (n, n, n)).astype(dtype)
    nibabel.save(nibabel.Nifti1Image(values, GRID.matrix), path)
    tracemalloc.start()
    found = read_volume(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.values.dtype == dtype
    assert np.array_equal(found.values, values)
    assert (peak - 2**22) / n**3 < most


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000 + "]" * 100_000, '{"a": ' + "1" * 10_000 + "x}", "[1]", "nonsense", "\udcff"],
)
def test_json_of_any_nesting_and_length_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=r"a\.json: "):
        read_json_object(path)


def test_json_integers_of_400_digits_are_no_echo_times(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"EchoTime": %s, "n": -9007199254740993}' % ("1" * 400))
    found = read_json_object(path)
    assert found["EchoTime"] == float("inf")
    assert found["n"] == -9007199254740993


@pytest.mark.parametrize("text", ["a = " + "[" * 50_000, "a = " + "{b = " * 50_000, "a = \ufeff"])
def test_toml_of_any_nesting_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"settings\.toml: not TOML"):
        read_settings(path)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An intact scan."""
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    return save(path, header(), lines(spectrum())).read_bytes()


@pytest.fixture
def raw(scan: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "scan.h5"
    path.write_bytes(scan)
    return path


def _heads_of(whole: np.ndarray, **fields: Any) -> np.ndarray:
    """Lines whose heads have other fields."""
    kinds = {name: whole["head"].dtype[name] for name in whole["head"].dtype.names} | fields
    head = np.dtype([(name, kind) for name, kind in kinds.items() if kind is not None])
    return np.zeros(len(whole), [("head", head), ("data", np.float32, (8,))])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda w: w["head"], "expected an MRD file"),
        (lambda w: np.float32(7), "expected an MRD file"),
        (lambda w: np.zeros(9, [("head", "i4"), ("data", "f4")]), "none with flags"),
        (lambda w: _heads_of(w, idx=None), r"none with idx\.kspace_encode_step_1"),
        (lambda w: _heads_of(w, idx=np.dtype("i4")), r"none with idx\.kspace_encode_step_1"),
        (lambda w: _heads_of(w, read_dir=np.dtype("f4")), "none with read_dir"),
        (lambda w: _heads_of(w, flags=np.dtype("S8")), "none with flags"),
        (lambda w: _heads_of(w)[:100].reshape(10, 10), r"expected a list .* \(10, 10\)"),
        (lambda w: np.zeros(9, [("head", w["head"].dtype), ("data", "S8")]), "expected numbers"),
    ],
)
def test_lines_of_another_type_are_refused(
    raw: Path, make: Callable[[np.ndarray], Any], expected: str
) -> None:
    with h5py.File(raw, "r+") as file:
        whole = file["dataset/data"][:]
        del file["dataset/data"]
        file["dataset/data"] = make(whole)
    with pytest.raises(InputError, match=rf"scan\.h5: .*{expected}"):
        read_mrd(raw)


@pytest.mark.parametrize("which", range(3))
def test_values_without_an_end_are_refused(which: int, raw: Path) -> None:
    """HDF5 would read them for ever; of the header, of the first line, and of the last."""
    content = bytearray(raw.read_bytes())
    found = [match.start() for match in re.finditer(b"GCOL\1", content)]
    start = [found[0], found[1], found[-1]][which]
    at, end = start + 16, start + struct.unpack_from("<Q", content, start + 8)[0]
    while number := struct.unpack_from("<H", content, at)[0]:
        at += 16 + -(-struct.unpack_from("<Q", content, at + 8)[0] // 8) * 8
    assert (number, struct.unpack_from("<Q", content, at + 8)[0]) == (0, end - at)
    struct.pack_into("<Q", content, at + 8, 0)
    raw.write_bytes(content)
    match = rf"scan\.h5: expected free space of {end - at} bytes .* at byte {start}, found 0"
    with h5py.File(raw) as file:
        values = file["dataset"]["data" if which else "xml"]
        with pytest.raises(InputError, match=match):
            check_values(raw, values)
    with pytest.raises(InputError, match=match):
        read_mrd(raw)


@pytest.mark.parametrize(
    ("at", "kind", "value"), [(0, "<I", 2**32 - 1), (4, "<Q", 2**63), (12, "<I", 77)]
)
def test_samples_are_where_and_as_long_as_the_line_says(
    at: int, kind: str, value: int, raw: Path
) -> None:
    """HDF5 would make room for 4 billion samples of the first line."""
    with h5py.File(raw) as file:
        data = file["dataset/data"]
        place = data.id.get_chunk_info(0).byte_offset if data.chunks else data.id.get_offset()
        place += data.id.get_type().get_member_offset(data.dtype.names.index("data"))
    content = bytearray(raw.read_bytes())
    struct.pack_into(kind, content, place + at, value)
    raw.write_bytes(content)
    with pytest.raises(InputError, match=r"scan\.h5: expected a value of \d+ bytes .* damaged"):
        read_mrd(raw)


@pytest.mark.parametrize("packed", [False, True])
def test_lines_that_were_never_written_are_refused(packed: bool, raw: Path) -> None:
    with h5py.File(raw, "r+") as file:
        group = file["dataset"]
        whole = group["data"][:]
        kind = group["data"].dtype
        del group["data"]
        options = {"compression": "gzip"} if packed else {}
        group.create_dataset("data", data=whole, dtype=kind, maxshape=(None,), chunks=(64,),
                             **options)  # fmt: skip
        group["data"].resize((2**34,))
    match = r"scan\.h5: expected all of its 17179869184 lines to be stored"
    assert peak_bytes(lambda: read_mrd(raw), match) < 2**23


def test_packed_lines_are_read(raw: Path) -> None:
    with h5py.File(raw, "r+") as file:
        group = file["dataset"]
        whole, kind = group["data"][:], group["data"].dtype
        expected = read_mrd(raw).samples
        del group["data"]
        group.create_dataset("data", data=whole, dtype=kind, compression="gzip", chunks=(64,))
    assert np.array_equal(read_mrd(raw).samples, expected)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (f"<!--{'x' * 20_000_000}-->", "header of at most 4 MiB, found 19 MiB"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>', "without DOCTYPE"),
        ("<subjectInformation>" * 60_000 + "<", "unreadable MRD header"),
    ],
)
def test_headers_that_grow_are_refused(raw: Path, before: str, expected: str) -> None:
    text = header().replace("<ismrmrdHeader", f"{before}<ismrmrdHeader", 1)
    save(raw, text, lines(spectrum())[:1])
    with pytest.raises(InputError, match=rf"scan\.h5: .*{expected}"):
        read_mrd(raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "expected a header in JSON"),
        ("[" * 100_000, "expected a header in JSON"),
        ("[1]", r"expected format accelqsm-network-2, found \[1\]"),
        ('{"format": ["a"]}', "expected format"),
        ('{"format": "accelqsm-network-2", "network": [1]}', "network: expected reconnet3d"),
        ('{"format": "accelqsm-network-2", "architecture": 7}', "expected a table of settings"),
        ('{"format": "accelqsm-network-2"}', "expected the tensors of"),
    ],
)
def test_headers_of_weights_are_checked(text: str, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_file({"a": np.zeros(2, np.float32)}, path, {HEADER: text})
    with pytest.raises(InputError, match=rf"net\.safetensors: .*{expected}"):
        load_network(path)


def test_wide_networks_cost_nothing_before_their_shapes_fit(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    architecture = {"width": 1000, "cascades": 20, "readout_kernels": [31] * 5}
    record = {"format": "accelqsm-network-2", "architecture": architecture}
    save_file({"a": np.zeros(2, np.float32)}, path, {HEADER: json.dumps(record)})
    with pytest.raises(InputError, match="expected the tensors of"):  # of 90 GB
        load_network(path)


@pytest.mark.parametrize("what", ["archive", "short", "pickle"])
def test_arrays_are_no_archives_and_no_pickles(what: str, tmp_path: Path) -> None:
    path = tmp_path / "maps.npy"
    np.save(path, np.zeros((1, 2, 2, 2), np.complex64))
    if what == "archive":
        np.savez(path.with_suffix(".npz"), np.zeros(3))
        path.with_suffix(".npz").rename(path)
    elif what == "short":
        path.write_bytes(path.read_bytes().replace(b"(1, 2, 2, 2), }   ", b"(1, 2, 2, 2000), }"))
    else:
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"maps\.npy: expected "):
        read_sensitivities(path, n_channels=1, shape=(2, 2, 2))


def test_a_pipe_among_dicom_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image.dcm")
    found = read_file(tmp_path / "image.dcm")
    assert found is not None
    assert found.problem == "not DICOM (InputError)"
