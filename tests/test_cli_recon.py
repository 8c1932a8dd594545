"""Scans, patterns and weights that a reconstruction cannot use: one line, and nothing written."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from accelqsm.cli import main
from accelqsm.files.mrd.reader import read_mrd
from accelqsm.files.mrd.writer import write_mrd
from accelqsm.files.nifti import read_image
from accelqsm.recon import weights
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.weights import save_network
from recon_phantom import channel_images, sample

SHAPE = (8, 32, 24)


def refused(words: list[str], capsys: pytest.CaptureFixture[str], out: Path) -> str:
    """The one line that the command ends with."""
    assert main([*words, str(out)]) == 65
    assert not out.exists()
    line = capsys.readouterr().err.strip().splitlines()
    assert len(line) == 1
    return line[0].removeprefix("accelqsm: ")


def scan(path: Path, sampled: torch.Tensor) -> Path:
    write_mrd(path, sample(channel_images(SHAPE, 3), sampled, noise_sd=0.01))
    return path


@pytest.mark.parametrize("command", ["recon", "map"])
@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            "cg-sense",
            "{f}: calibration: expected 5 x 5 samples or more for the sensitivities, found 4 x 4",
        ),
        (
            "grappa",
            "{f}: GRAPPA: expected every n-th line along y, through the zero frequency, and a "
            "fully sampled centre; found 0 complete lines of 32",
        ),
    ],
)
def test_a_pattern_that_the_method_cannot_use_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, method: str, message: str
) -> None:
    pattern = torch.zeros(SHAPE[1:], dtype=torch.bool)
    pattern[::3, ::3] = pattern[14:18, 10:14] = True
    pattern[18, 12] = pattern[16, 9] = pattern[16, 14] = False
    path = scan(tmp_path / "scan.h5", pattern)
    found = refused([command, str(path), "--method", method], capsys, tmp_path / "out")
    assert found == message.format(f=path)


@pytest.mark.parametrize("command", ["map", "recon"])
def test_a_method_that_was_not_given_is_asked_for_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    path = scan(tmp_path / "scan.h5", torch.ones(SHAPE[1:], dtype=torch.bool))
    told = refused([command, str(path)], capsys, tmp_path / "out")
    assert told.startswith("method: expected zero-filled, grappa, ")
    assert told.endswith(" or echo-joint, found none")


def test_a_missing_line_of_a_regular_pattern_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pattern = regular(SHAPE[1:], acceleration=(2, 1), calibration=(12, 24))
    pattern[4] = False
    path = scan(tmp_path / "scan.h5", pattern)
    found = refused(["recon", str(path), "--method", "grappa"], capsys, tmp_path / "out")
    assert found.startswith(f"{path}: GRAPPA: expected every n-th line along y")


def test_a_noise_scan_of_other_channels_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scan(tmp_path / "scan.h5", torch.ones(SHAPE[1:], dtype=torch.bool))
    kspace = read_mrd(path)
    noise = np.ones((3, 80), np.complex64)
    object.__setattr__(kspace, "noise_samples", noise)
    write_mrd(path, kspace)
    found = refused(["recon", str(path), "--method", "zero-filled"], capsys, tmp_path / "out")
    assert found == (
        f"{path}: noise scan: expected independent channels, found a singular covariance"
    )


@pytest.mark.parametrize("n_channels", [1, 3])
def test_all_channels_are_the_default_of_the_network(tmp_path: Path, n_channels: int) -> None:
    path = tmp_path / "scan.h5"
    pattern = poisson_disk(SHAPE[1:], acceleration=2, calibration=(8, 8), seed=0)
    write_mrd(path, sample(channel_images(SHAPE, n_channels), pattern, noise_sd=0.01))
    assert main(["recon", str(path), str(tmp_path / "out"), "--method", "reconnet3d"]) == 0
    source = tomllib.loads((tmp_path / "out" / "settings.toml").read_text())["source"]
    assert (source["consistency"], source["weights"]) == ("joint", "joint")
    image = read_image(tmp_path / "out" / "echo-1_part-mag.nii.gz").values
    truth = channel_images(SHAPE, n_channels)[:, 0].abs().square().sum(0).sqrt().numpy()
    assert np.corrcoef(image.ravel(), truth.ravel())[0, 1] > 0.9


@pytest.fixture
def network_file(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    save_network(ReconNet3D(Architecture(4, 2, (3, 1), patch=1)), path, about={})
    return path


def test_weights_of_another_kind_or_architecture_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], network_file: Path
) -> None:
    path = scan(tmp_path / "scan.h5", torch.ones(SHAPE[1:], dtype=torch.bool))
    words = ["recon", str(path), "--method", "reconnet3d", "--weights", str(network_file)]
    assert main([*words, str(tmp_path / "own")]) == 0
    source = tomllib.loads((tmp_path / "own" / "settings.toml").read_text())["source"]
    assert (source["consistency"], source["weights"]) == ("per-coil", network_file.name)
    found = refused([*words, "--consistency", "channels"], capsys, tmp_path / "out")
    assert found == (
        f"{network_file}: expected a network of --consistency joint, found one of per-coil"
    )
    other = {"format": weights.FORMAT, "architecture": asdict(Architecture(8, 2, (3, 1), patch=1))}
    save_file(load_file(network_file), network_file, {weights.HEADER: json.dumps(other)})
    found = refused(words, capsys, tmp_path / "out")
    assert found.startswith(f"{network_file}: expected ")
    assert "found" in found


def test_packaged_weights_with_a_wrong_checksum_are_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    network_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = scan(tmp_path / "scan.h5", torch.ones(SHAPE[1:], dtype=torch.bool))
    registry = tmp_path / "registry.toml"
    registry.write_text(
        '[joint]\nnetwork = "reconnet3d"\nconsistency = "joint"\n'
        f'file = "{network_file.name}"\nsha256 = "{"0" * 64}"\n'
    )
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "REGISTRY", registry)
    words = ["recon", str(path), "--method", "reconnet3d"]
    found = refused(words, capsys, tmp_path / "out")
    assert found.startswith(f"{network_file}: expected SHA-256 {'0' * 64}, found ")


def test_a_sample_that_is_no_number_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = scan(tmp_path / "scan.h5", torch.ones(SHAPE[1:], dtype=torch.bool))
    with h5py.File(path, "r+") as file:
        lines = file["dataset/data"][:]
        lines["data"][9][2] = np.inf
        file["dataset/data"][:] = lines
    found = refused(["recon", str(path), "--method", "zero-filled"], capsys, tmp_path / "out")
    assert found == f"{path}: line 9: expected finite samples, found NaN or infinity"
