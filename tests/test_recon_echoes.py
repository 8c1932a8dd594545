"""Compressed sensing over echoes against closed forms and invariants."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.fft import dct, dst
from torch import Tensor

from accelqsm.fourier import PHASE_ENCODES, fft, hann_window, ifft
from accelqsm.recon.method_settings import EchoWaveletSettings, WaveletSettings
from accelqsm.recon.methods.echo_components import (
    EchoComponents,
    cosines,
    principal_components,
    sines,
)
from accelqsm.recon.methods.l1_echoes import l1_echoes
from accelqsm.recon.methods.l1_wavelet import l1_wavelet
from accelqsm.recon.sampling import poisson_disk
from accelqsm.recon.sense import Encoding, unit_maps
from recon_phantom import channel_images

SHAPE = (8, 40, 32)
PATTERN = poisson_disk(SHAPE[1:], acceleration=4, calibration=(12, 12), seed=1)
WINDOW = hann_window(SHAPE[1:], (36, 32))
ECHO_TIMES_S = torch.tensor([0.004, 0.010, 0.016, 0.022])


def complex_noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.complex64)


def decaying_echoes() -> tuple[Tensor, Tensor]:
    """A brain-like object of two R2* in a bent field, and its sensitivities."""
    images = channel_images(SHAPE, 6)
    power = images[:, 0].abs().square().sum(0).sqrt()
    maps = images[:, 0] / power.clamp_min(1e-20)
    x, y, z = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    rate_per_s = torch.where((y - 0.2).square() + z.square() < 0.1, 60.0, 20.0)
    field_hz = 20 * (x + y.square() + torch.exp(-20 * (y.square() + z.square())))
    times_s = ECHO_TIMES_S.view(-1, 1, 1, 1)
    return power * torch.exp((2j * math.pi * field_hz - rate_per_s) * times_s), maps


BASES = {
    "principal": lambda echoes: (principal_components(echoes),),
    "waves": lambda echoes: (cosines(len(echoes)), sines(len(echoes))),
}


@pytest.mark.parametrize("bases", BASES.values(), ids=BASES)
def test_components_come_back_and_keep_the_energy(
    bases: Callable[[Tensor], tuple[Tensor, ...]],
) -> None:
    echoes, known = complex_noise(4, *SHAPE), complex_noise(4, *SHAPE, seed=1)
    components = EchoComponents(known, *bases(known))
    found = components.forward(echoes)
    assert float(found.norm()) == pytest.approx(float(echoes.norm()), rel=1e-5)
    torch.testing.assert_close(components.inverse(found), echoes)


@pytest.mark.parametrize("n_echoes", [1, 2, 5])
def test_cosines_and_sines_are_those_of_scipy(n_echoes: int) -> None:
    ones = torch.eye(n_echoes).numpy()  # each echo alone, over components
    torch.testing.assert_close(cosines(n_echoes), torch.from_numpy(dct(ones, norm="ortho")))
    expected = torch.from_numpy(dst(ones, type=4, norm="ortho"))
    torch.testing.assert_close(sines(n_echoes), expected)


def test_what_grows_with_echo_time_is_in_the_first_sine() -> None:
    """Fine phase of decaying echoes: more of its energy than in the first cosine."""
    signal = ECHO_TIMES_S * torch.exp(-ECHO_TIMES_S / 0.03)
    energy = signal.square().sum()
    in_sine, in_cosine = ((basis(4)[:, 0] @ signal).square() / energy for basis in (sines, cosines))
    assert in_sine > 0.97 > 0.9 > in_cosine


def test_echoes_of_two_rates_have_two_components_whatever_the_field() -> None:
    echoes, _ = decaying_echoes()
    shares = (
        EchoComponents(echoes, principal_components(echoes))
        .forward(echoes)
        .abs()
        .square()
        .sum((1, 2, 3))
    )
    shares = shares / shares.sum()
    assert shares[0] > 0.97
    assert shares[2:].sum() < 1e-6 < 1e-3 < shares[1]


def test_the_window_is_a_raised_cosine_about_the_zero_frequency() -> None:
    window = hann_window((9, 8), (3, 1))
    expected = torch.zeros(9, 8)
    expected[3:6, 4] = torch.tensor([0.5, 1.0, 0.5])
    torch.testing.assert_close(window, expected)


def _smooth(images: Tensor) -> Tensor:
    return ifft(WINDOW * fft(images, PHASE_ENCODES), PHASE_ENCODES)


def _zero_filled(images: Tensor, maps: Tensor, sampled: Tensor) -> tuple[Tensor, Encoding]:
    encoding = Encoding(maps, sampled)
    spectra = fft(maps[:, None] * images, PHASE_ENCODES) * sampled
    return torch.stack([encoding.adjoint(spectra[:, e]) for e in range(len(images))]), encoding


def test_all_samples_and_no_penalty_give_the_echoes() -> None:
    images, maps = complex_noise(3, *SHAPE), unit_maps(complex_noise(4, *SHAPE, seed=1))
    wanted, encoding = _zero_filled(images, maps, torch.ones_like(PATTERN))
    found = l1_echoes(
        wanted,
        [encoding] * 3,
        wanted,
        window=WINDOW,
        settings=EchoWaveletSettings(3, 0.0),
    )
    torch.testing.assert_close(found, images, atol=1e-4, rtol=0)


def test_order_and_phase_of_echoes_do_not_matter() -> None:
    images, maps = decaying_echoes()
    wanted, encoding = _zero_filled(images.to(torch.complex128), maps, PATTERN)
    turns = torch.tensor([0.3, -2.0, 1.1, 3.0], dtype=torch.float64).view(-1, 1, 1, 1)
    phases = torch.polar(torch.ones_like(turns), turns)

    def found(wanted: Tensor) -> Tensor:
        settings = EchoWaveletSettings(2)
        return l1_echoes(wanted, [encoding] * 4, _smooth(wanted), window=WINDOW, settings=settings)

    usual = found(wanted)
    torch.testing.assert_close(found(wanted.flip(0)).flip(0), usual, atol=1e-6, rtol=0)
    torch.testing.assert_close(found(phases * wanted) / phases, usual, atol=1e-6, rtol=0)


def test_echoes_together_are_nearer_the_truth_than_one_by_one() -> None:
    """At the better of two penalties for each, with as many iterations."""
    images, maps = decaying_echoes()
    planes = fft(maps[:, None] * images, PHASE_ENCODES) + 0.05 * complex_noise(6, 4, *SHAPE)
    encoding, measured = Encoding(maps, PATTERN), planes * PATTERN
    wanted = torch.stack([encoding.adjoint(measured[:, e]) for e in range(4)])

    def together(share: float) -> Tensor:
        settings = EchoWaveletSettings(8, share)
        return l1_echoes(wanted, [encoding] * 4, _smooth(wanted), window=WINDOW, settings=settings)

    def alone(share: float) -> Tensor:
        settings = WaveletSettings(16, share)
        return torch.stack(
            [l1_wavelet(measured[:, e], maps, sampled=PATTERN, settings=settings) for e in range(4)]
        )

    errors = [
        min(float((method(share) - images).norm()) for share in (0.006, 0.01))
        for method in (together, alone)
    ]
    assert errors[0] < 0.9 * errors[1]


def test_the_second_round_demodulates_with_what_the_first_found() -> None:
    """Where images of low resolution say nothing of the phase, the window lets the first round."""
    images, maps = decaying_echoes()
    wanted, encoding = _zero_filled(images, maps, PATTERN)
    blind = torch.ones_like(wanted)

    def error(window: Tensor) -> float:
        settings = EchoWaveletSettings(8, 0.01)
        found = l1_echoes(wanted, [encoding] * 4, blind, window=window, settings=settings)
        return float((found - images).norm())

    assert error(WINDOW) < 0.99 * error(hann_window(SHAPE[1:], (1, 1)))
