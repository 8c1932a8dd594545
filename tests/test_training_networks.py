"""Every network is trained by its name: a few steps help, resume, and round-trip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.options.setting import Settings
from accelqsm.recon.network.architecture import Architecture, DcrArchitecture, EchoArchitecture
from accelqsm.recon.network.echo_joint import EchoJoint
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.registry import NETWORKS
from accelqsm.recon.sense import unit_maps
from accelqsm.recon.weights import load_network, save_network, untrained
from accelqsm.training import run
from accelqsm.training.data import Pair, training_pairs, validation_pairs
from accelqsm.training.loop import CHECKPOINT, train
from accelqsm.training.loss import loss
from accelqsm.training.settings import TrainingSettings
from accelqsm.training.state import State
from accelqsm.training.volumes import coils, digital
from accelqsm.training.volumes.digital import cached_volumes
from accelqsm.training.volumes.volumes import Kind, Volumes
from training_phantom import blob_echoes, blob_volumes

pytestmark = pytest.mark.usefixtures("small_calibration")

ARCHITECTURES: dict[str, Sequence[Settings]] = {
    "reconnet3d": [
        Architecture(4, 2, (3, 1, 1)),
        Architecture(4, 2, (3, 1, 1), consistency="joint"),
    ],
    "dcrnet": [DcrArchitecture(4, 2, "per-coil"), DcrArchitecture(4, 2)],
    "echo-joint": [EchoArchitecture(4, 2, (3, 1, 1))],
}
CASES = [
    pytest.param(
        name, own, id=f"{name}, {own.consistency if hasattr(own, 'consistency') else 'joint'}"
    )
    for name, many in ARCHITECTURES.items()
    for own in many
]


def settings(network: str, own: Settings, **known: Any) -> TrainingSettings:
    """A few steps of a small network."""
    few: dict[str, Any] = {"seed": 3, "steps": 6, "readouts": 4, "warm_up_steps": 2}
    return TrainingSettings(network, own, **(few | known))


def heads(network: str, own: Settings, seed: int = 0, n_volumes: int = 4) -> list[Volumes]:
    """What the network trains on."""
    if NETWORKS[network].joins_echoes:
        return [blob_echoes(n_volumes, seed)]
    joint = getattr(own, "consistency", "") == "joint"
    return [blob_volumes(n_volumes, seed, n_channels=3 if joint else 0)]


def test_every_network_is_trained_here() -> None:
    assert set(ARCHITECTURES) == set(NETWORKS.names)


@pytest.mark.parametrize(("network", "own"), CASES)
def test_interrupted_training_gives_the_same_bytes(
    network: str, own: Settings, tmp_path: Path
) -> None:
    volumes, chosen = heads(network, own), settings(network, own, steps=4)
    train(tmp_path / "whole", volumes, [], settings=chosen)
    train(tmp_path / "parts", volumes, [], settings=chosen, stop_after=2)
    train(tmp_path / "parts", volumes, [], settings=chosen)
    whole, parts = ((tmp_path / name / CHECKPOINT).read_bytes() for name in ("whole", "parts"))
    assert whole == parts


@pytest.mark.parametrize(("network", "own"), CASES)
def test_a_few_steps_on_a_plane_lower_its_loss_below_that_of_zero_filling(
    network: str, own: Settings
) -> None:
    chosen = settings(network, own, steps=40, averaging=0.8, items=1, noise=(0.002, 0.002))
    pairs = training_pairs(heads(network, own), step=0, settings=chosen)
    state = State(chosen)
    losses = [state.advance(pairs) for _ in range(30)]
    with torch.no_grad():
        plain = sum(float(loss(_zero_filled(pair), pair)) for pair in pairs) / len(pairs)
    assert losses[-1] < 0.9 * losses[0]
    assert losses[-1] < 0.9 * plain


def _zero_filled(pair: Pair) -> torch.Tensor:
    images = ifft(pair.measured, PHASE_ENCODES)
    return images if pair.maps is None else (unit_maps(pair.maps).conj() * images).sum(0)


@pytest.mark.parametrize("network", ["dcrnet", "echo-joint"])
def test_the_command_trains_by_name_and_its_file_reconstructs(
    network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Kind] = []

    def volumes(_: Path, seeds: range, kind: Kind) -> list[Volumes]:
        asked.append(kind)
        own = ARCHITECTURES[network][-1]
        return [volume for seed in seeds for volume in heads(network, own, seed, kind.n_volumes)]

    monkeypatch.setattr(run, "cached_volumes", volumes)
    words = ["train", str(tmp_path), "--network", network, f"--{network}-width", "4",
             "--steps", "2", "--readouts", "4", "--heads", "1", "--validation-heads", "1",
             "--items", "1", "--volumes-per-head", "2"]  # fmt: skip
    assert main(words) == 0
    assert asked[0] == Kind(2, all_channels=True, echoes_of_one_scan=network == "echo-joint")
    loaded = load_network(tmp_path / f"{network}.safetensors")
    assert type(loaded) is NETWORKS[network].load()
    assert loaded.architecture.width == 4  # type: ignore[attr-defined]
    written, _ = run.read_training_settings(tmp_path / "settings.toml")
    assert written.network == network
    assert written.network_settings == loaded.architecture
    assert main([*words, "--overwrite", "--steps", "1", "--consistency", "per-coil"]) == 65


def random_weights(network: str, own: Settings, path: Path, **about: str) -> Path:
    """A weights file of a network whose last convolutions are not zero."""
    torch.manual_seed(5)
    made = untrained(network, own)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    save_network(made, path, about=about)
    return path


def test_all_echoes_start_from_the_network_of_single_ones(tmp_path: Path) -> None:
    """What passes from component to component is zero: each is refined by itself at first."""
    own = ARCHITECTURES["reconnet3d"][1]
    file = random_weights("reconnet3d", own, tmp_path / "one.safetensors")
    chosen = settings("echo-joint", ARCHITECTURES["echo-joint"][0], start=str(file))
    with pytest.warns(InputWarning, match="lacks onward.0.weight, onward.1.weight, which begin"):
        state = State(chosen)
    network, single = state.network, load_network(file)
    assert isinstance(network, EchoJoint)
    assert isinstance(single, ReconNet3D)
    components = torch.randn(3, 2 * network.architecture.patch**2, 5, 12, 10)
    with torch.no_grad():
        for index in range(network.architecture.cascades):
            alone = single.change(index, components)
            assert alone.abs().max() > 0.01
            torch.testing.assert_close(network.change(index, components), alone)
    assert torch.equal(network.log_weights, single.log_weights)
    assert torch.equal(
        state.average["blocks.0.0.weight"], state.network.state_dict()["blocks.0.0.weight"]
    )


def test_training_goes_on_from_weights_of_its_own_kind(tmp_path: Path) -> None:
    own = ARCHITECTURES["dcrnet"][1]
    file = random_weights("dcrnet", own, tmp_path / "before.safetensors")
    state = State(settings("dcrnet", own, start=str(file)))
    expected = load_network(file).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in state.average.items())


@pytest.mark.parametrize(
    ("network", "own", "found"),
    [
        ("dcrnet", DcrArchitecture(4, 2), "found blocks.0.0.weight of shape"),
        ("reconnet3d", Architecture(6, 2, (3, 1, 1)), r"\(4, 8, 3, 3, 3\) instead of \(6, 8, "),
        ("reconnet3d", Architecture(4, 2, (3, 1, 1)), r"log_weights of shape \(2,\) instead of"),
    ],
)
def test_weights_that_have_no_place_in_a_network_are_refused(
    network: str, own: Settings, found: str, tmp_path: Path
) -> None:
    joint = ARCHITECTURES["reconnet3d"][1]
    file = random_weights("reconnet3d", joint, tmp_path / "one.safetensors")
    with pytest.raises(InputError, match=f"one.safetensors: expected weights that .*{found}"):
        State(settings(network, own, start=str(file)))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    own = ARCHITECTURES["dcrnet"][0]
    train(tmp_path, heads("dcrnet", own), [], settings=settings("dcrnet", own), stop_after=1)
    other = settings("reconnet3d", ARCHITECTURES["reconnet3d"][0])
    with pytest.raises(InputError, match="network is dcrnet, expected reconnet3d"):
        train(tmp_path, heads("dcrnet", own), [], settings=other)


def test_gradients_that_are_not_finite_end_a_run_before_the_weights_are_spoilt() -> None:
    network, own = "reconnet3d", ARCHITECTURES["reconnet3d"][0]
    chosen = settings(network, own)
    (pair,) = training_pairs(heads(network, own), step=0, settings=chosen)
    state = State(chosen)
    broken = replace(pair, truth=pair.truth * float("nan"))
    with pytest.raises(InputError, match=r"^step 0: expected finite gradients, found nan; "):
        state.advance([broken])
    assert all(bool(value.isfinite().all()) for value in state.network.state_dict().values())
    assert state.step == 0


def _echo_pairs(step: int = 0, **known: Any) -> tuple[Pair, ...]:
    own = ARCHITECTURES["echo-joint"][0]
    return training_pairs(
        [blob_echoes(6)], step=step, settings=settings("echo-joint", own, **known)
    )


def test_a_slab_of_echoes_is_measured_through_one_coil_and_as_it_decays() -> None:
    seen = set()
    for step in range(12):
        for pair in _echo_pairs(step, noise=(1e-9, 1e-9), readouts=8):
            n_echoes = len(pair.truth)
            seen.add(n_echoes)
            assert pair.maps is not None
            assert torch.equal(pair.maps[:, :1].expand_as(pair.maps), pair.maps)
            spacing = torch.tensor(pair.echo_times_s).diff()
            torch.testing.assert_close(spacing, spacing[:1].expand(n_echoes - 1))
            assert float(pair.truth[0].abs().mean()) == pytest.approx(1, rel=1e-4)
            ratio = float(pair.truth[1].abs().mean() / pair.truth[0].abs().mean())
            passed = round(float(spacing[0]) / 0.01)
            assert ratio == pytest.approx(0.8187**passed, rel=1e-2)
            expected = fft(pair.maps * pair.truth, PHASE_ENCODES) * pair.sampled
            moved = (pair.measured - expected).abs().max() > 1e-3
            if not moved:
                torch.testing.assert_close(pair.measured, expected, atol=1e-4, rtol=0)
    assert seen <= set(range(2, 7))
    assert len(seen) > 3


def test_some_slabs_have_a_pattern_for_each_echo_and_all_have_the_acceleration() -> None:
    drawn = [pair.sampled for step in range(10) for pair in _echo_pairs(step, items=1)]
    assert 2 <= sum(sampled.ndim == 4 for sampled in drawn) <= 8
    for sampled in drawn:
        count = sampled.reshape(-1, *sampled.shape[-2:]).sum((1, 2))
        assert count.unique().tolist() in ([round(36 * 30 / 3)], [round(36 * 30 / 5)])
        if sampled.ndim == 4:
            assert not torch.equal(sampled[0], sampled[1])


def test_fixed_patterns_are_one_for_each_acceleration() -> None:
    own = ARCHITECTURES["reconnet3d"][0]
    chosen = settings("reconnet3d", own, fixed_patterns=True, accelerations=(3.0, 4.0, 8.0))
    found: dict[int, list[torch.Tensor]] = {}
    for step in range(12):
        (pair,) = training_pairs([blob_volumes()], step=step, settings=chosen)
        found.setdefault(int(pair.sampled.sum()), []).append(pair.sampled)
    assert set(found) == {360, 270, 135}
    for patterns in found.values():
        assert all(torch.equal(pattern, patterns[0]) for pattern in patterns)


def test_validation_has_all_echoes() -> None:
    (pair,) = validation_pairs([blob_echoes(5)], readouts=4, acceleration=4)
    assert pair.truth.shape[:2] == (5, 4)
    assert pair.echo_times_s == pytest.approx((0.01, 0.02, 0.03, 0.04, 0.05))


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(InputError, match=r"noise: expected the least first, found 0\.2 0\.01"):
        TrainingSettings(noise=(0.2, 0.01))
    with pytest.raises(InputError, match="accelerations: expected one or more"):
        TrainingSettings(accelerations=())
    with pytest.raises(InputError, match="network: expected reconnet3d, dcrnet or echo-joint"):
        TrainingSettings("unet")
    with pytest.raises(InputError, match="expected DcrArchitecture for network dcrnet"):
        TrainingSettings("dcrnet", Architecture())


def test_distributed_slabs_of_echoes_are_shared_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ARCHITECTURES["echo-joint"][0]
    pairs = _echo_pairs(items=2)
    seen: list[torch.Size] = []
    for rank in (0, 1):
        monkeypatch.setattr("accelqsm.training.state.rank_of_group", lambda rank=rank: (rank, 2))
        state = State(settings("echo-joint", own))
        forward = state.network.forward  # type: ignore[attr-defined]

        def noted(measured: torch.Tensor, *rest: Any, forward: Any = forward) -> torch.Tensor:
            seen.append(measured.shape)
            return forward(measured, *rest)

        monkeypatch.setattr(state.network, "forward", noted)
        state.advance(pairs)
        with pytest.raises(InputError, match="multiple of 2 processes, found 1"):
            state.advance(pairs[:1])
    assert seen == [pair.measured.shape for pair in pairs]


@pytest.mark.slow
def test_simulated_echoes_of_one_scan_decay_and_are_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digital, "GRIDS", (((16, 40, 34), (10.0, 5.0, 5.0)),))
    monkeypatch.setattr(coils, "CENTRES", ((16, 16),))
    kind = Kind(4, all_channels=True, echoes_of_one_scan=True)
    (head,) = cached_volumes(tmp_path, range(41, 42), kind)
    assert head.kind == kind
    assert head.images.shape == (4, 16, 40, 34)
    times_s = np.array([contrast.echo_time_s for contrast in head.contrasts])
    np.testing.assert_allclose(np.diff(times_s), times_s[1] - times_s[0])
    assert 2.5e-3 <= times_s[0] <= 6e-3
    assert times_s[-1] <= 40e-3
    sizes = np.abs(head.images).mean((1, 2, 3))
    assert (np.diff(sizes) < 0).all()
    assert np.quantile(np.abs(head.images[0]), 0.999) == pytest.approx(1, rel=1e-4)
    assert head.coils is not None
    assert head.coils.true.shape == (2, 8, 16, 40, 34)
    with pytest.raises(InputError, match="expected 4 volumes of one channel each, found 4 volumes"):
        cached_volumes(tmp_path, range(41, 42), Kind(4))
