"""Weights are found, verified and refused when they are not what they should be."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.options.setting import Settings
from accelqsm.recon import weights
from accelqsm.recon.network.architecture import Architecture, DcrArchitecture, EchoArchitecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.registry import NETWORKS
from accelqsm.recon.weights import (
    default_weights,
    load_network,
    name_of,
    packaged_weights,
    save_network,
    untrained,
    weights_checksum,
)


@pytest.fixture
def network() -> ReconNet3D:
    torch.manual_seed(3)
    return ReconNet3D(Architecture(4, 2, (3, 1)))


def test_what_was_saved_is_loaded(network: ReconNet3D, tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    save_network(network, file, about={"steps": "7"})
    save_network(network, tmp_path / "again.safetensors", about={"steps": "7"})
    assert file.read_bytes() == (tmp_path / "again.safetensors").read_bytes()
    loaded = load_network(file)
    assert loaded.architecture == network.architecture
    assert not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert weights_checksum(file) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_packaged_weights_have_the_checksum_of_the_registry() -> None:
    network = load_network()
    assert len(weights_checksum()) == 64
    assert isinstance(network, ReconNet3D)
    assert len(network.blocks) == 5


def test_a_changed_byte_is_noticed(
    network: ReconNet3D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "net.safetensors"
    save_network(network, file, about={})
    registry = tmp_path / "registry.toml"
    registry.write_text(f'[tiny]\nfile = "net.safetensors"\nsha256 = "{weights_checksum(file)}"')
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "REGISTRY", registry)
    load_network("tiny")
    damaged = bytearray(file.read_bytes())
    damaged[-1] ^= 1
    file.write_bytes(bytes(damaged))
    with pytest.raises(InputError, match="SHA-256"):
        load_network("tiny")
    file.unlink()
    with pytest.raises(InputError, match="found none"):
        load_network("tiny")


def test_unknown_names_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-such-network"):
        load_network("no-such-network")
    with pytest.raises(InputError, match="found none"):
        load_network(tmp_path / "absent.safetensors")


def test_a_gpu_gets_the_wide_network() -> None:
    assert default_weights("reconnet3d", "per-coil") == "per-coil"
    assert default_weights("reconnet3d", "per-coil", on_gpu=True) == "per-coil-wide"
    assert default_weights("reconnet3d", on_gpu=True) == "joint"
    wide, small = (load_network(name).architecture for name in ("per-coil-wide", "per-coil"))
    assert isinstance(wide, Architecture)
    assert isinstance(small, Architecture)
    assert wide.width > small.width
    assert wide.consistency == small.consistency == "per-coil"
    with pytest.raises(InputError, match="consistency: expected per-coil or joint, found 'none'"):
        default_weights("reconnet3d", "none")


@pytest.mark.parametrize(
    ("name", "former"),
    [("per-coil", "channel"), ("per-coil-wide", "channel-wide"), ("joint", "channels")],
)
def test_former_names_of_weights_are_aliases(name: str, former: str) -> None:
    assert name in packaged_weights()
    assert weights_checksum(former) == weights_checksum(name)
    assert default_weights("reconnet3d", "channels") == "joint"


def test_files_of_the_former_format_are_read(network: ReconNet3D, tmp_path: Path) -> None:
    """They name no network, and their consistency by a word that is no longer offered."""
    file = tmp_path / "former.safetensors"
    architecture = asdict(network.architecture) | {"consistency": "channel"}
    record = {"format": "reconnet3d-1", "architecture": architecture}
    tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(tensors, file, {weights.HEADER: json.dumps(record)})
    loaded = load_network(file)
    assert loaded.architecture == network.architecture
    assert loaded.consistency == "per-coil"


def test_networks_that_no_row_names_are_refused(network: ReconNet3D, tmp_path: Path) -> None:
    file = tmp_path / "foreign.safetensors"
    record = {"format": weights.FORMAT, "network": "unet", "architecture": {}}
    save_file({"a": torch.zeros(3)}, file, {weights.HEADER: json.dumps(record)})
    with pytest.raises(
        InputError, match=r"network: expected reconnet3d, .* or echo-joint, found 'unet'"
    ):
        load_network(file)
    with pytest.raises(InputError, match=r"network: expected reconnet3d, .*, found Linear"):
        save_network(torch.nn.Linear(2, 2), file, about={})  # type: ignore[arg-type]


def test_weights_of_every_network_fit_twelve_megabytes(tmp_path: Path) -> None:
    """Those of the package, and one of each network that has none there."""
    total = sum(file.stat().st_size for file in weights.FOLDER.glob("*.safetensors"))
    there = {name_of(load_network(name)) for name in packaged_weights()}
    for row in NETWORKS:
        if row.name not in there:
            file = tmp_path / f"{row.name}.safetensors"
            save_network(untrained(row.name, row.settings()), file, about={}, half=True)
            total += file.stat().st_size
    assert total < 12_000_000


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("reconnet3d", Architecture(4, 2, (3, 1))),
        ("dcrnet", DcrArchitecture(4, 1, "per-coil")),
        ("echo-joint", EchoArchitecture(4, 2, (3, 1))),
    ],
)
def test_every_network_is_loaded_as_it_was_saved(
    name: str, architecture: Settings, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    made = untrained(name, architecture)
    with torch.no_grad():
        for value in made.state_dict().values():
            if value.is_floating_point():
                value.uniform_(0.1, 1)
    save_network(made, tmp_path / "whole.safetensors", about={})
    save_network(made, tmp_path / "half.safetensors", about={}, half=True)
    whole, half = (load_network(tmp_path / f"{w}.safetensors") for w in ("whole", "half"))
    assert type(whole) is type(half) is type(made)
    assert whole.architecture == half.architecture == architecture
    for key, value in made.state_dict().items():
        assert torch.equal(whole.state_dict()[key], value)
        assert half.state_dict()[key].dtype == value.dtype
        torch.testing.assert_close(half.state_dict()[key], value, rtol=5e-4, atol=0)
    assert name_of(whole) == name


@pytest.mark.parametrize("name", sorted({*packaged_weights()} - {"dcrnet-joint", "echo-joint"}))
def test_packaged_weights_are_the_network_that_they_always_were(name: str) -> None:
    """To the bit the class of the file's tensors, and up to rounding its formula, written out."""
    file = weights.weights_file(name)
    tensors, loaded = load_file(file), load_network(name)
    assert isinstance(loaded, ReconNet3D)
    joint = loaded.consistency == "joint"
    again = ReconNet3D(loaded.architecture)
    again.load_state_dict(tensors)
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(1, 12, 16, 14, dtype=torch.complex64, generator=generator)
    sampled = torch.rand(16, 14, generator=generator) < 0.5
    maps = torch.ones(1, 12, 16, 14, dtype=torch.complex64) if joint else None
    measured = fft(truth, PHASE_ENCODES) * sampled
    given = measured[None] if joint else measured
    with torch.no_grad():
        image = loaded(given, sampled, maps)
        assert torch.equal(image, again(given, sampled, maps))
    expected = _formula(tensors, measured, sampled, joint=joint)
    torch.testing.assert_close(image, expected, rtol=0, atol=2e-4)
    assert (image - ifft(measured, PHASE_ENCODES)).abs().max() > 0.05


