"""Learned patterns: counts, gradients, spacing, resuming, and the command."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.cli import main
from accelqsm.errors import InputError, InputWarning
from accelqsm.files.text.pattern import read_pattern
from accelqsm.recon.network.architecture import Architecture, EchoArchitecture
from accelqsm.recon.network.echo_joint import EchoJoint
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.patterns.settings import PatternSettings
from accelqsm.recon.weights import save_network
from accelqsm.training.data import Pair, full_pair
from accelqsm.training.loss import image_loss
from accelqsm.training.patterns import learn
from accelqsm.training.patterns.checkpoint import CHECKPOINT
from accelqsm.training.patterns.density import Density, poisson_density
from accelqsm.training.patterns.settings import LearningSettings
from accelqsm.training.patterns.spacing import spaced_pattern
from accelqsm.training.volumes.digital import cached_volumes
from accelqsm.training.volumes.volumes import Kind, Volumes
from training_phantom import blob_echoes

PLANE = (36, 30)
SETTINGS = PatternSettings(
    shape=PLANE, acceleration=4.0, calibration=(6, 4), voxel_size_mm=(6.0, 5.0), seed=2
)
LEARNING = LearningSettings(steps=4, heads=1, validation_heads=1, readouts=3)
CENTRE = (slice(15, 21), slice(13, 17))
JOINT = Architecture(4, 2, (3, 1, 1), consistency="joint")


@pytest.fixture(autouse=True)
def _single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELQSM_PRECISION", "single")


def fixed(network: torch.nn.Module) -> torch.nn.Module:
    """A network whose refinement is not zero, and that learns nothing."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.add_(0.05 * torch.randn_like(parameter))
    return network.eval().requires_grad_(False)


def some_pair(n_echoes: int = 2) -> Pair:
    rng = np.random.default_rng(1)
    return full_pair(blob_echoes(n_echoes), rng, readouts=3, noise=(0.01, 0.02))


@pytest.mark.parametrize("echoes", [1, 3])
@pytest.mark.parametrize("ellipse", [False, True])
@pytest.mark.parametrize("level", [-2.0, 2.0])
def test_every_draw_has_the_exact_count_and_the_centre(
    echoes: int, ellipse: bool, level: float
) -> None:
    """For logits whose mean probability is below the wanted one, and above."""
    settings = replace(SETTINGS, echoes=echoes, ellipse=ellipse)
    density = Density(settings, torch.full(PLANE, 0.5))
    torch.manual_seed(1)
    density.logits.data = level + torch.randn_like(density.logits)
    probability = density.probability()
    assert (probability >= 0).all()
    assert (probability <= 1).all()
    wanted = 36 * 30 // 4 - 24
    torch.testing.assert_close(probability.sum(-1), torch.full((echoes,), float(wanted)))
    patterns = [density(torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)]
    assert patterns[0].shape == (PLANE if echoes == 1 else (echoes, 1, *PLANE))
    assert torch.equal(patterns[0], patterns[1])
    assert not torch.equal(patterns[0], patterns[2])
    for pattern in patterns:
        assert set(pattern.unique().tolist()) == {0.0, 1.0}
        assert (pattern.sum((-2, -1)) == 270).all()
        assert (pattern[..., CENTRE[0], CENTRE[1]] == 1).all()
        assert bool(pattern[..., 0, 0].any()) <= (not ellipse)


def test_positions_are_drawn_as_often_as_they_are_probable() -> None:
    """To within what the fixed count changes, which is little."""
    density = Density(SETTINGS, torch.full(PLANE, 0.5))
    p = torch.linspace(0.05, 0.95, density.logits.shape[-1])
    density.logits.data = torch.logit(p)[None]
    probability = density.probability().detach()
    generator = torch.Generator().manual_seed(0)
    often = torch.stack([density.draw(probability, generator) for _ in range(400)]).mean(0)
    blocks = [
        (a.mean(), b.mean())
        for a, b in zip(often[0].chunk(8), probability[0].chunk(8), strict=True)
    ]
    for found, expected in blocks:
        assert float(found) == pytest.approx(float(expected), abs=0.01)


