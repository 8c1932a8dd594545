"""Consistency over channels: exact for known sensitivities, harmless where nothing is wrong."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, fft, ifft
from accelqsm.recon.consistency import channel_consistency
from accelqsm.recon.sampling import poisson_disk, regular

SHAPE = (3, 24, 20)
N_CHANNELS = 6


@pytest.fixture(scope="module")
def scan() -> tuple[Tensor, Tensor]:
    """Images (channel, echo, x, y, z) of a random object, and the maps that they came through."""
    generator = torch.Generator().manual_seed(1)
    y, z = torch.meshgrid(
        *(torch.linspace(-1, 1, n, dtype=torch.float64) for n in SHAPE[1:]), indexing="ij"
    )
    centres = torch.linspace(-1, 1, N_CHANNELS, dtype=torch.float64)
    planes = [torch.polar(torch.exp(-2 * (y - c) ** 2 + 0.3 * z), c * z + y) for c in centres]
    maps = torch.stack(planes)[:, None].expand(-1, *SHAPE)
    maps = maps / maps.abs().square().sum(0).sqrt()
    shape = (2, *SHAPE)
    parts = torch.randn((2, *shape), generator=generator, dtype=torch.float64)
    return maps[:, None] * torch.complex(parts[0], parts[1]), maps


def measure(images: Tensor, sampled: Tensor) -> Tensor:
    return fft(images, PHASE_ENCODES) * sampled


def test_known_sensitivities_and_twofold_sampling_give_back_every_image(
    scan: tuple[Tensor, Tensor],
) -> None:
    images, maps = scan
    sampled = regular(SHAPE[1:], acceleration=(2, 1), calibration=(0, 0))
    measured = measure(images, sampled)
    start = ifft(measured, PHASE_ENCODES)
    found = channel_consistency(
        start, measured, maps, sampled=sampled, weight=1e-9, n_iterations=80
    )
    assert (start - images).abs().max() > 0.3
    assert (found - images).abs().max() < 1e-3


def test_images_that_explain_the_samples_stay_as_they_are(scan: tuple[Tensor, Tensor]) -> None:
    images, maps = scan
    sampled = poisson_disk(SHAPE[1:], acceleration=3, calibration=(6, 6), seed=0)
    found = channel_consistency(images, measure(images, sampled), maps, sampled=sampled)
    torch.testing.assert_close(found, images)


def test_samples_are_put_back_and_a_large_weight_changes_nothing_else(
    scan: tuple[Tensor, Tensor],
) -> None:
    images, maps = scan
    sampled = poisson_disk(SHAPE[1:], acceleration=3, calibration=(6, 6), seed=0)
    measured = measure(images, sampled)
    wrong = images * 0.5
    found = fft(
        channel_consistency(wrong, measured, maps, sampled=sampled, weight=1e9), PHASE_ENCODES
    )
    torch.testing.assert_close(found * sampled, measured)
    torch.testing.assert_close(found * ~sampled, fft(wrong, PHASE_ENCODES) * ~sampled)


def test_a_smaller_weight_comes_nearer_to_the_truth(scan: tuple[Tensor, Tensor]) -> None:
    images, maps = scan
    sampled = regular(SHAPE[1:], acceleration=(2, 1), calibration=(0, 0))
    measured = measure(images, sampled)
    start = ifft(measured, PHASE_ENCODES)
    errors = [
        float(
            (channel_consistency(start, measured, maps, sampled=sampled, weight=weight) - images)
            .abs()
            .square()
            .sum()
        )
        for weight in (1.0, 0.1, 0.01)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]
