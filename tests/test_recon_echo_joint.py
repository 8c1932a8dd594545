"""The network of all echoes: their components, and the invariants that hold."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.recon.methods.echo_components import EchoComponents, cosines, sines
from accelqsm.recon.network.architecture import Architecture, EchoArchitecture
from accelqsm.recon.network.echo_joint import EchoJoint
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.network.unrolled import unrolled
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import Encoding, unit_maps
from recon_phantom import channel_images, sample

PLANE = (15, 12)
PATTERNS = torch.stack(
    [poisson_disk(PLANE, acceleration=2.5, calibration=(4, 4), seed=seed) for seed in range(3)]
)[:, None]
FULL = torch.ones(PLANE, dtype=torch.bool)
SMALL = EchoArchitecture(width=4, cascades=2, readout_kernels=(3, 1, 1))


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def random_network(spread: float = 0.15) -> EchoJoint:
    """Weights drawn at random, the zeroed last convolutions too."""
    torch.manual_seed(0)
    network = EchoJoint(SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 5:
                parameter.normal_(0, spread)
    return network.eval()


def echoes(patterns: Tensor = PATTERNS, n_echoes: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (channel, echo, x, ky, kz) of a random object, maps, and the object."""
    maps, truth = unit_maps(noise(4, 5, *PLANE, seed=3)), noise(n_echoes, 5, *PLANE, seed=4)
    return fft(maps[:, None] * truth, PHASE_ENCODES) * patterns, maps, truth


def residual(image: Tensor, measured: Tensor, maps: Tensor) -> float:
    of_image = fft(maps[:, None] * image.detach(), PHASE_ENCODES) * PATTERNS
    return float((of_image - measured).norm())


def test_every_echo_depends_on_every_other_one() -> None:
    network = random_network()
    measured, maps, _ = echoes()
    image = network(measured, PATTERNS, maps)
    assert image.shape == (3, 5, *PLANE)
    for echo in range(3):
        changed = measured.clone()
        changed[:, echo] *= 2
        difference = (network(changed, PATTERNS, maps) - image).abs().amax(dim=(1, 2, 3))
        assert (difference > 1e-3).all()


def test_reversed_components_give_the_reversed_change() -> None:
    network = random_network()
    components = torch.randn(3, 2 * SMALL.patch**2, 5, 8, 6)
    change = network.change(0, components)
    torch.testing.assert_close(network.change(0, components.flip(0)).flip(0), change)


def test_a_state_that_is_not_passed_on_leaves_the_components_alone() -> None:
    """Without the convolution from component to component, each is what it is by itself."""
    network = random_network()
    components = torch.randn(3, 2 * SMALL.patch**2, 5, 8, 6)
    together = network.change(0, components)
    with torch.no_grad():
        for kernel in network.onward.parameters():
            kernel.zero_()
    alone = torch.cat([network.change(0, each[None]) for each in components])
    assert (together - alone).abs().max() > 0.01
    torch.testing.assert_close(network.change(0, components), alone)


def test_the_components_of_smooth_phases_are_their_magnitudes() -> None:
    """Echoes alike but for their phase are refined as the one image of their mean."""
    network = random_network().train()
    magnitude, phases = torch.rand(5, 32, 24) + 1, torch.tensor([0.3, 1.2, -2.0])
    turns = torch.polar(torch.ones(3), phases).view(3, 1, 1, 1)
    mean = torch.zeros(3, 5, 32, 24, dtype=torch.complex64)
    mean[0] = math.sqrt(3) * magnitude
    expected = super(EchoJoint, network).refine(0, mean)
    expected = EchoComponents(torch.ones(3, 1, 1, 1) + 0j, cosines(3), sines(3)).inverse(expected)
    torch.testing.assert_close(network.refine(0, turns * magnitude), turns * expected)


def test_in_use_a_turned_scan_gives_the_turned_image() -> None:
    """And not in training, where every cascade is applied once."""
    network, (measured, maps, _) = random_network(), echoes()
    turned = [half_turn(each) for each in (measured, PATTERNS, maps)]
    expected = half_turn(network(measured, PATTERNS, maps))
    torch.testing.assert_close(network(*turned), expected, atol=1e-4, rtol=1e-4)
    network.train()
    once = half_turn(network(measured, PATTERNS, maps))
    assert (network(*turned) - once).abs().max() > 0.01
    assert (once - expected).abs().max() > 0.01


