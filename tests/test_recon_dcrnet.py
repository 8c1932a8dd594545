"""DCRNet: its layers, its consistency, and the invariants that hold and those that do not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.recon.network.architecture import DcrArchitecture
from accelqsm.recon.network.dcrnet import ComplexConvolution, ComplexLayer, DcrNet
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import unit_maps

PLANE = (15, 12)
PATTERN = poisson_disk(PLANE, acceleration=2.5, calibration=(4, 4), seed=1)
FULL = torch.ones(PLANE, dtype=torch.bool)
PUBLISHED = 742_787


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.complex64, generator=generator)


def random_network(consistency: str = "per-coil") -> DcrNet:
    """Weights and statistics drawn at random, those of the last convolution too."""
    torch.manual_seed(0)
    network = DcrNet(DcrArchitecture(width=4, blocks=2, consistency=consistency))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim():
                parameter.normal_(0, 0.3)
        for name, statistic in network.named_buffers():
            if name.endswith("running_var"):
                statistic.uniform_(0.5, 2)
            elif name.endswith("running_mean"):
                statistic.normal_(0, 0.3)
    return network.eval()


def channels(pattern: Tensor, seed: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """Samples (channel, batch, x, ky, kz) of a random object, maps, and the object."""
    maps = unit_maps(noise(4, 3, *PLANE, seed=seed))
    truth = noise(2, 3, *PLANE, seed=seed + 1)
    return fft(maps[:, None] * truth, PHASE_ENCODES) * pattern, maps, truth


def test_parameters_are_the_published_ones_but_for_biases_without_effect() -> None:
    network, width = DcrNet(DcrArchitecture()), 64
    found = {name: sum(p.numel() for p in part.parameters()) for name, part in parts(network)}
    block = 2 * width * width * 9
    assert found["first layer"] == 2 * width * 9 + 4 * width
    assert found["blocks"] == 10 * (block + 4 * width)
    assert found["last"] == 2 * width
    own = sum(p.numel() for p in network.parameters())
    biases = 11 * 2 * width + 2
    assert own == sum(found.values()) + 1 == PUBLISHED - biases == 741_377


def parts(network: DcrNet) -> list[tuple[str, torch.nn.Module]]:
    return [
        ("first layer", network.layers[0]),
        ("blocks", network.layers[1:]),
        ("last", network.final),
    ]


def test_biases_before_batch_normalisation_have_no_effect() -> None:
    layer = ComplexLayer(3, 4)
    image = torch.randn(2, 6, 9, 8)
    convolved = layer.convolution(image)
    bias = torch.randn(8)[:, None, None]
    torch.testing.assert_close(
        layer.normalisation(convolved + bias), layer.normalisation(convolved), atol=1e-4, rtol=0
    )


def test_a_complex_convolution_is_one_of_complex_numbers() -> None:
    torch.manual_seed(0)
    layer = ComplexConvolution(2, 3, 3)
    image = noise(1, 2, 7, 6)
    found = layer(torch.cat([image.real, image.imag], dim=1))
    kernel = torch.complex(layer.real, layer.imaginary)
    expected = functional.conv2d(image, kernel, padding=1)
    torch.testing.assert_close(torch.complex(*found.chunk(2, dim=1)), expected)


def test_complex_convolutions_commute_with_a_phase_and_the_network_does_not() -> None:
    """ReLU acts on real and imaginary parts: not even multiplication by i commutes with it."""
    torch.manual_seed(0)
    layer, image = ComplexConvolution(2, 3, 3), noise(1, 2, 7, 6)
    turned = image * torch.exp(torch.tensor(0.7j))
    found, of_turned = (
        torch.complex(*layer(torch.cat([z.real, z.imag], dim=1)).chunk(2, dim=1))
        for z in (image, turned)
    )
    torch.testing.assert_close(of_turned, found * torch.exp(torch.tensor(0.7j)))
    network, measured = random_network(), noise(1, 2, *PLANE) * PATTERN
    image = network(measured, PATTERN)
    for factor in (1j, -1.0, complex(torch.exp(torch.tensor(0.7j)))):
        difference = network(factor * measured, PATTERN) / factor - image
        assert difference.abs().max() > 0.05


@pytest.mark.parametrize("scale", [1e-9, 1e7])
def test_result_scales_with_the_data(scale: float) -> None:
    network, measured = random_network(), noise(1, 3, *PLANE) * PATTERN
    image, scaled = network(measured, PATTERN), network(scale * measured, PATTERN)
    assert (scaled / scale - image).abs().max() < 1e-5


def test_planes_are_reconstructed_each_by_itself() -> None:
    network, measured = random_network(), noise(2, 3, *PLANE) * PATTERN
    image = network(measured, PATTERN)
    changed = measured.clone()
    changed[1, 2] *= 3
    assert torch.equal(network(changed, PATTERN)[0], image[0])
    torch.testing.assert_close(network(changed, PATTERN)[1, :2], image[1, :2])
    assert network.readout_reach == 0


def test_measured_samples_are_honoured() -> None:
    measured = noise(2, 3, *PLANE) * PATTERN
    image = random_network()(measured, PATTERN)
    assert (fft(image, PHASE_ENCODES) - measured)[..., PATTERN].abs().max() < 2e-6
    assert (image - ifft(measured, PHASE_ENCODES)).abs().max() > 0.1


def test_each_item_may_have_its_own_pattern() -> None:
    network = random_network()
    patterns = torch.stack([PATTERN, PATTERN.flip(0)])[:, None]
    measured = noise(2, 3, *PLANE) * patterns
    together = network(measured, patterns)
    torch.testing.assert_close(together[1:], network(measured[1:], patterns[1, 0]))


@pytest.mark.parametrize("consistency", ["per-coil", "joint"])
def test_full_sampling_is_the_identity_for_any_weights(consistency: str) -> None:
    network = random_network(consistency)
    measured, maps, truth = channels(FULL)
    if consistency == "per-coil":
        truth, measured = truth * maps[0], measured[0]
    image = network(measured, FULL, maps if consistency == "joint" else None)
    assert (image - truth).abs().max() < 1e-5


def test_the_image_of_all_channels_is_nearer_to_their_samples() -> None:
    """One step of A^H (y - A z) after the convolutions lowers the residual, but leaves some."""
    network = random_network("joint")
    measured, maps, _ = channels(PATTERN)

    def residual(image: Tensor) -> float:
        of_image = fft(maps[:, None] * image.detach(), PHASE_ENCODES) * PATTERN
        return float((of_image - measured).norm())

    after = residual(network(measured, PATTERN, maps))
    with torch.no_grad():
        network.weight.zero_()
    before = residual(network(measured, PATTERN, maps))
    assert 0.05 * before < after < 0.8 * before


def test_per_coil_is_joint_with_one_channel() -> None:
    joint, per_coil = random_network("joint"), random_network()
    measured = noise(2, 3, *PLANE) * PATTERN
    maps = torch.ones(1, 3, *PLANE, dtype=torch.complex64)
    torch.testing.assert_close(joint(measured[None], PATTERN, maps), per_coil(measured, PATTERN))


def test_untrained_network_returns_the_zero_filled_image() -> None:
    measured = noise(1, 3, *PLANE) * PATTERN
    image = DcrNet(DcrArchitecture(width=4, blocks=2, consistency="per-coil"))(measured, PATTERN)
    assert (image - ifft(measured, PHASE_ENCODES)).abs().max() < 1e-5


@pytest.mark.parametrize("consistency", ["per-coil", "joint"])
def test_gradients_reach_every_parameter(consistency: str) -> None:
    """As training has it; with weights at random, ReLU would silence some channels."""
    torch.manual_seed(0)
    network = DcrNet(DcrArchitecture(width=4, blocks=2, consistency=consistency))
    torch.nn.init.normal_(network.final.real)
    measured, maps, truth = channels(PATTERN)
    arguments = (measured, PATTERN, maps) if consistency == "joint" else (measured[0], PATTERN)
    (network(*arguments) - truth).abs().square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad.reshape(parameter.shape[:1].numel(), -1).abs() > 0).all(), name


def test_sensitivities_belong_to_joint_consistency() -> None:
    measured, maps, _ = channels(PATTERN)
    with pytest.raises(InputError, match="with joint consistency, and with that alone"):
        random_network()(measured, PATTERN, maps)
    with pytest.raises(InputError, match="with joint consistency, and with that alone"):
        random_network("joint")(measured[0], PATTERN)
