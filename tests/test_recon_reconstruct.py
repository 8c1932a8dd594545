"""One call for every method: blocks that cover the scan, slabs that equal the whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, ifft
from accelqsm.kspace import KSpace
from accelqsm.options.setting import Settings
from accelqsm.recon.blocks import ImageBlock, combine
from accelqsm.recon.method_settings import (
    EchoWaveletSettings,
    GrappaSettings,
    NetworkSettings,
    SenseSettings,
    SensitivitySettings,
    WaveletSettings,
)
from accelqsm.recon.network.architecture import Architecture
from accelqsm.recon.network.reconnet3d import ReconNet3D
from accelqsm.recon.network.slabs import apply_network
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.recon.settings import ReconSettings
from recon_phantom import channel_images, sample

SHAPE = (20, 24, 16)
REGULAR = regular((24, 16), acceleration=(2, 1), calibration=(10, 16))
POISSON = poisson_disk((24, 16), acceleration=2, calibration=(8, 8), seed=0)


def _network(width: int = 4) -> ReconNet3D:
    torch.manual_seed(0)
    network = ReconNet3D(Architecture(width, 2, (3, 1, 3)))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 5:
                parameter.normal_(0, 0.15)
    return network.eval()


def _scan(method: str, noise_sd: float = 0.0) -> KSpace:
    pattern = REGULAR if method == "grappa" else POISSON
    return sample(channel_images(SHAPE, 4), pattern, noise_sd=noise_sd)


@pytest.mark.parametrize("method", ["zero-filled", "grappa", "reconnet3d"])
def test_blocks_cover_every_channel_and_readout_once(method: str) -> None:
    kspace = _scan(method)
    covered = torch.zeros(4, SHAPE[0])
    for block in reconstruct(
        kspace, method, network=_network() if method == "reconnet3d" else None
    ):
        covered[block.channels, block.x] += 1
        n_channels, n_x = covered[block.channels, block.x].shape
        assert block.images.shape == (n_channels, 2, n_x, 24, 16)
        assert block.images.dtype == torch.complex64
    assert (covered == 1).all()


def test_an_untrained_network_and_zero_filling_agree() -> None:
    kspace = _scan("reconnet3d")
    network = ReconNet3D(Architecture(4, 2, (3, 1, 3)))
    blocks = zip(
        reconstruct(kspace, "zero-filled"),
        reconstruct(kspace, "reconnet3d", network=network),
        strict=True,
    )
    for plain, untrained in blocks:
        assert (plain.images - untrained.images).abs().max() < 1e-5


def test_slabs_equal_the_whole_volume(monkeypatch: pytest.MonkeyPatch) -> None:
    kspace, network = _scan("reconnet3d"), _network()
    measured = kspace.planes()[0, :1]
    whole = apply_network(network, measured, kspace.sampled)
    monkeypatch.setattr("accelqsm.recon.network.slabs.VALUES_AT_ONCE", 24 * 16 * 11)
    slabs = apply_network(network, measured, kspace.sampled)
    assert (slabs - whole).abs().max() < 1e-5


def _joint_network() -> ReconNet3D:
    torch.manual_seed(0)
    network = ReconNet3D(Architecture(8, 2, (3, 1, 3), consistency="joint"))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 5:
                parameter.normal_(0, 0.1)
    return network.eval()


@pytest.mark.parametrize("plane", [24 * 16 * 4, 24 * 16 * 4 * 9])
def test_slabs_of_joint_consistency_equal_the_whole_volume(
    plane: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    kspace, network = _scan("reconnet3d"), _joint_network()
    measured, maps = kspace.planes()[:, :1], espirit(kspace).maps
    whole = apply_network(network, measured, kspace.sampled, maps)
    direct = network(measured, kspace.sampled, maps).detach()
    assert ((whole - direct)[0].abs().amax(dim=(1, 2)) < 1e-5).sum() > 10
    monkeypatch.setattr("accelqsm.recon.network.slabs.VALUES_AT_ONCE", plane)
    slabs = apply_network(network, measured, kspace.sampled, maps)
    assert (slabs - whole).abs().max() < 1e-5


def test_out_of_memory_halves_the_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU that holds few readout positions; the result stays what it was."""
    kspace, network = _scan("reconnet3d"), _network()
    measured = kspace.planes()[0, :1]
    whole = apply_network(network, measured, kspace.sampled)
    seen: list[int] = []
    run, room = network.forward, 2 * network.readout_reach + 1

    def forward(measured: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(measured.shape[1])
        if measured.shape[1] > room:
            raise torch.OutOfMemoryError
        return run(measured, *rest)

    monkeypatch.setattr(network, "forward", forward)
    found = apply_network(network, measured, kspace.sampled)
    assert max(seen) > room
    assert (found - whole).abs().max() < 1e-5
    room = 0
    with pytest.raises(torch.OutOfMemoryError):
        apply_network(network, measured, kspace.sampled)


def _blocks_of_one_image(kspace: KSpace, method: str) -> Iterator[ImageBlock]:
    network = _joint_network() if method == "reconnet3d" else None
    return reconstruct(kspace, method, network=network)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cg-sense", "l1-wavelet", "l1-echoes", "reconnet3d"])
def test_one_image_of_all_channels_covers_the_scan(method: str) -> None:
    kspace = _scan(method)
    covered = torch.zeros(SHAPE[0])
    for block in _blocks_of_one_image(kspace, method):
        assert block.channels is None
        assert block.images.shape[:2] == (1, 2)
        part = combine(block, kspace)
        assert torch.equal(part.numerator, block.images[0])
        assert (part.power == 1).all()
        covered[block.x] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("method", ["cg-sense", "l1-wavelet", "l1-echoes"])
def test_one_image_has_the_phase_and_size_of_the_combined_channels(method: str) -> None:
    """Fully sampled and without noise, both ways to combine give the same image."""
    full = torch.ones(24, 16, dtype=torch.bool)
    kspace = sample(channel_images(SHAPE, 4), full, noise_sd=0.0)
    together = torch.zeros(2, *SHAPE, dtype=torch.complex64)
    for block in reconstruct(kspace, method):
        together[:, block.x] = block.images[0]
    apart, power = torch.zeros_like(together), torch.zeros(SHAPE)
    for block in reconstruct(kspace, "zero-filled"):
        part = combine(block, kspace)
        apart[:, part.x] += part.numerator
        power[part.x] += part.power
    expected = apart / power.sqrt()
    bright = expected[0].abs() > 0.2 * expected[0].abs().max()
    error = (together - expected)[:, bright].norm() / expected[:, bright].norm()
    assert error < 0.08


def test_readouts_of_noise_alone_stay_zero_filled() -> None:
    kspace, network = _scan("reconnet3d", noise_sd=0.01), _network()
    samples = kspace.samples[0, 0]
    samples[:4] *= 1e-2
    planes = torch.zeros(1, *SHAPE, dtype=torch.complex64)
    planes[..., kspace.sampled] = torch.from_numpy(samples)
    image = apply_network(network, planes, kspace.sampled)
    zero_filled = ifft(planes, PHASE_ENCODES)
    unchanged = (image - zero_filled)[0].abs().amax(dim=(1, 2)) < 1e-6
    assert unchanged[0]
    assert not unchanged[5:15].any()


def test_readouts_alike_all_pass_the_network() -> None:
    """No readout is noise where all are equally loud, however close to the weakest they are."""
    kspace, network = _scan("reconnet3d"), _network()
    planes = kspace.planes()[0, :1, 10:11].repeat(1, 6, 1, 1)
    difference = apply_network(network, planes, kspace.sampled) - ifft(planes, PHASE_ENCODES)
    assert (difference.abs().amax(dim=(2, 3)) > 1e-3).all()


def test_empty_data_give_empty_images() -> None:
    empty = torch.zeros(1, *SHAPE, dtype=torch.complex64)
    assert apply_network(_network(), empty, POISSON).abs().max() == 0


@pytest.mark.parametrize("method", ["zero-filled", "grappa"])
def test_combined_image_does_not_depend_on_the_order_of_blocks(method: str) -> None:
    kspace = _scan(method)
    numerator = np.zeros((2, *SHAPE), np.complex64)
    for block in reversed(list(reconstruct(kspace, method))):
        part = combine(block, kspace)
        numerator[:, part.x] += part.numerator.numpy()
    images = torch.zeros(4, 2, *SHAPE, dtype=torch.complex64)
    for block in reconstruct(kspace, method):
        images[block.channels, :, block.x] = block.images
    from accelqsm.recon.channels import low_resolution

    expected = (low_resolution(kspace, echo=0).conj()[:, None] * images).sum(0)
    np.testing.assert_allclose(numerator, expected.numpy(), atol=1e-4)


def test_unknown_methods_are_refused_at_once() -> None:
    with pytest.raises(
        InputError, match=r"expected zero-filled, grappa, .*, dcrnet or echo-joint, found"
    ):
        reconstruct(_scan("grappa"), "sense")


def test_blocks_of_joint_consistency_equal_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kspace, network = _scan("reconnet3d"), _joint_network()
    (whole,) = reconstruct(kspace, "reconnet3d", network=network)
    monkeypatch.setattr("accelqsm.recon.network.run.READOUTS_OF_A_BLOCK", 7)
    for block in reconstruct(kspace, "reconnet3d", network=network):
        inside = slice(max(block.x.start, 3), min(block.x.stop, 17))
        part = block.images[:, :, inside.start - block.x.start : inside.stop - block.x.start]
        assert (part - whole.images[:, :, inside]).abs().max() < 1e-5


def test_a_network_is_for_methods_that_are_networks() -> None:
    with pytest.raises(InputError, match="expected with a network, found method grappa"):
        reconstruct(_scan("grappa"), "grappa", network=_network())


def test_a_network_of_another_consistency_than_asked_for_is_refused() -> None:
    settings = ReconSettings("reconnet3d", network=NetworkSettings(consistency="joint"))
    with pytest.raises(InputError, match="--consistency joint, found one of per-coil"):
        reconstruct(_scan("reconnet3d"), settings, network=_network())


def test_consistency_chooses_the_weights_of_the_package() -> None:
    kspace = _scan("reconnet3d")
    settings = ReconSettings("reconnet3d", network=NetworkSettings(consistency="channel"))
    assert next(reconstruct(kspace, settings)).channels == slice(0, 1)
    assert next(reconstruct(kspace, "reconnet3d")).channels is None


def test_few_virtual_channels_hold_the_image_of_many() -> None:
    """Twelve channels that are mixtures of four: four virtual ones lose nothing, two do."""
    images = channel_images(SHAPE, 4)
    mixing = torch.linalg.qr(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)))[0]
    mixed = torch.einsum("dc,cexyz->dexyz", mixing.to(images.dtype), images)
    # A centre that is large enough for the same kernel with any number of channels.
    sampled = poisson_disk((24, 16), acceleration=1.5, calibration=(14, 14), seed=0)
    kspace = sample(mixed, sampled)

    def image(n_virtual: int) -> torch.Tensor:
        settings = ReconSettings("cg-sense", sensitivities=SensitivitySettings(n_virtual=n_virtual))
        return torch.cat([block.images for block in reconstruct(kspace, settings)], dim=2).abs()

    assert (image(4) - image(12)).norm() < 0.02 * image(12).norm()
    assert (image(2) - image(12)).norm() > 0.05 * image(12).norm()


