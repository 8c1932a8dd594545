"""Sensitivities from a small centre are refined by the samples around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from accelqsm.kspace import KSpace
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import unit_maps
from accelqsm.recon.sensitivities import refine
from accelqsm.recon.sensitivities.espirit import espirit
from accelqsm.recon.sensitivities.estimate import estimate, estimate_in_slabs
from accelqsm.recon.sensitivities.refine import is_small, refined
from recon_phantom import channel_images, sample

SHAPE = (4, 96, 72)
"""Larger than the band of half of it that is looked at."""


def scan(
    centre: tuple[int, int], *, of_each_echo: bool = False, noise_sd: float = 0.02, n: int = 6
) -> tuple[KSpace, Tensor]:
    """Samples, and images (channel, echo, x, y, z)."""
    images = channel_images(SHAPE, n)
    disks = [
        poisson_disk((SHAPE[1], SHAPE[2]), acceleration=4, calibration=centre, seed=seed)
        for seed in range(2 if of_each_echo else 1)
    ]
    kspace = sample(images, disks[0], noise_sd=noise_sd)
    if of_each_echo:
        later = sample(images, disks[1], noise_sd=noise_sd, seed=1).samples[:, 1]
        samples = np.stack([kspace.samples[:, 0], later], axis=1)
        kspace = replace(kspace, sampled=torch.stack(disks), samples=samples)
    return kspace, images


def error(maps: Tensor, images: Tensor) -> float:
    """Sine of the angle to the true sensitivities where there is signal."""
    power = images[:, 0].abs().square().sum(0)
    along = (unit_maps(images[:, 0]).conj() * maps).sum(0).abs()[power > 0.1 * power.max()]
    return float((1 - along.square()).clamp_min(0).mean().sqrt())


@pytest.mark.parametrize("of_each_echo", [False, True])
@pytest.mark.parametrize("centre", [(10, 8), (8, 6)])
def test_the_samples_around_a_small_centre_halve_the_error(
    centre: tuple[int, int], of_each_echo: bool
) -> None:
    kspace, images = scan(centre, of_each_echo=of_each_echo)
    before, after = (error(find(kspace).maps, images) for find in (espirit, estimate))
    assert after < 0.6 * before


def test_a_second_round_takes_more_of_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is not noise."""
    kspace, images = scan((10, 8), noise_sd=0.002)
    twice = error(estimate(kspace).maps, images)
    monkeypatch.setattr(refine, "ROUNDS", 1)
    assert twice < 0.9 * error(estimate(kspace).maps, images)


def test_what_is_right_stays() -> None:
    kspace, images = scan((10, 8), noise_sd=0.0)
    true = unit_maps(images[:, 0])
    support = (images[:, 0].abs().square().sum(0) > 0.01).float().clamp_min(0.1)
    before = error(espirit(kspace).maps, images)
    assert error(refined(kspace, true, support), images) < 0.1 * before


def test_length_phase_and_support_stay() -> None:
    kspace, _ = scan((10, 8))
    before, after = espirit(kspace), estimate(kspace)
    torch.testing.assert_close(after.maps.abs().square().sum(0), torch.ones(SHAPE))
    along = (before.maps.conj() * after.maps).sum(0)
    torch.testing.assert_close(along.imag, torch.zeros(SHAPE), atol=1e-5, rtol=0)
    assert (along.real >= 0).all()
    assert torch.equal(after.support, before.support)


def test_neither_unit_nor_part_changes_them() -> None:
    kspace, _ = scan((10, 8))
    whole = estimate(kspace).maps
    for unit in (2.0**40, 2.0**-60):
        other = replace(kspace, samples=np.asarray(unit * kspace.samples, np.complex64))
        torch.testing.assert_close(estimate(other.balanced()).maps, whole, atol=1e-4, rtol=0)
    some = slice(1, 3)
    torch.testing.assert_close(estimate(kspace, x=some).maps, whole[:, some], atol=1e-4, rtol=0)
    torch.testing.assert_close(estimate_in_slabs(kspace).maps, whole, atol=1e-4, rtol=0)


def test_large_centres_and_those_without_anything_around_them_stay_as_they_are() -> None:
    small, images = scan((10, 8))
    large, _ = scan((32, 28))
    alone = sample(images, torch.zeros_like(small.sampled))
    alone = replace(alone, sampled=_box(small.sampled), samples=_within(small))
    apart = replace(small, calibration=large.samples[..., :12].reshape(6, 2, 4, 4, 3))
    known = replace(small, sensitivities=unit_maps(images[:, 0]).numpy())
    assert is_small(small)
    for other in (large, alone, apart, known):
        assert not is_small(other)
    assert torch.equal(estimate(large).maps, espirit(large).maps)


def _box(sampled: Tensor) -> Tensor:
    """The centre alone."""
    centre = torch.zeros_like(sampled)
    centre[SHAPE[1] // 2 - 5 : SHAPE[1] // 2 + 5, SHAPE[2] // 2 - 4 : SHAPE[2] // 2 + 4] = True
    return centre


def _within(kspace: KSpace) -> np.ndarray:
    """Its samples."""
    return kspace.samples[..., _box(kspace.sampled)[kspace.sampled].numpy()]


def test_a_silent_scan_has_sensitivities_of_length_one_or_none() -> None:
    kspace, _ = scan((10, 8))
    silent = replace(kspace, samples=0 * kspace.samples)
    assert estimate(silent).maps.isfinite().all()
