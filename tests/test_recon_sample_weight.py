"""Weight of the samples against what a network puts in."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.grid import centred_grid
from accelqsm.kspace import KSpace
from accelqsm.pipeline.network import network_for
from accelqsm.recon.channels import compress_channels
from accelqsm.recon.method_settings import JOINT, PER_COIL, NetworkSettings, SensitivitySettings
from accelqsm.recon.network.architecture import Architecture, DcrArchitecture, EchoArchitecture
from accelqsm.recon.network.dcrnet import DcrNet
from accelqsm.recon.network.echo_joint import EchoJoint
from accelqsm.recon.network.reconnet3d import ReconNet3D, data_consistency
from accelqsm.recon.network.sample_weight import sample_weight, signal_to_noise, weighed
from accelqsm.recon.network.slabs import apply_network
from accelqsm.recon.network.unrolled import CascadeNetwork, unrolled
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sense import Encoding, unit_maps
from accelqsm.recon.sensitivities.estimate import estimate_in_slabs
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


def ball(*, snr: float, every: int = 2, centre: int = 24) -> KSpace:
    """A ball with air around it: of unit signal in four channels, two echoes, without decay."""
    shape = (40, 48, 36)
    axes = [torch.arange(n) - n // 2 for n in shape]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    inside = torch.sigmoid(2 * (12 - (x**2 + y**2 + z**2).sqrt()))
    images = inside.expand(4, 2, -1, -1, -1) / 2 + 0j
    sampled = torch.zeros(shape[1:], dtype=torch.bool)
    first_y, first_z = (48 - centre) // 2, (36 - centre) // 2
    sampled[::every] = True
    sampled[first_y : first_y + centre, first_z : first_z + centre] = True
    # Each part of the noise has an SD of 1 / snr, whose complex numbers have the root of two.
    spectrum = fft(images, PHASE_ENCODES) + math.sqrt(2) / snr * noise(4, 2, *shape)
    acquisition = Acquisition(centred_grid(shape, (2.0, 2.0, 2.0)), (0.005, 0.01), 3.0)
    return KSpace(acquisition, sampled, spectrum[..., sampled].numpy())


def weights_by_noise(scan: KSpace) -> list[float | None]:
    """Of a network of one echo, and of one of all echoes."""
    methods = "reconnet3d", "echo-joint"
    return [weighed(random_network(method), scan).sample_weight for method in methods]


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
    network, scan = random_network("reconnet3d"), sample(IMAGES, pattern())
    few = compress_channels(scan, SensitivitySettings().n_virtual)
    maps = estimate_in_slabs(few, SensitivitySettings()).supported
    trained = apply_network(network, few.planes(), few.sampled, maps)
    images(network, "reconnet3d", 4.0)
    torch.testing.assert_close(images(network, "reconnet3d", 1.0)[0], trained)
    assert network.sample_weight is None


@pytest.mark.parametrize("consistency", [JOINT, PER_COIL])
def test_unless_given_the_noise_decides_with_joint_consistency(consistency: str) -> None:
    network, scan = random_network("reconnet3d", consistency), ball(snr=60.0)
    weight = sample_weight(scan) if consistency == JOINT else 1.0
    given = ReconSettings("reconnet3d", network=NetworkSettings(sample_weight=weight))
    (unsaid, notes), (said, same) = (
        network_for(scan, settings, network) for settings in (ReconSettings("reconnet3d"), given)
    )
    assert notes | {"sample_weight": weight} == same | {"sample_weight": weight}
    assert notes.get("sample_weight") == (round(weight, 2) if consistency == JOINT else None)
    blocks = [
        list(reconstruct(scan, settings, network=chosen))
        for settings, chosen in (
            (ReconSettings("reconnet3d"), network),
            (ReconSettings("reconnet3d"), unsaid),
            (given, said),
        )
    ]
    for block, *others in zip(*blocks, strict=True):
        assert all(torch.equal(block.images, other.images) for other in others)


@pytest.mark.parametrize("snr", [8.0, 30.0, 60.0, 300.0])
def test_the_ratio_of_signal_to_noise_is_found(snr: float) -> None:
    scan = ball(snr=snr)
    assert signal_to_noise(scan) == pytest.approx(snr, rel=0.08)
    expected = min(max(snr * scan.acceleration / 160, 1), 6)
    assert sample_weight(scan) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("snr", [8.0, 60.0, 200.0, 900.0])
def test_a_network_of_all_echoes_trusts_them_twice_as_much(snr: float) -> None:
    scan = ball(snr=snr)
    one, all_echoes = weights_by_noise(scan)
    wanted = min(signal_to_noise(scan) * scan.acceleration / 160, 6)
    assert (one, all_echoes) == pytest.approx((max(wanted, 1), max(2 * wanted, 1)))


def test_with_all_echoes_it_grows_with_the_acceleration_up_to_five() -> None:
    """Of one echo it goes on to grow."""
    scan = ball(snr=60.0, every=12, centre=10)
    assert scan.acceleration > 6
    snr = signal_to_noise(scan)
    one, all_echoes = weights_by_noise(scan)
    assert one == pytest.approx(snr * scan.acceleration / 160)
    assert all_echoes == pytest.approx(2 * snr * 5 / 160)


def test_neither_unit_nor_gain_nor_a_dead_channel_changes_it() -> None:
    scan, expected = ball(snr=60.0), signal_to_noise(ball(snr=60.0))
    for unit in (1e6, 1e-22):
        other = replace(scan, samples=np.asarray(unit * scan.samples, np.complex64))
        assert signal_to_noise(other) == pytest.approx(expected, rel=1e-4)
        assert signal_to_noise(other.balanced()) == pytest.approx(expected, rel=1e-4)
    dead = replace(scan, samples=np.concatenate([scan.samples, 0 * scan.samples[:1]]))
    assert signal_to_noise(dead) == pytest.approx(expected, rel=1e-4)


def test_channels_count_by_their_noise() -> None:
    """A channel twice as loud in signal and noise changes nothing."""
    scan, louder = ball(snr=60.0), np.array([1, 2, 0.5, 7]).reshape(4, 1, 1, 1)
    uneven = replace(scan, samples=np.asarray(scan.samples * louder, np.complex64))
    assert signal_to_noise(uneven) == pytest.approx(signal_to_noise(scan), rel=1e-4)


def test_readout_positions_without_samples_do_not_count_as_silence() -> None:
    scan = ball(snr=60.0)
    masked = scan.samples.copy()
    masked[:, :, :4] = 0
    assert signal_to_noise(replace(scan, samples=masked)) == pytest.approx(60, rel=0.1)


def test_without_a_centre_the_weight_is_that_of_training() -> None:
    """As of a scan whose sensitivities come from elsewhere."""
    scan = ball(snr=60.0)
    around = scan.sampled.clone()
    around[24, 18] = False
    outside = replace(scan, sampled=around, samples=scan.samples[..., around[scan.sampled].numpy()])
    assert sample_weight(outside) == 1.0


def test_no_samples_at_all_have_the_weight_of_training() -> None:
    scan = ball(snr=60.0)
    assert sample_weight(replace(scan, samples=0 * scan.samples)) == 1.0


def test_a_network_without_weights_of_its_samples_is_refused() -> None:
    settings = ReconSettings("dcrnet", network=NetworkSettings(sample_weight=2.0))
    with pytest.raises(InputError, match="--sample-weight: expected 1 with a network whose"):
        reconstruct(sample(IMAGES, pattern()), settings, network=DcrNet(DcrArchitecture()))
    for unsaid in (NetworkSettings(), NetworkSettings(sample_weight=1.0)):
        settings = ReconSettings("dcrnet", network=unsaid)
        known = network_for(ball(snr=60.0), settings, DcrNet(DcrArchitecture()))[1]
        assert "sample_weight" not in known


def test_the_methods_text_tells_of_another_weight_alone() -> None:
    four = ReconSettings("reconnet3d", network=NetworkSettings(sample_weight=4.0))
    assert "with 4 times the weight of the samples" in reconstruction_text({"AF5": (four, {})})
    plain = ReconSettings("reconnet3d")
    assert "4 times the weight" in reconstruction_text({"AF5": (plain, {"sample_weight": 4.0})})
    for source in ({}, {"sample_weight": 1.0}):
        assert "weight of the samples" not in reconstruction_text({"AF5": (plain, source)})
