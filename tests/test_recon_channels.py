"""Whitening, and the combination of channels that leaves the echoes alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from accelqsm.errors import InputError
from accelqsm.recon.blocks import combine
from accelqsm.recon.channels import compress_channels, compress_maps, low_resolution, prewhiten
from accelqsm.recon.reconstruct import reconstruct
from accelqsm.recon.sampling import regular
from recon_phantom import ECHO_TIMES_S, channel_images, sample

SHAPE = (10, 24, 16)
FULL = torch.ones(SHAPE[1:], dtype=torch.bool)


def _correlated_noise(n_channels: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((n_channels, n_channels)) + 3 * np.eye(n_channels)
    white = rng.standard_normal((n_channels, count, 2)).view(complex)[..., 0]
    return np.asarray(mixing @ white, dtype=np.complex64)


def test_whitened_noise_is_independent_and_of_variance_one() -> None:
    noise = _correlated_noise(4, 40_000)
    kspace = sample(channel_images(SHAPE, 4), FULL)
    count = kspace.samples[0, 0].size
    samples = noise[:, : 2 * count].reshape(4, 2, SHAPE[0], -1)
    whitened = prewhiten(replace(kspace, samples=samples, noise_samples=noise[:, 2 * count :]))
    flat = whitened.samples.reshape(4, -1)
    covariance = flat @ flat.conj().T / flat.shape[1]
    np.testing.assert_allclose(covariance, np.eye(4), atol=0.04)
    assert whitened.noise_samples is None


def test_whitening_is_one_matrix_for_all_samples() -> None:
    kspace = sample(channel_images(SHAPE, 4), FULL)
    noise = _correlated_noise(4, 4000)
    whitened = prewhiten(replace(kspace, noise_samples=noise))
    covariance = noise.astype(complex) @ noise.conj().T / noise.shape[1]
    back = np.linalg.cholesky(covariance) @ whitened.samples.reshape(4, -1)
    np.testing.assert_allclose(back, kspace.samples.reshape(4, -1), atol=2e-5)


def test_compressed_channels_keep_the_signal_and_white_noise() -> None:
    """Twelve channels that mix three: three virtual ones hold everything."""
    few = sample(channel_images(SHAPE, 3), FULL)
    rng = np.random.default_rng(2)
    mixing = np.linalg.qr(rng.standard_normal((12, 3)))[0].astype(np.complex64)
    many = np.einsum("dc,cexs->dexs", mixing, few.samples)
    found = compress_channels(replace(few, samples=many), 3)
    assert found.samples.shape == few.samples.shape
    power = (np.abs(found.samples) ** 2).sum(0)
    np.testing.assert_allclose(power, (np.abs(few.samples) ** 2).sum(0), rtol=1e-3, atol=1e-9)
    strength = (np.abs(found.samples) ** 2).sum((1, 2, 3))
    assert (np.diff(strength) <= 0).all()
    noise = rng.standard_normal((*many.shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
    quiet = compress_channels(replace(few, samples=noise), 3).samples.reshape(3, -1)
    covariance = quiet @ quiet.conj().T / quiet.shape[1]
    np.testing.assert_allclose(covariance, 2 * np.eye(3), atol=0.15)
    assert compress_channels(few, 3) is few


def test_memory_maps_stay_on_disk(tmp_path: Path) -> None:
    kspace = sample(channel_images(SHAPE, 4), FULL)
    mapped = np.memmap(tmp_path / "k", np.complex64, "w+", shape=kspace.samples.shape)
    mapped[:] = kspace.samples
    noise = _correlated_noise(4, 4000)
    on_disk = prewhiten(replace(kspace, samples=mapped, noise_samples=noise)).samples
    in_memory = prewhiten(replace(kspace, noise_samples=noise)).samples
    assert isinstance(on_disk, np.memmap)
    np.testing.assert_array_equal(np.asarray(on_disk), in_memory)


def test_without_noise_scan_nothing_changes() -> None:
    kspace = sample(channel_images(SHAPE, 2), FULL)
    assert prewhiten(kspace) is kspace


def test_singular_and_short_noise_scans_are_refused() -> None:
    kspace = sample(channel_images(SHAPE, 2), FULL)
    with pytest.raises(InputError, match="singular"):
        prewhiten(replace(kspace, noise_samples=np.zeros((2, 100), np.complex64)))
    with pytest.raises(InputError, match="noise scan"):
        prewhiten(replace(kspace, noise_samples=_correlated_noise(2, 3)))


def test_low_resolution_is_the_tapered_centre() -> None:
    images = channel_images(SHAPE, 3)
    pattern = regular((24, 16), acceleration=(3, 1), calibration=(8, 16))
    smooth = low_resolution(sample(images, pattern), echo=1, channels=slice(1, 3), x=slice(2, 5))
    assert smooth.shape == (2, 3, 24, 16)
    truth = images[1:3, 1, 2:5]
    angle = torch.angle(smooth * truth.conj())[truth.abs() > 0.5 * truth.abs().max()]
    assert angle.abs().max() < 0.25


@pytest.mark.parametrize("method", ["zero-filled", "grappa"])
def test_combined_phase_evolves_as_in_the_channels(method: str) -> None:
    """numerator_2 conj(numerator_1) has the phase 2 pi f (TE2 - TE1), whatever the channels."""
    images = channel_images(SHAPE, 4)
    kspace = sample(images, FULL)
    numerator = torch.zeros(2, *SHAPE, dtype=torch.complex64)
    power = torch.zeros(SHAPE)
    for block in reconstruct(kspace, method=method):  # type: ignore[arg-type]
        part = combine(block, kspace)
        numerator[:, part.x] += part.numerator
        power[part.x] += part.power
    expected = images[0, 1] * images[0, 0].conj()
    inside = power > 0.2 * power.max()
    error = torch.angle(numerator[1] * numerator[0].conj() * expected.conj())[inside]
    assert error.abs().max() < 1e-4
    decay = (numerator[1].abs() / numerator[0].abs())[inside]
    assert decay.sub(np.exp(-20 * (ECHO_TIMES_S[1] - ECHO_TIMES_S[0]))).abs().max() < 1e-4


def test_compressed_maps_keep_the_signal_of_the_image_and_few_channels_stay() -> None:
    generator = torch.Generator().manual_seed(4)
    mixing = torch.randn(6, 2, generator=generator, dtype=torch.complex64)
    two = torch.randn(2, 5, 4, 3, generator=generator, dtype=torch.complex64)
    maps = torch.einsum("cv,vxyz->cxyz", mixing, two)  # six channels of rank two
    image = torch.randn(5, 4, 3, generator=generator, dtype=torch.complex64)
    compressed = compress_maps(maps, image, 2)
    assert compressed.shape == (2, 5, 4, 3)
    power = (maps * image).abs().square().sum(0)
    torch.testing.assert_close((compressed * image).abs().square().sum(0), power)
    received = (compressed * image).flatten(1)
    assert received[0].norm() > received[1].norm()
    for n_virtual in (6, 7):
        assert compress_maps(maps, image, n_virtual) is maps
    assert compress_maps(maps, image, 5).shape[0] == 5
