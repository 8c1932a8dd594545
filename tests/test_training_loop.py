"""The loop: learning, resuming to the byte, and what is written."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from accelqsm.errors import InputError
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.weights import HEADER, load_network
from accelqsm.training import loop, run
from accelqsm.training.loop import CHECKPOINT, LOG, train
from accelqsm.training.run import read_training_settings, train_network
from accelqsm.training.settings import DataSettings, TrainingSettings
from accelqsm.training.validation import relative_errors
from accelqsm.training.volumes.volumes import Kind
from training_phantom import blob_volumes

SETTINGS = TrainingSettings(
    network_settings=Architecture(4, 2, (3, 1, 1)), seed=3, steps=6, readouts=4, warm_up_steps=2
)

pytestmark = pytest.mark.usefixtures("small_calibration")


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_interrupted_training_gives_the_same_bytes(tmp_path: Path) -> None:
    heads = [blob_volumes()]
    train(tmp_path / "whole", heads, heads, settings=SETTINGS, validate_every=4)
    train(tmp_path / "parts", heads, heads, settings=SETTINGS, validate_every=4, stop_after=3)
    train(tmp_path / "parts", heads, heads, settings=SETTINGS, validate_every=4)
    whole, parts = (tmp_path / name / CHECKPOINT for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes()


@pytest.mark.slow
def test_other_processes_draw_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # of which a process of its own knows nothing
    pairs = loop._Steps([blob_volumes()], SETTINGS, range(3, 6))
    for drawn, ahead in zip(pairs.in_order(0), pairs.in_order(1), strict=True):
        assert torch.equal(drawn[0].measured, ahead[0].measured)


def test_seed_decides_the_weights(tmp_path: Path) -> None:
    heads = [blob_volumes()]
    settings = replace(SETTINGS, steps=2)
    first = train(tmp_path / "a", heads, [], settings=settings)
    other = train(tmp_path / "b", heads, [], settings=replace(settings, seed=4))
    assert not torch.equal(*(n.state_dict()["blocks.0.0.weight"] for n in (first, other)))


@pytest.mark.slow
def test_training_beats_zero_filling(tmp_path: Path) -> None:
    heads, others = [blob_volumes(4)], [blob_volumes(4, seed=9)]
    settings = replace(
        SETTINGS,
        network_settings=Architecture(8, 2, (3, 3, 1)),
        steps=140,
        averaging=0.9,
    )
    network = train(tmp_path, heads, others, settings=settings, validate_every=140)
    for acceleration in (3.0, 5.0):
        for error in relative_errors(network, others, acceleration=acceleration):
            assert error.network < 0.9 * error.zero_filled
    (row,) = _rows(tmp_path / LOG)
    assert float(row["nrmse_af5"]) < 0.9 * float(row["zero_filled_af5"])


def test_untrained_error_is_that_of_zero_filling() -> None:
    network = ReconNet3D(Architecture(4, 2, (3, 1, 1)))
    for error in relative_errors(network, [blob_volumes()], acceleration=4):
        assert error.network == pytest.approx(error.zero_filled, rel=1e-4)


def test_learning_rate_rises_then_falls() -> None:
    settings = TrainingSettings(steps=1000, warm_up_steps=10, learning_rate=1e-3)
    assert settings.rate(0) == pytest.approx(1e-4, rel=1e-3)
    assert settings.rate(500) == pytest.approx(0.5e-3)
    assert settings.rate(999) < 1e-8


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    heads = [blob_volumes()]
    train(tmp_path, heads, [], settings=SETTINGS, stop_after=1)
    with pytest.raises(InputError, match="seed is 3, expected 4"):
        train(tmp_path, heads, [], settings=replace(SETTINGS, seed=4))
    train(tmp_path, heads, [], settings=replace(SETTINGS, steps=7), stop_after=2)


def test_a_checkpoint_of_former_words_is_resumed(tmp_path: Path) -> None:
    """Earlier checkpoints say "channel" for per-coil consistency."""
    heads = [blob_volumes()]
    train(tmp_path, heads, [], settings=SETTINGS, stop_after=1)
    checkpoint = tmp_path / CHECKPOINT
    with safe_open(checkpoint, framework="pt") as file:
        header = {k: v.replace('"per-coil"', '"channel"') for k, v in file.metadata().items()}
    assert '"channel"' in header[HEADER]
    save_file(load_file(checkpoint), checkpoint, header)
    train(tmp_path, heads, [], settings=SETTINGS, stop_after=2)


FORMER_SETTINGS = """
[network]
width = 8
cascades = 5
readout_kernels = [3, 1, 3, 1, 1]
patch = 2
consistency = "channels"

