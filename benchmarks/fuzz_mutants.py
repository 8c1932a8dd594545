"""Mutations of files and options: bytes of any file, and what each format is made of.

``mutate`` draws one; everything follows from the generator, so that a mutant can be repeated.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import nibabel
import numpy as np

Rng = np.random.Generator

NUMBERS = (
    "0", "-1", "1", "2", "1e308", "-1e308", "1e-308", "1e38", "nan", "inf", "-inf", "1e-10",
    "0.0000001", "4294967297", "9223372036854775808", "1" + "0" * 400, "0x10", "1_000", "1,5",
    "-0.0", "3.5", "1e5", "255", "65536", "-32768",
)  # fmt: skip
TEXTS = (
    "", " ", "n/a", "NaN", "None", "text", "=1+1", "\u00e9", "a" * 70000,
    "<script>alert(1)</script>", "../../x", "/etc/passwd", "%s%n", "\\", "'", '"', "\t", "\r",
    "\x1b[31m", "\u202e", "\ud83e\udde0",
)  # fmt: skip
OPTIONS = {
    "qsm": ("--b0-tesla", "--b0-direction", "--phase-range", "--echo-times-s", "--edge-mm",
            "--least-coherence", "--length-scale", "--l1-regularisation", "--l1-tolerance",
            "--vsharp-radii-mm", "--vsharp-threshold", "--mask", "--field-mode"),
    "map": ("--b0-direction", "--method", "--edge-mm", "--least-coherence", "--length-scale",
            "--cg-sense-weight", "--grappa-kernel", "--sensitivities-kernel", "--weights",
            "--consistency", "--vsharp-radii-mm", "--vsharp-threshold", "--mask"),
    "nuclei": ("--erode-mm", "--min-voxels", "--regions", "--columns", "--reference", "--mask",
               "--threshold"),
    "similarity": ("--mask",),
    "compare": ("--margin-percent", "--margin-ppb", "--confidence", "--power", "--reference",
                "--columns", "--published"),
    "report": ("--help",),
}  # fmt: skip
N_VALUES = {"--b0-direction": 3, "--phase-range": 2, "--echo-times-s": 3, "--grappa-kernel": 3}


def mutate(folder: Path, inputs: Sequence[str], words: list[str], rng: Rng) -> str:
    """Change one input in ``folder``, or one option in ``words``; returns what was done."""
    if rng.random() < 0.12:
        return f"options: {_option(words, rng)}"
    images = sorted(path for name in inputs for path in _images(folder / name))
    if images and rng.random() < 0.05:
        return f"NIfTI: all with {_everywhere(images, rng)}"
    path = _draw_file(folder, inputs, rng)
    family = _family(path)
    choice = rng.random()
    if choice < 0.08:
        return f"{family}: {_special(path, rng)}"
    if choice < 0.3:
        return f"{family}: bytes {_bytes(path, rng)}"
    return f"{family}: {_STRUCTURES[family](path, rng)}"


def _images(path: Path) -> list[Path]:
    found = path.rglob("*") if path.is_dir() else [path]
    return [one for one in found if one.name.endswith((".nii", ".nii.gz"))]


def _everywhere(images: Sequence[Path], rng: Rng) -> str:
    """Other voxel sizes, or more voxels declared, in all images alike."""
    change = _voxels_mm if rng.random() < 0.7 else _declared
    seed = int(rng.integers(2**31))
    said = ""
    for path in images:
        packed = path.suffix == ".gz"
        raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
        said = change(raw, np.random.default_rng(seed))
        path.write_bytes(gzip.compress(raw, 1, mtime=0) if packed else raw)
    return said


def _draw_file(folder: Path, inputs: Sequence[str], rng: Rng) -> Path:
    chosen = folder / str(rng.choice(list(inputs)))
    if chosen.is_dir():
        return Path(rng.choice(sorted(str(p) for p in chosen.rglob("*") if p.is_file())))
    return chosen


def _family(path: Path) -> str:
    if path.parent.name == "study":
        return "report"
    if path.name.startswith("dseg"):
        return "labels"
    endings = {".nii": "NIfTI", ".gz": "NIfTI", ".json": "JSON", ".tsv": "TSV", ".toml": "TOML"}
    return {".h5": "MRD", ".safetensors": "weights"}.get(path.suffix) or endings[path.suffix]


def _option(words: list[str], rng: Rng) -> str:
    """Add an option with a value that few would give."""
    name = str(rng.choice(OPTIONS[words[0]]))
    values = [_value(rng) for _ in range(N_VALUES.get(name, 1))]
    usable = [value.replace("\0", "") for value in values]
    words += [name, *usable] if rng.random() < 0.5 else [f"{name}={usable[0]}"]
    return f"{name} {' '.join(value[:12] for value in usable)!r}"


def _value(rng: Rng) -> str:
    return str(rng.choice(NUMBERS)) if rng.random() < 0.7 else str(rng.choice(TEXTS))


def _special(path: Path, rng: Rng) -> str:
    """Something else than a regular file of sensible size in its place."""
    kind = str(rng.choice(["missing", "folder", "fifo", "device", "empty", "sparse", "loop"]))
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind in ("empty", "sparse"):
        path.touch()
        os.truncate(path, 0 if kind == "empty" else 2**35)
    return kind


def _bytes(path: Path, rng: Rng) -> str:
    raw = bytearray(path.read_bytes())
    kind = str(rng.choice(["flip", "cut", "insert", "zeros", "twice", "remove", "random"]))
    n = len(raw)
    start = int(rng.integers(max(n, 1)))
    # Half of the time near the beginning, where headers are.
    start = start if rng.random() < 0.5 else min(start, int(rng.integers(400)))
    length = int(rng.integers(1, 65))
    if kind == "flip":
        for at in rng.integers(0, max(n, 1), int(rng.integers(1, 9))):
            raw[int(at) if rng.random() < 0.5 else int(at) % min(n, 400)] ^= 1 << rng.integers(8)
    elif kind == "cut":
        del raw[start:]
    elif kind == "insert":
        raw[start:start] = rng.bytes(length)
    elif kind == "zeros":
        raw[start : start + length] = bytes(min(length, n - start))
    elif kind == "twice":
        raw += bytes(raw)
    elif kind == "remove":
        del raw[start : start + length]
    else:
        raw[start : start + length] = rng.bytes(min(length, n - start))
    path.write_bytes(raw)
    return kind


def _report(path: Path, rng: Rng) -> str:
    for ending, change in ((".tsv", _table), (".json", _json), (".toml", _toml)):
        if path.suffix == ending:
            return f"{ending[1:]} {change(path, rng)}"
    return f"{path.suffix[1:]} bytes {_bytes(path, rng)}"


def _labels(path: Path, rng: Rng) -> str:
    return f"{_nifti(path, rng)}" if path.suffix == ".nii" else f"lookup {_table(path, rng)}"


def _nifti(path: Path, rng: Rng) -> str:
    packed = path.suffix == ".gz"
    raw = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    change = _CHANGES_NIFTI[int(rng.integers(len(_CHANGES_NIFTI)))]
    said = change(raw, rng)
    if rng.random() < 0.03:
        raw, said = raw + bytes(2**31), "expands to 2 GiB"
    path.write_bytes(gzip.compress(raw, 1, mtime=0) if packed else raw)
    return said


def _field(raw: bytearray, rng: Rng) -> str:
    """A field of the header, by its place in the format."""
    header = nibabel.Nifti1Header.template_dtype
    assert header.names is not None
    assert header.fields is not None
    name = str(rng.choice(list(header.names)))
    dtype, offset = header.fields[name][:2]
    base = dtype.base
    at = offset + base.itemsize * int(rng.integers(max(dtype.itemsize // base.itemsize, 1)))
    raw[at : at + base.itemsize] = _number(base, rng)
    return f"header {name}"


def _number(dtype: np.dtype, rng: Rng) -> bytes:
    if dtype.kind == "f":
        drawn = rng.choice([0, -1, 1e-30, 1e-3, 2e-4, 0.02, 0.2, 1e3, 1e30, np.nan, np.inf, 2.5])
        return np.array(drawn, dtype).tobytes()
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        drawn = rng.choice([0, 1, 2, 3, 5, 7, 16, 64, 128, 256, 512, 1200, 1792, 2304, -1, -1200])
        return np.array(int(np.clip(int(drawn), info.min, info.max)), dtype).tobytes()
    return rng.bytes(dtype.itemsize)


def _declared(raw: bytearray, rng: Rng) -> str:
    n = int(rng.choice([300, 1200, 32767]))
    struct.pack_into("<3h", raw, 42, n, n, n)
    return "declares more voxels"


def _voxels_mm(raw: bytearray, rng: Rng) -> str:
    size = float(rng.choice([0.2, 0.02, 0.002, 2000.0, 1e-6]))
    factor = size / 4.0
    struct.pack_into("<3f", raw, 80, size, size, size)
    for at in (280, 296, 312):
        row = struct.unpack_from("<4f", raw, at)
        struct.pack_into("<4f", raw, at, *(factor * v for v in row))
    return f"voxels of {size:g} mm"


def _stored(raw: bytearray, rng: Rng) -> str:
    """Other voxels: all the same, beyond floats, not finite, or noise."""
    code = struct.unpack_from("<h", raw, 70)[0]
    dtype = {16: "<f4", 64: "<f8", 4: "<i2", 8: "<i4", 2: "u1"}[code]
    kind = str(rng.choice(["constant", "zeros", "largest", "not finite", "one NaN", "noise"]))
    values = np.frombuffer(raw, dtype, offset=352).copy()
    if kind == "noise":
        values = np.resize(np.frombuffer(rng.bytes(4096), dtype), values.shape)
    elif kind == "one NaN":
        values[len(values) // 2] = np.nan if values.dtype.kind == "f" else 99
    else:
        floats = values.dtype.kind == "f"
        least, largest = (-np.inf, 1e38) if floats else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        values[:] = {"constant": 7, "zeros": 0, "largest": largest}.get(kind, least)
    raw[352:] = values.tobytes()
    return f"voxels {kind}"


def _colours(raw: bytearray, rng: Rng) -> str:
    code, bits = ((128, 24), (2304, 32), (1792, 128), (32, 64), (1536, 128))[rng.integers(5)]
    struct.pack_into("<2h", raw, 70, code, bits)
    raw += bytes(4 * len(raw)) if rng.random() < 0.7 else b""
    return "another type of voxel"


_CHANGES_NIFTI: tuple[Callable[[bytearray, Rng], str], ...] = (
    _field, _field, _field, _declared, _voxels_mm, _stored, _stored, _colours,
)  # fmt: skip


def _json(path: Path, rng: Rng) -> str:
    content = json.loads(path.read_text())
    deep = "[" * 5000 + "]" * 5000
    keys = list(content) if isinstance(content, dict) else []
    odd = ["null", "true", "[]", "{}", '"3"', "[1, 2]", '{"a": 1}', "1" * 401, "1e999", "NaN",
           "-Infinity", "1e-10", "-1", "[0.004, 0.004, 0.004]", "[0.004, 0.0040000001, 0.01]",
           "[0.0040000000, 0.0040000001, 0.0040000002]", '["a", null]', deep]  # fmt: skip
    value = str(rng.choice(odd))
    if not keys or rng.random() < 0.15:
        path.write_text(value)
        return "is another value"
    chosen = str(rng.choice(keys))
    text = ", ".join(
        f"{json.dumps(k)}: {value if k == chosen else json.dumps(v)}" for k, v in content.items()
    )
    path.write_text("{" + text + "}")
    return f"{chosen} = {value[:24]}"


def _toml(path: Path, rng: Rng) -> str:
    lines = path.read_text().splitlines()
    odd = ["[]", "{}", "true", '"text"', "1979-05-27", "[[1]]", "[1, 'a']", "nan", "inf",
           "1e308", "-1", "0", "1" * 401, "[" * 3000 + "]" * 3000, "{a = {b = 1}}", "9" * 18,
           '"' + "x" * 70000 + '"', "1e-300", "[1e9]", "[1e-9]", "1000000000", '"../x"',
           '"<script>"', "[nan]"]  # fmt: skip
    value = str(rng.choice(odd))
    with_value = [n for n, line in enumerate(lines) if "=" in line]
    if not with_value or rng.random() < 0.15:
        extra = str(rng.choice(["qsm = 1", "[qsm]", "[[qsm]]", f"x = {value}", "qsm.l1 = 2",
                                "command = 7", "source = 1", "recon = []"]))  # fmt: skip
        path.write_text("\n".join([extra, *lines] if rng.random() < 0.5 else [*lines, extra]))
        return f"line {extra[:24]}"
    at = int(rng.choice(with_value))
    name = lines[at].partition("=")[0].strip()
    lines[at] = f"{name} = {value}"
    path.write_text("\n".join(lines))
    return f"{name} = {value[:24]}"


def _table(path: Path, rng: Rng) -> str:
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    kind = str(rng.choice(["cell", "cell", "cell", "header", "row", "column", "gzip", "shuffle"]))
    row = int(rng.integers(1, max(len(rows), 2))) if len(rows) > 1 else 0
    column = int(rng.integers(len(rows[0])))
    value = _value(rng)
    if kind == "cell":
        rows[row][column % len(rows[row])] = value
    elif kind == "header":
        rows[0][column] = value
    elif kind == "row":
        rows[row:row] = [rows[row]] * int(rng.integers(1, 4))
    elif kind == "column":
        for line in rows:
            del line[column % len(line)]
    elif kind == "shuffle":
        rows[1:] = [rows[1:][i] for i in rng.permutation(len(rows) - 1)]
    text = "\n".join("\t".join(line) for line in rows) + "\n"
    raw = text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(raw + bytes(2**20)) if kind == "gzip" else raw)
    return f"{kind} {value[:16]!r}" if kind in ("cell", "header") else kind


def _mrd(path: Path, rng: Rng) -> str:
    changes = (_xml, _xml, _xml, _heads, _heads, _samples, _lengths, _dataset, _resized)
    change = changes[int(rng.integers(len(changes)))]
    with h5py.File(path, "r+") as file:
        return change(file["dataset"], rng)


def _xml(group: h5py.Group, rng: Rng) -> str:
    text = group["xml"][0].decode()
    kind = str(rng.choice(["value", "value", "value", "drop", "comment", "entities", "deep"]))
    found = list(re.finditer(r"<(\w+)>([^<]+)</\1>", text))
    chosen = found[int(rng.integers(len(found)))]
    said = f"xml {kind}"
    if kind == "value":
        value = _value(rng).replace("<", "&lt;").replace("\0", "")
        text = text[: chosen.start(2)] + value + text[chosen.end(2) :]
        said = f"xml {chosen[1]} = {value[:16]}"
    elif kind == "drop":
        text = text[: chosen.start()] + text[chosen.end() :]
        said = f"xml without {chosen[1]}"
    elif kind == "comment":
        text = text.replace("<encoding>", f"<!--{'x' * 50_000_000}--><encoding>", 1)
    elif kind == "deep":
        text = text.replace("<encoding>", "<a>" * 50_000 + "</a>" * 50_000 + "<encoding>", 1)
    else:
        lines = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
        head = f'<!DOCTYPE x [<!ENTITY l0 "{"lol" * 10}">{lines}]>'
        text = text.replace("<ismrmrdHeader", f"{head}<ismrmrdHeader", 1)
        text = text.replace("<encoding>", "<note>&l9;</note><encoding>", 1)
    del group["xml"]
    data = [text.encode("utf-8", "surrogatepass")]
    group.create_dataset("xml", data=data, dtype=h5py.special_dtype(vlen=bytes))
    return said


def _heads(group: h5py.Group, rng: Rng) -> str:
    lines = group["data"][:]
    head = lines["head"]
    name = str(rng.choice(["number_of_samples", "active_channels", "center_sample", "flags",
                           "discard_pre", "discard_post", "encoding_space_ref", "read_dir",
                           "slice_dir", "position", "kspace_encode_step_1", "contrast",
                           "repetition", "trajectory_dimensions", "version"]))  # fmt: skip
    values = head[name] if name in head.dtype.names else head["idx"][name]
    some = rng.random(len(lines)) < rng.choice([0.01, 0.5, 1.0])
    put = np.frombuffer(_number(values.dtype, rng), values.dtype)[0]
    values[some] = put
    group["data"][...] = lines
    return f"heads {name}"


def _samples(group: h5py.Group, rng: Rng) -> str:
    lines = group["data"][:]
    value = rng.choice([0.0, 1e-30, 1e30, 1e38, np.nan, np.inf, 7.0])
    every = 1 if rng.random() < 0.6 else int(rng.integers(2, 200))
    for n in range(0, len(lines), every):
        lines["data"][n] = np.full_like(lines["data"][n], value)
    group["data"][...] = lines
    return f"samples {value:g} in every {every}"


def _lengths(group: h5py.Group, rng: Rng) -> str:
    lines = group["data"][:]
    for n in rng.integers(0, len(lines), int(rng.integers(1, 5))):
        lines["data"][n] = lines["data"][n][: int(rng.integers(0, 10))]
    group["data"][...] = lines
    return "lengths of samples"


def _dataset(group: h5py.Group, rng: Rng) -> str:
    lines = group["data"]
    kind = str(rng.choice(["floats", "no traj", "scalar", "empty", "matrix", "int heads", "text"]))
    whole = lines[:]
    del group["data"]
    if kind == "floats":
        group["data"] = np.zeros((40, 40), np.float32)
    elif kind == "scalar":
        group["data"] = 7
    elif kind == "text":
        group["data"] = "lines"
    elif kind == "empty":
        group.create_dataset("data", (0,), dtype=whole.dtype)
    elif kind == "matrix":
        group.create_dataset("data", data=whole[:100].reshape(10, 10), dtype=lines_dtype())
    elif kind == "no traj":
        made = np.zeros(len(whole), [("head", whole["head"].dtype), ("data", np.float32, (4,))])
        made["head"] = whole["head"]
        group["data"] = made
    else:
        group["data"] = np.zeros(len(whole), [("head", np.int32), ("data", np.float32)])
    return f"data {kind}"


def lines_dtype() -> np.dtype:
    """Of lines in an MRD file."""
    from ismrmrd.hdf5 import acquisition_dtype

    made: np.dtype = acquisition_dtype
    return made


def _resized(group: h5py.Group, rng: Rng) -> str:
    n = int(rng.choice([10, 100_000, 3_000_000, 2**40]))
    group["data"].resize((n,))
    return f"data of {n} lines"


def _weights(path: Path, rng: Rng) -> str:
    """The header of safetensors: its length, what tensors are said to be, and our own entry."""
    raw = path.read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + length])
    kind = str(rng.choice(["length", "architecture", "architecture", "entry", "tensor", "value"]))
    record = json.loads(header["__metadata__"]["accelqsm"])
    odd = [1_000_000_000, 0, -1, "text", None, [], {}, [1e9], 1e308, True, 10**400]
    value = odd[int(rng.integers(len(odd)))]
    if kind == "length":
        put = int(rng.choice([0, 1, length - 1, length + 1, 2**31, 2**62]))
        path.write_bytes(struct.pack("<Q", put) + raw[8:])
        return "length of the header"
    if kind == "architecture":
        name = str(rng.choice(list(record["architecture"])))
        record["architecture"][name] = value
    elif kind == "entry":
        record[str(rng.choice(["format", "network", "architecture"]))] = value
    elif kind == "value":
        body = np.frombuffer(raw, np.float32, offset=8 + length).copy()
        body[:] = rng.choice([0.0, 1e30, np.nan, np.inf])
        path.write_bytes(raw[: 8 + length] + body.tobytes())
        return f"values {body[0]:g}"
    else:
        tensor = str(rng.choice([name for name in header if name != "__metadata__"]))
        header[tensor][str(rng.choice(["dtype", "shape", "data_offsets"]))] = value
    header["__metadata__"]["accelqsm"] = json.dumps(record)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    return f"{kind} = {str(value)[:16]}"


_STRUCTURES: dict[str, Callable[[Path, Rng], str]] = {
    "NIfTI": _nifti, "labels": _labels, "JSON": _json, "TOML": _toml, "TSV": _table,
    "MRD": _mrd, "weights": _weights, "report": _report,
}  # fmt: skip