def test_the_gradient_goes_straight_through_the_draw() -> None:
    density = Density(SETTINGS, poisson_density(SETTINGS))
    weights = torch.rand(PLANE, generator=torch.Generator().manual_seed(3))
    (weights * density(torch.Generator().manual_seed(4))).sum().backward()
    through, density.logits.grad = density.logits.grad, None
    (weights * density.plane(density.probability())).sum().backward()
    torch.testing.assert_close(through, density.logits.grad)
    assert through is not None
    assert float(through.abs().max()) > 0


@pytest.mark.parametrize("by", ["samples", "consistency", "both"])
@pytest.mark.parametrize("own", [False, True])
def test_the_gradient_by_the_pattern_is_that_of_the_loss(by: str, own: bool) -> None:
    """Against differences, in double precision: by the samples, by the encoding, and by both."""
    network = fixed(ReconNet3D(JOINT)).double()
    pair = some_pair()
    assert pair.maps is not None
    measured, maps, truth = (x.to(torch.complex128) for x in (pair.measured, pair.maps, pair.truth))
    generator = torch.Generator().manual_seed(7)
    shape = (2, 1, *PLANE) if own else PLANE
    start = 0.2 + 0.8 * torch.rand(shape, generator=generator, dtype=torch.float64)
    direction = torch.randn(shape, generator=generator, dtype=torch.float64)

    def value(pattern: Tensor) -> Tensor:
        samples = measured * (pattern if by != "consistency" else start)
        return image_loss(network(samples, pattern if by != "samples" else start, maps), truth)

    pattern = start.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(pattern), pattern)
    step = 1e-6
    numeric = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
    assert abs(float(numeric)) > 1e-3
    assert float((gradient * direction).sum()) == pytest.approx(float(numeric), rel=1e-3)


def test_a_network_of_all_echoes_passes_gradients_to_the_pattern_of_each() -> None:
    network = fixed(EchoJoint(EchoArchitecture(4, 2, (3, 1, 1))))
    pair = some_pair()
    density = Density(replace(SETTINGS, echoes=2), torch.full(PLANE, 0.25))
    image = learn.reconstruct(network, pair, density(torch.Generator().manual_seed(1)))
    image_loss(image, pair.truth).backward()
    assert density.logits.grad is not None
    assert (density.logits.grad.abs().mean(-1) > 0).all()
    assert bool((density.logits.grad != 0).float().mean() > 0.99)


def test_a_density_without_knowledge_learns_to_sample_low_frequencies(tmp_path: Path) -> None:
    """Blobs have little signal at high ones; the frequencies next to the centre are few."""
    learning = replace(LEARNING, steps=30, learning_rate=0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "poisson_density", lambda _: torch.full(PLANE, 0.25))
        density = learn.learned_density(
            tmp_path, fixed(ReconNet3D(JOINT)), [blob_echoes()], SETTINGS, learning
        )
    with torch.no_grad():
        plane = density.plane(density.probability())
    y, z = torch.meshgrid(*(2 * torch.arange(n) / n - 1 for n in PLANE), indexing="ij")
    radius = torch.hypot(y, z)
    inner, outer = plane[density.free & (radius < 0.45)], plane[radius > 0.8]
    assert float(inner.mean()) > 2 * float(outer.mean())


def test_learning_goes_on_to_the_same_bytes_and_refuses_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, heads = fixed(ReconNet3D(JOINT)), [blob_echoes()]

    def run(folder: str, settings: PatternSettings, learning: LearningSettings) -> bytes:
        learn.learned_density(tmp_path / folder, network, heads, settings, learning)
        return (tmp_path / folder / CHECKPOINT).read_bytes()

    whole = run("whole", SETTINGS, LEARNING)
    run("parts", SETTINGS, replace(LEARNING, steps=2))
    assert run("parts", replace(SETTINGS, order="centre-out"), LEARNING) == whole
    for settings, learning, told in (
        (replace(SETTINGS, acceleration=5.0), LEARNING, "acceleration is 4.0, expected 5.0"),
        (SETTINGS, replace(LEARNING, learning_rate=0.1), "learning_rate is 0.05, expected 0.1"),
    ):
        with pytest.raises(InputError, match=f"{CHECKPOINT}: {told} to resume"):
            run("parts", settings, learning)
    (tmp_path / "parts" / CHECKPOINT).write_bytes(whole[:200])
    with pytest.raises(InputError, match="expected a whole checkpoint"):
        run("parts", SETTINGS, LEARNING)


