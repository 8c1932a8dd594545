"""Alternating readouts, up to a sample apart, lose no part of the brain and change no value."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from accelqsm.acquisition import Acquisition
from accelqsm.fourier import PHASE_ENCODES, fft
from accelqsm.kspace import KSpace
from accelqsm.pipeline.scan import map_susceptibility
from accelqsm.qsm.brain import coherent_sums
from accelqsm.qsm.chain import QsmResult, susceptibility
from accelqsm.qsm.field.lags import LagProducts, lag_products
from accelqsm.qsm.field.mdi import phase_coherence
from accelqsm.qsm.mask import remove_incoherent
from object_phantom import FIELD_T, Phantom, phantom, slope

FOUR_S = (0.004, 0.009, 0.014, 0.019)
THREE_S = FOUR_S[:3]
UNEVEN_S = (0.004, 0.0075, 0.014, 0.019, 0.027)


def alternated(made: Phantom, offset_rad: float, samples: float, axis: int = 0) -> Phantom:
    """Readouts whose echoes lie ``samples`` of k-space apart from the centre, to either side."""
    n = made.brain.shape[axis]
    index = (torch.arange(n, dtype=torch.float64) - n // 2).view(
        [-1 if a == axis else 1 for a in range(3)]
    )
    g = offset_rad + math.pi * samples / n * index + torch.zeros(made.brain.shape)
    signs = torch.tensor([1.0 - 2 * (e % 2) for e in range(len(made.echoes))])
    return replace(made, echoes=made.echoes * torch.exp(1j * signs.view(-1, 1, 1, 1) * g))


def sums(made: Phantom) -> LagProducts:
    return lag_products(made.echoes[None].to(torch.complex64), echo_times_s=made.echo_times_s)


def mapped(made: Phantom, mask: Tensor | None = None) -> QsmResult:
    return susceptibility(sums(made), grid=made.grid, field_strength_t=FIELD_T, mask=mask)


@pytest.fixture(scope="module")
def monopolar() -> dict[tuple[float, ...], QsmResult]:
    return {times: mapped(phantom(times)) for times in (FOUR_S, THREE_S, UNEVEN_S)}


@pytest.mark.parametrize(
    ("echo_times_s", "offset_rad", "samples", "axis"),
    [
        (FOUR_S, 0.25, 0.25, 0),
        (THREE_S, 0.25, 0.5, 0),
        (THREE_S, 3.0, 0.25, 1),
        (FOUR_S, math.pi / 4, 0.0, 0),
        (FOUR_S, -0.3, 1.0, 2),
        (UNEVEN_S, 0.25, 0.25, 0),
    ],
)
def test_the_map_is_that_of_monopolar_readouts(
    monopolar: dict[tuple[float, ...], QsmResult],
    echo_times_s: tuple[float, ...],
    offset_rad: float,
    samples: float,
    axis: int,
) -> None:
    """A case of its own: g = pi / 4 everywhere, where pairs of either sense cancel in each voxel.

    Its sums have no side that is whole and from which the rest could be guessed.
    """
    made = alternated(phantom(echo_times_s), offset_rad, samples, axis)
    found, expected = mapped(made), monopolar[echo_times_s]
    assert slope(found.chi_ppm, found.mask, made) == pytest.approx(1, abs=0.08)
    assert (found.mask & made.brain).sum() >= 0.99 * (expected.mask & made.brain).sum()
    both = found.mask & expected.mask
    assert (found.chi_ppm - expected.chi_ppm)[both].abs().quantile(0.99) < 0.01


def noisy_rim(made: Phantom) -> tuple[Phantom, Tensor]:
    """A seventh of the brain, beside air, holds phase that has nothing to do with echo time."""
    y = torch.from_numpy(made.grid.world_mm()).double()[1]
    rim = made.brain & (y > 20)
    generator = torch.Generator().manual_seed(5)
    anywhere = torch.rand(made.echoes.shape, dtype=torch.float64, generator=generator) * math.tau
    turned = made.echoes * torch.polar(torch.ones_like(anywhere), anywhere)
    return replace(made, echoes=torch.where(rim, turned, made.echoes)), rim


@pytest.mark.parametrize("echo_times_s", [THREE_S, FOUR_S])
def test_what_is_incoherent_leaves_and_nothing_else_does(echo_times_s: tuple[float, ...]) -> None:
    """Not to be read off the case: phase without meaning in a part of the mask."""
    made, rim = noisy_rim(phantom(echo_times_s))
    assert rim.sum() > 0.1 * made.brain.sum()
    plain, expected = coherent_sums(sums(made), made.brain, least_coherence=0.9)
    found, left = coherent_sums(sums(alternated(made, 0.6, 0.5)), made.brain, least_coherence=0.9)
    assert (left ^ expected).sum() < 0.005 * made.brain.sum()
    assert (left & rim).sum() < 0.5 * rim.sum()
    assert (left & ~rim).sum() > 0.99 * (made.brain & ~rim).sum()
    inside = left & expected
    difference = (found.products[0] * plain.products[0].conj())[inside].angle()
    # A half turn of all voxels is a frequency that wraps, which the data cannot tell.
    assert (2 * difference).sin().abs().quantile(0.99) < 0.03


def test_noise_as_strong_as_in_a_late_echo_is_borne() -> None:
    made = phantom(THREE_S, noise_sd=1 / 20)
    found = mapped(alternated(made, 1.2, 0.5), made.brain)
    expected = mapped(made, made.brain)
    assert found.mask.sum() > 0.99 * expected.mask.sum()
    assert slope(found.chi_ppm, found.mask, made) == pytest.approx(
        slope(expected.chi_ppm, expected.mask, made), abs=0.03
    )


@pytest.mark.parametrize("rim", [False, True])
@pytest.mark.parametrize("echo_times_s", [(0.004, 0.009), THREE_S, FOUR_S, UNEVEN_S])
def test_monopolar_sums_come_back_themselves(echo_times_s: tuple[float, ...], rim: bool) -> None:
    made = noisy_rim(phantom(echo_times_s))[0] if rim else phantom(echo_times_s)
    products = sums(made)
    found, left = coherent_sums(products, made.brain, least_coherence=0.9)
    assert found is products
    before = remove_incoherent(made.brain, phase_coherence(products), least_coherence=0.9)
    assert torch.equal(left, before)


def scan(made: Phantom) -> KSpace:
    """Four channels that see the object from its sides, with phases of their own."""
    x, y, _ = torch.from_numpy(made.grid.world_mm()).double()
    coils = []
    for turn in torch.arange(4) * math.pi / 2:
        square = (x - 70 * turn.cos()) ** 2 + (y - 70 * turn.sin()) ** 2
        phase_rad = turn + 0.01 * (x * turn.cos() + y * turn.sin())
        coils.append(torch.polar(torch.exp(-square / (2 * 75**2)), phase_rad))
    images = torch.stack(coils)[:, None] * made.echoes
    sampled = torch.ones(made.brain.shape[1:], dtype=torch.bool)
    samples = fft(images, PHASE_ENCODES)[..., sampled].to(torch.complex64).numpy()
    return KSpace(Acquisition(made.grid, made.echo_times_s, FIELD_T), sampled, samples)


@pytest.mark.parametrize(
    "method", ["zero-filled", pytest.param("reconnet3d", marks=pytest.mark.slow)]
)
def test_raw_data_of_several_channels_are_mapped(method: str) -> None:
    made = alternated(phantom(THREE_S), 0.25, 0.25)
    found = map_susceptibility(scan(made), method)
    mask = torch.from_numpy(found.mask)
    assert slope(torch.from_numpy(found.chi_ppm), mask, made) == pytest.approx(1, abs=0.1)
    assert (mask & made.brain).sum() > 0.97 * made.brain.sum()