def _images(settings: ReconSettings) -> torch.Tensor:
    network = _joint_network() if settings.method == "reconnet3d" else None
    kspace = _scan(settings.method, noise_sd=0.01)
    return torch.cat([b.images for b in reconstruct(kspace, settings, network=network)], dim=2)


@pytest.mark.parametrize(
    ("method", "own"),
    [
        ("grappa", GrappaSettings(kernel=(3, 4, 3))),
        ("grappa", GrappaSettings(kernel=(5, 2, 3))),
        ("grappa", GrappaSettings(kernel=(5, 4, 1))),
        ("grappa", GrappaSettings(tikhonov=1e-2)),
        ("cg-sense", SenseSettings(n_iterations=3)),
        ("cg-sense", SenseSettings(weight=0.1)),
        ("l1-wavelet", WaveletSettings(n_iterations=3)),
        ("l1-wavelet", WaveletSettings(regularisation=0.1)),
        ("l1-echoes", EchoWaveletSettings(n_iterations=3)),
        ("l1-echoes", EchoWaveletSettings(regularisation=0.1)),
    ],
)
def test_every_setting_of_a_method_reaches_it(method: str, own: Settings) -> None:
    found, usual = (_images(ReconSettings(method, s)) for s in (own, None))
    assert (found - usual).norm() > 1e-3 * usual.norm()


@pytest.mark.parametrize("method", ["cg-sense", "l1-wavelet", "reconnet3d"])
@pytest.mark.parametrize(
    "sensitivities",
    [
        SensitivitySettings(kernel=3),
        SensitivitySettings(singular_share=0.2),
        SensitivitySettings(n_virtual=2),
        SensitivitySettings(calibration=(6, 6)),
    ],
)
def test_every_setting_of_the_sensitivities_reaches_the_methods_that_use_them(
    method: str, sensitivities: SensitivitySettings
) -> None:
    found, usual = (
        _images(ReconSettings(method, sensitivities=s))
        for s in (sensitivities, SensitivitySettings())
    )
    assert (found - usual).norm() > 1e-3 * usual.norm()
