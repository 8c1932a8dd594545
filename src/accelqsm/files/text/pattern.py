"""Reader and writer of sampling patterns as tables of encoding steps in the order of their play."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from accelqsm.errors import InputError, InputWarning
from accelqsm.files.tables import read_table, write_described_table
from accelqsm.files.toml import read_settings

SECTION = "pattern"
"""Table of the settings of a pattern, in the TOML file beside its table."""
MEANINGS: Mapping[str, Mapping[str, str]] = {
    "echo": {"Description": "Echo whose pattern has the position; from 0, as contrast of MRD"},
    "order": {"Description": "Shot in which the position is played; from 0"},
    "ky": {"Description": "Encoding step along the first phase-encoding direction; from 0, zero "
           "frequency at n // 2, as kspace_encode_step_1 of MRD"},
    "kz": {"Description": "Encoding step along the second phase-encoding direction; from 0, zero "
           "frequency at n // 2, as kspace_encode_step_2 of MRD"},
}  # fmt: skip
POSITION = ("ky", "kz")

Pattern = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


def write_pattern(path: Path, positions: Numbers) -> None:
    """Write a pattern as a table with one row per shot, or per shot and echo, in order of play.

    Args:
        path: table to write; a sidecar of the same stem describes its columns.
        positions: encoding steps in the order of play, int (shot, 2) of a pattern of all echoes, or
            (echo, shot, 2).
    """
    n_echoes, n_shots = positions.shape[:-1] if positions.ndim == 3 else (1, len(positions))
    shots = positions.reshape(n_echoes, n_shots, 2).transpose(1, 0, 2).reshape(-1, 2)
    columns = {
        "echo": np.tile(np.arange(n_echoes), n_shots),
        "order": np.repeat(np.arange(n_shots), n_echoes),
        "ky": shots[:, 0],
        "kz": shots[:, 1],
    }
    table = pd.DataFrame(columns if positions.ndim == 3 else _without(columns, "echo"))
    write_described_table(path, table, {str(name): MEANINGS[str(name)] for name in table})


def read_pattern(path: Path, plane: tuple[int, int]) -> Pattern:
    """Read a pattern as written by ``write_pattern``.

    Args:
        path: the table.
        plane: (n_y, n_z), the plane that it has to be of.

    Returns:
        bool (ky, kz), or (echo, ky, kz) of a table with a column echo.

    Raises:
        InputError: another plane in the settings beside the table, a column that is not there,
            positions outside the plane or twice in an echo, shots that are not numbered from 0
            without gaps, as many in every echo, or no sample of the zero frequency.

    Warns:
        InputWarning: no settings beside the table that tell its plane.
    """
    names = ("order", *POSITION)
    table = read_table(path, columns=names)  # 999 is a shot here, not a missing value
    _check_plane(path, plane)
    whole = {name: _whole(path, name, table[name]) for name in ("echo", *names) if name in table}
    if not len(table):
        raise InputError(f"{path}: expected positions, found none")
    for name, n in zip(POSITION, plane, strict=True):
        _refuse(path, (whole[name] < 0) | (whole[name] >= n), f"{name} from 0 to {n - 1}", whole)
    echo = whole.get("echo", np.zeros(len(table), np.int64))
    n_echoes = _check_echoes(path, echo)
    _check_shots(path, whole["order"][np.argsort(echo, kind="stable")].reshape(n_echoes, -1))
    twice = pd.DataFrame({"echo": echo, **{n: whole[n] for n in POSITION}}).duplicated().to_numpy()
    _refuse(path, twice, "each position once", whole)
    pattern = np.zeros((n_echoes, *plane), np.bool_)
    pattern[echo, whole["ky"], whole["kz"]] = True
    middle = plane[0] // 2, plane[1] // 2
    if not pattern[:, middle[0], middle[1]].all():
        raise InputError(
            f"{path}: expected the zero frequency at ky {middle[0]}, kz {middle[1]} of "
            f"{plane[0]} x {plane[1]} in every pattern, found none"
        )
    return pattern if "echo" in whole else pattern[0]


def _check_plane(path: Path, plane: tuple[int, int]) -> None:
    """Compare the plane with that of the settings beside the table."""
    beside = path.with_suffix(".toml")
    settings = read_settings(beside).get(SECTION) if beside.is_file() else None
    found = settings.get("shape") if isinstance(settings, dict) else None
    if found is None:
        message = f"{path}: no settings beside it tell its plane, taken as {plane[0]} x {plane[1]}"
        warnings.warn(InputWarning(message), stacklevel=3)
    elif found != list(plane):
        shown = " x ".join(map(str, found)) if isinstance(found, list) else found
        raise InputError(
            f"{path}: expected a pattern of {plane[0]} x {plane[1]}, found one of {shown} "
            f"({beside.name})"
        )


def _whole(path: Path, name: str, column: pd.Series) -> Numbers:
    """Whole numbers of a column, all of them there."""
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64)
    # Beyond 2^31 no encoding step is, and a conversion would wrap.
    wrong = ~(np.isfinite(numbers) & (np.abs(numbers) < 2**31))
    wrong |= np.where(wrong, 0.0, numbers) % 1 != 0
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}: {name}: expected whole numbers, found {column.iloc[row]} in row {row + 1}"
        )
    return numbers.astype(np.int64)


def _check_echoes(path: Path, echo: Numbers) -> int:
    """Number of echoes, after a check that they are numbered from 0 and have as many rows each."""
    numbers, counts = np.unique(echo, return_counts=True)
    if not np.array_equal(numbers, np.arange(len(numbers))) or counts.min() != counts.max():
        raise InputError(
            f"{path}: echo: expected echoes from 0 with as many rows each, found {len(numbers)} "
            f"from {numbers[0]} to {numbers[-1]} with {counts.min()} to {counts.max()} rows"
        )
    return len(numbers)


def _check_shots(path: Path, order: Numbers) -> None:
    """Refuse shots (echo, row) that are not numbered from 0, each once in an echo."""
    wanted = np.arange(order.shape[1])
    for shots in order:
        if not np.array_equal(np.sort(shots), wanted):
            raise InputError(
                f"{path}: order: expected 0 to {wanted[-1]}, each once in an echo, found "
                f"{len(np.unique(shots))} of them from {shots.min()} to {shots.max()}"
            )


def _without(columns: Mapping[str, Numbers], name: str) -> dict[str, Numbers]:
    return {key: values for key, values in columns.items() if key != name}


def _refuse(path: Path, wrong: Pattern, expected: str, whole: Mapping[str, Numbers]) -> None:
    """Refuse the first row that is wrong, with its position."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        found = ", ".join(f"{name} {values[row]}" for name, values in whole.items())
        raise InputError(f"{path}: expected {expected}, found {found} in row {row + 1}")