[training]
seed = 0
steps = 12018
readouts = 16
items = 4
learning_rate = 0.02
warm_up_steps = 60
averaging = 0.997

[data]
scans = ""
heads = 48
validation_heads = 3
volumes_per_head = 6
"""


def test_settings_of_earlier_runs_are_read(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(FORMER_SETTINGS)
    settings, data = read_training_settings(file)
    assert settings == TrainingSettings(
        network_settings=Architecture(width=8, consistency="joint"),
        steps=12018,
        readouts=16,
        items=4,
    )
    assert data == DataSettings(heads=48, validation_heads=3)
    assert read_training_settings(None) == (TrainingSettings(), DataSettings())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nsteps = 0", r"settings.toml: \[training\] steps: expected 1 to"),
        ("[network]\nwidth = 4.5", r"\[network\] width: expected a whole number, found 4.5"),
        ("[network]\nconsistency = 'none'", "consistency: expected per-coil or joint"),
        ("[data]\ncolour = 'red'", r"\[data\] expected settings among scans, .* found colour"),
    ],
)
def test_files_of_impossible_settings_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_training_settings(tmp_path / "settings.toml")


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(InputError, match=r"steps: expected 1 to 1e\+09, found 0"):
        TrainingSettings(steps=0)


def test_train_network_keeps_weights_and_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[range] = []

    def heads(_: Path, seeds: range, kind: Kind) -> list[object]:
        assert kind == Kind(2)
        asked.append(seeds)
        return [blob_volumes(kind.n_volumes, seed) for seed in seeds]

    monkeypatch.setattr(run, "cached_volumes", heads)
    file = train_network(
        tmp_path,
        settings=SETTINGS,
        data=DataSettings(heads=2, validation_heads=1, volumes_per_head=2),
    )
    assert asked[:2] == [range(1000, 1002), range(2000, 2001)]
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert read_training_settings(tmp_path / "settings.toml") == (
        SETTINGS,
        DataSettings(heads=2, validation_heads=1, volumes_per_head=2),
    )
    assert load_network(file).architecture == SETTINGS.network_settings
    rows = _rows(tmp_path / "errors.csv")
    assert [row["acceleration"] for row in rows] == ["3", "3", "4", "4", "5", "5"]
    with pytest.raises(InputError, match="heads"):
        DataSettings(heads=0)


@pytest.mark.parametrize("cut", [0, 7, 200, -1])
def test_a_cut_checkpoint_is_one_line_at_every_restart(tmp_path: Path, cut: int) -> None:
    heads = [blob_volumes()]
    train(tmp_path, heads, [], settings=SETTINGS, stop_after=1)
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:cut])
    for _ in range(2):
        with pytest.raises(InputError, match=r"checkpoint.*: expected a whole checkpoint, found"):
            train(tmp_path, heads, [], settings=SETTINGS)


def test_a_checkpoint_that_lacks_tensors_is_one_line(tmp_path: Path) -> None:
    heads = [blob_volumes()]
    train(tmp_path, heads, [], settings=SETTINGS, stop_after=1)
    checkpoint = tmp_path / CHECKPOINT
    with safe_open(checkpoint, framework="pt") as file:
        header = file.metadata()
    tensors = load_file(checkpoint)
    for without in ("weights/", "average/", "adam/", "muon/"):
        save_file(
            {k: v for k, v in tensors.items() if not k.startswith(without)}, checkpoint, header
        )
        with pytest.raises(InputError, match="expected a whole checkpoint"):
            train(tmp_path, heads, [], settings=SETTINGS)


def test_a_killed_run_leaves_no_line_twice_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after a line and before its checkpoint; and with half a line."""
    heads = [blob_volumes()]
    train(tmp_path / "whole", heads, heads, settings=SETTINGS, validate_every=2)
    out = tmp_path / "killed"
    train(out, heads, heads, settings=SETTINGS, validate_every=2, stop_after=2)
    with monkeypatch.context() as killed:
        killed.setattr(loop.State, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(out, heads, heads, settings=SETTINGS, validate_every=2)
    assert [row["step"] for row in _rows(out / LOG)] == ["2", "4"]
    with open(out / LOG, "a") as file:
        file.write("6,0.0")
    train(out, heads, heads, settings=SETTINGS, validate_every=2)
    assert [row["step"] for row in _rows(out / LOG)] == ["2", "4", "6"]
    (out / CHECKPOINT).unlink()
    (out / LOG).write_text("")
    train(out, heads, heads, settings=SETTINGS, validate_every=2)
    assert (out / LOG).read_bytes() == (tmp_path / "whole" / LOG).read_bytes()
