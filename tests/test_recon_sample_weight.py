"""Weight of the samples against what a network puts in."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.recon.method_settings import JOINT, PER_COIL, NetworkSettings
from accelqsm.recon.network.architecture import Architecture, DcrArchitecture, EchoArchitecture
from accelqsm.recon.network.dcrnet import DcrNet
from accelqsm.recon.network.echo_joint import EchoJoint
from accelqsm.recon.network.reconnet3d import ReconNet3D, data_consistency
from accelqsm.recon.network.unrolled import CascadeNetwork, unrolled
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sense import Encoding, unit_maps
from accelqsm.recon.settings import ReconSettings
from accelqsm.reports.methods import reconstruction_text
from recon_phantom import channel_images, sample

SHAPE = (8, 32, 24)
IMAGES = channel_images(SHAPE, 4)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def pattern() -> Tensor:
    """Every other line along y, and a centre of eight."""
    sampled = torch.zeros(SHAPE[1:], dtype=torch.bool)
    sampled[::2] = sampled[12:20] = True
    return sampled


def random_network(method: str, consistency: str = JOINT) -> CascadeNetwork:
    """Cascades whose last convolutions are not zero."""
    torch.manual_seed(0)
    network: CascadeNetwork
    if method == "echo-joint":
        network = EchoJoint(EchoArchitecture(4, 2, (3, 1)))
    else:
        network = ReconNet3D(Architecture(4, 2, (3, 1), consistency=consistency))
    for parameter in network.parameters():
        if parameter.dim() == 5:
            torch.nn.init.normal_(parameter, std=0.15)
    return network.eval()


def images(network: CascadeNetwork, method: str, weight: float) -> Tensor:
    settings = ReconSettings(method, network=NetworkSettings(sample_weight=weight))
    blocks = reconstruct(sample(IMAGES, pattern()), settings, network=network)
    return torch.cat([block.images for block in blocks], dim=2)


@pytest.mark.parametrize("weight", [0.5, 1.0, 4.0])
def test_of_two_answers_each_has_its_weight(weight: float) -> None:
    """Fully sampled, the minimum is (w v x + z) / (w v + 1)."""
    maps, truth, put_in = unit_maps(noise(4, 3, 12, 10)), noise(1, 3, 12, 10, seed=1), 0.3
    encoding = Encoding(maps[:, None], torch.ones(12, 10, dtype=torch.bool))
    log_v = torch.tensor([0.7])
    found = unrolled(
        [encoding],
        encoding.adjoint(fft(maps[:, None] * truth, PHASE_ENCODES)),
        lambda _, image: torch.full_like(image, put_in),
        log_weights=log_v,
        sample_weight=weight,
    )
    v = weight * math.exp(0.7)
    torch.testing.assert_close(found, (v * truth + put_in) / (v + 1), rtol=1e-4, atol=1e-4)


def test_per_coil_it_is_a_factor_of_each_soft_weight() -> None:
    network, sampled = random_network("reconnet3d", PER_COIL), pattern()
    measured = fft(IMAGES[0], PHASE_ENCODES) * sampled
    with torch.no_grad():
        found = network.weighing(3.0)(measured, sampled)
        first = torch.fft.ifftshift(measured, dim=PHASE_ENCODES)
        image = torch.fft.ifftn(first, dim=PHASE_ENCODES, norm="ortho")
        image = begun = torch.fft.fftshift(image, dim=PHASE_ENCODES)
        log_weight = network.log_weights[0] + math.log(3)
        refined = network.refine(0, image)
        image = data_consistency(refined, begun, sampled, log_weight=log_weight)
        image = data_consistency(network.refine(1, image), begun, sampled)
    torch.testing.assert_close(found, image)


@pytest.mark.parametrize("method", ["reconnet3d", "echo-joint"])
def test_more_of_it_leaves_less_of_the_samples_unexplained(method: str) -> None:
    network = random_network(method)
    left = []
    for weight in (1.0, 4.0, 16.0):
        image = images(network, method, weight)
        power = IMAGES.abs().square().sum(0)
        received = IMAGES / power.sqrt().clamp_min(1e-6) * image[0]  # of the true sensitivities
        apart = fft(received.abs() - IMAGES.abs(), PHASE_ENCODES) * pattern()
        left.append(float(apart.norm()))
    assert left[0] > 1.3 * left[1] > 1.3 * left[2]


def test_one_is_the_network_as_it_was_trained_and_the_network_stays() -> None:
    network = random_network("reconnet3d")
    (plain,) = reconstruct(sample(IMAGES, pattern()), "reconnet3d", network=network)
    images(network, "reconnet3d", 4.0)
    assert torch.equal(images(network, "reconnet3d", 1.0), plain.images)
    assert network.sample_weight == 1


def test_a_network_without_weights_of_its_samples_is_refused() -> None:
    settings = ReconSettings("dcrnet", network=NetworkSettings(sample_weight=2.0))
    with pytest.raises(InputError, match="--sample-weight: expected 1 with a network whose"):
        reconstruct(sample(IMAGES, pattern()), settings, network=DcrNet(DcrArchitecture()))


def test_the_methods_text_tells_of_another_weight_alone() -> None:
    four = ReconSettings("reconnet3d", network=NetworkSettings(sample_weight=4.0))
    assert "with 4 times the weight of the samples" in reconstruction_text({"AF5": (four, {})})
    assert "the weight of the samples" not in reconstruction_text(
        {"AF5": (ReconSettings("reconnet3d"), {})}
    )
