"""GRAPPA: identity, aliasing, measured samples, phase."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from accelqsm.errors import InputError
from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.kspace import KSpace
from accelqsm.recon.method_settings import GrappaSettings
from accelqsm.recon.methods.grappa import fit_kernel, line_step
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import poisson_disk, regular
from accelqsm.recon.settings import ReconSettings
from recon_phantom import channel_images, sample

SHAPE = (16, 50, 20)


def _images(kspace: KSpace, method: str | ReconSettings = "grappa") -> torch.Tensor:
    blocks = list(reconstruct(kspace, method))
    n_channels, n_echoes = kspace.samples.shape[:2]
    images = torch.zeros(n_channels, n_echoes, *SHAPE, dtype=torch.complex64)
    for block in blocks:
        images[block.channels, :, block.x] = block.images
    return images


def test_full_sampling_is_the_identity() -> None:
    images = channel_images(SHAPE, 4)
    pattern = torch.ones(SHAPE[1:], dtype=torch.bool)
    assert (_images(sample(images, pattern)) - images).abs().max() < 1e-5


@pytest.mark.parametrize("step", [2, 3])
def test_smooth_channels_leave_no_aliasing(step: int) -> None:
    images = channel_images(SHAPE, 8)
    pattern = regular((50, 20), acceleration=(step, 1), calibration=(18, 20))
    kspace = sample(images, pattern)
    energy = images.abs().square().sum()
    left = (_images(kspace) - images).abs().square().sum() / energy
    aliased = (_images(kspace, "zero-filled") - images).abs().square().sum() / energy
    assert left < 1e-3
    assert left < 0.1 * aliased


def test_measured_samples_are_kept() -> None:
    pattern = regular((50, 20), acceleration=(2, 1), calibration=(18, 20))
    kspace = sample(channel_images(SHAPE, 4), pattern, noise_sd=0.02)
    spectrum = fft(_images(kspace), PHASE_ENCODES)[..., pattern]
    assert (spectrum - torch.from_numpy(kspace.samples)).abs().max() < 1e-5


def test_slabs_of_the_readout_agree_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = regular((50, 20), acceleration=(2, 1), calibration=(18, 20))
    kspace = sample(channel_images(SHAPE, 4), pattern, noise_sd=0.02)
    whole = _images(kspace)
    monkeypatch.setattr("accelqsm.recon.methods.grappa.SAMPLES_AT_ONCE", 4 * 12 * 25 * 20 * 3)
    assert len(list(reconstruct(kspace, "grappa"))) > 4
    assert (_images(kspace) - whole).abs().max() < 1e-5


def test_readout_taps_are_a_convolution_along_kx() -> None:
    """Data shifted by one sample along kx and a step along ky are found by the tap that says so."""
    torch.manual_seed(0)
    spectrum = torch.randn(1, 24, 40, 12, dtype=torch.complex64)
    spectrum[:, :-1, 1::2] = spectrum[:, 1:, 0::2]
    spectrum[:, -1, 1::2] = 0
    kernel = fit_kernel(ifft(spectrum, (1,)), step=2)
    # Sources are (channel, line in -1 0 1 2, partition in -1 0 1): line 0, partition 0 is 4 and
    # line 1, partition 0 is 7. Odd lines of the fit know the former, even lines the latter.
    assert kernel.weights.shape == (5, 12, 1)
    expected = torch.zeros(5, 12)
    expected[3, 4] = expected[1, 7] = 0.5
    assert (kernel.weights[..., 0] - expected).abs().max() < 0.05
    x = torch.arange(24)
    phase = torch.angle(kernel.at_readouts(x, 24)[:, 4, 0])
    turned = torch.exp(1j * (phase + 2 * torch.pi * (x - 12) / 24))
    assert (turned - 1).abs().max() < 0.1


@pytest.mark.parametrize("kernel", [(3, 2, 1), (5, 4, 3), (7, 2, 5), (1, 6, 1)])
def test_kernels_of_other_sizes_leave_no_aliasing_either(kernel: tuple[int, int, int]) -> None:
    images = channel_images(SHAPE, 8)
    kspace = sample(images, regular((50, 20), acceleration=(2, 1), calibration=(18, 20)))
    settings = ReconSettings("grappa", GrappaSettings(kernel=kernel))
    energy = images.abs().square().sum()
    left = (_images(kspace, settings) - images).abs().square().sum() / energy
    aliased = (_images(kspace, "zero-filled") - images).abs().square().sum() / energy
    assert left < 0.1 * aliased
    assert torch.equal(_images(kspace, settings), _images(kspace)) == (kernel == (5, 4, 3))


def test_an_endless_regularisation_leaves_zero_filling() -> None:
    images = channel_images(SHAPE, 4)
    kspace = sample(images, regular((50, 20), acceleration=(2, 1), calibration=(18, 20)))
    settings = ReconSettings("grappa", GrappaSettings(tikhonov=1e12))
    assert (_images(kspace, settings) - _images(kspace, "zero-filled")).abs().max() < 1e-5


@pytest.mark.parametrize("kernel", [(4, 4, 3), (5, 3, 3), (5, 4, 2), (5, 4, 0)])
def test_kernels_that_are_not_symmetric_are_refused(kernel: tuple[int, int, int]) -> None:
    with pytest.raises(InputError, match="kernel: expected"):
        GrappaSettings(kernel=kernel)


def test_patterns_without_regular_lines_are_refused() -> None:
    with pytest.raises(InputError, match="every n-th line"):
        line_step(poisson_disk((50, 20), acceleration=3, calibration=(8, 8), seed=0))


def test_a_centre_smaller_than_the_kernel_is_refused() -> None:
    pattern = regular((50, 20), acceleration=(3, 1), calibration=(6, 20))
    with pytest.raises(InputError, match="calibration region"):
        list(reconstruct(sample(channel_images(SHAPE, 2), pattern), "grappa"))


@pytest.mark.parametrize("n_channels", [4, 16])
def test_no_array_is_larger_than_a_block_for_any_number_of_channels(
    monkeypatch: pytest.MonkeyPatch, n_channels: int
) -> None:
    """But the normal equations, and the samples of one readout."""
    pattern = regular((50, 20), acceleration=(2, 1), calibration=(18, 20))
    kspace = sample(channel_images(SHAPE, n_channels), pattern, noise_sd=0.02)
    settings = GrappaSettings(kernel=(3, 2, 1))
    monkeypatch.setattr("accelqsm.recon.methods.grappa.SAMPLES_AT_ONCE", 1)
    monkeypatch.setattr("accelqsm.recon.methods.grappa.EQUATIONS_AT_ONCE", 1)
    one_readout = n_channels * kspace.acquisition.n_echoes * 50 * 20
    largest = 0

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    with Sizes():
        for block in reconstruct(kspace, ReconSettings("grappa", settings)):
            assert block.images.numel() == one_readout
    unknowns = 3 * 2 * n_channels
    assert largest <= max(2 * one_readout, unknowns**2)
