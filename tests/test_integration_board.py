"""Entries for the public board: each script gives what the command gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import yaml

from accelqsm.cli import main
from accelqsm.files.nifti import read_volume, write_image
from accelqsm.grid import Grid
from accelqsm.options.arguments import arguments_of
from accelqsm.qsm.settings import QsmSettings
from field_phantom import (
    B0_TESLA,
    CHI_PPM,
    GRID,
    LOCAL_PPM,
    MAGNITUDE,
    NOISE_PPM,
    NUCLEUS,
    TISSUE,
    TOTAL_PPM,
    field_ppm,
)

ENTRIES = Path(__file__).parents[1] / "integrations" / "qsm-ci"
VARIANTS = ("dipole", "bfr", "bfr-dipole", "end-to-end")
CONSUMED = {
    "dipole": ("localfield",),
    "bfr": ("totalfield",),
    "bfr-dipole": ("totalfield", "magnitude"),
    "end-to-end": ("phase", "magnitude"),
}
HEAD = Path(__file__).parents[2] / "shared" / "data" / "foreign_head"
CONFIG = {"l1_n_iterations": 3, "dipole_fit_n_coarse": 2, "dipole_fit_n_fine": 2}
SHORT = ["--l1-n-iterations", "3", "--dipole-fit-n-coarse", "2", "--dipole-fit-n-fine", "2"]


def board(
    folder: Path, variant: str, volumes: Mapping[str, np.ndarray], grid: Grid, params: object
) -> Path:
    """The input of one stage, as the board mounts it."""
    folder.mkdir()
    write_image(folder / "mask.nii.gz", volumes["mask"].astype(np.uint8), grid)
    for name in CONSUMED[variant]:
        write_image(folder / f"{name}.nii.gz", volumes[name].astype(np.float32), grid)
    (folder / "params.json").write_text(json.dumps(params))
    return folder


def ran(variant: str, given: Path, out: Path, **known: str) -> Path:
    """The one file that a script writes, run as the board runs it."""
    out.mkdir()
    commands = out.with_name(f"{out.name}-bin")
    commands.mkdir()
    source = Path(__file__).parents[1] / "src"
    (commands / "accelqsm").write_text(
        f'#!/bin/sh\nPYTHONPATH="{source}" exec "{sys.executable}" -m accelqsm.cli "$@"\n'
    )
    (commands / "accelqsm").chmod(0o755)
    path = f"{commands}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    script = ENTRIES / f"accelqsm-{variant}" / "run.sh"
    environment = {"QSMCI_INPUT": str(given), "QSMCI_OUTPUT": str(out), "PATH": path} | known
    done = subprocess.run(
        ["bash", str(script)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (written,) = out.iterdir()
    return written


def directly(variant: str, given: Path, out: Path, words: list[str], times_s: Any) -> Path:
    """The same by the command."""
    start = {
        "dipole": ["--local-field", "localfield", "--field-unit", "ppm"],
        "bfr": ["--total-field", "totalfield", "--field-unit", "ppm", "--until", "local-field"],
        "bfr-dipole": ["--total-field", "totalfield", "--field-unit", "ppm"],
        "end-to-end": ["--phase", "phase"],
    }[variant]
    start[1] = str(given / f"{start[1]}.nii.gz")
    magnitude = ["--magnitude", str(given / "magnitude.nii.gz"), "--echo-times-s", *times_s]
    both = magnitude if "magnitude" in CONSUMED[variant] else []
    mask = ["--mask", str(given / "mask.nii.gz"), "--b0-tesla", "3"]
    assert main(["qsm", str(out), *start, *both, *mask, *words]) == 0
    return out / ("localfield.nii.gz" if variant == "bfr" else "Chimap.nii.gz")


def phantom() -> dict[str, np.ndarray]:
    """Every file of the board, of two echoes."""
    turns = 2 * np.pi * 127.732434 * TOTAL_PPM[..., None] * np.array([0.004, 0.009])
    rng = np.random.default_rng(2)
    noise = 0.005 * (rng.normal(size=turns.shape) + 1j * rng.normal(size=turns.shape))
    images = TISSUE[..., None] * MAGNITUDE[..., None] * np.exp(1j * turns) + noise
    return {
        "mask": TISSUE,
        "localfield": LOCAL_PPM,
        "totalfield": TOTAL_PPM,
        "magnitude": np.abs(images),
        "phase": np.angle(images),
    }


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_script_gives_what_the_command_gives(
    variant: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = {"TE": [0.004, 0.009], "B0": B0_TESLA, "B0_dir": [1e-17, 0, 1], "voxel_size": [3] * 3}
    given = board(tmp_path / "input", variant, phantom(), GRID, params)
    (given / "config.json").write_text(json.dumps(CONFIG))
    expected = directly(variant, given, tmp_path / "direct", SHORT, ("0.004", "0.009"))
    written = ran(variant, given, tmp_path / "output", OMP_NUM_THREADS="1")
    assert written.name == ("localfield.nii.gz" if variant == "bfr" else "chimap.nii.gz")
    ours, theirs = read_volume(written), read_volume(expected)
    assert ours.grid == GRID
    assert np.abs(ours.values).max() > 0.01
    assert np.abs(ours.values - theirs.values).max() < 1e-4


@pytest.mark.slow
def test_b0_is_where_params_say_in_an_image_without_an_orientation(tmp_path: Path) -> None:
    along_x = field_ppm(CHI_PPM * NUCLEUS, (1.0, 0.0, 0.0)) + NOISE_PPM
    params = {"TE": [0.004], "B0": B0_TESLA, "B0_dir": [1.0, 0.0, 0.0], "voxel_size": [3] * 3}
    given = board(
        tmp_path / "input", "dipole", {"mask": TISSUE, "localfield": along_x}, GRID, params
    )
    for path in given.glob("*.nii.gz"):
        image = nibabel.load(path)
        image.set_sform(None, code=0)
        image.set_qform(None, code=0)
        nibabel.save(image, path)
    # What the runner exported counts, and of overrides as well.
    chi = read_volume(ran("dipole", given, tmp_path / "out", QSMCI_SET_L1_MAGNITUDE_EDGES="False"))
    error = (chi.values - CHI_PPM * NUCLEUS)[TISSUE]
    assert error.std() < 0.5 * (CHI_PPM * NUCLEUS)[TISSUE].std()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_descriptor_has_what_the_board_requires(variant: str) -> None:
    folder = ENTRIES / f"accelqsm-{variant}"
    keys = yaml.safe_load((folder / "algorithm.yml").read_text())
    required = ("name", "slug", "algorithm", "source", "stage", "image", "run", "authors")
    assert set(required) <= keys.keys()
    assert keys["slug"] == folder.name == f"{keys['algorithm']}-{keys['variant']}"
    assert keys["stage"] == variant.replace("bfr-dipole", "bfr+dipole")
    assert os.access(folder / "run.sh", os.X_OK)
    assert (folder / "README.md").is_file()
    assert (folder / "board.sh").resolve() == ENTRIES / "board.sh"


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_are_settings_of_the_command_with_their_defaults(variant: str) -> None:
    text = (ENTRIES / f"accelqsm-{variant}" / "algorithm.yml").read_text()
    listed = yaml.safe_load(text)["parameters"]
    settings = {a.flag: a.default for a in arguments_of(QsmSettings)}
    stated = {f"--{row['name'].replace('_', '-')}": row["default"] for row in listed}
    assert len(stated) == len(listed) > 1
    assert stated == {flag: settings[flag] for flag in stated}


@pytest.mark.nightly
@pytest.mark.skipif(not HEAD.is_dir(), reason=f"../shared/data/{HEAD.name} is absent")
@pytest.mark.parametrize(
    ("variant", "most"), [("dipole", 42), ("bfr-dipole", 40), ("end-to-end", 42)]
)
def test_the_foreign_head_is_mapped_as_by_the_command(
    variant: str, most: float, tmp_path: Path
) -> None:
    def values(name: str) -> np.ndarray:
        return read_volume(HEAD / f"{name}.nii.gz").values

    stems = [f"sub-01_echo-{n}_part-{{}}_MEGRE" for n in range(1, 6)]
    volumes = {
        "mask": values("mask") > 0.5,
        "localfield": values("field_local_ppm"),
        "totalfield": values("field_total_ppm"),
        "magnitude": np.stack([values(stem.format("mag")) for stem in stems], -1),
        "phase": np.stack([values(stem.format("phase")) for stem in stems], -1) * (np.pi / 4096),
    }
    grid = read_volume(HEAD / "mask.nii.gz").grid
    params = {"TE": [0.004, 0.01, 0.016, 0.022, 0.028], "B0": 3.0, "B0_dir": [0, 0, 1]}
    given = board(tmp_path / "input", variant, volumes, grid, params)
    truth = values("chi_truth")[volumes["mask"]]
    found = read_volume(ran(variant, given, tmp_path / "output")).values[volumes["mask"]]
    truth, found = truth - truth.mean(), found - found.mean()
    assert 100 * np.linalg.norm(found - truth) / np.linalg.norm(truth) < most