def half_turn(planes: Tensor) -> Tensor:
    """About the middle, of an image as of its centred spectrum."""
    y, z = ((n // 2 * 2 - torch.arange(n)) % n for n in planes.shape[-2:])
    return planes[..., y, :][..., z]


@pytest.mark.parametrize("n_echoes", [2, 7])
def test_any_number_of_echoes_goes_in(n_echoes: int) -> None:
    measured, maps, _ = echoes(PATTERNS[0, 0], n_echoes)
    assert random_network()(measured, PATTERNS[0, 0], maps).shape == (n_echoes, 5, *PLANE)


def test_one_pattern_is_the_same_for_each_echo() -> None:
    network, (measured, maps, _) = random_network(), echoes(PATTERNS[0, 0])
    shared = network(measured, PATTERNS[0, 0], maps)
    assert torch.equal(network(measured, PATTERNS[:1].expand(3, -1, -1, -1), maps), shared)


def test_untrained_it_is_the_untrained_network_of_single_echoes() -> None:
    """Nothing is refined, so that demodulation and components must cancel."""
    measured, maps, _ = echoes()
    single = ReconNet3D(Architecture(4, 2, (3, 1, 1), consistency="joint"))
    expected = single(measured, PATTERNS, maps)
    torch.testing.assert_close(EchoJoint(SMALL)(measured, PATTERNS, maps), expected)


def test_full_sampling_is_nearly_the_identity_for_any_weights() -> None:
    """A prior of weight one is outvoted by half; as the learned weight falls, by all."""
    network = random_network(0.1)
    measured, maps, truth = echoes(FULL)
    with torch.no_grad():
        network.log_weights.fill_(12.0)
    image = network(measured, FULL, maps)
    assert (image - truth).abs().max() < 1e-4


def test_consistency_lowers_the_residual_and_more_of_it_lowers_it_further() -> None:
    network = random_network()
    measured, maps, _ = echoes()
    found = []
    for log_weight in (-8.0, 0.0, 4.0):
        with torch.no_grad():
            network.log_weights.fill_(log_weight)
        found.append(residual(network(measured, PATTERNS, maps), measured, maps))
    assert found[0] > 1.5 * found[1] > 1.5 * 1.5 * found[2]


def test_conjugate_gradients_of_each_echo_are_those_of_all() -> None:
    measured, maps, _ = echoes()
    whole = Encoding(maps[:, None], PATTERNS)
    single = [Encoding(maps[:, None], pattern[0]) for pattern in PATTERNS]
    wanted = whole.adjoint(measured)
    weights = torch.tensor([0.3, 1.0])
    together, apart = (
        unrolled(e, wanted, lambda _, image: 0.9 * image, log_weights=weights)
        for e in ([whole], single)
    )
    torch.testing.assert_close(together, apart)


def test_patterns_of_items_do_not_meet_channels() -> None:
    """As many items as channels: a pattern of each item, not of each channel."""
    maps, truth = unit_maps(noise(3, 5, *PLANE)), noise(3, 5, *PLANE, seed=1)
    found = Encoding(maps[:, None], PATTERNS).normal(truth)
    for item, pattern in enumerate(PATTERNS):
        expected = Encoding(maps, pattern[0]).normal(truth[item])
        torch.testing.assert_close(found[item], expected)


@pytest.mark.parametrize("scale", [1e-7, 1e5])
def test_result_scales_with_the_data_and_turns_with_their_phase(scale: float) -> None:
    network, (measured, maps, _) = random_network(), echoes()
    image, scaled = (network(s * measured, PATTERNS, maps) for s in (1.0, scale))
    assert (scaled / scale - image).abs().max() < 1e-4
    phases = torch.polar(torch.ones(3), torch.tensor([0.4, -2.0, 1.1])).view(3, 1, 1, 1)
    turned = network(phases * measured, PATTERNS, maps)
    torch.testing.assert_close(turned, phases * image, atol=1e-4, rtol=1e-4)


def test_result_depends_on_readouts_within_reach_only() -> None:
    network = random_network()
    assert SMALL.readout_reach == 2
    maps = unit_maps(noise(4, 9, *PLANE, seed=3))
    measured = noise(4, 3, 9, *PLANE) * PATTERNS
    changed = measured.clone()
    changed[:, :, 8] = 0
    images = [network(each, PATTERNS, maps) for each in (measured, changed)]
    difference = (images[0] - images[1]).abs().amax(dim=(0, 2, 3))
    assert difference[:6].max() == 0
    assert difference[6] > 0


def test_gradients_reach_every_parameter() -> None:
    network = random_network()
    measured, maps, truth = echoes()
    (network(measured, PATTERNS, maps) - truth).abs().square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.reshape(len(parameter), -1) != 0).any(1).all(), name


def test_sensitivities_are_needed() -> None:
    measured, _, _ = echoes()
    with pytest.raises(InputError, match="with joint consistency, and with that alone"):
        random_network()(measured, PATTERNS)


def test_a_scan_is_reconstructed_in_slabs_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = (14, 24, 16)
    pattern = poisson_disk(shape[1:], acceleration=2, calibration=(8, 8), seed=0)
    kspace = sample(channel_images(shape, 4), pattern)
    network = random_network()
    (whole,) = reconstruct(kspace, "echo-joint", network=network)
    assert whole.images.shape == (1, 2, *shape)
    assert whole.channels is None
    monkeypatch.setattr("accelqsm.recon.network.run.READOUTS_OF_ALL_ECHOES", 5)
    monkeypatch.setattr("accelqsm.recon.network.slabs.VALUES_AT_ONCE", 24 * 16 * 4 * 6)
    blocks = list(reconstruct(kspace, "echo-joint", network=network))
    assert [block.x for block in blocks] == [slice(0, 4), slice(4, 9), slice(9, 14)]
    inside = slice(3, 11)
    parts = torch.cat([block.images for block in blocks], dim=2)
    assert (parts - whole.images)[:, :, inside].abs().max() < 1e-5


def test_a_scan_of_one_echo_is_refused() -> None:
    pattern = poisson_disk((24, 16), acceleration=2, calibration=(8, 8), seed=0)
    two = sample(channel_images((6, 24, 16), 2), pattern)
    first = replace(two.acquisition, echo_times_s=two.acquisition.echo_times_s[:1])
    kspace = replace(two, acquisition=first, samples=two.samples[:, :1])
    with pytest.raises(InputError, match="expected two echoes or more with method echo-joint"):
        reconstruct(kspace, "echo-joint", network=random_network())
