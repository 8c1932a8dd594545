"""A table to compare, and folders before and after, for the tests of where results go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from accelqsm.cli import main
from accelqsm.files.tables import write_table
from accelqsm.files.toml import read_settings, write_settings
from accelqsm.results.folder import results_folder
from accelqsm.results.integrity.seal import seal_folders


def values(path: Path, seed: int = 0, regions: tuple[str, ...] = ("Pu", "Ca")) -> Path:
    rng = np.random.default_rng(seed)
    rows = [
        (f"s{s}", protocol, region, 50 + 10 * s + rng.normal())
        for s in range(8)
        for protocol in ("PI", "AF3")
        for region in regions
    ]
    columns = ["subject", "protocol", "region", "value_ppb"]
    write_table(path, pd.DataFrame(rows, columns=columns))
    return path


def compare(table: Path, out: Path, *words: str) -> int:
    return main(["compare", str(table), str(out), "--reference", "PI", *words])


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("accelqsm: ")
    assert error.count("\n") == 1
    return error


def write_maps(out: Path, error: BaseException | None = None) -> None:
    """What a run does that replaces maps; ``error`` ends it half-way."""
    with results_folder(out, "map", overwrite=True) as new:
        for name in ("Chimap.nii.gz", "mask.nii.gz", "settings.toml"):
            (new / name).write_text('command = "map"\n')
        if error is not None:
            raise error


def resealed(folder: Path) -> Path:
    """A folder whose record names the files as they now are."""
    seal_folders(path for path in folder.rglob("*") if path.is_file())
    return folder


def without_checksums(record: Path) -> None:
    """A record as earlier versions wrote it."""
    write_settings(
        record, {k: v for k, v in read_settings(record).items() if k not in ("files", "checksums")}
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