def test_spaced_patterns_have_density_count_and_distance() -> None:
    """The mean of many is the density; neighbours are rarer than where draws are independent."""
    settings = PatternSettings(shape=(60, 50), acceleration=5.0, calibration=(10, 10))
    along_y = torch.linspace(0.05, 0.35, 60)[:, None].expand(60, 50)  # unlike the usual disk
    density = Density(settings, along_y)
    with torch.no_grad():
        plane = density.plane(density.probability())
    patterns = torch.stack([spaced_pattern(plane, settings, seed=seed) for seed in range(24)])
    assert (patterns.sum((1, 2)) == 600).all()
    assert patterns[:, 25:35, 20:30].all()
    assert torch.equal(patterns[3], spaced_pattern(plane, settings, seed=3))
    often = patterns.float().mean(0)
    for rows in (slice(2, 14), slice(14, 24), slice(36, 46), slice(46, 58)):
        assert float(often[rows].mean()) == pytest.approx(float(plane[rows].mean()), rel=0.12)
    drawn = torch.stack([
        density(torch.Generator().manual_seed(seed)).bool() for seed in range(24)
    ])  # fmt: skip
    touching = [(p[:, :20, 1:] & p[:, :20, :-1]).sum() for p in (patterns, drawn)]
    assert int(touching[1]) > 100
    assert int(touching[0]) < 0.3 * int(touching[1])


def test_learning_starts_where_the_poisson_disk_is() -> None:
    settings = replace(SETTINGS, shape=(48, 40), ellipse=True)
    density = Density(settings, poisson_density(settings))
    with torch.no_grad():
        plane = density.plane(density.probability())
    more = [learn.drawn_pattern(replace(settings, seed=seed)) for seed in range(100, 140)]
    often = torch.stack(more).float().mean(0)
    assert (plane[often == 0] < 0.1).all()
    assert plane[0, 0] == 0
    y, z = torch.meshgrid(*(2 * torch.arange(n) / n - 1 for n in (48, 40)), indexing="ij")
    radius = torch.hypot(y, z)
    for low in (0.2, 0.4, 0.6, 0.8):
        ring = density.free & (radius >= low) & (radius < low + 0.2)
        assert float(plane[ring].mean()) == pytest.approx(float(often[ring].mean()), rel=0.1)


def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str, echoes: int = 3) -> int:
    """Run the command with a small network on blobs."""
    weights = tmp_path / "small.safetensors"
    if not weights.exists():
        save_network(fixed(ReconNet3D(JOINT)), weights, about={})  # type: ignore[arg-type]

    def blobs(folder: Path, seeds: range, kind: Kind, plane: object) -> list[Volumes]:
        assert kind == Kind(echoes, all_channels=True, echoes_of_one_scan=True)
        assert plane == ((72, 36, 30), (2.5, 6.0, 5.0))
        return [blob_echoes(echoes, seed) for seed in seeds]

    monkeypatch.setattr(learn, "cached_volumes", blobs)
    fixed_words = (
        "--shape", "36", "30", "--voxel-size-mm", "6", "5", "--calibration", "6", "4",
        "--acceleration", "4", "--heads", "2", "--readouts", "3", "--weights", str(weights),
    )  # fmt: skip
    return main(["pattern", str(tmp_path / "a.tsv"), *fixed_words, *words])


def test_the_command_learns_chooses_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--learn", str(tmp_path / "work"), "--steps", "2"]
    monkeypatch.setattr(learn, "errors", lambda _, __, pattern: [float(pattern.sum())])
    assert command(tmp_path, monkeypatch, *words) == 0
    told = capsys.readouterr().out
    assert "NRMSE on 2 other heads: draw 27000.00 %, spaced 27000.00 %, poisson-disk" in told
    pattern = read_pattern(tmp_path / "a.tsv", PLANE)
    assert pattern.sum() == 270
    record = tomllib.loads((tmp_path / "a.toml").read_text())
    assert record["learning"]["steps"] == 2
    assert record["source"]["form"] in ("draw", "spaced")
    assert set(record["source"]["nrmse"]) == {"draw", "spaced", "poisson-disk"}
    assert (tmp_path / "work" / "settings.toml").is_file()
    assert command(tmp_path, monkeypatch, *words) == 65
    words[-1] = "3"
    assert command(tmp_path, monkeypatch, *words, "--overwrite") == 0
    assert tomllib.loads((tmp_path / "a.toml").read_text())["learning"]["steps"] == 3


