"""A finished study in a folder, small and made in a second: maps, labels, tables, settings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from accelqsm.api.agreement import compare
from accelqsm.files.nifti import write_image
from accelqsm.files.tables import write_table
from accelqsm.files.toml import write_settings
from accelqsm.grid import centred_grid
from accelqsm.results.study import LOOKUP_NAME, scan_files
from output_folders import resealed

SHAPE = (40, 44, 24)
GRID = centred_grid(SHAPE, (2.0, 2.0, 2.0))
LOOKUP = {1: "L Pu", 2: "R Pu", 3: "L RN", 4: "R RN"}
TRUE_PPB = {"Pu": 60.0, "RN": 110.0}
GAIN = {"pi": 1.0, "af3": 0.97, "af5": 0.8}
LABELS = {"pi": "PI", "af3": "AF3", "af5": "AF5"}
WEIGHTS = "0123456789abcdef" * 4
QSM = {
    "field_mode": "multi", "background": "vsharp", "radii_mm": [12.0, 4.0],
    "sharp_threshold": 0.05, "regularisation": 0.00031, "data_weighting": True,
    "reference": "brain", "n_iterations": 77, "tolerance": 0.01,
}  # fmt: skip


def head_labels() -> np.ndarray:
    """Two nuclei on each side; x grows to the right."""
    labels = np.zeros(SHAPE, dtype=np.int16)
    labels[10:15, 20:30, 12:18] = 1
    labels[25:30, 20:30, 12:18] = 2
    labels[15:19, 14:19, 6:10] = 3
    labels[21:25, 14:19, 6:10] = 4
    return labels


def chi_map(gain: float = 1.0) -> np.ndarray:
    """Susceptibility in ppm: each nucleus at its value, a smooth pattern around."""
    labels = head_labels()
    x, y, z = np.meshgrid(*(np.linspace(0, 3, n) for n in SHAPE), indexing="ij")
    chi = 0.01 * np.sin(3 * x) * np.cos(2 * y) * np.cos(z)
    for value, name in LOOKUP.items():
        chi[labels == value] = gain * TRUE_PPB[name.split()[1]] / 1000
    return chi.astype(np.float32)


def values_table(subjects: list[str]) -> pd.DataFrame:
    """One value per person, protocol, side and nucleus; AF5 is lower by a fifth."""
    rng = np.random.default_rng(3)
    rows = []
    for subject in subjects:
        own = {name: TRUE_PPB[name.split()[1]] * rng.normal(1, 0.2) for name in LOOKUP.values()}
        for protocol, gain in GAIN.items():
            for region, value in own.items():
                measured = gain * value + rng.normal(0, 0.4)
                rows.append((subject, LABELS[protocol], region, measured))
    return pd.DataFrame(rows, columns=["subject", "protocol", "region", "value_ppb"])


def participants_table(subjects: list[str]) -> pd.DataFrame:
    """Ages from 30 years on, sexes in turn."""
    ages = 30.0 + 3.5 * np.arange(len(subjects))
    sexes = ["F" if i % 2 else "M" for i in range(len(subjects))]
    return pd.DataFrame({"participant_id": subjects, "age": ages, "sex": sexes})


def write_comparison(
    folder: Path, subjects: list[str], *, values: pd.DataFrame | None = None
) -> Path:
    """Compare made-up values of some people; returns the folder of the comparison."""
    write_table(folder / "values.tsv", values_table(subjects) if values is None else values)
    write_table(folder / "participants.tsv", participants_table(subjects))
    made = compare(folder / "values.tsv", reference="PI", participants=folder / "participants.tsv")
    return made.save(folder / "out")


def write_study(out: Path, subjects: list[str]) -> Path:
    """A study with maps of everybody, and its comparison."""
    for subject in subjects:
        for protocol, gain in GAIN.items():
            _write_maps(out / "maps" / subject / f"acq-{protocol}", protocol, gain)
            scan = scan_files(out / "scans", subject, protocol)
            write_image(scan.labels, head_labels(), GRID)
            write_image(scan.truth, chi_map(1.05), GRID)
    lookup = pd.DataFrame({"index": list(LOOKUP), "name": list(LOOKUP.values())})
    write_table(out / "scans" / LOOKUP_NAME, lookup)
    scanner = {
        "shape": list(SHAPE), "voxel_size_mm": [2.0, 2.0, 2.0], "echo_times_s": [0.004, 0.011],
        "repetition_time_s": 0.031, "flip_angle_deg": 17.0, "n_channels": 6, "snr": 90.0,
        "calibration_lines": 10, "calibration": [12, 8],
    }  # fmt: skip
    write_settings(
        out / "scans" / "settings.toml",
        {"seed": 4711, "preset": "small", "scanner": scanner, "software": {"torch": "9.8.7"}},
    )
    resealed(out)
    write_table(out / "values.tsv", values_table(subjects))
    compare(out / "values.tsv", reference="PI").save(out / "agreement")
    return out


def _write_maps(folder: Path, protocol: str, gain: float) -> None:
    write_image(folder / "Chimap.nii.gz", chi_map(gain), GRID)
    write_image(folder / "mask.nii.gz", np.ones(SHAPE, dtype=bool), GRID)
    for echo in (1, 2):
        write_image(folder / f"echo-{echo}_part-mag.nii.gz", np.ones(SHAPE, np.float32), GRID)
        write_image(folder / f"echo-{echo}_part-phase.nii.gz", np.zeros(SHAPE, np.float32), GRID)
    source: dict[str, object] = {"scan": "scan.h5", "method": "grappa", "acceleration": 2.0}
    if protocol != "pi":
        source |= {"method": "reconnet3d", "weights_sha256": WEIGHTS, "consistency": "channel"}
    write_settings(
        folder / "settings.toml", {"source": source, "qsm": QSM, "software": {"torch": "9.8.6"}}
    )