def _formula(
    tensors: dict[str, torch.Tensor], measured: torch.Tensor, sampled: torch.Tensor, *, joint: bool
) -> torch.Tensor:
    """ReconNet3D of one channel of sensitivity one: consistency is a mean in k-space."""
    logs = tensors["log_weights"]
    first = 1 / (1 + 1e-2) if joint else 1.0  # of CG-SENSE with its Tikhonov weight
    image = first * ifft(measured, PHASE_ENCODES)
    for cascade in range(5):
        parts = torch.view_as_real(image).permute(0, 1, 4, 2, 3)  # batch, x, part, y, z
        values = functional.pixel_unshuffle(parts, 2).transpose(1, 2)
        for layer in range(5):
            kernel = tensors[f"blocks.{cascade}.{2 * layer}.weight"]
            padding = tuple(size // 2 for size in kernel.shape[2:])
            values = functional.conv3d(values, kernel, padding=padding)
            values = functional.leaky_relu(values, 0.1) if layer < 4 else values
        change = functional.pixel_shuffle(values.transpose(1, 2), 2)
        image = image + torch.view_as_complex(change.permute(0, 1, 3, 4, 2).contiguous())
        share = torch.sigmoid(logs[cascade]) if cascade < len(logs) else 1.0
        missing = measured - fft(image, PHASE_ENCODES) * sampled
        image = image + share * ifft(missing, PHASE_ENCODES)
    return image


def test_other_files_are_refused(network: ReconNet3D, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("not weights")
    with pytest.raises(InputError, match="safetensors"):
        load_network(text)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(3)}, foreign)
    with pytest.raises(InputError, match="format"):
        load_network(foreign)
    other = tmp_path / "other.safetensors"
    record = {"format": weights.FORMAT, "architecture": asdict(Architecture(8, 2, (3, 1)))}
    metadata = {weights.HEADER: json.dumps(record)}
    tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(tensors, other, metadata)
    with pytest.raises(InputError, match="tensors"):
        load_network(other)