def test_of_two_forms_the_better_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learn, "cached_volumes", lambda *_: [blob_echoes()])
    monkeypatch.setattr(learn, "joint_network", lambda _: fixed(ReconNet3D(JOINT)))
    scores = iter([[0.5], [0.4], [0.3]])
    monkeypatch.setattr(learn, "errors", lambda *_: next(scores))
    found = learn.learn_pattern(tmp_path, SETTINGS, replace(LEARNING, steps=1))
    assert found.form == "spaced"
    assert dict(found.nrmse) == {"draw": 0.5, "spaced": 0.4, "poisson-disk": 0.3}
    density = learn.learned_density(
        tmp_path, fixed(ReconNet3D(JOINT)), [blob_echoes()], SETTINGS, replace(LEARNING, steps=1)
    )
    assert torch.equal(found.pattern, learn.spaced(density, SETTINGS, seed=SETTINGS.seed))


def test_errors_are_those_of_the_network_under_the_pattern() -> None:
    network, pair = fixed(ReconNet3D(JOINT)), some_pair()
    few, most = (learn.drawn_pattern(replace(SETTINGS, acceleration=af)) for af in (4.0, 1.2))
    (found,) = learn.errors(network, [pair], few)
    image = network(pair.measured * few, few, pair.maps)
    assert found == pytest.approx(float((image - pair.truth).norm() / pair.truth.norm()), rel=1e-5)
    assert learn.errors(network, [pair], most)[0] < found
    (echoes,) = learn.errors(network, [pair], torch.stack([few, few]))
    assert echoes == pytest.approx(found, rel=1e-5)


def test_a_poisson_disk_that_is_better_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([[0.5], [0.4], [0.3]])
    monkeypatch.setattr(learn, "errors", lambda *_: next(scores))
    words = ["--learn", str(tmp_path / "work"), "--steps", "1"]
    with pytest.warns(InputWarning, match="a.tsv: the Poisson disk has an NRMSE of 30.00 %"):
        assert command(tmp_path, monkeypatch, *words) == 0


def test_patterns_of_each_echo_are_learned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--learn", str(tmp_path / "work"), "--steps", "1", "--echoes", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learn, "errors", lambda *_: [0.1])
        assert command(tmp_path, monkeypatch, *words, echoes=2) == 0
    pattern = read_pattern(tmp_path / "a.tsv", PLANE)
    assert pattern.shape == (2, *PLANE)
    assert (pattern[0] != pattern[1]).any()


def test_what_cannot_be_learned_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    learned = ["--learn", str(tmp_path / "work")]
    (tmp_path / "s.toml").write_text("[learning]\nsteps = 3\n")
    for words, told in (
        ([*learned, "--weights", "per-coil"], "per-coil: expected a network of all channels"),
        ([*learned, "--voxel-size-mm", "6", "3"], "180 x 120 mm or more"),
        ([*learned, "--noise", "0.2", "0.1"], "noise: expected the least first"),
        (["--steps", "3"], "--learn DIR"),
        (["--settings", str(tmp_path / "s.toml")], "--learn DIR"),
    ):
        assert command(tmp_path, monkeypatch, *words) == 65
        (line,) = capsys.readouterr().err.splitlines()
        assert told in line
    assert not (tmp_path / "a.tsv").exists()
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_heads_are_simulated_on_the_plane_that_is_asked_for(tmp_path: Path) -> None:
    kind = Kind(2, all_channels=True, echoes_of_one_scan=True)
    plane = ((32, 36, 30), (5.4, 6.0, 5.0))
    (head,) = cached_volumes(tmp_path, range(41, 42), kind, plane)
    assert head.images.shape == (2, 32, 36, 30)
    (other,) = cached_volumes(tmp_path, range(41, 42), kind, ((32, 40, 30), (5.4, 5.4, 5.0)))
    assert other.images.shape == (2, 32, 40, 30)
