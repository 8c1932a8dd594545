"""Small intact inputs of every kind that commands read, and the commands that read them.

A ball of tissue with two nuclei, as images and as raw data of two channels; its map, labels and
lookup table; values of eight people; a finished comparison; the weights of a tiny network. All
are written by the package itself, in seconds and less than a megabyte.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from accelqsm.acquisition import Acquisition
from accelqsm.api.agreement import compare
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.weights import save_network, untrained

GRID = centred_grid((20, 18, 16), (4.0, 4.0, 4.0))
ECHO_TIMES_S = (0.004, 0.009, 0.014)
FIELD_T = 3.0
N_CHANNELS = 2
SETTINGS = """[qsm]
background = "vsharp"
l1.n_iterations = 12
vsharp.radii_mm = [12.0, 8.0]
"""
COMPARE = """command = "compare"
[compare]
reference = "PI"
confidence = 0.9
"""
QUICK = ("--settings", "settings.toml")


@dataclass(frozen=True)
class Case:
    """A command with its inputs.

    Attributes:
        name: for the table of counts.
        words: of the command line; inputs and OUT as relative paths.
        inputs: files or folders it reads.
        out: folder or file that it writes.
        result: what of it is compared with that of the intact input.
    """

    name: str
    words: tuple[str, ...]
    inputs: tuple[str, ...]
    out: str = "out"
    result: str = "out/Chimap.nii.gz"


_IMAGES = ("--magnitude", "mag.nii.gz", "--phase", "phase.nii.gz")
_NUCLEI = ("nuclei", "chi.nii", "out.tsv", "--labels", "dseg.nii", "--lookup", "dseg.tsv")
CASES = (
    Case("qsm", ("qsm", "out", *_IMAGES, *QUICK),
         ("mag.nii.gz", "phase.nii.gz", "mag.json", "phase.json", "settings.toml")),
    Case("qsm --megre", ("qsm", "out", "--megre", "bids", "--mask", "mask.nii", *QUICK),
         ("bids", "mask.nii", "settings.toml")),
    Case("map", ("map", "scan.h5", "out", "--method", "zero-filled", *QUICK),
         ("scan.h5", "settings.toml")),
    Case("map, network", ("map", "scan.h5", "out", "--method", "reconnet3d", "--weights",
                          "net.safetensors", *QUICK),
         ("net.safetensors", "scan.h5", "settings.toml")),
    Case("nuclei", _NUCLEI, ("chi.nii", "dseg.nii", "dseg.tsv"), "out.tsv", "out.tsv"),
    Case("similarity", ("similarity", "chi.nii", "other.nii", "out.tsv", "--mask", "mask.nii"),
         ("chi.nii", "other.nii", "mask.nii"), "out.tsv", "out.tsv"),
    Case("compare", ("compare", "values.tsv", "out", "--settings", "compare.toml",
                     "--participants", "people.tsv"),
         ("values.tsv", "people.tsv", "compare.toml"), "out", "out/agreement.tsv"),
    Case("report", ("report", "study"), ("study",), "study", "study/report.html"),
)  # fmt: skip


def write_corpus(folder: Path) -> None:
    """Write all inputs of ``CASES``."""
    images = _echoes()
    _write_images(folder, images)
    _write_raw(folder / "scan.h5", images)
    _write_map(folder)
    _write_tables(folder)
    (folder / "settings.toml").write_text(SETTINGS)
    torch.manual_seed(0)
    network = untrained("reconnet3d", Architecture(4, 2, (3, 1), patch=1))
    save_network(network, folder / "net.safetensors", about={})


def _ball(radius_mm: float = 28.0, centre_mm: tuple[float, ...] = (0.0, 0.0, 0.0)) -> np.ndarray:
    at = GRID.world_mm() - np.reshape(centre_mm, (3, 1, 1, 1))
    inside: np.ndarray = np.linalg.norm(at, axis=0) < radius_mm
    return inside


def _echoes() -> np.ndarray:
    """Complex (echo, x, y, z): a smooth field and two nuclei, noise all over."""
    rng = np.random.default_rng(0)
    x, y, z = GRID.world_mm()
    field_hz = 0.6 * x + 0.01 * y * z + 6.0 * (_labels() > 0)
    times = np.reshape(ECHO_TIMES_S, (-1, 1, 1, 1))
    signal = 1000 * _ball() * np.exp((2j * math.pi * field_hz - 20) * times)
    noise = rng.normal(0, 5, (2, *signal.shape))
    return np.asarray(signal + noise[0] + 1j * noise[1])


def _labels() -> np.ndarray:
    centres = ((-12.0, 0.0, 0.0), (12.0, 0.0, 0.0))
    parts = (n * _ball(9.0, centre).astype(np.int16) for n, centre in enumerate(centres, 1))
    return np.asarray(sum(parts))


def _write_images(folder: Path, images: np.ndarray) -> None:
    bids = folder / "bids"
    for part, values in (("mag", np.abs(images)), ("phase", np.angle(images))):
        stored = values.astype(np.float32)
        write_image(folder / f"{part}.nii.gz", np.moveaxis(stored, 0, -1), GRID)
        for echo, one in enumerate(stored, 1):
            write_image(bids / f"sub-1_echo-{echo}_part-{part}_MEGRE.nii", one, GRID)
        fields = {"EchoTime": list(ECHO_TIMES_S), "MagneticFieldStrength": FIELD_T}
        (folder / f"{part}.json").write_text(json.dumps(fields))
    for echo, time_s in enumerate(ECHO_TIMES_S, 1):
        (bids / f"sub-1_echo-{echo}_MEGRE.json").write_text(json.dumps({"EchoTime": time_s}))
    (bids / "sub-1_MEGRE.json").write_text(json.dumps({"MagneticFieldStrength": FIELD_T}))
    write_image(folder / "mask.nii", _ball(26.0), GRID)


def _write_raw(path: Path, images: np.ndarray) -> None:
    """Every other line along y beside a full centre, two channels and a noise scan."""
    y = np.arange(GRID.shape[1])
    sampled = np.zeros(GRID.shape[1:], dtype=bool)
    sampled[(y % 2 == 0) | (abs(y - 9) < 4)] = True
    x, _, _ = GRID.world_mm()
    coils = np.stack([np.exp(0.01 * x + 0j), np.exp(-0.01 * x + 1j)])
    channels = torch.from_numpy((coils[:, None] * images).astype(np.complex64))
    pattern = torch.from_numpy(sampled)
    samples = fft(channels, PHASE_ENCODES)[..., pattern].contiguous().numpy()
    rng = np.random.default_rng(1)
    noise = (rng.normal(size=(N_CHANNELS, 512, 2)) @ [5, 5j]).astype(np.complex64)
    acquisition = Acquisition(GRID, ECHO_TIMES_S, FIELD_T)
    write_mrd(path, KSpace(acquisition, pattern, samples, noise))


def _write_map(folder: Path) -> None:
    rng = np.random.default_rng(2)
    chi = (0.1 * (_labels() > 0) + rng.normal(0, 0.01, GRID.shape)) * _ball(26.0)
    write_image(folder / "chi.nii", chi.astype(np.float32), GRID)
    write_image(folder / "other.nii", (0.9 * chi).astype(np.float32), GRID)
    write_image(folder / "dseg.nii", _labels(), GRID)
    write_table(folder / "dseg.tsv", pd.DataFrame({"index": [1, 2], "name": ["L Pu", "R Pu"]}))


def _write_tables(folder: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [
        (f"s{s}", protocol, region, gain * (40 + 5 * s + offset) + rng.normal())
        for s in range(8)
        for protocol, gain in (("PI", 1.0), ("AF3", 0.98))
        for region, offset in (("Pu", 0), ("RN", 30))
    ]
    columns = ["subject", "protocol", "region", "value_ppb"]
    write_table(folder / "values.tsv", pd.DataFrame(rows, columns=columns))
    people = pd.DataFrame({"participant_id": [f"s{s}" for s in range(8)]})
    write_table(folder / "people.tsv", people.assign(age=30.0 + 4 * people.index, sex="F"))
    (folder / "compare.toml").write_text(COMPARE)
    made = compare(folder / "values.tsv", reference="PI", participants=folder / "people.tsv")
    made.save(folder / "study")
