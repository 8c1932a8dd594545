"""Raw files of a small object, every value of header and lines in reach of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from ismrmrd.hdf5 import acquisition_dtype

from accelqsm.fourier import fft

SHAPE = (24, 20, 16)
FOV_MM = (120.0, 100.0, 80.0)
ECHO_TIMES_MS = (4.0, 9.0, 14.0)
N_CHANNELS = 3
NOISE, CALIBRATION, REVERSE = 19, 20, 22


def images(echo_times_ms: tuple[float, ...] = ECHO_TIMES_MS, field_hz: float = 12.0) -> np.ndarray:
    """A ball, brighter at one end, in a field that bends: complex64 (channel, echo, x, y, z)."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    ball = 1 / (1 + np.exp(14 * (np.sqrt(x**2 + y**2 + z**2) - 0.7)))
    ball = ball * (1 + 0.5 * x + 0.3 * np.cos(4 * y))
    hz = field_hz * (x**2 - y * z + 0.3 * y)
    found = []
    for channel in range(N_CHANNELS):
        angle = 2 * np.pi * channel / N_CHANNELS
        along = np.cos(angle) * y + np.sin(angle) * z
        loop = np.exp(0.6 * along + 1j * (0.5 * along + angle))
        for time_s in (t * 1e-3 for t in echo_times_ms):
            found.append(loop * ball * np.exp((2j * np.pi * hz - 20) * time_s))
    return np.stack(found).reshape(N_CHANNELS, len(echo_times_ms), *SHAPE).astype(np.complex64)


def spectrum(values: np.ndarray | None = None, noise: float = 1e-4) -> np.ndarray:
    """k-space of images, complex64 (channel, echo, x, y, z)."""
    values = images() if values is None else values
    clean = fft(torch.from_numpy(values)).numpy()
    rng = np.random.default_rng(0)
    parts = rng.normal(size=(*clean.shape, 2)) @ np.array([1, 1j])
    return np.asarray(clean + noise * parts, dtype=np.complex64)


def space(matrix: tuple[int, ...], fov_mm: tuple[float, ...]) -> str:
    n = "".join(f"<{a}>{v}</{a}>" for a, v in zip("xyz", matrix, strict=True))
    mm = "".join(f"<{a}>{v}</{a}>" for a, v in zip("xyz", fov_mm, strict=True))
    return f"<matrixSize>{n}</matrixSize><fieldOfView_mm>{mm}</fieldOfView_mm>"


def encoding(
    matrix: tuple[int, ...] = SHAPE,
    fov_mm: tuple[float, ...] = FOV_MM,
    *,
    recon: tuple[tuple[int, ...], tuple[float, ...]] = (SHAPE, FOV_MM),
    parallel: str = "",
) -> str:
    limits = "".join(
        f"<kspace_encoding_step_{n}><minimum>0</minimum><maximum>{matrix[n] - 1}</maximum>"
        f"<center>{matrix[n] // 2}</center></kspace_encoding_step_{n}>"
        for n in (1, 2)
    )
    return (
        f"<encoding><encodedSpace>{space(matrix, fov_mm)}</encodedSpace>"
        f"<reconSpace>{space(*recon)}</reconSpace><encodingLimits>{limits}</encodingLimits>"
        f"<trajectory>cartesian</trajectory>{parallel}</encoding>"
    )


def header(
    *,
    encodings: str | None = None,
    echo_times_ms: tuple[float, ...] = ECHO_TIMES_MS,
    tesla: str = "3.0",
    larmor_hz: str = "127732435",
    beside: str = "",
) -> str:
    field = f"<systemFieldStrength_T>{tesla}</systemFieldStrength_T>" if tesla else ""
    times = "".join(f"<TE>{t:g}</TE>" for t in echo_times_ms)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"<acquisitionSystemInformation>{field}</acquisitionSystemInformation>"
        f"<experimentalConditions><H1resonanceFrequency_Hz>{larmor_hz}"
        "</H1resonanceFrequency_Hz></experimentalConditions>"
        f"{encoding() if encodings is None else encodings}"
        f"<sequenceParameters><TR>30</TR>{times}</sequenceParameters>{beside}</ismrmrdHeader>"
    )


def lines(values: np.ndarray, *, flags: int = 0, **index: int) -> np.ndarray:
    """A line of every echo and (ky, kz), axial."""
    n_channels, n_echoes, n_x, n_y, n_z = values.shape
    made = np.zeros(n_echoes * n_y * n_z, acquisition_dtype)
    head = made["head"]
    head["version"], head["number_of_samples"], head["center_sample"] = 1, n_x, n_x // 2
    head["active_channels"] = head["available_channels"] = n_channels
    head["read_dir"], head["phase_dir"], head["slice_dir"] = (-1, 0, 0), (0, -1, 0), (0, 0, 1)
    head["flags"] = flags
    head["scan_counter"] = np.arange(len(made))
    for name, value in index.items():
        (head if name == "encoding_space_ref" else head["idx"])[name] = value
    for n, (y, z, echo) in enumerate(np.ndindex(n_y, n_z, n_echoes)):
        head["idx"]["kspace_encode_step_1"][n], head["idx"]["kspace_encode_step_2"][n] = y, z
        head["idx"]["contrast"][n] = echo
        made["data"][n] = as_floats(values[:, echo, :, y, z])
        made["traj"][n] = np.zeros(0, np.float32)
    return made


def as_floats(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, np.complex64).view(np.float32).ravel()


def turn_lines(made: np.ndarray, chosen: np.ndarray, *, centre: int, flag: bool) -> None:
    """Store some lines in the other direction."""
    for n in np.flatnonzero(chosen):
        values = made["data"][n].view(np.complex64).reshape(N_CHANNELS, -1)
        made["data"][n] = as_floats(values[:, ::-1])
    made["head"]["center_sample"][chosen] = centre
    if flag:
        made["head"]["flags"][chosen] |= np.uint64(1 << (REVERSE - 1))


def save(
    path: Path, text: str, made: np.ndarray, *, storage: str = "vlen", dtype: Any = None
) -> Path:
    with h5py.File(path, "w") as file:
        group = file.create_group("dataset")
        data = text.encode()
        if storage == "vlen":
            group.create_dataset("xml", data=[data], dtype=h5py.special_dtype(vlen=bytes))
        elif storage == "attribute":
            group.attrs["xml"] = text
        else:
            stored = {
                "scalar": text,
                "fixed": np.array([data]),
                "fixed scalar": np.bytes_(data),
                "strings": [text],
            }[storage]
            kind = h5py.string_dtype() if storage in ("scalar", "strings") else None
            group.create_dataset("xml", data=stored, dtype=kind)
        group.create_dataset("data", data=made, dtype=dtype or acquisition_dtype)
    return path
